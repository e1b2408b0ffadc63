"""The messages of a download, received on a thread of their own while the ones before are used."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ._connection import Connection, Incoming
from ._errors import ArtifactsDownloadError
from ._pipe import Pipe
from .v1 import artifacts_pb2 as pb


@contextmanager
def receive(connection: Connection, request: pb.DownloadRequest) -> Iterator[Iterator[Incoming]]:
    """Gives messages and, as bytes, chunks. They end when the server said that all is well; else with grpc.RpcError."""
    channel = connection.open()
    call = channel.download(request, metadata=connection.metadata)
    pipe: Pipe[Incoming] = Pipe()
    thread = threading.Thread(target=_pump, args=(call, pipe), name="dstack-artifacts-receive", daemon=True)
    with channel.watching(call):
        thread.start()
        try:
            yield pipe
        finally:
            pipe.leave()
            call.cancel()
            thread.join()


def _pump(call: Iterable[Incoming], pipe: Pipe[Incoming]) -> None:
    finished = False
    try:
        for message in call:
            if isinstance(message, bytes):
                size = len(message)
            else:
                size = len(message.chunk)
                finished = message.WhichOneof("message") == "finish"
            if not pipe.put(message, size):
                return
    except Exception as error:  # Whatever it is, it is the other thread's.
        pipe.close(error)
    else:
        pipe.close(None if finished else ArtifactsDownloadError("the server ended the download before it was complete"))
