"""What the operating system says about a file, in a line that names it."""

from __future__ import annotations

import errno

from ._paths import quote

_SAID = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "may not be accessed: permission denied",
    errno.EPERM: "may not be changed: operation not permitted",
    errno.ENOTDIR: "is not a folder",
    errno.EEXIST: "is not a folder",
    errno.EISDIR: "is a folder",
    errno.ELOOP: "is a loop of links",
    errno.ENOSPC: "can't be written: no space left on the disk",
    errno.EDQUOT: "can't be written: the disk quota is used up",
    errno.EROFS: "can't be written: the file system is read-only",
    errno.ENAMETOOLONG: "has a name that is too long for this file system",
    errno.EMFILE: "can't be opened: too many files are open",
    errno.EIO: "can't be read or written: the disk reports an error",
}


def describe(path: str, error: OSError | ValueError) -> str:
    """One line for what went wrong with a path."""
    if isinstance(error, ValueError):
        return f"{quote(path)} is not a path: {error}"
    return f"{quote(path)} {_SAID.get(error.errno or 0) or f'failed: {error.strerror}'}"
