"""
A file on its way to the disk. It is written as `.{hash}.partial` in its own folder, where the next download finds what is there of it, and
renamed when its checksum is right.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from ._crc32c import extend_by_tail
from ._errors import ArtifactsDownloadError
from ._messages import PERMISSION_BITS, nanoseconds_of
from ._partial import OPEN_FILE, crc32c_of, is_ours, open_partial
from ._paths import quote
from ._tree import Place, failing
from .v1 import entries_pb2 as entries

_DEFAULT_MODE = 0o644


class DamagedError(Exception):
    """A file is not what the server has; it may be so when it comes again."""


@dataclass(frozen=True)
class Wanted:
    """A file that is to be there in the end."""

    path: str
    size: int
    crc32c: int
    mode: int
    mtime_ns: int | None

    @property
    def partial(self) -> str:
        """The name under which it is written: only the same content has the same one."""
        text = f"{self.path}\0{self.size}\0{self.crc32c:08x}"
        return f".{hashlib.sha256(text.encode()).hexdigest()[:32]}.partial"


def wanted_of(entry: entries.Entry | entries.EntryHeader) -> Wanted:
    """What a listing or a header says of a file."""
    if not entry.HasField("size") or not entry.HasField("crc32c"):
        raise ArtifactsDownloadError(f"the server told no size or checksum of {quote(entry.path)}")
    mode = entry.mode & PERMISSION_BITS if entry.HasField("mode") else _DEFAULT_MODE
    mtime_ns = nanoseconds_of(entry.mtime) if entry.HasField("mtime") else None
    return Wanted(entry.path, entry.size, entry.crc32c, mode, mtime_ns)


@dataclass(frozen=True)
class Found:
    """What is there of a file: all of it under its name, or the first bytes under its partial one."""

    length: int
    whole: bool


def find(place: Place, wanted: Wanted) -> Found | None:
    """Looks for a file. What can't be looked at doesn't count: writing will say why."""
    found = place.stat()
    if is_ours(found) and found.st_size == wanted.size and _crc32c_at(place, wanted.size) == wanted.crc32c:
        return Found(wanted.size, True)
    partial = place.beside(wanted.partial).stat()
    # More than the file has is nothing that we wrote.
    if is_ours(partial) and 0 < partial.st_size <= wanted.size:
        return Found(partial.st_size, False)
    return None


def _crc32c_at(place: Place, length: int) -> int | None:
    try:
        file = os.open(place.name, os.O_RDONLY | OPEN_FILE, dir_fd=place.folder)
    except OSError:
        return None
    try:
        return crc32c_of(file, length)
    except OSError:
        return None
    finally:
        os.close(file)


def adopt(place: Place, wanted: Wanted) -> None:
    """Gives a file that is there already its mode and time."""
    with failing(place.shown):
        file = os.open(place.name, os.O_RDONLY | OPEN_FILE, dir_fd=place.folder)
        try:
            if not is_ours(os.fstat(file)):
                raise DamagedError(wanted.path)
            _set_attributes(file, wanted)
        finally:
            os.close(file)


class Incoming:
    """One file while its bytes come."""

    def __init__(self, final: Place, wanted: Wanted, keep: int) -> None:
        """Goes on behind the first `keep` bytes of what is there."""
        self._final = final
        self._wanted = wanted
        self.length = keep
        with failing(final.shown):
            final.refuse_folder()
            self._file, self._place = open_partial(final.beside(wanted.partial), keep)
            try:
                self._crc32c = crc32c_of(self._file, keep) or 0
            except BaseException:
                os.close(self._file)
                raise

    def write(self, block: memoryview) -> None:
        """Writes the next bytes, the last ones of those that are viewed."""
        self._crc32c = extend_by_tail(self._crc32c, block)
        with failing(self._final.shown):
            while block:
                written = os.pwrite(self._file, block, self.length)
                self.length += written
                block = block[written:]

    def finish(self) -> None:
        """Checks the whole file, and gives it its attributes and its name."""
        with failing(self._final.shown):
            try:
                if self.length != self._wanted.size or self._crc32c != self._wanted.crc32c:
                    self._place.remove()
                    raise DamagedError(self._wanted.path)
                _set_attributes(self._file, self._wanted)
                # While it is still locked.
                self._place.rename_to(self._final)
            finally:
                os.close(self._file)

    def leave(self) -> int:
        """Leaves what is written, to be gone on with. Gives how many bytes that are."""
        kept = self.length if self._place.name == self._wanted.partial else 0
        if not kept:
            self._place.remove()
        os.close(self._file)
        return kept


def _set_attributes(file: int, wanted: Wanted) -> None:
    os.fchmod(file, wanted.mode)
    if wanted.mtime_ns is not None:
        os.utime(file, ns=(wanted.mtime_ns, wanted.mtime_ns))
