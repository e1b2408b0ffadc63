"""The client for asyncio: the same names, arguments, results and errors as `dstack.artifacts`.

    from dstack.artifacts import aio

    await aio.upload("datasets/dataset1", tag="my_tag")

The work is done on threads, which costs half the CPU time of gRPC's own asyncio. A task that is cancelled ends its call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from ._cancel import Cancellation
from ._client import Client, client_with
from ._settings import Settings
from ._threads import AsyncFile, on_thread, pulled

if TYPE_CHECKING:
    import builtins
    from types import TracebackType

    from ._progress import ShowProgress
    from ._sources import Source
    from ._types import CopyResult, DownloadResult, GarbageResult, Listing, Run, ServerInfo, Tag, Upload, UploadResult, VerifyResult
    from ._walk import Symlinks

    AsyncSource: TypeAlias = Source | AsyncIterable[bytes]

__all__ = [
    "AsyncClient",
    "AsyncFile",
    "abort_upload",
    "collect_garbage",
    "copy",
    "create_tag",
    "delete_run",
    "delete_tag",
    "download",
    "read",
    "run",
    "runs",
    "server_info",
    "stream",
    "tag",
    "tags",
    "upload",
    "upload_bytes",
    "uploads",
    "verify",
]

# Calls of one client that run at once, and as many besides that wait for their caller; more wait.
_MAX_CALLS = 64

T = TypeVar("T")
P = ParamSpec("P")
Method = TypeVar("Method", bound=Callable[..., Any])


def _as(method: Callable[..., Any]) -> Callable[[Method], Method]:
    """Takes over the documentation of the client's method of the same name."""

    def take_over(own: Method) -> Method:
        own.__doc__ = method.__doc__
        return own

    return take_over


class AsyncClient:
    """A client for asyncio of one server. It connects when it is first used.

    Args, defaults and errors are those of `Client`.
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
        self._begin(
            Client(url, token=token, project=project, run=run, timeout=timeout, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        )

    def _begin(self, client: Client) -> None:
        self._client = client
        self._pools: tuple[int, ThreadPoolExecutor, ThreadPoolExecutor] | None = None

    @property
    def _threads(self) -> ThreadPoolExecutor:
        return self._both_threads()[0]

    @property
    def _waiting_threads(self) -> ThreadPoolExecutor:
        """For calls that wait for the caller, who may be waiting for another call."""
        return self._both_threads()[1]

    def _both_threads(self) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
        # Threads don't follow into a fork of the process.
        if self._pools is None or self._pools[0] != os.getpid():
            prefix = "dstack-artifacts"
            calls, waiting = (ThreadPoolExecutor(_MAX_CALLS, thread_name_prefix=prefix) for _ in range(2))
            self._pools = os.getpid(), calls, waiting
        return self._pools[1:]

    async def _do(self, method: Callable[Concatenate[Client, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await on_thread(self._threads, Cancellation(), lambda: method(self._client, *args, **kwargs))

    @_as(Client.upload)
    async def upload(
        self,
        local_path: str | os.PathLike[str],
        artifact_path: str | None = None,
        tag: str | None = None,
        *,
        symlinks: Symlinks = "follow",
        upload_id: str | None = None,
        progress: ShowProgress = None,
        run: str | None = None,
    ) -> UploadResult:
        return await self._do(
            Client.upload, local_path, artifact_path, tag, symlinks=symlinks, upload_id=upload_id, progress=progress, run=run
        )

    @_as(Client.upload_bytes)
    async def upload_bytes(
        self,
        source: AsyncSource,
        artifact_path: str,
        tag: str | None = None,
        *,
        upload_id: str | None = None,
        progress: ShowProgress = None,
        run: str | None = None,
    ) -> UploadResult:
        threads = self._threads
        if isinstance(source, AsyncIterable):
            threads = self._waiting_threads
            source = pulled(source, asyncio.get_running_loop())
        upload = partial(self._client.upload_bytes, source, artifact_path, tag, upload_id=upload_id, progress=progress, run=run)
        return await on_thread(threads, Cancellation(), upload)

    @_as(Client.download)
    async def download(
        self,
        run: str | None = None,
        tag: str | None = None,
        artifact_path: str | None = None,
        local_path: str | os.PathLike[str] | None = None,
        *,
        commit: int | None = None,
        progress: ShowProgress = None,
    ) -> DownloadResult:
        return await self._do(Client.download, run, tag, artifact_path, local_path, commit=commit, progress=progress)

    @_as(Client.open)
    async def open(self, artifact_path: str, *, run: str | None = None, tag: str | None = None, commit: int | None = None) -> AsyncFile:
        return AsyncFile(self._threads, await self._do(Client.open, artifact_path, run=run, tag=tag, commit=commit))

    @_as(Client.read)
    async def read(
        self,
        artifact_path: str,
        *,
        run: str | None = None,
        tag: str | None = None,
        commit: int | None = None,
        offset: int = 0,
        length: int | None = None,
    ) -> bytes:
        return await self._do(Client.read, artifact_path, run=run, tag=tag, commit=commit, offset=offset, length=length)

    @_as(Client.stream)
    async def stream(
        self,
        artifact_path: str,
        *,
        run: str | None = None,
        tag: str | None = None,
        commit: int | None = None,
        offset: int = 0,
        length: int | None = None,
    ) -> AsyncIterator[bytes]:
        cancellation = Cancellation()
        blocks = self._client.stream(artifact_path, run=run, tag=tag, commit=commit, offset=offset, length=length)
        try:
            while block := await on_thread(self._threads, cancellation, lambda: next(blocks, None)):
                yield block
        finally:
            await on_thread(self._threads, Cancellation(), blocks.close)

    @_as(Client.list)
    async def list(
        self,
        run: str | None = None,
        tag: str | None = None,
        prefix: str | None = None,
        *,
        recursive: bool = False,
        commit: int | None = None,
    ) -> Listing:
        return await self._do(Client.list, run, tag, prefix, recursive=recursive, commit=commit)

    @_as(Client.runs)
    async def runs(self) -> builtins.list[Run]:
        return await self._do(Client.runs)

    @_as(Client.run)
    async def run(self, name: str) -> Run:
        return await self._do(Client.run, name)

    @_as(Client.delete_run)
    async def delete_run(self, name: str, *, force: bool = False) -> builtins.list[str]:
        return await self._do(Client.delete_run, name, force=force)

    @_as(Client.tags)
    async def tags(self) -> builtins.list[Tag]:
        return await self._do(Client.tags)

    @_as(Client.tag)
    async def tag(self, name: str) -> Tag:
        return await self._do(Client.tag, name)

    @_as(Client.create_tag)
    async def create_tag(self, name: str, run: str, *, commit: int | None = None, path: str | None = None) -> Tag:
        return await self._do(Client.create_tag, name, run, commit=commit, path=path)

    @_as(Client.delete_tag)
    async def delete_tag(self, name: str) -> None:
        await self._do(Client.delete_tag, name)

    @_as(Client.copy)
    async def copy(
        self,
        to_run: str,
        to_path: str | None = None,
        *,
        run: str | None = None,
        tag: str | None = None,
        artifact_path: str | None = None,
        commit: int | None = None,
    ) -> CopyResult:
        return await self._do(Client.copy, to_run, to_path, run=run, tag=tag, artifact_path=artifact_path, commit=commit)

    @_as(Client.verify)
    async def verify(
        self,
        run: str | None = None,
        tag: str | None = None,
        *,
        commit: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> VerifyResult:
        return await self._do(Client.verify, run, tag, commit=commit, on_progress=on_progress)

    @_as(Client.collect_garbage)
    async def collect_garbage(self, grace: timedelta | None = None, *, dry_run: bool = False) -> GarbageResult:
        return await self._do(Client.collect_garbage, grace, dry_run=dry_run)

    @_as(Client.uploads)
    async def uploads(self) -> builtins.list[Upload]:
        return await self._do(Client.uploads)

    @_as(Client.abort_upload)
    async def abort_upload(self, upload_id: str) -> None:
        await self._do(Client.abort_upload, upload_id)

    @_as(Client.server_info)
    async def server_info(self) -> ServerInfo:
        return await self._do(Client.server_info)

    @_as(Client.close)
    async def close(self) -> None:
        self._client.close()
        if self._pools is not None:
            for threads in self._pools[1:]:
                threads.shutdown(wait=False)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def _client_with(settings: Settings | None) -> AsyncClient:
    client = AsyncClient.__new__(AsyncClient)
    client._begin(client_with(settings))
    return client


_client = _client_with(None)
upload = _client.upload
upload_bytes = _client.upload_bytes
download = _client.download
open = _client.open
read = _client.read
stream = _client.stream
list = _client.list
runs = _client.runs
run = _client.run
delete_run = _client.delete_run
tags = _client.tags
tag = _client.tag
create_tag = _client.create_tag
delete_tag = _client.delete_tag
copy = _client.copy
verify = _client.verify
collect_garbage = _client.collect_garbage
uploads = _client.uploads
abort_upload = _client.abort_upload
server_info = _client.server_info
