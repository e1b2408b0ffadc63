import datetime

from dstack.artifacts.v1 import entries_pb2 as _entries_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPLOAD_STATE_UNSPECIFIED: _ClassVar[UploadState]
    UPLOAD_STATE_OPEN: _ClassVar[UploadState]
    UPLOAD_STATE_FINISHING: _ClassVar[UploadState]
    UPLOAD_STATE_COMMITTED: _ClassVar[UploadState]
    UPLOAD_STATE_ABORTED: _ClassVar[UploadState]
UPLOAD_STATE_UNSPECIFIED: UploadState
UPLOAD_STATE_OPEN: UploadState
UPLOAD_STATE_FINISHING: UploadState
UPLOAD_STATE_COMMITTED: UploadState
UPLOAD_STATE_ABORTED: UploadState

class Reference(_message.Message):
    __slots__ = ("run", "tag")
    RUN_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    run: RunReference
    tag: str
    def __init__(self, run: _Optional[_Union[RunReference, _Mapping]] = ..., tag: _Optional[str] = ...) -> None: ...

class RunReference(_message.Message):
    __slots__ = ("name", "commit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    commit: int
    def __init__(self, name: _Optional[str] = ..., commit: _Optional[int] = ...) -> None: ...

class UploadRequest(_message.Message):
    __slots__ = ("start", "file", "chunk", "skip", "file_end", "finish")
    START_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    FILE_END_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    start: UploadStart
    file: _entries_pb2.EntryHeader
    chunk: bytes
    skip: int
    file_end: _entries_pb2.FileEnd
    finish: UploadFinish
    def __init__(self, start: _Optional[_Union[UploadStart, _Mapping]] = ..., file: _Optional[_Union[_entries_pb2.EntryHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ..., skip: _Optional[int] = ..., file_end: _Optional[_Union[_entries_pb2.FileEnd, _Mapping]] = ..., finish: _Optional[_Union[UploadFinish, _Mapping]] = ...) -> None: ...

class UploadStart(_message.Message):
    __slots__ = ("upload_id", "project", "run", "tag")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    project: str
    run: str
    tag: str
    def __init__(self, upload_id: _Optional[str] = ..., project: _Optional[str] = ..., run: _Optional[str] = ..., tag: _Optional[str] = ...) -> None: ...

class UploadFinish(_message.Message):
    __slots__ = ("files", "bytes")
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    files: int
    bytes: int
    def __init__(self, files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class UploadResponse(_message.Message):
    __slots__ = ("project", "run", "commit", "tag", "files", "bytes")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    project: str
    run: str
    commit: int
    tag: str
    files: int
    bytes: int
    def __init__(self, project: _Optional[str] = ..., run: _Optional[str] = ..., commit: _Optional[int] = ..., tag: _Optional[str] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class GetUploadRequest(_message.Message):
    __slots__ = ("project", "upload_id", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    upload_id: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., upload_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetUploadResponse(_message.Message):
    __slots__ = ("upload", "files", "next_page_token")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    upload: Upload
    files: _containers.RepeatedCompositeFieldContainer[PersistedFile]
    next_page_token: str
    def __init__(self, upload: _Optional[_Union[Upload, _Mapping]] = ..., files: _Optional[_Iterable[_Union[PersistedFile, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("upload_id", "run", "tag", "created", "state", "response")
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    upload_id: str
    run: str
    tag: str
    created: _timestamp_pb2.Timestamp
    state: UploadState
    response: UploadResponse
    def __init__(self, upload_id: _Optional[str] = ..., run: _Optional[str] = ..., tag: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[UploadState, str]] = ..., response: _Optional[_Union[UploadResponse, _Mapping]] = ...) -> None: ...

class PersistedFile(_message.Message):
    __slots__ = ("path", "size", "mtime", "spans")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MTIME_FIELD_NUMBER: _ClassVar[int]
    TRY_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    mtime: _timestamp_pb2.Timestamp
    spans: _containers.RepeatedCompositeFieldContainer[ByteSpan]
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., mtime: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., spans: _Optional[_Iterable[_Union[ByteSpan, _Mapping]]] = ..., **kwargs) -> None: ...

class ByteSpan(_message.Message):
    __slots__ = ("offset", "length")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    offset: int
    length: int
    def __init__(self, offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ListUploadsRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListUploadsResponse(_message.Message):
    __slots__ = ("uploads", "next_page_token")
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    uploads: _containers.RepeatedCompositeFieldContainer[Upload]
    next_page_token: str
    def __init__(self, uploads: _Optional[_Iterable[_Union[Upload, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AbortUploadRequest(_message.Message):
    __slots__ = ("project", "upload_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    upload_id: str
    def __init__(self, project: _Optional[str] = ..., upload_id: _Optional[str] = ...) -> None: ...

class AbortUploadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DownloadRequest(_message.Message):
    __slots__ = ("project", "reference", "path", "range", "start_after", "end_at", "held")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    START_AFTER_FIELD_NUMBER: _ClassVar[int]
    END_AT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    project: str
    reference: Reference
    path: str
    range: ByteRange
    start_after: str
    end_at: str
    held: _containers.RepeatedCompositeFieldContainer[HeldFile]
    def __init__(self, project: _Optional[str] = ..., reference: _Optional[_Union[Reference, _Mapping]] = ..., path: _Optional[str] = ..., range: _Optional[_Union[ByteRange, _Mapping]] = ..., start_after: _Optional[str] = ..., end_at: _Optional[str] = ..., held: _Optional[_Iterable[_Union[HeldFile, _Mapping]]] = ...) -> None: ...

class ByteRange(_message.Message):
    __slots__ = ("offset", "length")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    offset: int
    length: int
    def __init__(self, offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class HeldFile(_message.Message):
    __slots__ = ("path", "length")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    path: str
    length: int
    def __init__(self, path: _Optional[str] = ..., length: _Optional[int] = ...) -> None: ...

class DownloadResponse(_message.Message):
    __slots__ = ("start", "file", "chunk", "file_end", "finish")
    START_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FILE_END_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    start: DownloadStart
    file: _entries_pb2.EntryHeader
    chunk: bytes
    file_end: _entries_pb2.FileEnd
    finish: DownloadFinish
    def __init__(self, start: _Optional[_Union[DownloadStart, _Mapping]] = ..., file: _Optional[_Union[_entries_pb2.EntryHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ..., file_end: _Optional[_Union[_entries_pb2.FileEnd, _Mapping]] = ..., finish: _Optional[_Union[DownloadFinish, _Mapping]] = ...) -> None: ...

class DownloadStart(_message.Message):
    __slots__ = ("run", "commit")
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    run: str
    commit: int
    def __init__(self, run: _Optional[str] = ..., commit: _Optional[int] = ...) -> None: ...

class DownloadFinish(_message.Message):
    __slots__ = ("files", "bytes")
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    files: int
    bytes: int
    def __init__(self, files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("project", "reference", "prefix", "recursive", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    reference: Reference
    prefix: str
    recursive: bool
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., reference: _Optional[_Union[Reference, _Mapping]] = ..., prefix: _Optional[str] = ..., recursive: bool = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token", "total_files", "total_bytes", "run", "commit")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FILES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_entries_pb2.Entry]
    next_page_token: str
    total_files: int
    total_bytes: int
    run: str
    commit: int
    def __init__(self, entries: _Optional[_Iterable[_Union[_entries_pb2.Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_files: _Optional[int] = ..., total_bytes: _Optional[int] = ..., run: _Optional[str] = ..., commit: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("name", "commits", "newest_commit", "files", "bytes", "created", "tags")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_COMMIT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    commits: int
    newest_commit: int
    files: int
    bytes: int
    created: _timestamp_pb2.Timestamp
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., commits: _Optional[int] = ..., newest_commit: _Optional[int] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("project", "run")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    project: str
    run: str
    def __init__(self, project: _Optional[str] = ..., run: _Optional[str] = ...) -> None: ...

class GetRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("project", "run", "force", "request_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    run: str
    force: bool
    request_id: str
    def __init__(self, project: _Optional[str] = ..., run: _Optional[str] = ..., force: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteRunResponse(_message.Message):
    __slots__ = ("tags",)
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tags: _Optional[_Iterable[str]] = ...) -> None: ...

class Tag(_message.Message):
    __slots__ = ("name", "run", "commit", "path", "created")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    name: str
    run: str
    commit: int
    path: str
    created: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., run: _Optional[str] = ..., commit: _Optional[int] = ..., path: _Optional[str] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateTagRequest(_message.Message):
    __slots__ = ("project", "tag", "run", "commit", "path", "request_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    tag: str
    run: str
    commit: int
    path: str
    request_id: str
    def __init__(self, project: _Optional[str] = ..., tag: _Optional[str] = ..., run: _Optional[str] = ..., commit: _Optional[int] = ..., path: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateTagResponse(_message.Message):
    __slots__ = ("tag",)
    TAG_FIELD_NUMBER: _ClassVar[int]
    tag: Tag
    def __init__(self, tag: _Optional[_Union[Tag, _Mapping]] = ...) -> None: ...

class GetTagRequest(_message.Message):
    __slots__ = ("project", "tag")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    project: str
    tag: str
    def __init__(self, project: _Optional[str] = ..., tag: _Optional[str] = ...) -> None: ...

class GetTagResponse(_message.Message):
    __slots__ = ("tag",)
    TAG_FIELD_NUMBER: _ClassVar[int]
    tag: Tag
    def __init__(self, tag: _Optional[_Union[Tag, _Mapping]] = ...) -> None: ...

class ListTagsRequest(_message.Message):
    __slots__ = ("project", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTagsResponse(_message.Message):
    __slots__ = ("tags", "next_page_token")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[Tag]
    next_page_token: str
    def __init__(self, tags: _Optional[_Iterable[_Union[Tag, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteTagRequest(_message.Message):
    __slots__ = ("project", "tag", "request_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    tag: str
    request_id: str
    def __init__(self, project: _Optional[str] = ..., tag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteTagResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CopyRequest(_message.Message):
    __slots__ = ("project", "source", "source_path", "run", "path", "request_id")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    project: str
    source: Reference
    source_path: str
    run: str
    path: str
    request_id: str
    def __init__(self, project: _Optional[str] = ..., source: _Optional[_Union[Reference, _Mapping]] = ..., source_path: _Optional[str] = ..., run: _Optional[str] = ..., path: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CopyResponse(_message.Message):
    __slots__ = ("run", "commit", "files", "bytes")
    RUN_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    run: str
    commit: int
    files: int
    bytes: int
    def __init__(self, run: _Optional[str] = ..., commit: _Optional[int] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("project", "reference")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    project: str
    reference: Reference
    def __init__(self, project: _Optional[str] = ..., reference: _Optional[_Union[Reference, _Mapping]] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("progress", "damaged", "finish")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    progress: VerifyProgress
    damaged: DamagedFile
    finish: VerifyFinish
    def __init__(self, progress: _Optional[_Union[VerifyProgress, _Mapping]] = ..., damaged: _Optional[_Union[DamagedFile, _Mapping]] = ..., finish: _Optional[_Union[VerifyFinish, _Mapping]] = ...) -> None: ...

class VerifyProgress(_message.Message):
    __slots__ = ("files", "bytes", "total_files", "total_bytes")
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FILES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    files: int
    bytes: int
    total_files: int
    total_bytes: int
    def __init__(self, files: _Optional[int] = ..., bytes: _Optional[int] = ..., total_files: _Optional[int] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class DamagedFile(_message.Message):
    __slots__ = ("path", "problem")
    PATH_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    path: str
    problem: str
    def __init__(self, path: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class VerifyFinish(_message.Message):
    __slots__ = ("files", "bytes", "damaged")
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    files: int
    bytes: int
    damaged: int
    def __init__(self, files: _Optional[int] = ..., bytes: _Optional[int] = ..., damaged: _Optional[int] = ...) -> None: ...

class CollectGarbageRequest(_message.Message):
    __slots__ = ("grace", "dry_run")
    GRACE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    dry_run: bool
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., dry_run: bool = ...) -> None: ...

class CollectGarbageResponse(_message.Message):
    __slots__ = ("scanned_objects", "condemned_objects", "condemned_bytes", "deleted_objects", "deleted_bytes", "done")
    SCANNED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    CONDEMNED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    CONDEMNED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DELETED_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    DELETED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    scanned_objects: int
    condemned_objects: int
    condemned_bytes: int
    deleted_objects: int
    deleted_bytes: int
    done: bool
    def __init__(self, scanned_objects: _Optional[int] = ..., condemned_objects: _Optional[int] = ..., condemned_bytes: _Optional[int] = ..., deleted_objects: _Optional[int] = ..., deleted_bytes: _Optional[int] = ..., done: bool = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "project", "run", "store_kind", "max_chunk_bytes", "max_message_bytes", "capabilities")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    STORE_KIND_FIELD_NUMBER: _ClassVar[int]
    MAX_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    version: str
    project: str
    run: str
    store_kind: str
    max_chunk_bytes: int
    max_message_bytes: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., project: _Optional[str] = ..., run: _Optional[str] = ..., store_kind: _Optional[str] = ..., max_chunk_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ...) -> None: ...
