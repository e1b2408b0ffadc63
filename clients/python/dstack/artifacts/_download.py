"""Downloads to files: streams, taken up again where they were cut off, that leave out what is there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

import grpc

from ._chunks import Received
from ._connection import Connection
from ._errors import ArtifactsDownloadError, DstackError
from ._incoming import Found, Incoming, RefetchError, Wanted, adopt, find, find_whole, wanted_of
from ._paths import expand_home, is_within, path_problem, quote
from ._progress import Progress, ShowProgress
from ._receive import receive
from ._reference import Pinned, checked_path, reference_of
from ._status import failure_of
from ._tree import Tree
from ._types import DownloadResult
from .v1 import artifacts_pb2 as pb
from .v1 import entries_pb2 as entries

# How often a file that arrives damaged, or whose partial file is taken away, is fetched.
DAMAGED_FILE_FETCHES = 2
# Files that are looked for before they are asked for, at a time: with the longest paths, as many as the request can name.
LISTING_PAGE = 1000


def download_files(
    connection: Connection,
    run: str | None,
    tag: str | None,
    artifact_path: str | None,
    local_path: str | os.PathLike[str] | None,
    *,
    commit: int | None = None,
    progress: ShowProgress = None,
) -> DownloadResult:
    """What `Client.download` does."""
    pinned = Pinned(reference_of(run, tag, commit))
    path = checked_path(artifact_path)
    local = expand_home(os.fsdecode(local_path or "."))
    transfer = _Transfer(connection, pinned, path)
    first = transfer.list(1, "")
    if path and any(entry.path == path and entry.type != entries.ENTRY_TYPE_FOLDER for entry in first.entries):
        root, single = file_target(local, path)
    else:
        root, single = local, None
    tree = Tree(root)
    try:
        with Progress("download", lambda: first.total_bytes, progress) as bar:
            sink = _Sink(tree, path, single, bar.to)
            try:
                try:
                    transfer.run(sink, tree.is_empty())
                finally:
                    # A file that was begun is left before the folder that it is in. What went wrong before goes before what does now.
                    with suppress(DstackError):
                        sink.leave()
            except BaseException:
                tree.give_up()
                raise
            tree.finish()
    finally:
        tree.close()
    return DownloadResult(pinned.run, pinned.commit, sink.files, sink.bytes)


def file_target(local: str, path: str) -> tuple[str, str]:
    """Where one file goes, as a folder and a name: into `local` if that is a folder or ends in `/`, else it becomes `local`."""
    if local.endswith("/") or os.path.isdir(local):
        return local, path.rpartition("/")[2]
    folder, name = os.path.split(local)
    return folder or ".", name


class _Transfer:
    """One download over all its streams."""

    def __init__(self, connection: Connection, pinned: Pinned, path: str) -> None:
        self._connection = connection
        self._pinned = pinned
        self._path = path
        self._patience = connection.patience()
        self._refetched: dict[str, int] = {}

    def list(self, size: int, page_token: str) -> pb.ListEntriesResponse:
        """A page of what is wanted."""
        request = pb.ListEntriesRequest(
            project=self._connection.settings.project,
            reference=self._pinned.reference,
            prefix=self._path,
            recursive=True,
            page_size=size,
            page_token=page_token,
        )
        page = self._connection.unary(lambda stub: stub.ListEntries, request, "download", self._patience)
        self._pinned.see(page.run, page.commit)
        return page

    def run(self, sink: _Sink, is_empty: bool) -> None:
        """Fetches everything: in one go into an empty place, else page by page, leaving out what is there already."""
        if is_empty:
            self._fetch(sink, "")
            return
        page_token = ""
        while True:
            page = self.list(LISTING_PAGE, page_token)
            sink.look(page.entries)
            page_token = page.next_page_token
            self._fetch(sink, page.entries[-1].path if page_token and page.entries else "")
            if not page_token:
                return

    def _fetch(self, sink: _Sink, end_at: str) -> None:
        """Asks for what comes behind the last entry that is done, up to `end_at`, until all of it has come."""
        while True:
            before = sink.received
            request = pb.DownloadRequest(
                project=self._connection.settings.project,
                reference=self._pinned.reference,
                path=self._path,
                start_after=sink.last,
                end_at=end_at,
                held=sink.held(),
            )
            try:
                with receive(self._connection, request) as messages:
                    for message in messages:
                        if not isinstance(message, memoryview) and message.HasField("start"):
                            self._pinned.see(message.start.run, message.start.commit)
                        else:
                            sink.take(message)
                return
            except RefetchError as error:
                if sink.forget(error):
                    self._note_refetch(error)
            except grpc.RpcError as error:
                sink.leave()
                if sink.received > before:
                    self._patience.progressed()
                failure = failure_of(error)
                if not self._patience.wait(failure):
                    raise self._connection.error(failure, "download") from error

    def _note_refetch(self, error: RefetchError) -> None:
        path = error.path
        self._refetched[path] = self._refetched.get(path, 0) + 1
        if self._refetched[path] >= DAMAGED_FILE_FETCHES:
            raise ArtifactsDownloadError(str(error), reason=error.reason, metadata={"path": path})


class _Sink:
    """Takes entries as they come and puts them into the tree."""

    def __init__(self, tree: Tree, path: str, single: str | None, on_bytes: Callable[[int], None]) -> None:
        self._tree = tree
        self._path = path
        self._single = single
        self._on_bytes = on_bytes
        # What was found of files before they were asked for.
        self._found: dict[str, Found] = {}
        self._wanted: Wanted | None = None
        self._offset = 0
        self._file: Incoming | None = None
        self.files = 0
        self.bytes = 0
        # Entries that are through and bytes that came, for those who ask whether something got ahead. A header alone is no progress:
        # it comes again each time.
        self.received = 0
        # The last entry that is complete.
        self.last = ""

    def look(self, listed: Sequence[entries.Entry]) -> None:
        """Looks for the files of a listing."""
        self._found = {}
        for entry in listed:
            if entry.type != entries.ENTRY_TYPE_FILE or not entry.size:
                continue
            place = self._tree.look(self._relative(entry.path))
            found = find(place, wanted_of(entry)) if place is not None else None
            if found is not None:
                self._found[entry.path] = found
        self._tree.looked()

    def held(self) -> list[pb.HeldFile]:
        """What need not be sent."""
        return [pb.HeldFile(path=path, length=found.length) for path, found in self._found.items()]

    def forget(self, error: RefetchError) -> bool:
        """What is there of a file is no good. Whether it must come again: somebody else may have finished it."""
        wanted, file = self._wanted, self._file
        self._wanted = self._file = None
        self._found.pop(error.path, None)
        if file is not None:
            file.close()
        if wanted is not None and error.lost:
            self._look_for_whole(wanted)
        return error.path not in self._found

    def take(self, message: Received) -> None:
        """The next message."""
        if isinstance(message, memoryview):
            self._chunk(message)
            return
        match message.WhichOneof("message"):
            case "file":
                self._begin(message.file)
            case "chunk":
                self._chunk(memoryview(message.chunk))
            case "file_end":
                self._end()

    def _begin(self, header: entries.EntryHeader) -> None:
        path = self._relative(header.path)
        if header.type == entries.ENTRY_TYPE_FOLDER:
            # The folder that was asked for is the local path, which keeps its mode.
            if path:
                self._tree.add_folder(path, header.mode if header.HasField("mode") else None)
            self._through(header.path)
        elif header.type == entries.ENTRY_TYPE_LINK:
            partial = Wanted(header.path, 0, 0, 0, None).partial
            self._tree.add_link(path, header.link_target, partial)
            self._done(header.path, 0)
        else:
            self._wanted, self._offset = wanted_of(header), header.offset

    def _chunk(self, block: memoryview) -> None:
        self.received += len(block)
        file = self._open()
        file.write(block)
        self._on_bytes(self.bytes + file.length)

    def _end(self) -> None:
        wanted = self._wanted
        if wanted is None:
            raise ArtifactsDownloadError("the server ended a file that it had not begun")
        found = self._found.get(wanted.path)
        if found is not None and found.whole and self._offset == wanted.size:
            adopt(self._tree.place(self._relative(wanted.path)), wanted, found)
        else:
            self._open().finish()
        self._wanted = self._file = None
        self._found.pop(wanted.path, None)
        self._done(wanted.path, wanted.size)

    def leave(self) -> None:
        """Lets go of a file that is not complete; what is there of it can be gone on with."""
        wanted, file = self._wanted, self._file
        self._wanted = self._file = None
        if wanted is not None and file is not None:
            self._found.pop(wanted.path, None)
            kept = file.leave()
            if kept:
                self._found[wanted.path] = Found(kept)
            else:
                self._look_for_whole(wanted)

    def _look_for_whole(self, wanted: Wanted) -> None:
        place = self._tree.look(self._relative(wanted.path))
        found = find_whole(place, wanted) if place is not None and wanted.size else None
        if found is not None:
            self._found[wanted.path] = found
        self._tree.looked()

    def _open(self) -> Incoming:
        if self._wanted is None:
            raise ArtifactsDownloadError("the server sent bytes of no file")
        if self._file is None:
            self._file = Incoming(self._tree.place(self._relative(self._wanted.path)), self._wanted, self._offset)
        return self._file

    def _through(self, path: str) -> None:
        self.last = path
        self.received += 1

    def _done(self, path: str, size: int) -> None:
        self._through(path)
        self.files += 1
        self.bytes += size
        self._on_bytes(self.bytes)

    def _relative(self, path: str) -> str:
        """Where an entry goes, from the tree's root."""
        if path_problem(path) is not None or not is_within(path, self._path):
            raise ArtifactsDownloadError(f"the server sent the path {quote(path)}, which wasn't asked for: nothing is written for it")
        if path == self._path:
            return self._single or ""
        return path[len(self._path) + 1 :] if self._path else path
