"""What a failed call says, and the error that callers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import grpc
from google.protobuf.any_pb2 import Any as _Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from ._errors import ArtifactsDownloadError, ArtifactsUploadError, DstackError, RunNotFoundError, TagNotFoundError
from ._paths import quote

ERROR_DOMAIN = "artifacts.dstack.ai"
_DETAILS = "grpc-status-details-bin"
_NO_CONNECTION = ("failed to connect", "errors resolving", "DNS resolution failed")

# What was being done, which decides the error's class.
Doing = Literal["upload", "download", "other"]


@dataclass(frozen=True)
class Failure:
    """What the status of a failed call says."""

    code: grpc.StatusCode
    message: str
    reason: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    # Seconds that the server asks to wait; None unless it says that a retry can help.
    retry_after: float | None = None

    @property
    def lost(self) -> bool:
        """Whether it is the connection's failure, not the server's answer: those carry a reason."""
        return self.reason is None and self.code is grpc.StatusCode.UNAVAILABLE

    @property
    def unreachable(self) -> bool:
        """Whether there was no connection to begin with. gRPC says so in words only."""
        return self.lost and any(words in self.message for words in _NO_CONNECTION)

    @property
    def temporary(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code is grpc.StatusCode.UNAVAILABLE or (
            self.code is grpc.StatusCode.RESOURCE_EXHAUSTED and self.retry_after is not None
        )


def failure_of(error: grpc.RpcError) -> Failure:
    """Reads a failed call's status."""
    if not isinstance(error, grpc.Call):
        return Failure(grpc.StatusCode.UNKNOWN, str(error))
    code, message = error.code(), error.details() or ""
    reason: str | None = None
    metadata: dict[str, str] = {}
    retry_after: float | None = None
    for detail in _details(error):
        info = error_details_pb2.ErrorInfo()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    if reason is None and _is_reset(code, message):
        code = grpc.StatusCode.UNAVAILABLE
    return Failure(code, " ".join(message.split()), reason, metadata, retry_after)


def _is_reset(code: grpc.StatusCode, message: str) -> bool:
    # By a server that goes away or has too many calls on the connection, or by what stands between.
    if code is grpc.StatusCode.CANCELLED:
        return True
    return (code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED) and "RST_STREAM" in message) or (
        code is grpc.StatusCode.UNKNOWN and message == "Stream removed"
    )


def _details(call: grpc.Call) -> list[_Any]:
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []


def to_error(failure: Failure, doing: Doing, url: str) -> DstackError:
    """The error that a caller sees."""
    reason, metadata = failure.reason, failure.metadata
    if reason in ("RUN_NOT_FOUND", "COMMIT_NOT_FOUND") and doing != "upload":
        return RunNotFoundError(_message(failure), reason=reason, metadata=metadata)
    if reason == "TAG_NOT_FOUND" and doing != "upload":
        return TagNotFoundError(_message(failure), reason=reason, metadata=metadata)
    if failure.lost and "handshake" in failure.message:
        message = f"no secure connection to {url}: {failure.message}"
    elif failure.unreachable:
        message = f"no server at {url}: start one with `dstack-artifacts serve`"
    elif failure.lost:
        message = f"the connection to {url} was lost: {failure.message}"
    elif reason is None and failure.code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"{url} is not a server of artifacts: {failure.message}"
    else:
        message = _message(failure)
    return error_class(doing)(message, reason=reason, metadata=metadata)


def error_class(doing: Doing) -> type[DstackError]:
    """The class of the errors of what is being done."""
    if doing == "upload":
        return ArtifactsUploadError
    return ArtifactsDownloadError if doing == "download" else DstackError


def tag_exists(tag: str) -> str:
    """The message for a tag that exists."""
    return f"tag {quote(tag)} already exists"


def _message(failure: Failure) -> str:
    metadata = failure.metadata
    if failure.reason == "TAG_EXISTS" and "tag" in metadata:
        return tag_exists(metadata["tag"])
    if failure.reason == "RUN_NOT_FOUND" and "run" in metadata:
        return f"run {quote(metadata['run'])} not found"
    if failure.reason == "TAG_NOT_FOUND" and "tag" in metadata:
        return f"tag {quote(metadata['tag'])} not found"
    return failure.message or (failure.reason or failure.code.name).lower().replace("_", " ")
