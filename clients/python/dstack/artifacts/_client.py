"""The client, as callers see it. Nothing here loads gRPC before it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING

from ._settings import Settings, read_settings

if TYPE_CHECKING:
    import builtins
    import io
    from types import TracebackType

    from ._connection import Connection
    from ._progress import ShowProgress
    from ._sources import Source
    from ._types import CopyResult, DownloadResult, GarbageResult, Listing, Run, ServerInfo, Tag, Upload, UploadResult, VerifyResult
    from ._walk import Symlinks


class Client:
    """A client of one server. It connects when it is first used, and may be used by several threads, and in forks of the process.

    What isn't given comes from the environment, when the client is made.

    Args:
        url: `unix:///path`, `http://host:port` or `https://host:port`. Default: `DSTACK_ARTIFACTS_URL`, else the socket that
            `dstack-artifacts serve` listens on.
        token: A bearer token, sent with every call. Default: `DSTACK_ARTIFACTS_TOKEN`, else none.
        project: Where runs and tags are. Default: `DSTACK_PROJECT`, else the server's.
        run: The current run, for uploads that name none. Default: `DSTACK_RUN_NAME`, then `RUN_NAME`, else the server's.
        timeout: Seconds that a lost connection is taken up again without progress. Default: 30.
        ca_file: For `https`: a PEM file of certificate authorities. Default: `SSL_CERT_FILE`, else the system's.
        cert_file: For `https`: a PEM file with the client's own certificate.
        key_file: For `https`: a PEM file with its key.

    Raises:
        DstackError: The URL, the project's name or the timeout can't be.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        project: str | None = None,
        run: str | None = None,
        timeout: float | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._settings: Settings | None = read_settings(
            url=url, token=token, project=project, run=run, timeout=timeout, ca_file=ca_file, cert_file=cert_file, key_file=key_file
        )
        self._open_connection: Connection | None = None

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
            A file object. It keeps to one commit. Reading raises ArtifactsDownloadError where bytes are not those that were uploaded.

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

    def list(
        self,
        run: str | None = None,
        tag: str | None = None,
        prefix: str | None = None,
        *,
        recursive: bool = False,
        commit: int | None = None,
    ) -> Listing:
        """Lists what a run or a tag shows.

        Args:
            run: The run. Exactly one of `run` and `tag` must be given.
            tag: The tag.
            prefix: Only this entry, or what is in this folder. Default: everything.
            recursive: All that is in the folder at any depth; else one level.
            commit: One of the run's commits, from 1. Default: the newest.

        Returns:
            The entries, and the totals of all that is under the prefix.

        Raises:
            RunNotFoundError: There is no such run or commit.
            TagNotFoundError: There is no such tag.
            DstackError: Anything else; `reason` is `"PATH_NOT_FOUND"` if nothing is at the prefix.
        """
        from ._catalog import list_entries, other_reference

        return list_entries(self._connection, other_reference(run, tag, commit), prefix, recursive)

    def runs(self) -> builtins.list[Run]:
        """Lists the runs of the project.

        Returns:
            The runs, by name.

        Raises:
            DstackError: The server can't be reached, or refuses.
        """
        from ._catalog import list_runs

        return list_runs(self._connection)

    def run(self, name: str) -> Run:
        """Tells about one run.

        Args:
            name: The run's name.

        Returns:
            The run.

        Raises:
            RunNotFoundError: There is no such run.
            DstackError: Anything else.
        """
        from ._catalog import get_run

        return get_run(self._connection, name)

    def delete_run(self, name: str, *, force: bool = False) -> builtins.list[str]:
        """Deletes a run with all its commits.

        Args:
            name: The run's name.
            force: Delete its tags with it; else a run that has tags isn't deleted.

        Returns:
            The tags that were deleted with it.

        Raises:
            RunNotFoundError: There is no such run.
            DstackError: Anything else; `reason` is `"RUN_HAS_TAGS"` if it has tags.
        """
        from ._catalog import delete_run

        return delete_run(self._connection, name, force)

    def tags(self) -> builtins.list[Tag]:
        """Lists the tags of the project.

        Returns:
            The tags, by name.

        Raises:
            DstackError: The server can't be reached, or refuses.
        """
        from ._catalog import list_tags

        return list_tags(self._connection)

    def tag(self, name: str) -> Tag:
        """Tells about one tag.

        Args:
            name: The tag's name.

        Returns:
            The tag.

        Raises:
            TagNotFoundError: There is no such tag.
            DstackError: Anything else.
        """
        from ._catalog import get_tag

        return get_tag(self._connection, name)

    def create_tag(self, name: str, run: str, *, commit: int | None = None, path: str | None = None) -> Tag:
        """Makes a tag for a run at one of its commits.

        Args:
            name: The tag's name.
            run: The run's name.
            commit: The commit's number, from 1. Default: the newest.
            path: The file or folder to show, at the path that it has in the run. Default: everything.

        Returns:
            The tag.

        Raises:
            RunNotFoundError: There is no such run or commit.
            DstackError: Anything else; `reason` is `"TAG_EXISTS"` if there is such a tag.
        """
        from ._catalog import create_tag

        return create_tag(self._connection, name, run, commit, path)

    def delete_tag(self, name: str) -> None:
        """Deletes a tag; its run stays.

        Args:
            name: The tag's name.

        Returns:
            Nothing.

        Raises:
            TagNotFoundError: There is no such tag.
            DstackError: Anything else.
        """
        from ._catalog import delete_tag

        delete_tag(self._connection, name)

    def copy(
        self,
        to_run: str,
        to_path: str | None = None,
        *,
        run: str | None = None,
        tag: str | None = None,
        artifact_path: str | None = None,
        commit: int | None = None,
    ) -> CopyResult:
        """Adds what a run or a tag shows to a run, in the store, as one commit.

        Args:
            to_run: The run to add to, which is made if need be.
            to_path: Where a folder's contents go, or what a file becomes; `""` is the run's root. Default: `artifact_path`.
            run: The run to copy from. Exactly one of `run` and `tag` must be given.
            tag: The tag to copy from.
            artifact_path: A file, or a folder whose contents are copied. Default: everything.
            commit: One of the source's commits, from 1. Default: the newest.

        Returns:
            The run and the new commit; how many files and bytes are in it.

        Raises:
            RunNotFoundError: There is no such run or commit.
            TagNotFoundError: There is no such tag.
            DstackError: Anything else; `reason` is `"PATH_NOT_FOUND"` if nothing is at the path.
        """
        from ._catalog import copy, other_reference

        return copy(self._connection, other_reference(run, tag, commit), artifact_path, to_run, to_path)

    def verify(
        self,
        run: str | None = None,
        tag: str | None = None,
        *,
        commit: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> VerifyResult:
        """Has the server read every byte of a run or a tag and check it. Damage is a result, not an error.

        Args:
            run: The run. Exactly one of `run` and `tag` must be given.
            tag: The tag.
            commit: One of the run's commits, from 1. Default: the newest.
            on_progress: Told about once a second the bytes checked so far and in all.

        Returns:
            How many files and bytes were checked, and which files are damaged.

        Raises:
            RunNotFoundError: There is no such run or commit.
            TagNotFoundError: There is no such tag.
            DstackError: Anything else.
        """
        from ._catalog import other_reference, verify

        return verify(self._connection, other_reference(run, tag, commit), on_progress)

    def collect_garbage(self, grace: timedelta | None = None, *, dry_run: bool = False) -> GarbageResult:
        """Has the server remove what no run or tag reaches, in all projects of the store.

        Args:
            grace: How long it must have been unreachable. 0 is safe only while nothing else writes to the store. Default: 24 hours.
            dry_run: Change nothing; tell what would be done.

        Returns:
            How many objects and bytes were looked at, condemned and deleted.

        Raises:
            DstackError: The server can't be reached, or refuses.
        """
        from ._catalog import collect_garbage

        return collect_garbage(self._connection, grace, dry_run)

    def uploads(self) -> builtins.list[Upload]:
        """Lists uploads that were begun and not finished: `upload` with the id of one goes on with it.

        Returns:
            The uploads, by id.

        Raises:
            DstackError: The server can't be reached, or refuses.
        """
        from ._catalog import list_uploads

        return list_uploads(self._connection)

    def abort_upload(self, upload_id: str) -> None:
        """Ends an upload so that it can never be finished.

        Args:
            upload_id: Its id.

        Returns:
            Nothing.

        Raises:
            DstackError: `reason` is `"UPLOAD_NOT_FOUND"` if there is none, `"UPLOAD_FINISHED"` if it came too late.
        """
        from ._catalog import abort_upload

        abort_upload(self._connection, upload_id)

    def server_info(self) -> ServerInfo:
        """Tells what the server is.

        Returns:
            Its version, project, current run and kind of store.

        Raises:
            DstackError: The server can't be reached, or refuses.
        """
        from ._catalog import server_info

        return server_info(self._connection)

    def close(self) -> None:
        """Ends the connection; calls that run fail, later ones too.

        Returns:
            Nothing.
        """
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[Settings | None], Client], tuple[Settings | None]]:
        # A client that is given to another process makes a connection of its own there.
        return client_with, (self._settings,)

    @property
    def _connection(self) -> Connection:
        from ._connection import Connection

        settings = self._settings or read_settings()
        # Two threads that are the first may make one each: both work, and the one that isn't kept ends with its last call.
        connection = self._open_connection
        if connection is None or connection.settings != settings:
            self._open_connection = connection = Connection(settings)
        return connection


def client_with(settings: Settings | None) -> Client:
    """A client with these settings, or if there are none with those that the environment has at each call."""
    client = Client.__new__(Client)
    client._settings = settings
    client._open_connection = None
    return client
