"""
A file on its way to the disk. It is written as `.{hash}.partial` in its own folder, where the next download finds what is there of it, and
renamed when its checksum is right.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from ._crc32c import extend_by_tail
from ._errors import ArtifactsDownloadError
from ._messages import PERMISSION_BITS, nanoseconds_of
from ._partial import OPEN_FILE, crc32c_of, is_at, is_ours, open_begun, open_partial
from ._paths import quote
from ._tree import Place, failing
from .v1 import entries_pb2 as entries

_DEFAULT_MODE = 0o644
# Bytes that are written at once: before each write is looked whether the file is still ours.
_WRITE_BYTES = 256 * 1024


class RefetchError(Exception):
    """What is there of a file is not what the server has; it is when it comes again, from its first byte."""

    def __init__(self, path: str, problem: str, reason: str | None = None, *, lost: bool = False) -> None:
        super().__init__(f"{quote(path)} {problem}")
        self.path = path
        self.reason = reason
        # Whether its partial file is gone, as it is when somebody else has finished it.
        self.lost = lost


def _damaged(wanted: Wanted) -> RefetchError:
    problem = "arrived damaged: its checksum is not that of the uploaded file"
    return RefetchError(wanted.path, problem, "CHECKSUM_MISMATCH")


def _lost(wanted: Wanted) -> RefetchError:
    return RefetchError(wanted.path, "can't be finished: its partial file was removed or replaced while it was written", lost=True)


def _changed(wanted: Wanted) -> RefetchError:
    return RefetchError(wanted.path, "was there, but was changed or removed by somebody else before the download had come to it")


def _not_ours(wanted: Wanted) -> RefetchError:
    return RefetchError(wanted.path, "is there, but its mode and time are not ours to set")


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


# What the system says of a file, which differs once it is changed: device, inode, size, times of its content and of itself.
State = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Found:
    """What is there of a file: all of it under its name, or the first bytes under its partial one."""

    length: int
    # Of a whole file, before it was read. A partial one is read when it is gone on with.
    state: State | None = None

    @property
    def whole(self) -> bool:
        """Whether it is all of it, under its name."""
        return self.state is not None


def find(place: Place, wanted: Wanted) -> Found | None:
    """Looks for a file. What can't be looked at doesn't count: writing will say why."""
    found = find_whole(place, wanted)
    if found is not None:
        return found
    partial = place.beside(wanted.partial).look()
    # More than the file has is nothing that we wrote.
    if is_ours(partial) and 0 < partial.st_size <= wanted.size:
        return Found(partial.st_size)
    return None


def find_whole(place: Place, wanted: Wanted) -> Found | None:
    """Looks for all of a file, under its name."""
    there = place.look()
    if not is_ours(there) or there.st_size != wanted.size:
        return None
    file = _open(place)
    if file is None:
        return None
    try:
        state = _state_if_right(file, wanted)
    finally:
        os.close(file)
    return None if state is None else Found(wanted.size, state)


def _open(place: Place) -> int | None:
    try:
        return os.open(place.name, os.O_RDONLY | OPEN_FILE, dir_fd=place.folder)
    except OSError:
        return None


def _state_if_right(file: int, wanted: Wanted) -> State | None:
    """Reads a file. Gives its state as it was before that, so that a change meanwhile is seen later."""
    before = os.fstat(file)
    try:
        is_right = is_ours(before) and before.st_size == wanted.size and crc32c_of(file, wanted.size) == wanted.crc32c
    except OSError:
        return None
    return _state_of(before) if is_right else None


def _state_of(found: os.stat_result) -> State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def adopt(place: Place, wanted: Wanted, found: Found) -> None:
    """Gives a file that was found whole its mode and time, if it is still what was found."""
    file = _open(place)
    if file is None:
        raise _changed(wanted)
    with failing(place.shown):
        try:
            there = os.fstat(file)
            if _state_of(there) != found.state:
                # Another download may have put the same file in its place.
                state, there = _state_if_right(file, wanted), os.fstat(file)
                if state != _state_of(there):
                    raise _changed(wanted)
            try:
                _set_attributes(file, there, wanted)
            except PermissionError:
                raise _not_ours(wanted) from None
        finally:
            os.close(file)


class Incoming:
    """One file while its bytes come."""

    def __init__(self, final: Place, wanted: Wanted, keep: int) -> None:
        """Goes on behind the first `keep` bytes of what is there."""
        self._final = final
        self._wanted = wanted
        self._partial = final.beside(wanted.partial)
        # Bytes that came, those that were kept included.
        self.length = keep
        # Bytes that are in the file, and what came behind them.
        self._written = keep
        self._waiting: list[memoryview] = []
        # What is not begun yet is made when something is written.
        self._file: int | None = None
        self._crc32c = 0
        with failing(final.shown):
            final.refuse_folder()
            if keep:
                self._file = self._begun()
                try:
                    crc32c = crc32c_of(self._file, keep)
                except BaseException:
                    self.close()
                    raise
                if crc32c is None:
                    # Writing behind what was found would leave a hole.
                    self.close()
                    raise _lost(wanted)
                self._crc32c = crc32c

    def _begun(self) -> int:
        """Opens what was found, unless somebody else has finished it or taken it away since."""
        try:
            file = open_begun(self._partial, self._wanted.size)
        except FileNotFoundError:
            file = None
        if file is None:
            raise _lost(self._wanted)
        return file

    def write(self, block: memoryview) -> None:
        """Takes the next bytes, the last ones of those that are viewed."""
        self._crc32c = extend_by_tail(self._crc32c, block)
        self._waiting.append(block)
        self.length += len(block)
        if self.length - self._written >= _WRITE_BYTES:
            with failing(self._final.shown):
                if not self._flush():
                    raise _lost(self._wanted)

    def finish(self) -> None:
        """Checks the whole file, and gives it its attributes and its name."""
        with failing(self._final.shown):
            if self._flush() and self._file is not None and self._give(self._file):
                return
            # Somebody else may have given it its name.
            found = find_whole(self._final, self._wanted)
        if found is None:
            raise _lost(self._wanted)
        adopt(self._final, self._wanted, found)
        self.close()

    def leave(self) -> int:
        """Leaves what came, to be gone on with. Gives how many bytes of it are there: 0 if the partial file is not ours any more."""
        try:
            with failing(self._final.shown):
                is_ours = self._flush() if self._waiting or self._file is not None else True
        finally:
            with suppress(OSError):
                if self._file is not None and os.fstat(self._file).st_size == 0 and is_at(os.fstat(self._file), self._partial):
                    self._partial.remove()
            self.close()
        return self._written if is_ours else 0

    def close(self) -> None:
        """Lets go of the file. What waits is not written."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _flush(self) -> bool:
        """Writes what waits. Not into a file that has lost its partial name: somebody else finished it, and gave it to its user."""
        # Before anything else, so that what is interrupted is not written behind itself.
        waiting, self._waiting = self._waiting, []
        if self._file is None:
            self._file = open_partial(self._partial, self._wanted.size)
        elif not is_at(os.fstat(self._file), self._partial):
            return False
        at = self._written
        block = waiting[0] if len(waiting) == 1 else memoryview(b"".join(waiting))
        while block:
            written = os.pwrite(self._file, block, at)
            at += written
            block = block[written:]
        self._written = at
        return True

    def _give(self, file: int) -> bool:
        """Whether the file has its name from us."""
        ours = os.fstat(file)
        # Writing what came last can have taken long.
        if not is_at(ours, self._partial):
            return False
        if self.length != self._wanted.size or self._crc32c != self._wanted.crc32c:
            self._partial.remove()
            raise _damaged(self._wanted)
        _set_attributes(file, ours, self._wanted)
        # Another process may have given the file its name and begun a new one, which must not be taken for ours.
        is_there = is_at(ours, self._partial)
        self.close()
        try:
            if is_there:
                self._partial.rename_to(self._final)
        except FileNotFoundError:
            return False
        return is_there


def _set_attributes(file: int, found: os.stat_result, wanted: Wanted) -> None:
    """Sets what differs from what was found: what is right may not be ours to set."""
    if stat.S_IMODE(found.st_mode) != wanted.mode:
        os.fchmod(file, wanted.mode)
    if wanted.mtime_ns is not None and found.st_mtime_ns != wanted.mtime_ns:
        os.utime(file, ns=(wanted.mtime_ns, wanted.mtime_ns))
