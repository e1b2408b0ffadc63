"""
The files that downloads write before they get their names. Several processes may download to one folder at once: they write the same bytes
to the same places of the same partial file, which is never made shorter, and whoever comes second finds the file there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TypeGuard

import google_crc32c

from ._tree import Place

_READ_BYTES = 1024 * 1024
# Not blocking, should a FIFO have the name.
OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FILE


def open_partial(partial: Place, size: int) -> int:
    """Opens the partial file of a file of `size` bytes, or makes it; what can't be one makes way."""
    while True:
        with suppress(FileExistsError):
            return partial.open(_NEW_FILE, 0o600)
        # If it is gone, another process has given it its name.
        with suppress(FileNotFoundError):
            file = open_begun(partial, size)
            if file is not None:
                return file
            partial.remove()


def open_begun(partial: Place, size: int) -> int | None:
    """Opens the partial file of a file of `size` bytes; None if what is there can't be one. Raises FileNotFoundError if nothing is."""
    try:
        file = partial.open(os.O_RDWR | OPEN_FILE)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    found = os.fstat(file)
    if is_ours(found) and found.st_size <= size:
        return file
    os.close(file)
    return None


def is_at(ours: os.stat_result, place: Place) -> bool:
    """Whether the place has that file, which is open: else another one could have its number."""
    there = place.stat()
    return there is not None and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


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
