"""CRC32C of the end of some bytes, of which google_crc32c would have to be given a copy."""

from __future__ import annotations

from typing import cast

import google_crc32c

# A checksum is the register of the algorithm with all its bits turned over.
_ALL_BITS = 0xFFFFFFFF
# The algorithm's table, which says what a byte does to an empty register; no two entries have the same highest byte.
_TABLE = [google_crc32c.extend(_ALL_BITS, bytes([byte])) ^ _ALL_BITS for byte in range(256)]
_BY_HIGHEST_BYTE = {entry >> 24: (index, entry) for index, entry in enumerate(_TABLE)}


def extend_by_tail(crc32c: int, tail: memoryview) -> int:
    """Extends a checksum by a view of the last bytes of a `bytes` object."""
    data = cast(bytes, tail.obj)
    extended: int = google_crc32c.extend(_before(crc32c, data[: len(data) - len(tail)]), data)
    return extended


def _before(crc32c: int, head: bytes) -> int:
    """The checksum that becomes `crc32c` when it is extended by `head`."""
    register = crc32c ^ _ALL_BITS
    for byte in reversed(head):
        # Forwards it is: index = (register ^ byte) & 0xFF; register = register >> 8 ^ table[index].
        index, entry = _BY_HIGHEST_BYTE[register >> 24]
        register = (register ^ entry) << 8 | (index ^ byte)
    return register ^ _ALL_BITS
