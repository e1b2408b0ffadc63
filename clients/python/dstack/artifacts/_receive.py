"""
The messages of a download. They are used on the thread that receives them: gRPC's own threads read on meanwhile, up to its window, and a
thread in between costs more than it gains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import grpc

from ._chunks import Received
from ._connection import Connection
from ._errors import ArtifactsDownloadError
from .v1 import artifacts_pb2 as pb


@contextmanager
def receive(connection: Connection, request: pb.DownloadRequest) -> Iterator[Iterator[Received]]:
    """Gives messages and, as views, chunks. They end when the server said that all is well; else with grpc.RpcError."""
    channel = connection.open()
    call = channel.download(request, metadata=connection.metadata)
    with channel.watching(call):
        try:
            yield _until_finish(call)
        finally:
            call.cancel()
            _drain(call)


def _until_finish(call: Iterable[Received]) -> Iterator[Received]:
    finished = False
    for message in call:
        if not isinstance(message, memoryview):
            finished = message.WhichOneof("message") == "finish"
        yield message
    if not finished:
        raise ArtifactsDownloadError("the server ended the download before it was complete")


def _drain(call: Iterable[Received]) -> None:
    """Takes what is left of a call that has ended or was cancelled, which comes at once: until then gRPC keeps it with its channel."""
    # An interrupt in the middle of a read leaves that read open, and gRPC's answer to another one is a ValueError.
    with suppress(grpc.RpcError, ValueError):
        deque(call, maxlen=0)
