"""The client, as callers see it. Nothing here loads gRPC before it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._client_catalog import Catalog
from ._client_transfers import Transfers
from ._settings import Settings, read_settings

if TYPE_CHECKING:
    from types import TracebackType


class Client(Transfers, Catalog):
    """A client of one server. It connects when it is first used, and may be used by several threads, and in forks of the process.

    What isn't given comes from the environment, when the client is made.

    Args:
        url: `unix:///path`, `http://host:port` or `https://host:port`. Default: `DSTACK_ARTIFACTS_URL`, else the socket that
            `dstack-artifacts serve` listens on.
        token: A bearer token, sent with every call. Default: `DSTACK_ARTIFACTS_TOKEN`, else none.
        project: Where runs and tags are. Default: `DSTACK_PROJECT`, else the server's.
        run: The current run, for uploads that name none. Default: `DSTACK_RUN_NAME`, then `RUN_NAME`, else the server's.
        timeout: Seconds that a lost connection is taken up again without progress. Default: 30.
        ca_file: For `https`: a PEM file of certificate authorities. Default: `SSL_CERT_FILE`, else the system's.
        cert_file: For `https`: a PEM file with the client's own certificate.
        key_file: For `https`: a PEM file with its key.

    Raises:
        DstackError: The URL, the project's name or the timeout can't be.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        project: str | None = None,
        run: str | None = None,
        timeout: float | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
    ) -> None:
        settings = read_settings(
            url=url, token=token, project=project, run=run, timeout=timeout, ca_file=ca_file, cert_file=cert_file, key_file=key_file
        )
        super().__init__(settings)

    def close(self) -> None:
        """Ends the connection; calls that run fail, later ones too.

        Returns:
            Nothing.
        """
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Settings | None], Client], tuple[Settings | None]]:
        # A client that is given to another process makes a connection of its own there.
        return client_with, (self._settings,)


def client_with(settings: Settings | None) -> Client:
    """A client with these settings, or if there are none with those that the environment has at each call."""
    client = Client.__new__(Client)
    client._settings = settings
    client._open_connection = None
    return client
