"""What there is: listings, runs, tags, uploads; and what is done in the store, without moving bytes to here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ._connection import Connection
from ._errors import DstackError
from ._read import entry_of
from ._reference import checked_path, reference_of
from ._types import CopyResult, DamagedFile, Entry, GarbageResult, Listing, Run, ServerInfo, Tag, Upload, VerifyResult
from .v1 import artifacts_pb2 as pb

_LISTING_PAGE = 10_000
_PAGE = 1000


def list_entries(connection: Connection, reference: pb.Reference, prefix: str | None, recursive: bool) -> Listing:
    """What `Client.list` does."""
    request = pb.ListEntriesRequest(
        project=connection.settings.project,
        reference=reference,
        prefix=checked_path(prefix, DstackError),
        recursive=recursive,
        page_size=_LISTING_PAGE,
    )
    found: list[Entry] = []
    patience = connection.patience()
    while True:
        page = connection.unary(lambda stub: stub.ListEntries, request, patience=patience)
        found.extend(map(entry_of, page.entries))
        if not page.next_page_token:
            return Listing(tuple(found), page.total_files, page.total_bytes, page.run, page.commit)
        request.page_token = page.next_page_token


def list_runs(connection: Connection) -> list[Run]:
    """What `Client.runs` does."""
    request = pb.ListRunsRequest(project=connection.settings.project, page_size=_PAGE)
    found: list[Run] = []
    patience = connection.patience()
    while True:
        page = connection.unary(lambda stub: stub.ListRuns, request, patience=patience)
        found.extend(map(_run_of, page.runs))
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def get_run(connection: Connection, name: str) -> Run:
    """What `Client.run` does."""
    request = pb.GetRunRequest(project=connection.settings.project, run=name)
    return _run_of(connection.unary(lambda stub: stub.GetRun, request).run)


def delete_run(connection: Connection, name: str, force: bool) -> list[str]:
    """What `Client.delete_run` does."""
    request = pb.DeleteRunRequest(project=connection.settings.project, run=name, force=force, request_id=str(uuid.uuid4()))
    return list(connection.unary(lambda stub: stub.DeleteRun, request).tags)


def list_tags(connection: Connection) -> list[Tag]:
    """What `Client.tags` does."""
    request = pb.ListTagsRequest(project=connection.settings.project, page_size=_PAGE)
    found: list[Tag] = []
    patience = connection.patience()
    while True:
        page = connection.unary(lambda stub: stub.ListTags, request, patience=patience)
        found.extend(map(_tag_of, page.tags))
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def get_tag(connection: Connection, name: str) -> Tag:
    """What `Client.tag` does."""
    request = pb.GetTagRequest(project=connection.settings.project, tag=name)
    return _tag_of(connection.unary(lambda stub: stub.GetTag, request).tag)


def create_tag(connection: Connection, name: str, run: str, commit: int | None, path: str | None) -> Tag:
    """What `Client.create_tag` does."""
    request = pb.CreateTagRequest(
        project=connection.settings.project,
        tag=name,
        run=run,
        commit=commit or 0,
        path=checked_path(path, DstackError),
        request_id=str(uuid.uuid4()),
    )
    return _tag_of(connection.unary(lambda stub: stub.CreateTag, request).tag)


def delete_tag(connection: Connection, name: str) -> None:
    """What `Client.delete_tag` does."""
    request = pb.DeleteTagRequest(project=connection.settings.project, tag=name, request_id=str(uuid.uuid4()))
    connection.unary(lambda stub: stub.DeleteTag, request)


def copy(connection: Connection, source: pb.Reference, artifact_path: str | None, to_run: str, to_path: str | None) -> CopyResult:
    """What `Client.copy` does."""
    request = pb.CopyRequest(
        project=connection.settings.project,
        source=source,
        source_path=checked_path(artifact_path, DstackError),
        run=to_run,
        path=None if to_path is None else checked_path(to_path, DstackError),
        request_id=str(uuid.uuid4()),
    )
    copied = connection.unary(lambda stub: stub.Copy, request)
    return CopyResult(copied.run, copied.commit, copied.files, copied.bytes)


def verify(connection: Connection, reference: pb.Reference, on_progress: Callable[[int, int], None] | None) -> VerifyResult:
    """What `Client.verify` does."""
    request = pb.VerifyRequest(project=connection.settings.project, reference=reference)
    damaged: list[DamagedFile] = []
    for message in connection.stream(lambda stub: stub.Verify, request):
        match message.WhichOneof("message"):
            case "damaged":
                damaged.append(DamagedFile(message.damaged.path, message.damaged.problem))
            case "progress":
                if on_progress is not None:
                    on_progress(message.progress.bytes, message.progress.total_bytes)
            case "finish":
                return VerifyResult(message.finish.files, message.finish.bytes, tuple(damaged))
    raise DstackError("the server ended the check before it was complete")


def collect_garbage(connection: Connection, grace: timedelta | None, dry_run: bool) -> GarbageResult:
    """What `Client.collect_garbage` does."""
    request = pb.CollectGarbageRequest(dry_run=dry_run)
    if grace is not None:
        duration = Duration()
        duration.FromTimedelta(grace)
        request.grace.CopyFrom(duration)
    for message in connection.stream(lambda stub: stub.CollectGarbage, request):
        if message.done:
            return GarbageResult(
                message.scanned_objects,
                message.condemned_objects,
                message.condemned_bytes,
                message.deleted_objects,
                message.deleted_bytes,
            )
    raise DstackError("the server ended the collection before it was complete")


def list_uploads(connection: Connection) -> list[Upload]:
    """What `Client.uploads` does."""
    request = pb.ListUploadsRequest(project=connection.settings.project, page_size=_PAGE)
    found: list[Upload] = []
    patience = connection.patience()
    while True:
        page = connection.unary(lambda stub: stub.ListUploads, request, patience=patience)
        found.extend(map(_upload_of, page.uploads))
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def abort_upload(connection: Connection, upload_id: str) -> None:
    """What `Client.abort_upload` does."""
    request = pb.AbortUploadRequest(project=connection.settings.project, upload_id=upload_id)
    connection.unary(lambda stub: stub.AbortUpload, request)


def server_info(connection: Connection) -> ServerInfo:
    """What `Client.server_info` does."""
    info = connection.unary(lambda stub: stub.GetServerInfo, pb.GetServerInfoRequest())
    return ServerInfo(info.version, info.project, info.run, info.store_kind)


def other_reference(run: str | None, tag: str | None, commit: int | None) -> pb.Reference:
    """A reference whose errors are no download's."""
    return reference_of(run, tag, commit, DstackError)


def _run_of(run: pb.Run) -> Run:
    return Run(run.name, run.commits, run.newest_commit, run.files, run.bytes, _time_of(run.created), tuple(run.tags))


def _tag_of(tag: pb.Tag) -> Tag:
    return Tag(tag.name, tag.run, tag.commit, tag.path or None, _time_of(tag.created))


def _upload_of(upload: pb.Upload) -> Upload:
    state = upload.state
    return Upload(
        upload.upload_id,
        upload.run,
        upload.tag or None,
        _time_of(upload.created),
        "finishing" if state == pb.UPLOAD_STATE_FINISHING else "open",
    )


def _time_of(time: Timestamp) -> datetime:
    return time.ToDatetime(timezone.utc)
