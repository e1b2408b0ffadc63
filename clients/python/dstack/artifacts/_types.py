"""What calls give back. Nothing here loads gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

EntryType = Literal["file", "folder", "link"]


@dataclass(frozen=True)
class UploadResult:
    """An upload that is durable and visible.

    Attributes:
        run: The run that the files are in.
        commit: The number of the commit in the run, from 1.
        tag: The tag that was made; None if none was asked for.
        files: Files and links that were uploaded.
        bytes: Bytes of the files.
        skipped: Sockets, FIFOs and devices that were left out.
    """

    run: str
    commit: int
    tag: str | None
    files: int
    bytes: int
    skipped: int


@dataclass(frozen=True)
class DownloadResult:
    """A download that is complete.

    Attributes:
        run: The run that the files are from.
        commit: The commit that was downloaded.
        files: Files and links that are there now, those that were there before included.
        bytes: Bytes of the files.
    """

    run: str
    commit: int
    files: int
    bytes: int


@dataclass(frozen=True)
class CopyResult:
    """A copy that is durable and visible.

    Attributes:
        run: The run that was added to.
        commit: The number of the new commit, from 1.
        files: Files and links in it.
        bytes: Bytes of the files.
    """

    run: str
    commit: int
    files: int
    bytes: int


@dataclass(frozen=True)
class Entry:
    """A file, folder or link in a run.

    Attributes:
        path: The whole path, from the run's root.
        type: `"file"`, `"folder"` or `"link"`.
        size: Bytes of a file; None for folders and links.
        mode: Permission bits; None for links, and for folders that were never uploaded themselves.
        mtime_ns: Modification time in nanoseconds since 1970; None for folders that were never uploaded themselves.
        crc32c: CRC32C (Castagnoli) of a file's bytes; None for folders and links.
        link_target: What a link points to; None for files and folders.
    """

    path: str
    type: EntryType
    size: int | None
    mode: int | None
    mtime_ns: int | None
    crc32c: int | None
    link_target: str | None


@dataclass(frozen=True)
class Listing:
    """What a run or a tag shows.

    Attributes:
        entries: Files, folders and links, a folder right before what is in it.
        files: Files and links under the prefix, at any depth.
        bytes: Their bytes.
        run: The run that was listed.
        commit: The commit that was listed.
    """

    entries: tuple[Entry, ...]
    files: int
    bytes: int
    run: str
    commit: int


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        name: Its name.
        commits: How many commits it has since it was last deleted.
        newest_commit: The number of its newest commit.
        files: Files and links that the newest commit shows.
        bytes: Their bytes.
        created: When its first commit was made, by the server's clock, in UTC.
        tags: The tags that name it at any commit, sorted.
    """

    name: str
    commits: int
    newest_commit: int
    files: int
    bytes: int
    created: datetime
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Tag:
    """A tag.

    Attributes:
        name: Its name.
        run: The run that it names.
        commit: The commit that it shows.
        path: The file or folder that it shows; None for everything.
        created: When it was made, by the server's clock, in UTC.
    """

    name: str
    run: str
    commit: int
    path: str | None
    created: datetime


@dataclass(frozen=True)
class Upload:
    """An upload that was started and is not committed.

    Attributes:
        upload_id: Its id, with which it can be gone on with.
        run: The run that it adds to.
        tag: The tag that it makes; None if none.
        created: When it was started, by the server's clock, in UTC.
        state: `"open"`, or `"finishing"`: all of it arrived, but its commit was perhaps not made.
    """

    upload_id: str
    run: str
    tag: str | None
    created: datetime
    state: Literal["open", "finishing"]


@dataclass(frozen=True)
class DamagedFile:
    """A file that is not as it was uploaded.

    Attributes:
        path: Its path.
        problem: What is wrong with it, for a person to read.
    """

    path: str
    problem: str


@dataclass(frozen=True)
class VerifyResult:
    """What a check found.

    Attributes:
        files: Files that were checked, the damaged ones included.
        bytes: Their bytes.
        damaged: The files that are damaged.
    """

    files: int
    bytes: int
    damaged: tuple[DamagedFile, ...]


@dataclass(frozen=True)
class GarbageResult:
    """What a collection of garbage did, or with `dry_run` would have done.

    Attributes:
        scanned_objects: Objects that were looked at.
        condemned_objects: Objects that nothing reaches, to be deleted a grace period later.
        condemned_bytes: Their bytes.
        deleted_objects: Objects that were deleted.
        deleted_bytes: Their bytes.
    """

    scanned_objects: int
    condemned_objects: int
    condemned_bytes: int
    deleted_objects: int
    deleted_bytes: int


@dataclass(frozen=True)
class ServerInfo:
    """What a server is.

    Attributes:
        version: Its version, as semantic versioning has it.
        project: The project for calls that name none.
        run: The current run, for uploads that name none.
        store_kind: `"file"`, `"memory"`, `"s3"`, `"azure"` or `"gcs"`.
    """

    version: str
    project: str
    run: str
    store_kind: str
