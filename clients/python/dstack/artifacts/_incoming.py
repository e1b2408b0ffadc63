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
from ._partial import OPEN_FILE, crc32c_of, is_at, is_ours, open_partial
from ._paths import quote
from ._tree import Place, failing
from .v1 import entries_pb2 as entries

_DEFAULT_MODE = 0o644


class RefetchError(Exception):
    """What is there of a file is not what the server has; it is when it comes again, from its first byte."""

    def __init__(self, path: str, problem: str, reason: str | None = None) -> None:
        super().__init__(f"{quote(path)} {problem}")
        self.path = path
        self.reason = reason


def _damaged(wanted: Wanted) -> RefetchError:
    problem = "arrived damaged: its checksum is not that of the uploaded file"
    return RefetchError(wanted.path, problem, "CHECKSUM_MISMATCH")


def _lost(wanted: Wanted) -> RefetchError:
    return RefetchError(wanted.path, "can't be finished: its partial file was removed or replaced while it was written")


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
    found = place.look()
    if is_ours(found) and found.st_size == wanted.size and _crc32c_at(place, wanted.size) == wanted.crc32c:
        return Found(wanted.size, True)
    partial = place.beside(wanted.partial).look()
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
                raise _lost(wanted)
            _set_attributes(file, wanted)
        finally:
            os.close(file)


class Incoming:
    """One file while its bytes come."""

    def __init__(self, final: Place, wanted: Wanted, keep: int) -> None:
        """Goes on behind the first `keep` bytes of what is there."""
        self._final = final
        self._wanted = wanted
        self._partial = final.beside(wanted.partial)
        self.length = keep
        with failing(final.shown):
            final.refuse_folder()
            self._file = open_partial(self._partial, wanted.size)
            try:
                crc32c = crc32c_of(self._file, keep)
            except BaseException:
                os.close(self._file)
                raise
        if crc32c is None:
            # Somebody else finished what was found, or took it away: writing behind it would leave a hole.
            os.close(self._file)
            raise _lost(wanted)
        self._crc32c = crc32c

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
            if self._give():
                return
            # Somebody else may have given it its name.
            found = find(self._final, self._wanted)
            if found is None or not found.whole:
                raise _lost(self._wanted)
            adopt(self._final, self._wanted)

    def _give(self) -> bool:
        try:
            if self.length != self._wanted.size or self._crc32c != self._wanted.crc32c:
                self._partial.remove()
                raise _damaged(self._wanted)
            _set_attributes(self._file, self._wanted)
            # Another process may have given the file its name and begun a new one, which must not be taken for ours.
            is_there = is_at(self._file, self._partial)
        finally:
            os.close(self._file)
        try:
            if is_there:
                self._partial.rename_to(self._final)
        except FileNotFoundError:
            return False
        return is_there

    def leave(self) -> int:
        """Leaves what is written, to be gone on with. Gives how many bytes that are."""
        if os.fstat(self._file).st_size == 0:
            self._partial.remove()
        os.close(self._file)
        return self.length


def _set_attributes(file: int, wanted: Wanted) -> None:
    os.fchmod(file, wanted.mode)
    if wanted.mtime_ns is not None:
        os.utime(file, ns=(wanted.mtime_ns, wanted.mtime_ns))
