"""The client's methods that move bytes. Nothing here loads gRPC before it is needed."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

from ._connected import Connected

if TYPE_CHECKING:
    import io

    from ._progress import ShowProgress
    from ._sources import Source
    from ._types import DownloadResult, UploadResult
    from ._walk import Symlinks


class Transfers(Connected):
    """Uploads, downloads and reading."""

    def upload(
        self,
        local_path: str | os.PathLike[str],
        artifact_path: str | None = None,
        tag: str | None = None,
        *,
        symlinks: Symlinks = "follow",
        upload_id: str | None = None,
        progress: ShowProgress = None,
        run: str | None = None,
    ) -> UploadResult:
        """Uploads a folder's contents, or a file, to a run: all of it appears at once when this returns, or nothing of it.

        Files that were uploaded earlier under other paths stay. Bytes, permission bits, modification times, empty files and empty folders
        are kept. Sockets, FIFOs and devices are left out with a warning. If the connection is lost, the upload goes on where it was.

        Args:
            local_path: A folder or a file. `~` is expanded.
            artifact_path: Where a folder's contents go in the run, or what a file becomes; `""`, `"."` and `"/"` are the run's root.
                Default: the local path, which then must lie in the working directory or be absolute.
            tag: Makes a new run of a generated name, and this tag for it. Not together with `run`.
            symlinks: `"follow"` uploads what symbolic links point to; `"preserve"` the links, which then must point into the folder.
            upload_id: 16 to 64 letters, digits, `-` and `_`. An upload that was begun with it, for the same run or tag, is gone on with.
                Default: a new one.
            progress: Whether to show a bar; or a function that is told the bytes so far and in all (None if that isn't known). Default: a
                bar in terminals and notebooks.
            run: The run to add to, which is made if need be. Default: the client's, else the server's current run.

        Returns:
            The run, the commit and the tag; how many files and bytes were uploaded, and how many entries were left out.

        Raises:
            ArtifactsUploadError: Nothing of it can be seen. The error names the path, or says that the tag exists (`reason` is then
                `"TAG_EXISTS"`), or that there is no server.
        """
        from ._upload import upload_files

        return upload_files(
            self._connection, local_path, artifact_path, tag, run, symlinks=symlinks, upload_id=upload_id, progress=progress
        )

    def upload_bytes(
        self,
        source: Source,
        artifact_path: str,
        tag: str | None = None,
        *,
        upload_id: str | None = None,
        progress: ShowProgress = None,
        run: str | None = None,
    ) -> UploadResult:
        """Uploads bytes, a file object or an iterable of bytes as one file.

        If the connection is lost, the upload goes on where it was: a source that can't be read again is kept for that, its last 64 MiB.

        Args:
            source: Bytes, a binary file object (read from where it stands to its end) or an iterable of bytes.
            artifact_path: What the bytes become in the run.
            tag: As for `upload`.
            upload_id: As for `upload`.
            progress: As for `upload`.
            run: As for `upload`.

        Returns:
            As `upload`.

        Raises:
            ArtifactsUploadError: As for `upload`. What the source raises goes through as it is.
        """
        from ._upload import upload_bytes

        return upload_bytes(self._connection, source, artifact_path, tag, run, upload_id=upload_id, progress=progress)

    def download(
        self,
        run: str | None = None,
        tag: str | None = None,
        artifact_path: str | None = None,
        local_path: str | os.PathLike[str] | None = None,
        *,
        commit: int | None = None,
        progress: ShowProgress = None,
    ) -> DownloadResult:
        """Downloads what a run or a tag shows, as it is at one commit.

        Every file is checked before it gets its name. After a failure there are whole files or none; called again, the download goes on
        where it stopped. Nothing is written outside `local_path`. Files' permission bits (but setuid, setgid and sticky) and modification
        times are restored, and folders' permission bits.

        Args:
            run: The run. Exactly one of `run` and `tag` must be given.
            tag: The tag.
            artifact_path: A file, or a folder whose contents are downloaded. Default: everything.
            local_path: The folder to merge a folder's contents into, which is made if need be; one file goes into it if it is a folder or
                ends in `/`, and else becomes it. `~` is expanded. Default: the working directory.
            commit: One of the run's commits, from 1. Default: the newest.
            progress: As for `upload`.

        Returns:
            The run and the commit; how many files and bytes are there now, those that were there before included.

        Raises:
            RunNotFoundError: There is no such run or commit.
            TagNotFoundError: There is no such tag.
            ArtifactsDownloadError: Anything else; the error names the path.
        """
        from ._download import download_files

        return download_files(self._connection, run, tag, artifact_path, local_path, commit=commit, progress=progress)

    def open(self, artifact_path: str, *, run: str | None = None, tag: str | None = None, commit: int | None = None) -> io.BufferedReader:
        """Opens one file for reading, without a copy on disk: a binary file object with `read`, `readinto` and `seek`.

        Args:
            artifact_path: The file.
            run: The run. Exactly one of `run` and `tag` must be given.
            tag: The tag.
            commit: One of the run's commits, from 1. Default: the newest.

        Returns:
            A file object. It keeps to one commit. Reading raises ArtifactsDownloadError where bytes are not those that were uploaded. A
            read that failed fails so again until a `seek`.

        Raises:
            RunNotFoundError: There is no such run or commit.
            TagNotFoundError: There is no such tag.
            ArtifactsDownloadError: Nothing is at the path, or a folder is.
        """
        from ._read import open_file
        from ._reference import Pinned, checked_path, reference_of

        return open_file(self._connection, Pinned(reference_of(run, tag, commit)), checked_path(artifact_path))

    def read(
        self,
        artifact_path: str,
        *,
        run: str | None = None,
        tag: str | None = None,
        commit: int | None = None,
        offset: int = 0,
        length: int | None = None,
    ) -> bytes:
        """Reads one file, or part of it, into memory.

        Args:
            artifact_path: The file.
            run: The run. Exactly one of `run` and `tag` must be given.
            tag: The tag.
            commit: One of the run's commits, from 1. Default: the newest.
            offset: The first byte. If it isn't 0, it must lie in the file.
            length: How many bytes at the most, at least 1. Default: all.

        Returns:
            The bytes.

        Raises:
            RunNotFoundError: There is no such run or commit.
            TagNotFoundError: There is no such tag.
            ArtifactsDownloadError: Anything else; `reason` is `"RANGE_INVALID"` if `offset` lies behind the file.
        """
        return b"".join(self.stream(artifact_path, run=run, tag=tag, commit=commit, offset=offset, length=length))

    def stream(
        self,
        artifact_path: str,
        *,
        run: str | None = None,
        tag: str | None = None,
        commit: int | None = None,
        offset: int = 0,
        length: int | None = None,
    ) -> Generator[bytes, None, None]:
        """Reads one file, or part of it, piece by piece: `upload_bytes` takes it, to pass a file on without disk.

        Args:
            artifact_path: The file.
            run: The run. Exactly one of `run` and `tag` must be given.
            tag: The tag.
            commit: One of the run's commits, from 1. Default: the newest.
            offset: The first byte. If it isn't 0, it must lie in the file.
            length: How many bytes at the most, at least 1. Default: all.

        Returns:
            A generator of pieces of at most 1 MiB. It raises what `read` does, at the end if the bytes were not those that were uploaded.

        Raises:
            ArtifactsDownloadError: Not exactly one of `run` and `tag` was given, or a name or the path can't be.
        """
        from ._read import stream
        from ._reference import Pinned, checked_path, reference_of

        pinned, path = Pinned(reference_of(run, tag, commit)), checked_path(artifact_path)
        if offset < 0 or (length is not None and length < 1):
            raise ValueError("offset must be at least 0 and length at least 1")
        return stream(self._connection, pinned, path, offset, length)
