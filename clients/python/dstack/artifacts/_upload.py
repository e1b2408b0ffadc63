"""Uploads: sends everything in one stream, and takes it up again where it was cut off."""

from __future__ import annotations

import os
import stat
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Protocol

import grpc

from ._connection import Connection
from ._errors import ArtifactsUploadError
from ._messages import Message, Persisted, Plan, nanoseconds_of, start_message, tree_messages
from ._paths import expand_home, is_id, quote
from ._pipe import Pipe
from ._progress import Progress, ShowProgress
from ._settings import check_name
from ._sources import Source, SourceBody
from ._status import Failure, failure_of, tag_exists
from ._types import UploadResult
from ._walk import Symlinks, artifact_path_of, stat_root, walk
from ._warn import warn
from .v1 import artifacts_pb2 as pb

# How often a file whose bytes arrive damaged is sent.
DAMAGED_FILE_SENDS = 3
# Files in one answer about what is persisted: with the longest paths, as many as a message holds.
_PERSISTED_PAGE = 1000


class Body(Protocol):
    """What is uploaded; it can be sent more than once."""

    def messages(self, plan: Plan, on_bytes: Callable[[int], None]) -> Iterator[Message]:
        """Everything behind the start."""
        ...


class TreeBody:
    """A folder or a file on disk."""

    def __init__(self, local: str, path: str, symlinks: Symlinks) -> None:
        self._local = local
        self._path = path
        self._symlinks = symlinks
        self.skipped: set[str] = set()

    def messages(self, plan: Plan, on_bytes: Callable[[int], None]) -> Iterator[Message]:
        return tree_messages(walk(self._local, self._path, self._symlinks, self._skip), plan, on_bytes)

    def total_bytes(self) -> int:
        """What is there now."""
        return sum(entry.size for entry in walk(self._local, self._path, self._symlinks, self._skip))

    def _skip(self, local: str) -> None:
        if local not in self.skipped:
            self.skipped.add(local)
            warn(f"{quote(local)} is neither a file nor a folder, and was left out")


def upload_files(
    connection: Connection,
    local_path: str | os.PathLike[str],
    artifact_path: str | None,
    tag: str | None,
    run: str | None,
    *,
    symlinks: Symlinks = "follow",
    upload_id: str | None = None,
    progress: ShowProgress = None,
) -> UploadResult:
    """What `Client.upload` does."""
    if symlinks not in ("follow", "preserve"):
        raise ValueError(f"symlinks {symlinks!r} must be 'follow' or 'preserve'")
    local = expand_home(os.fsdecode(local_path))
    if local == "":
        raise ArtifactsUploadError("the local path is empty: name a folder or a file")
    found = stat_root(local)
    body = TreeBody(local, artifact_path_of(local, artifact_path, stat.S_ISREG(found.st_mode)), symlinks)
    total = body.total_bytes if stat.S_ISDIR(found.st_mode) else lambda: found.st_size
    with Progress("upload", total, progress) as bar:
        response = send(connection, body, tag, run, upload_id, bar.to)
    return _result(response, len(body.skipped))


def upload_bytes(
    connection: Connection,
    source: Source,
    artifact_path: str,
    tag: str | None,
    run: str | None,
    *,
    upload_id: str | None = None,
    progress: ShowProgress = None,
) -> UploadResult:
    """What `Client.upload_bytes` does."""
    body = SourceBody(artifact_path_of("", artifact_path, True), source)
    size = memoryview(source).nbytes if isinstance(source, bytes | bytearray | memoryview) else None
    with Progress("upload", lambda: size, progress) as bar:
        return _result(send(connection, body, tag, run, upload_id, bar.to), 0)


def _result(response: pb.UploadResponse, skipped: int) -> UploadResult:
    return UploadResult(response.run, response.commit, response.tag or None, response.files, response.bytes, skipped)


def send(
    connection: Connection, body: Body, tag: str | None, run: str | None, upload_id: str | None, on_bytes: Callable[[int], None]
) -> pb.UploadResponse:
    """Sends a body until the server has all of it."""
    if run is not None and tag is not None:
        raise ArtifactsUploadError("run and tag were both given: an upload goes to a run, or to a new one that the tag names")
    if tag is not None:
        check_name("tag", tag, ArtifactsUploadError)
    elif run is None:
        run = connection.settings.run
    if run is not None:
        check_name("run", run, ArtifactsUploadError)
    if upload_id is not None and not is_id(upload_id):
        raise ArtifactsUploadError(f"upload id {quote(upload_id)} must be 16 to 64 letters, digits, `-` or `_`", reason="UPLOAD_ID_INVALID")
    resumed = upload_id is not None
    upload = _Upload(connection, body, tag, run, upload_id or str(uuid.uuid4()), on_bytes)
    try:
        return upload.run_to_end(resumed)
    except ArtifactsUploadError as error:
        error.upload_id = upload.id
        raise


class _Upload:
    """One upload over all its tries."""

    def __init__(
        self, connection: Connection, body: Body, tag: str | None, run: str | None, upload_id: str, on_bytes: Callable[[int], None]
    ) -> None:
        self.id = upload_id
        self._connection = connection
        self._project = connection.settings.project
        self._body = body
        self._tag = tag
        self._start = start_message(upload_id, self._project, run, tag)
        self._on_bytes = on_bytes
        self._patience = connection.patience()
        self._plan = Plan()

    def run_to_end(self, resumed: bool) -> pb.UploadResponse:
        committed = None
        if resumed:
            committed = self._look()
        else:
            self._greet()
        damaged: Counter[str] = Counter()
        while committed is None:
            try:
                return self._attempt()
            except grpc.RpcError as error:
                failure = failure_of(error)
                path = _damaged_path(failure)
                if path is not None and damaged[path] + 1 < DAMAGED_FILE_SENDS:
                    damaged[path] += 1
                    self._plan.again(path)
                elif not self._patience.wait(failure):
                    raise self._connection.error(failure, "upload") from error
            before = self._plan.persisted_bytes
            committed = self._look()
            if self._plan.persisted_bytes > before:
                self._patience.progressed()
        return committed

    def _greet(self) -> None:
        """Fails before any file is sent when there is no server, and when the tag exists; the server decides again at the end."""
        if self._tag is None:
            self._connection.unary(lambda stub: stub.GetServerInfo, pb.GetServerInfoRequest(), "upload", self._patience)
            return
        try:
            request = pb.GetTagRequest(project=self._project, tag=self._tag)
            self._connection.unary(lambda stub: stub.GetTag, request, "upload", self._patience)
        except ArtifactsUploadError as error:
            if error.reason == "TAG_NOT_FOUND":
                return
            raise
        raise ArtifactsUploadError(tag_exists(self._tag), reason="TAG_EXISTS", metadata={"tag": self._tag})

    def _attempt(self) -> pb.UploadResponse:
        """Sends all of it once, but for what is persisted. Raises grpc.RpcError."""
        pipe: Pipe[Message] = Pipe()
        channel = self._connection.open()
        call = channel.upload.future(iter(pipe), metadata=self._connection.metadata)
        # A server that answers early, with an error as a rule, takes no more.
        call.add_done_callback(lambda _: pipe.leave())
        with channel.watching(call), closing(self._messages()) as messages:
            for message in messages:
                if not pipe.put(message, len(message) if isinstance(message, bytes) else 0):
                    break
            pipe.close()
            return call.result()

    def _messages(self) -> Generator[Message, None, None]:
        yield self._start
        yield from self._body.messages(self._plan, self._on_bytes)

    def _look(self) -> pb.UploadResponse | None:
        """Asks what of the upload is persisted; gives the answer of one that is committed."""
        self._plan.persisted = {}
        request = pb.GetUploadRequest(project=self._project, upload_id=self.id, page_size=_PERSISTED_PAGE)
        while True:
            try:
                page = self._connection.unary(lambda stub: stub.GetUpload, request, "upload", self._patience)
            except ArtifactsUploadError as error:
                # It was cut off before the server had begun it.
                if error.reason != "UPLOAD_NOT_FOUND":
                    raise
                self._greet()
                return None
            if page.upload.state == pb.UPLOAD_STATE_COMMITTED:
                return page.upload.response
            for file in page.files:
                size = file.size if file.HasField("size") else None
                spans = tuple((span.offset, span.length) for span in file.spans)
                self._plan.persisted[file.path] = Persisted(size, nanoseconds_of(file.mtime), getattr(file, "try"), spans)
            if not page.next_page_token:
                return None
            request.page_token = page.next_page_token


def _damaged_path(failure: Failure) -> str | None:
    """The file that is to be sent again."""
    if failure.reason in ("CHECKSUM_MISMATCH", "PERSISTED_MISSING"):
        return failure.metadata.get("path")
    return None
