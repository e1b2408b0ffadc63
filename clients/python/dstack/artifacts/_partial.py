"""
The files that downloads write before they get their names. Several processes may download to one folder at once: a lock on the partial file
says whose it is, and all others write files of their own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from typing import TypeGuard

import google_crc32c

from ._tree import Place

_READ_BYTES = 1024 * 1024
_NAME_BYTES = 4
# Not blocking, should a FIFO have the name.
OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FILE
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def open_partial(partial: Place, keep: int) -> tuple[int, Place]:
    """Opens a partial file with its first `keep` bytes and no more, or one of our own with the same bytes. Gives it with its place."""
    file = _open_locked(partial)
    place = partial
    try:
        if file is None:
            place = partial.beside(f"{partial.name.removesuffix('.partial')}.{secrets.token_hex(_NAME_BYTES)}.partial")
            file = os.open(place.name, _NEW_FILE, 0o600, dir_fd=place.folder)
            _copy(partial, file, keep)
        # Where bytes are missing there are zeros now, which the checksum finds out.
        os.ftruncate(file, keep)
    except BaseException:
        if file is not None:
            os.close(file)
        raise
    return file, place


def _open_locked(partial: Place) -> int | None:
    """Opens a partial file, or makes it, and locks it; None if it is somebody else's. What can't be one makes way."""
    while True:
        try:
            file = os.open(partial.name, _NEW_FILE, 0o600, dir_fd=partial.folder)
        except FileExistsError:
            try:
                file = os.open(partial.name, os.O_RDWR | OPEN_FILE, dir_fd=partial.folder)
            except FileNotFoundError:
                continue
            except PermissionError:
                # It has got its mode: from one who is about to be done, or who died then.
                return None
            except OSError:
                partial.remove()
                continue
        if not is_ours(os.fstat(file)):
            partial.remove()
        elif not _lock(file):
            os.close(file)
            return None
        elif _is_at(file, partial):
            return file
        # Before it was locked, another one may have given it its final name.
        os.close(file)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Where a file system knows no locks, there is no telling.
        return error.errno in _NO_LOCKS
    return True


def _is_at(file: int, place: Place) -> bool:
    there, ours = place.stat(), os.fstat(file)
    return there is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _copy(partial: Place, file: int, length: int) -> None:
    try:
        source = os.open(partial.name, os.O_RDONLY | OPEN_FILE, dir_fd=partial.folder)
    except OSError:
        return
    try:
        at = 0
        while at < length and (block := os.pread(source, min(_READ_BYTES, length - at), at)):
            at += os.pwrite(file, block, at)
    finally:
        os.close(source)


def is_ours(found: os.stat_result | None) -> TypeGuard[os.stat_result]:
    """Whether it is a plain file without a second name: changing one that has one would change it elsewhere."""
    return found is not None and stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def crc32c_of(file: int, length: int) -> int | None:
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
