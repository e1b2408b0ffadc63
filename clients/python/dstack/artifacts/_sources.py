"""Bytes that are uploaded from memory, a file object or an iterable, so that as much as possible can be sent again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import google_crc32c

from ._errors import ArtifactsUploadError
from ._messages import CHUNK_BYTES, Counts, Cutter, Message, Plan, end_message, finish_message, header_message
from ._paths import quote
from .v1 import artifacts_pb2 as pb

# Of a source that can be read once, this much is kept to be sent again: what a server may not have persisted when a stream is cut
# off, its four data objects of 16 MiB.
KEPT_BYTES = 64 * 1024 * 1024


@runtime_checkable
class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int = ..., /) -> bytes | None: ...


@runtime_checkable
class Seekable(Readable, Protocol):
    """A binary file object that may be read again."""

    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def tell(self) -> int: ...


Source: TypeAlias = "bytes | bytearray | memoryview | Readable | Iterable[bytes]"


class SourceBody:
    """One file whose bytes come from a source."""

    def __init__(self, path: str, source: Source) -> None:
        self._path = path
        self._open = _Opener(source)
        self._blocks: Iterator[bytes] = iter(())
        # The last blocks, all that were read if the source can't be read again; and the count and checksum of what was read.
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._read = 0
        self._crc32c = 0
        self._begun = False

    def messages(self, plan: Plan, on_bytes: Callable[[int], None]) -> Iterator[Message]:
        """Everything behind the start; again from the start if the source allows it, else from what is kept and persisted."""
        known = plan.persisted.get(self._path)
        attempt = max(plan.attempts.get(self._path, 0), known.attempt if known else 0)
        spans = known.spans if known and known.attempt == attempt else ()
        yield header_message(self._path, "file", None, attempt=attempt)
        if not self._begun or self._open.again:
            self._blocks, self._read, self._crc32c = self._open(), 0, 0
            self._begun = True
        gone = self._read - self._kept_bytes
        if gone > 0:
            if not spans or spans[0][0] > 0 or spans[0][1] < gone:
                raise ArtifactsUploadError(
                    f"the connection was lost, and bytes of {quote(self._path)} that the server lost with it can't be read again: upload it"
                    " once more"
                )
            yield pb.UploadRequest(skip=spans[0][1])
        cutter = Cutter(spans, gone)
        for block in self._kept:
            yield from cutter.cut(block)
            on_bytes(cutter.position)
        for block in self._blocks:
            self._take(block)
            yield from cutter.cut(block)
            on_bytes(cutter.position)
        yield end_message(self._read, self._crc32c)
        yield finish_message(Counts(1, self._read))

    def _take(self, block: bytes) -> None:
        self._read += len(block)
        self._crc32c = google_crc32c.extend(self._crc32c, block)
        if self._open.again:
            return
        self._kept.append(block)
        self._kept_bytes += len(block)
        while self._kept_bytes - len(self._kept[0]) >= KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft())


class _Opener:
    """Gives a source's blocks; `again` says whether it can be called more than once."""

    def __init__(self, source: Source) -> None:
        self.again = False
        self._start = 0
        self._source = source
        if isinstance(source, str):
            raise TypeError("the source is text: encode it, or give a path to upload()")
        if isinstance(source, bytes | bytearray | memoryview):
            self.again = True
        elif isinstance(source, Seekable) and source.seekable():
            self.again = True
            self._start = source.tell()
        elif not isinstance(source, Readable) and not isinstance(source, Iterable):
            raise TypeError(f"the source is {type(source).__name__}: give bytes, a binary file object or an iterable of bytes")

    def __call__(self) -> Iterator[bytes]:
        source = self._source
        if isinstance(source, bytes | bytearray | memoryview):
            view = memoryview(source).cast("B")
            return (bytes(view[at : at + CHUNK_BYTES]) for at in range(0, len(view), CHUNK_BYTES))
        if isinstance(source, Readable):
            if isinstance(source, Seekable) and self.again:
                source.seek(self._start)
            return _whole_chunks(iter(lambda: _read(source), b""))
        return _whole_chunks(iter(source))


def _read(source: Readable) -> bytes:
    block = source.read(CHUNK_BYTES)
    if block is None:
        raise BlockingIOError("the source has no bytes yet: give a file object that waits for them")
    return block


def _whole_chunks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of a chunk: small ones cost as much as large ones."""
    parts: list[memoryview] = []
    size = 0
    for block in blocks:
        if not isinstance(block, bytes | bytearray | memoryview):
            raise TypeError(f"the source gave {type(block).__name__}: give bytes")
        view = memoryview(block).cast("B")
        while size + len(view) >= CHUNK_BYTES:
            cut = CHUNK_BYTES - size
            yield b"".join([*parts, view[:cut]])
            parts, size, view = [], 0, view[cut:]
        if view:
            # A caller may fill the same buffer again.
            parts.append(view if isinstance(block, bytes) else memoryview(bytes(view)))
            size += len(view)
    if parts:
        yield b"".join(parts)
