"""
A file on its way to the disk. It is written as `.{hash}.partial` in its own folder, where the next download finds what is there of it, and
renamed when its checksum is right.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TypeGuard

import google_crc32c

from ._errors import ArtifactsDownloadError
from ._messages import PERMISSION_BITS, nanoseconds_of
from ._paths import quote
from ._tree import Place, failing
from .v1 import entries_pb2 as entries

_READ_BYTES = 1024 * 1024
_DEFAULT_MODE = 0o644
# Not blocking, should a FIFO have the name.
_OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


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
    if _is_ours(found) and found.st_size == wanted.size and _crc32c_of(place, wanted.size) == wanted.crc32c:
        return Found(wanted.size, True)
    partial = place.beside(wanted.partial).stat()
    # More than the file has is nothing that we wrote.
    if _is_ours(partial) and 0 < partial.st_size <= wanted.size:
        return Found(partial.st_size, False)
    return None


def adopt(place: Place, wanted: Wanted) -> None:
    """Gives a file that is there already its mode and time."""
    with failing(place.shown):
        file = os.open(place.name, os.O_RDONLY | _OPEN_FILE, dir_fd=place.folder)
        try:
            if not _is_ours(os.fstat(file)):
                raise DamagedError(wanted.path)
            _set_attributes(file, wanted)
        finally:
            os.close(file)


class Incoming:
    """One file while its bytes come."""

    def __init__(self, final: Place, wanted: Wanted, keep: int) -> None:
        """Goes on behind the first `keep` bytes of what is there."""
        self._final = final
        self._partial = final.beside(wanted.partial)
        self._wanted = wanted
        self._crc32c: int | None = 0
        self.length = keep
        with failing(final.shown):
            final.refuse_folder()
            self._file = _open_partial(self._partial)
            try:
                os.ftruncate(self._file, keep)
                self._crc32c = _crc32c_of_open(self._file, keep)
            except BaseException:
                os.close(self._file)
                raise

    def write(self, block: bytes) -> None:
        """Writes the next bytes."""
        if self._crc32c is not None:
            self._crc32c = google_crc32c.extend(self._crc32c, block)
        with failing(self._final.shown):
            view = memoryview(block)
            while view:
                written = os.pwrite(self._file, view, self.length)
                self.length += written
                view = view[written:]

    def finish(self) -> None:
        """Checks the whole file, and gives it its attributes and its name."""
        with failing(self._final.shown):
            try:
                if self.length != self._wanted.size or self._crc32c != self._wanted.crc32c:
                    self._partial.remove()
                    raise DamagedError(self._wanted.path)
                _set_attributes(self._file, self._wanted)
            finally:
                os.close(self._file)
            self._partial.rename_to(self._final)

    def leave(self) -> None:
        """Leaves what is written, to be gone on with."""
        os.close(self._file)


def _open_partial(partial: Place) -> int:
    """Opens a partial file, or makes it. Something else of that name makes way, one with a second name too: it is also elsewhere."""
    flags = os.O_RDWR | os.O_CREAT | _OPEN_FILE
    if _is_ours(partial.stat()):
        file = os.open(partial.name, flags, 0o600, dir_fd=partial.folder)
        if _is_ours(os.fstat(file)):
            return file
        os.close(file)
    partial.remove()
    return os.open(partial.name, flags | os.O_EXCL, 0o600, dir_fd=partial.folder)


def _is_ours(found: os.stat_result | None) -> TypeGuard[os.stat_result]:
    return found is not None and stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _crc32c_of(place: Place, length: int) -> int | None:
    try:
        file = os.open(place.name, os.O_RDONLY | _OPEN_FILE, dir_fd=place.folder)
    except OSError:
        return None
    try:
        return _crc32c_of_open(file, length)
    except OSError:
        return None
    finally:
        os.close(file)


def _crc32c_of_open(file: int, length: int) -> int | None:
    """The checksum of the first bytes; None if there are fewer."""
    crc32c = 0
    at = 0
    while at < length:
        block = os.pread(file, min(_READ_BYTES, length - at), at)
        if not block:
            return None
        crc32c = google_crc32c.extend(crc32c, block)
        at += len(block)
    return crc32c


def _set_attributes(file: int, wanted: Wanted) -> None:
    os.fchmod(file, wanted.mode)
    if wanted.mtime_ns is not None:
        os.utime(file, ns=(wanted.mtime_ns, wanted.mtime_ns))
