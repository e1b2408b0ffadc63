"""The client's methods for what there is in the store. Nothing here loads gRPC before it is needed."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from ._connected import Connected

if TYPE_CHECKING:
    from ._types import CopyResult, GarbageResult, Listing, Run, ServerInfo, Tag, Upload, VerifyResult


class Catalog(Connected):
    """Listings, runs, tags, and what is done in the store."""

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
