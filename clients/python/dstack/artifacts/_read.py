"""One file, or part of it, as a stream of bytes or as a file object; nothing touches the disk."""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import TYPE_CHECKING

import google_crc32c
import grpc

from ._chunks import Received
from ._connection import Connection
from ._errors import ArtifactsDownloadError, DstackError
from ._messages import nanoseconds_of
from ._paths import quote
from ._receive import receive
from ._reference import Pinned
from ._status import failure_of
from ._types import Entry, EntryType
from .v1 import artifacts_pb2 as pb
from .v1 import entries_pb2 as entries

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES = 256 * 1024
_TYPES: dict[int, EntryType] = {entries.ENTRY_TYPE_FILE: "file", entries.ENTRY_TYPE_FOLDER: "folder", entries.ENTRY_TYPE_LINK: "link"}


def stream(connection: Connection, pinned: Pinned, path: str, offset: int = 0, length: int | None = None) -> Generator[bytes, None, None]:
    """Gives the bytes in order, checked; fails behind them if they are not those that were uploaded. Takes up what was cut off."""
    reader = _Reader(connection, pinned, path, offset, length)
    patience = connection.patience()
    while not reader.finished:
        before = reader.position
        try:
            with receive(connection, reader.request()) as messages:
                for message in messages:
                    chunk = reader.take(message)
                    if chunk is not None:
                        yield chunk
        except grpc.RpcError as error:
            if reader.position > before:
                patience.progressed()
            failure = failure_of(error)
            if not patience.wait(failure):
                raise connection.error(failure, "download") from error
            reader.check_all_came()


class _Reader:
    """How far a stream is, over all its calls."""

    def __init__(self, connection: Connection, pinned: Pinned, path: str, offset: int, length: int | None) -> None:
        if path == "":
            raise ArtifactsDownloadError("the root is a folder: name a file")
        if offset < 0 or (length is not None and length < 1):
            raise ValueError("offset must be at least 0, length at least 1")
        self._connection = connection
        self._pinned = pinned
        self._path = path
        self.position = offset
        self._end = None if length is None else offset + length
        # Checksums: of this call's bytes, of all of them, and what that must be if they are the whole file.
        self._call_crc32c = 0
        self._crc32c = 0
        self._is_whole = offset == 0 and length is None
        self._expected: int | None = None
        self.finished = False

    def request(self) -> pb.DownloadRequest:
        """Asks for what is missing."""
        self._call_crc32c = 0
        request = pb.DownloadRequest(project=self._connection.settings.project, reference=self._pinned.reference, path=self._path)
        # A whole file is asked for without a range: that works for an empty one too.
        if self.position > 0 or self._end is not None:
            length = None if self._end is None else self._end - self.position
            request.range.CopyFrom(pb.ByteRange(offset=self.position, length=length))
        return request

    def take(self, message: Received) -> bytes | None:
        """The next message; gives the bytes of a chunk."""
        if isinstance(message, memoryview):
            return self._chunk(bytes(message))
        match message.WhichOneof("message"):
            case "start":
                self._pinned.see(message.start.run, message.start.commit)
            case "file":
                self._begin(message.file)
            case "chunk":
                return self._chunk(message.chunk)
            case "file_end":
                self._check(message.file_end.crc32c)
        return None

    def _begin(self, header: entries.EntryHeader) -> None:
        if header.path != self._path or header.type != entries.ENTRY_TYPE_FILE:
            raise ArtifactsDownloadError(f"{quote(self._path)} is not a file")
        self._end = header.size if self._end is None else min(self._end, header.size)
        if self._is_whole:
            self._expected = header.crc32c

    def _chunk(self, block: bytes) -> bytes:
        self._call_crc32c = google_crc32c.extend(self._call_crc32c, block)
        self._crc32c = google_crc32c.extend(self._crc32c, block)
        self.position += len(block)
        return block

    def check_all_came(self) -> None:
        """After a lost connection: there is no asking for the end of a file whose bytes all came."""
        if self.position == self._end:
            self._check(self._call_crc32c)

    def _check(self, call_crc32c: int) -> None:
        is_right = self.position == self._end and call_crc32c == self._call_crc32c
        if not is_right or (self._expected is not None and self._expected != self._crc32c):
            raise ArtifactsDownloadError(
                f"{quote(self._path)} arrived damaged: its checksum is not that of the uploaded file",
                reason="CHECKSUM_MISMATCH",
                metadata={"path": self._path},
            )
        self.finished = True


def find_file(connection: Connection, pinned: Pinned, path: str) -> Entry:
    """What a listing says of a file. Fails if it is none."""
    if path == "":
        raise ArtifactsDownloadError("the root is a folder: name a file")
    request = pb.ListEntriesRequest(
        project=connection.settings.project, reference=pinned.reference, prefix=path, recursive=True, page_size=1
    )
    page = connection.unary(lambda stub: stub.ListEntries, request, "download")
    pinned.see(page.run, page.commit)
    entry = page.entries[0] if page.entries else None
    if entry is None or entry.path != path or entry.type != entries.ENTRY_TYPE_FILE:
        raise ArtifactsDownloadError(f"{quote(path)} is not a file")
    return entry_of(entry)


def entry_of(entry: entries.Entry) -> Entry:
    """An entry of a listing, for callers."""
    return Entry(
        path=entry.path,
        type=_TYPES.get(entry.type, "file"),
        size=entry.size if entry.HasField("size") else None,
        mode=entry.mode if entry.HasField("mode") else None,
        mtime_ns=nanoseconds_of(entry.mtime) if entry.HasField("mtime") else None,
        crc32c=entry.crc32c if entry.HasField("crc32c") else None,
        link_target=entry.link_target or None,
    )


class ArtifactFile(io.RawIOBase):
    """
    A file in a run, for reading: what is read one after the other comes from one stream; after a `seek` elsewhere another is begun. A read
    that failed fails again until a `seek`: the buffer before this file has dropped what it had got until then, and reading on would leave
    that out.
    """

    def __init__(self, connection: Connection, pinned: Pinned, path: str) -> None:
        self._connection = connection
        self._pinned = pinned
        self.name = path
        self._position = 0
        # The stream, where its next byte is, and what of its last block wasn't taken.
        self._stream: Generator[bytes, None, None] | None = None
        self._stream_position = 0
        self._rest = memoryview(b"")
        self._failure: DstackError | None = None
        self.entry = find_file(connection, pinned, path)
        self._size = self.entry.size or 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"whence {whence} must be 0, 1 or 2")
        start = (0, self._position, self._size)[whence]
        if start + offset < 0:
            raise ValueError(f"position {start + offset} is before the file's begin")
        self._position = start + offset
        self._failure = None
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._check_open()
        target = memoryview(buffer).cast("B")
        if not target or self._position >= self._size:
            return 0
        if self._failure is not None:
            raise self._failure
        try:
            block = self._next_block()
        except BaseException as error:
            self._end_stream()
            interrupted = ArtifactsDownloadError(f"reading {quote(self.name)} was interrupted: seek to where it is to go on")
            self._failure = error if isinstance(error, DstackError) else interrupted
            raise
        count = min(len(target), len(block))
        target[:count] = block[:count]
        self._rest = block[count:]
        self._position += count
        self._stream_position = self._position
        return count

    def close(self) -> None:
        if not self.closed:
            self._end_stream()
        super().close()

    def _next_block(self) -> memoryview:
        """Bytes from the position on, at least one."""
        if self._stream_position != self._position:
            self._end_stream()
        if self._rest:
            return self._rest
        if self._stream is None:
            self._stream = stream(self._connection, self._pinned, self.name, self._position)
        for block in self._stream:
            if block:
                if self._position + len(block) == self._size:
                    # Only behind the last byte it is known that all of them are right.
                    for _ in self._stream:
                        pass
                return memoryview(block)
        raise ArtifactsDownloadError(f"{quote(self.name)} ended before its size")

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._rest = None, memoryview(b"")

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


def open_file(connection: Connection, pinned: Pinned, path: str) -> io.BufferedReader:
    """What `Client.open` does."""
    return io.BufferedReader(ArtifactFile(connection, pinned, path), _BUFFER_BYTES)
