"""
What grpcio can do at the best: the generated stubs and a stream of one buffer, without files, checks and resuming. `upload BYTES` to a
server that discards them, or `download RUN PATH`; DSTACK_ARTIFACTS_URL names the server, a Unix socket. Prints what that took as JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import grpc
from dstack.artifacts.v1 import artifacts_pb2 as pb
from dstack.artifacts.v1 import entries_pb2 as entries
from dstack.artifacts.v1.artifacts_pb2_grpc import ArtifactsServiceStub
from python_usage import measured

CHUNK_BYTES = 1024 * 1024
# As our client has it, but that gRPC may widen it here by what it measures.
WINDOW_BYTES = 4 * 1024 * 1024


def messages(size: int) -> Iterator[pb.UploadRequest]:
    chunk = bytes(CHUNK_BYTES)
    yield pb.UploadRequest(start=pb.UploadStart(upload_id="0123456789abcdef"))
    yield pb.UploadRequest(file=entries.EntryHeader(path="f", type=entries.ENTRY_TYPE_FILE, size=size))
    for left in range(size, 0, -CHUNK_BYTES):
        yield pb.UploadRequest(chunk=chunk[:left])
    yield pb.UploadRequest(file_end=entries.FileEnd(size=size))
    yield pb.UploadRequest(finish=pb.UploadFinish(files=1, bytes=size))


def main(direction: str, *given: str) -> None:
    options = [("grpc.default_authority", "localhost"), ("grpc.http2.lookahead_bytes", WINDOW_BYTES)]
    with grpc.insecure_channel(os.environ["DSTACK_ARTIFACTS_URL"], options=options) as channel:
        stub = ArtifactsServiceStub(channel)
        if direction == "upload":
            measured(lambda: stub.Upload(messages(int(given[0]))).bytes)
        else:
            run, path = given
            request = pb.DownloadRequest(reference=pb.Reference(run=pb.RunReference(name=run)), path=path)
            measured(lambda: sum(len(message.chunk) for message in stub.Download(request)))


if __name__ == "__main__":
    main(*sys.argv[1:])
