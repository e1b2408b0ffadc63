"""Artifacts of machine learning runs, on your own storage.

    from dstack import artifacts

    artifacts.upload("datasets/dataset1", tag="my_tag")
    artifacts.download(tag="my_tag", local_path="./data")

The functions here are methods of a `Client` that is made from the environment, as it is at each call: `DSTACK_ARTIFACTS_URL`,
`DSTACK_ARTIFACTS_TOKEN`, `DSTACK_PROJECT`, and `DSTACK_RUN_NAME` or `RUN_NAME`. Make a `Client` of your own for anything else.
`dstack.artifacts.aio` has the same names for asyncio. What goes wrong is a `DstackError`.
"""

from __future__ import annotations

import pkgutil as _pkgutil
import typing as _typing

from ._client import Client
from ._client import client_with as _client_with
from ._errors import ArtifactsDownloadError, ArtifactsUploadError, DstackError, RunNotFoundError, TagNotFoundError
from ._types import (
    CopyResult,
    DamagedFile,
    DownloadResult,
    Entry,
    GarbageResult,
    Listing,
    Run,
    ServerInfo,
    Tag,
    Upload,
    UploadResult,
    VerifyResult,
)

if _typing.TYPE_CHECKING:
    from .aio import AsyncClient as AsyncClient

# In a checkout the generated stubs are in a folder of their own.
__path__ = _pkgutil.extend_path(__path__, __name__)

_client = _client_with(None)
upload = _client.upload
upload_bytes = _client.upload_bytes
download = _client.download
open = _client.open
read = _client.read
stream = _client.stream
list = _client.list
runs = _client.runs
run = _client.run
delete_run = _client.delete_run
tags = _client.tags
tag = _client.tag
create_tag = _client.create_tag
delete_tag = _client.delete_tag
copy = _client.copy
verify = _client.verify
collect_garbage = _client.collect_garbage
uploads = _client.uploads
abort_upload = _client.abort_upload
server_info = _client.server_info

# All but `list` and `open`, which must not take the place of Python's own.
__all__ = [
    "ArtifactsDownloadError",
    "ArtifactsUploadError",
    "AsyncClient",
    "Client",
    "CopyResult",
    "DamagedFile",
    "DownloadResult",
    "DstackError",
    "Entry",
    "GarbageResult",
    "Listing",
    "Run",
    "RunNotFoundError",
    "ServerInfo",
    "Tag",
    "TagNotFoundError",
    "Upload",
    "UploadResult",
    "VerifyResult",
    "abort_upload",
    "aio",
    "collect_garbage",
    "copy",
    "create_tag",
    "delete_run",
    "delete_tag",
    "download",
    "read",
    "run",
    "runs",
    "server_info",
    "stream",
    "tag",
    "tags",
    "upload",
    "upload_bytes",
    "uploads",
    "verify",
]


def __getattr__(name: str) -> object:
    # asyncio is loaded by those who use it.
    if name in ("AsyncClient", "aio"):
        from importlib import import_module

        aio = import_module(f"{__name__}.aio")
        return aio if name == "aio" else aio.AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
