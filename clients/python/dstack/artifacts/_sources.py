"""Bytes that are uploaded from memory, a file object or an iterable, so that as much as possible can be sent again."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

from ._errors import ArtifactsUploadError
from ._messages import CHUNK_BYTES, Counts, Cutter, Message, Plan, end_message, finish_message, header_message

# Of a source that can be read once, this much is kept to be sent again: what a server has not stored of a stream that was cut
# off is less, with its four data objects of 16 MiB in flight hardly ever full at once.
KEPT_BYTES = 48 * 1024 * 1024


@runtime_checkable
class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int = ..., /) -> bytes | None: ...


Source: TypeAlias = "bytes | bytearray | memoryview | Readable | Iterable[bytes]"


class Replay:
    """A source that goes by once or more, in blocks of at most a chunk. Keeps the last bytes when it can't go by again."""

    def __init__(self, source: Source) -> None:
        self._reopen = _reopener(source)
        self._blocks: Iterator[bytes] | None = None
        self._kept: deque[bytes] = deque()
        # Where in the file the first kept block begins, and how many bytes were read.
        self._kept_from = 0
        self._read = 0

    def blocks(self, needed_from: int) -> Iterator[bytes | None]:
        """All blocks from the start; None for one whose bytes are gone, which may only be ones before `needed_from`."""
        if self._reopen is not None:
            yield from self._reopen()
            return
        raise AssertionError(needed_from)


def _reopener(source: Source) -> Callable[[], Iterator[bytes]] | None:
    raise NotImplementedError
