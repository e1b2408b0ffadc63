"""What the asyncio client does on other threads."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from ._cancel import Cancellation, current, install

if TYPE_CHECKING:
    import io
    from types import TracebackType

T = TypeVar("T")


async def on_thread(threads: ThreadPoolExecutor, cancellation: Cancellation, work: Callable[[], T]) -> T:
    """Does it on another thread. When the task is cancelled, its call is too, and has ended when this returns."""

    def begin() -> T:
        install(cancellation)
        cancellation.check()
        return work()

    future = asyncio.get_running_loop().run_in_executor(threads, contextvars.copy_context().run, begin)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        cancellation.cancel()
        await asyncio.wait([future])
        # What it ends with is nobody's any more.
        future.exception()
        raise


def pulled(source: AsyncIterable[bytes], loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """What an asynchronous iterable gives, on another thread."""
    blocks = aiter(source)

    async def next_block() -> bytes | None:
        return await anext(blocks, None)

    while True:
        future = asyncio.run_coroutine_threadsafe(next_block(), loop)
        with current().watching(future):
            block = future.result()
        if block is None:
            return
        yield block


class AsyncFile:
    """A file in a run, for reading with asyncio. `open` gives it."""

    def __init__(self, threads: ThreadPoolExecutor, file: io.BufferedReader) -> None:
        self._threads = threads
        self._file = file
        self._cancellation = Cancellation()

    async def read(self, size: int = -1) -> bytes:
        """Reads on.

        Args:
            size: How many bytes at the most. Default: all that are left.

        Returns:
            The bytes; fewer than `size` only at the end.

        Raises:
            ArtifactsDownloadError: They can't be read, or are not those that were uploaded.
        """
        return await self._do(lambda: self._file.read(size))

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Reads on into a buffer.

        Args:
            buffer: What to fill.

        Returns:
            How many bytes were read; fewer than the buffer has only at the end.

        Raises:
            ArtifactsDownloadError: As for `read`.
        """
        return await self._do(lambda: self._file.readinto(buffer))

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a position; nothing is read for it.

        Args:
            offset: Bytes from the begin, from here or from the end.
            whence: Which of the three, as `os.SEEK_SET`, `os.SEEK_CUR` and `os.SEEK_END`.

        Returns:
            The position from the begin.

        Raises:
            ValueError: It is before the begin.
        """
        return await self._do(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        """Tells the position.

        Returns:
            Bytes from the begin.
        """
        return self._file.tell()

    async def close(self) -> None:
        """Ends what is being read.

        Returns:
            Nothing.
        """
        await on_thread(self._threads, Cancellation(), self._file.close)

    async def _do(self, work: Callable[[], T]) -> T:
        # All reads of one stream have the same, since it is the stream's call that it ends.
        if self._cancellation.is_cancelled:
            self._cancellation = Cancellation()
        return await on_thread(self._threads, self._cancellation, work)

    async def __aenter__(self) -> AsyncFile:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
