"""Finds what is to be uploaded, in the order of artifact paths: folders right before what is in them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ._errors import ArtifactsUploadError
from ._paths import default_artifact_path, join_path, link_problem, path_problem, quote, trim_path
from ._types import EntryType

Symlinks = Literal["follow", "preserve"]


@dataclass(frozen=True)
class LocalEntry:
    """One thing to upload: `path` is where it goes, `local` is where it is."""

    path: str
    local: str
    type: EntryType
    size: int
    mode: int
    mtime_ns: int
    link_target: str = ""


def artifact_path_of(local_path: str, given: str | None, is_file: bool) -> str:
    """Where an upload goes; `""` is the root. `given` is what the caller said, if anything."""
    if given is None:
        path = default_artifact_path(local_path)
        if path is None:
            raise ArtifactsUploadError(
                f"{quote(local_path)} lies outside the working directory: give artifact_path to say where it goes in the run"
            )
    else:
        path = trim_path(given)
    if path == "" and not is_file:
        return path
    problem = path_problem(path)
    if problem is not None:
        shown = path if given is None else given
        raise ArtifactsUploadError(f"artifact path {quote(shown)} {problem}", reason="PATH_INVALID", metadata={"path": shown})
    return path


def stat_root(local_path: str) -> os.stat_result:
    """What is to be uploaded. Fails if it is neither a file nor a folder."""
    try:
        found = os.stat(local_path)
    except (OSError, ValueError) as error:
        raise local_error(local_path, error) from error
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        raise ArtifactsUploadError(f"{quote(local_path)} is neither a file nor a folder")
    return found


def walk(local: str, path: str, symlinks: Symlinks, on_skipped: Callable[[str], None]) -> Iterator[LocalEntry]:
    """`on_skipped` is told of sockets, FIFOs and devices, which are left out."""
    found = stat_root(local)
    if stat.S_ISREG(found.st_mode):
        yield _entry(path, local, "file", found)
        return
    if path:
        yield _entry(path, local, "folder", found)
    yield from _Walker(symlinks, on_skipped, path).contents(local, path, _identity(found))


class _Walker:
    def __init__(self, symlinks: Symlinks, on_skipped: Callable[[str], None], root: str) -> None:
        self._preserve = symlinks == "preserve"
        self._on_skipped = on_skipped
        self._root = root

    def contents(self, local: str, path: str, identity: tuple[int, int]) -> Iterator[LocalEntry]:
        # Not recursive: the deepest tree that paths allow is deeper than Python's stack.
        folders = [_Folder(local, path, frozenset([identity]))]
        while folders:
            folder = folders[-1]
            name = next(folder.names, None)
            if name is None:
                folders.pop()
                continue
            entry, identity = self._entry(os.path.join(folder.local, name), join_path(folder.path, name))
            if entry is None:
                continue
            if entry.type == "folder":
                if identity in folder.above:
                    raise ArtifactsUploadError(f"{quote(entry.local)} is a link to a folder that it is in: a loop")
                folders.append(_Folder(entry.local, entry.path, folder.above | {identity}))
            yield entry

    def _entry(self, local: str, path: str) -> tuple[LocalEntry | None, tuple[int, int]]:
        try:
            found = os.lstat(local)
        except OSError as error:
            raise local_error(local, error) from error
        if stat.S_ISLNK(found.st_mode):
            if self._preserve:
                return self._link(local, path, found), _identity(found)
            found = _follow(local)
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
            self._on_skipped(local)
            return None, _identity(found)
        _check(path, local)
        return _entry(path, local, "folder" if stat.S_ISDIR(found.st_mode) else "file", found), _identity(found)

    def _link(self, local: str, path: str, found: os.stat_result) -> LocalEntry:
        _check(path, local)
        target = os.readlink(local)
        inside = path[len(self._root) :].removeprefix("/")
        problem = link_problem(inside, target)
        if problem is not None:
            raise ArtifactsUploadError(f"the link {quote(local)} {problem}: only links that stay inside what is uploaded can be preserved")
        return LocalEntry(path, local, "link", 0, 0, found.st_mtime_ns, target)


class _Folder:
    """A folder that the walk is in; `above` are the folders from the root to it, itself included."""

    def __init__(self, local: str, path: str, above: frozenset[tuple[int, int]]) -> None:
        self.local = local
        self.path = path
        self.above = above
        try:
            self.names = iter(sorted(os.listdir(local), key=os.fsencode))
        except OSError as error:
            raise local_error(local, error) from error


def _entry(path: str, local: str, type_: EntryType, found: os.stat_result) -> LocalEntry:
    size = found.st_size if type_ == "file" else 0
    return LocalEntry(path, local, type_, size, found.st_mode & 0o777, found.st_mtime_ns)


def _check(path: str, local: str) -> None:
    problem = path_problem(path)
    if problem is not None:
        if not _is_utf8(path):
            raise ArtifactsUploadError(f"{quote(local)} can't be uploaded: its name is not valid UTF-8", reason="PATH_INVALID")
        raise ArtifactsUploadError(
            f"{quote(local)} can't be uploaded: its path in the run {problem}", reason="PATH_INVALID", metadata={"path": path}
        )


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _follow(local: str) -> os.stat_result:
    try:
        return os.stat(local)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArtifactsUploadError(f"{quote(local)} is a link that leads back to itself: a loop") from error
        if error.errno == errno.ENOENT:
            target = quote(os.readlink(local))
            raise ArtifactsUploadError(f"{quote(local)} is a dangling link: {target} does not exist") from error
        raise local_error(local, error) from error


def local_error(local: str, error: OSError | ValueError) -> ArtifactsUploadError:
    """Names the path and says what the system says about it."""
    if isinstance(error, ValueError):
        return ArtifactsUploadError(f"{quote(local)} is not a path: {error}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ArtifactsUploadError(f"{quote(local)} does not exist")
    if error.errno in (errno.EACCES, errno.EPERM):
        return ArtifactsUploadError(f"{quote(local)} can't be read: permission denied")
    return ArtifactsUploadError(f"{quote(local)}: {error.strerror}")
