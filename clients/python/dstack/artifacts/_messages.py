"""Turns what is to be uploaded into the messages of the protocol's stream, leaving out what the server has."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import google_crc32c
from google.protobuf.timestamp_pb2 import Timestamp

from ._chunks import chunk_message
from ._errors import ArtifactsUploadError
from ._paths import quote
from ._types import EntryType
from ._walk import LocalEntry, local_error
from .v1 import artifacts_pb2 as pb
from .v1 import entries_pb2 as entries

# Bytes of a chunk: what a server takes at the most. Smaller ones cost more CPU a byte.
CHUNK_BYTES = 1024 * 1024
# How often a file that changes is begun again.
READS_OF_A_CHANGING_FILE = 2
# What is kept of a mode.
PERMISSION_BITS = 0o777
NS_PER_SECOND = 1_000_000_000

# A message, or the bytes of one.
Message: TypeAlias = "pb.UploadRequest | bytes"
# Offset and length.
Span = tuple[int, int]

ENTRY_TYPES: dict[EntryType, entries.EntryType] = {
    "file": entries.ENTRY_TYPE_FILE,
    "folder": entries.ENTRY_TYPE_FOLDER,
    "link": entries.ENTRY_TYPE_LINK,
}


@dataclass(frozen=True)
class Persisted:
    """What the server has of a file, as its header was then."""

    size: int | None
    mtime_ns: int
    attempt: int
    spans: tuple[Span, ...]


@dataclass
class Plan:
    """What the server has of an upload, and how often files were begun."""

    persisted: dict[str, Persisted] = field(default_factory=dict)
    # Only of files that were begun more than once.
    attempts: dict[str, int] = field(default_factory=dict)

    @property
    def persisted_bytes(self) -> int:
        """Bytes that need not be sent."""
        return sum(length for file in self.persisted.values() for _, length in file.spans)

    def attempt_of(self, path: str, size: int | None, mtime_ns: int) -> int:
        """The try to send a file with: a higher one if it has changed since it was persisted."""
        attempt = self.attempts.get(path, 0)
        known = self.persisted.get(path)
        if known is None or known.attempt < attempt:
            return attempt
        attempt = known.attempt if (known.size, known.mtime_ns) == (size, mtime_ns) else known.attempt + 1
        if attempt > 0:
            self.attempts[path] = attempt
        return attempt

    def spans_of(self, path: str, size: int | None, mtime_ns: int, attempt: int) -> tuple[Span, ...]:
        """What to leave out of that try."""
        known = self.persisted.get(path)
        if known is None or (known.size, known.mtime_ns, known.attempt) != (size, mtime_ns, attempt):
            return ()
        return known.spans

    def again(self, path: str) -> None:
        """What the server has of the file is no good: send it with a higher try."""
        known = self.persisted.get(path)
        before = max(self.attempts.get(path, 0), known.attempt if known else 0)
        self.attempts[path] = before + 1


@dataclass
class Counts:
    """What went through a stream."""

    files: int = 0
    bytes: int = 0


def tree_messages(items: Iterable[LocalEntry], plan: Plan, on_bytes: Callable[[int], None]) -> Iterator[Message]:
    """Everything behind the start, for files on disk. `on_bytes` is told how many bytes of files are done."""
    counts = Counts()
    for item in items:
        if item.type == "file":
            yield from _one_file(item, plan, counts, on_bytes)
        else:
            yield header_message(item.path, item.type, item.mtime_ns, mode=item.mode, link_target=item.link_target)
        if item.type != "folder":
            counts.files += 1
    yield finish_message(counts)


def _one_file(item: LocalEntry, plan: Plan, counts: Counts, on_bytes: Callable[[int], None]) -> Iterator[Message]:
    # A FIFO that took the file's place must not make us wait.
    try:
        file = os.open(item.local, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise local_error(item.local, error) from error
    try:
        for _ in range(READS_OF_A_CHANGING_FILE):
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise ArtifactsUploadError(f"{quote(item.local)} is no file any more")
            size, mtime_ns = found.st_size, found.st_mtime_ns
            attempt = plan.attempt_of(item.path, size, mtime_ns)
            spans = plan.spans_of(item.path, size, mtime_ns, attempt)
            yield header_message(item.path, "file", mtime_ns, mode=found.st_mode & PERMISSION_BITS, size=size, attempt=attempt)
            cutter = Cutter(spans)
            crc32c = 0
            while cutter.position < size:
                block = os.pread(file, min(CHUNK_BYTES, size - cutter.position), cutter.position)
                if not block:
                    break
                crc32c = google_crc32c.extend(crc32c, block)
                yield from cutter.cut(block)
                on_bytes(counts.bytes + cutter.position)
            now = os.fstat(file)
            if cutter.position == size and (now.st_size, now.st_mtime_ns) == (size, mtime_ns):
                yield end_message(size, crc32c)
                counts.bytes += size
                return
            plan.attempts[item.path] = attempt + 1
    except OSError as error:
        raise local_error(item.local, error) from error
    finally:
        os.close(file)
    raise ArtifactsUploadError(f"{quote(item.local)} changed while it was read, twice: upload it when nothing writes to it")


class Cutter:
    """Turns a file's bytes, in order, into chunks and skips: bytes in `spans` are persisted and left out."""

    def __init__(self, spans: tuple[Span, ...], position: int = 0) -> None:
        self.position = position
        self._spans = [span for span in reversed(spans) if sum(span) > position]

    def cut(self, block: bytes) -> Iterator[Message]:
        """The messages for the next bytes."""
        at = 0
        while at < len(block):
            offset, length = self._spans[-1] if self._spans else (self.position + len(block), 0)
            if offset > self.position:
                part = min(len(block) - at, offset - self.position)
                yield chunk_message(block if part == len(block) else block[at : at + part])
            else:
                part = min(len(block) - at, offset + length - self.position)
                # A span is left out as a whole, when its first byte comes by.
                if offset == self.position:
                    yield pb.UploadRequest(skip=length)
                if offset + length == self.position + part:
                    self._spans.pop()
            at += part
            self.position += part


def start_message(upload_id: str, project: str, run: str | None, tag: str | None) -> pb.UploadRequest:
    """The first message."""
    start = pb.UploadStart(upload_id=upload_id, project=project)
    if tag is not None:
        start.tag = tag
    elif run is not None:
        start.run = run
    return pb.UploadRequest(start=start)


def header_message(
    path: str,
    type_: EntryType,
    mtime_ns: int | None,
    *,
    mode: int | None = None,
    size: int | None = None,
    attempt: int = 0,
    link_target: str = "",
) -> pb.UploadRequest:
    """Begins an entry."""
    return pb.UploadRequest(
        file=entries.EntryHeader(
            path=path,
            type=ENTRY_TYPES[type_],
            size=size,
            mode=None if type_ == "link" else mode,
            mtime=None if mtime_ns is None else timestamp_of(mtime_ns),
            link_target=link_target,
            **{"try": attempt},
        )
    )


def end_message(size: int, crc32c: int) -> pb.UploadRequest:
    """Ends a file."""
    return pb.UploadRequest(file_end=entries.FileEnd(size=size, crc32c=crc32c))


def finish_message(counts: Counts) -> pb.UploadRequest:
    """The last message."""
    return pb.UploadRequest(finish=pb.UploadFinish(files=counts.files, bytes=counts.bytes))


def timestamp_of(ns: int) -> Timestamp:
    """A time in nanoseconds since 1970, as it travels."""
    return Timestamp(seconds=ns // NS_PER_SECOND, nanos=ns % NS_PER_SECOND)


def nanoseconds_of(time: Timestamp) -> int:
    """A time that travelled, in nanoseconds since 1970."""
    return time.seconds * NS_PER_SECOND + time.nanos
