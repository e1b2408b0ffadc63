"""
Where downloads are written: below one folder, and nowhere else. Folders are entered one by one by their descriptors, never through links,
so that nothing that happens there meanwhile leads outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from ._errors import ArtifactsDownloadError, DstackError
from ._paths import link_problem, quote
from ._system import describe

_OWNER_RWX = 0o700
# How often a folder is made writable for one step: so many other downloads to it may end right then, and make it read-only.
_UNLOCKS = 8
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A name in an open folder; `shown` is what people call it."""

    folder: int
    name: str
    shown: str
    # Lets the owner write to the folder, and tells whether he may. None where nothing is to be changed.
    unlock: Callable[[int], bool] | None = None

    def look(self) -> os.stat_result | None:
        """What is there, not followed if it is a link; None if nothing, or nothing that can be looked at."""
        try:
            return _lstat(self.name, self.folder)
        except OSError:
            return None

    def stat(self) -> os.stat_result | None:
        """The same, but for what can't be looked at, which is an error."""
        return self.permitted(lambda: _lstat(self.name, self.folder))

    def beside(self, name: str) -> Place:
        """Another name in the same folder."""
        return Place(self.folder, name, os.path.join(os.path.dirname(self.shown), name), self.unlock)

    def open(self, flags: int, mode: int = 0) -> int:
        """Opens or makes a file."""
        return self.permitted(lambda: os.open(self.name, flags, mode, dir_fd=self.folder))

    def remove(self) -> None:
        """Makes sure that no file or link is there."""
        with suppress(FileNotFoundError):
            self.permitted(lambda: os.unlink(self.name, dir_fd=self.folder))

    def refuse_folder(self) -> None:
        """Fails if a folder is there."""
        found = self.stat()
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise ArtifactsDownloadError(f"{quote(self.shown)} is a folder, but the run has a file there")

    def rename_to(self, final: Place) -> None:
        """Replaces what is at `final`."""
        self.permitted(lambda: os.rename(self.name, final.name, src_dir_fd=self.folder, dst_dir_fd=final.folder))

    def permitted(self, act: Callable[[], T]) -> T:
        """
        Does what the folder must permit. Another download to it may have ended meanwhile, and have given it a mode that doesn't: the folder
        gets that again in the end.
        """
        for _ in range(_UNLOCKS):
            try:
                return act()
            except PermissionError as error:
                if error.errno != errno.EACCES or self.unlock is None or not self.unlock(self.folder):
                    raise
        return act()


class Tree:
    """A folder and what is below it. Paths are relative to it, checked, and come in the order of artifact paths as a rule."""

    def __init__(self, root: str) -> None:
        self._root = root
        with failing(root):
            os.makedirs(root, exist_ok=True)
            # The one folder that may be named by a link.
            self._folders = [("", os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
        self._modes: dict[str, int] = {}

    def close(self) -> None:
        """Lets go of the folders."""
        while self._folders:
            os.close(self._folders.pop()[1])

    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        with failing(self._root), os.scandir(self._folders[0][1]) as entries:
            return next(entries, None) is None

    def place(self, path: str) -> Place:
        """Where an entry goes, its folders made. Good until the next one is asked for."""
        parent, _, name = path.rpartition("/")
        return Place(self._enter(parent), name, self._shown(path), self._unlock)

    def look(self, path: str) -> Place | None:
        """The same where the folders are there; None where they aren't, or where a link is in the way."""
        parent, _, name = path.rpartition("/")
        self._leave(parent)
        while self._folders[-1][0] != parent:
            above, folder = self._folders[-1]
            below = _next_folder(above, parent)
            try:
                descriptor = os.open(below.rpartition("/")[2], _OPEN_FOLDER, dir_fd=folder)
            except OSError:
                return None
            self._folders.append((below, descriptor))
        return Place(self._folders[-1][1], name, self._shown(path))

    def looked(self) -> None:
        """Lets go of folders that were looked into: what is written to may have to be made writable as it is entered."""
        self._leave("")

    def add_folder(self, path: str, mode: int | None) -> None:
        """Makes a folder. Its mode is set in the end, when its contents are there."""
        self._enter(path)
        if mode is not None:
            self._modes[path] = mode & 0o777

    def add_link(self, path: str, target: str, partial: str) -> None:
        """Makes a link, under the name `partial` first."""
        problem = link_problem(path, target)
        if problem is not None:
            raise ArtifactsDownloadError(f"{quote(path)} is a link that {problem}: download a folder that holds both")
        final = self.place(path)
        with failing(final.shown):
            final.refuse_folder()
            place = final.beside(partial)
            # Others may be at the same: whoever has the partial link taken away begins anew, and finds the link there.
            while not _is_link_to(final, target):
                place.remove()
                with suppress(FileExistsError):
                    place.permitted(lambda: os.symlink(target, partial, dir_fd=final.folder))
                    with suppress(FileNotFoundError):
                        place.rename_to(final)

    def finish(self) -> None:
        """Sets the folders' modes, the deepest first."""
        for path, mode in sorted(self._modes.items(), key=lambda item: item[0].count("/"), reverse=True):
            folder = self._enter(path)
            with failing(self._shown(path)):
                found = os.stat(folder).st_mode
                if found & 0o777 != mode:
                    # A folder has setgid and the like from whoever made it, or inherits them.
                    os.chmod(folder, found & 0o7000 | mode)

    def give_up(self) -> None:
        """The same for a download that failed, whose error goes before those here."""
        with suppress(DstackError):
            self.finish()

    def _shown(self, path: str) -> str:
        return os.path.join(self._root, path)

    def _leave(self, path: str) -> None:
        """Closes the folders that `path` is not in."""
        while (above := self._folders[-1][0]) and path != above and not path.startswith(above + "/"):
            os.close(self._folders.pop()[1])

    def _enter(self, path: str) -> int:
        self._leave(path)
        while self._folders[-1][0] != path:
            above, folder = self._folders[-1]
            below = _next_folder(above, path)
            with failing(self._shown(below)):
                self._folders.append((below, self._open(below, folder)))
        return self._folders[-1][1]

    def _open(self, path: str, parent: int) -> int:
        """Opens a folder, which is made if need be."""
        name, shown = path.rpartition("/")[2], quote(self._shown(path))
        place = Place(parent, name, self._shown(path), self._unlock)
        found = place.stat()
        if found is None:
            # Another download may be at the same.
            with suppress(FileExistsError):
                place.permitted(lambda: os.mkdir(name, dir_fd=parent))
            found = place.stat()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        if stat.S_ISLNK(found.st_mode):
            raise ArtifactsDownloadError(f"{shown} is a link: nothing is written through links")
        if not stat.S_ISDIR(found.st_mode):
            raise ArtifactsDownloadError(f"{shown} is not a folder, but the run has one there")
        if found.st_mode & _OWNER_RWX != _OWNER_RWX:
            # A folder of an earlier download may have been made read-only by its mode, which it gets back in the end.
            os.chmod(name, stat.S_IMODE(found.st_mode) | _OWNER_RWX, dir_fd=parent)
            self._modes.setdefault(path, found.st_mode & 0o777)
        try:
            return os.open(name, _OPEN_FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise ArtifactsDownloadError(f"{shown} is a link: nothing is written through links") from error
            raise

    def _unlock(self, folder: int) -> bool:
        path = next((path for path, descriptor in self._folders if descriptor == folder), "")
        mode = stat.S_IMODE(os.stat(folder).st_mode)
        # The folder that was asked for keeps its mode.
        if path == "":
            return False
        # Else another download has done it right now.
        if mode & _OWNER_RWX != _OWNER_RWX:
            try:
                os.chmod(folder, mode | _OWNER_RWX)
            except OSError:
                return False
            self._modes.setdefault(path, mode & 0o777)
        return True


@contextmanager
def failing(shown: str) -> Iterator[None]:
    """Turns what the system says into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise ArtifactsDownloadError(describe(shown, error)) from error


def _next_folder(above: str, path: str) -> str:
    """The folder on the way from `above` to `path` that comes next."""
    end = path.find("/", len(above) + 1 if above else 0)
    return path if end < 0 else path[:end]


def _is_link_to(place: Place, target: str) -> bool:
    try:
        return os.readlink(place.name, dir_fd=place.folder) == target
    except OSError:
        return False


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
