"""What has a connection, made when it is first needed: that is when gRPC is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._settings import Settings, read_settings

if TYPE_CHECKING:
    from ._connection import Connection


class Connected:
    """Holds a connection. Without settings of its own, to the server that the environment names at each call."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings
        self._open_connection: Connection | None = None

    @property
    def _connection(self) -> Connection:
        from ._connection import Connection

        settings = self._settings or read_settings()
        # Two threads that are the first may make one each: both work, and the one that isn't kept ends with its last call.
        connection = self._open_connection
        if connection is None or connection.settings != settings:
            self._open_connection = connection = Connection(settings)
        return connection
