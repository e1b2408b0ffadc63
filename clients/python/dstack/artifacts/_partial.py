"""
The files that downloads write before they get their names. Several processes may download to one folder at once: they write the same bytes
to the same places of the same partial file, which is never made shorter, and whoever comes second finds the file there.
"""

from __future__ import annotations

import os
import stat
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
        try:
            return partial.open(_NEW_FILE, 0o600)
        except FileExistsError:
            pass
        try:
            file = partial.open(os.O_RDWR | OPEN_FILE)
        except FileNotFoundError:
            # Another process has given it its name.
            continue
        except OSError:
            partial.remove()
            continue
        found = os.fstat(file)
        if is_ours(found) and found.st_size <= size:
            return file
        os.close(file)
        partial.remove()


def is_at(file: int, place: Place) -> bool:
    """Whether the place has the file that is open."""
    there, ours = place.stat(), os.fstat(file)
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
