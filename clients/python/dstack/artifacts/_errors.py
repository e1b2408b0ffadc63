"""The errors that callers see. Nothing here loads gRPC."""

from __future__ import annotations

from collections.abc import Mapping


class DstackError(Exception):
    """Anything that went wrong. Its text is one line that names what failed.

    Attributes:
        reason: Why, as a name of the protocol's `ErrorReason` (`"TAG_EXISTS"`, for example); None where no server said it.
        metadata: What the protocol gives with the reason: names of runs, tags and paths.
    """

    reason: str | None
    metadata: Mapping[str, str]

    def __init__(self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = dict(metadata or {})


class ArtifactsUploadError(DstackError):
    """An upload failed. Nothing of it can be seen.

    Attributes:
        upload_id: Given to the same upload again, it goes on where this one stopped; None if nothing was begun.
    """

    upload_id: str | None = None


class ArtifactsDownloadError(DstackError):
    """A download failed. Files that were complete are there, others are not."""


class RunNotFoundError(ArtifactsDownloadError):
    """There is no such run, or the run has no such commit."""


class TagNotFoundError(ArtifactsDownloadError):
    """There is no such tag."""
