"""What a client does with a server that breaks off, or finds damage, again and again: no real one can be made to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import grpc
import pytest
from dstack import artifacts
from dstack.artifacts import Client, _upload
from dstack.artifacts._status import ERROR_DOMAIN
from dstack.artifacts.v1 import artifacts_pb2 as pb
from dstack.artifacts.v1 import entries_pb2 as entries
from dstack.artifacts.v1.artifacts_pb2_grpc import ArtifactsServiceServicer, add_ArtifactsServiceServicer_to_server
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

CONTENT = b"content"
CRC32C = google_crc32c.value(CONTENT)
# Calls after which a server that breaks off says something else, so that a client that never gives up is found out.
TOO_MANY = 60


@contextmanager
def serving(servicer: ArtifactsServiceServicer, folder: Path, timeout: float) -> Iterator[Client]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_ArtifactsServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix://{folder}/faulty.sock")
    server.start()
    try:
        with Client(f"unix://{folder}/faulty.sock", project="p", timeout=timeout) as client:
            yield client
    finally:
        server.stop(None)


def fail(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str, path: str) -> None:
    info = Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN, metadata={"path": path}))
    status = status_pb2.Status(code=code.value[0], message=f"{path}: {reason}", details=[info])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, f"{path}: {reason}")


class BreaksOff(ArtifactsServiceServicer):
    """Has files `a` and `b`, and breaks each download off behind what `sent` gives of it, unless that is all."""

    def __init__(self, sent: Callable[[pb.DownloadRequest], Iterator[pb.DownloadResponse]]):
        self.calls = 0
        self._sent = sent

    def ListEntries(self, request: pb.ListEntriesRequest, context: grpc.ServicerContext) -> pb.ListEntriesResponse:  # noqa: N802
        listed = [entries.Entry(path=path, type=entries.ENTRY_TYPE_FILE, size=len(CONTENT), crc32c=CRC32C) for path in "ab"]
        return pb.ListEntriesResponse(run="r", commit=1, entries=listed, total_files=2, total_bytes=2 * len(CONTENT))

    def Download(self, request: pb.DownloadRequest, context: grpc.ServicerContext) -> Iterator[pb.DownloadResponse]:  # noqa: N802
        self.calls += 1
        if self.calls > TOO_MANY:
            context.abort(grpc.StatusCode.INTERNAL, "called without end")
        yield pb.DownloadResponse(start=pb.DownloadStart(run="r", commit=1))
        for response in self._sent(request):
            yield response
            if response.HasField("finish"):
                return
        # What was sent right before would be lost with the connection.
        time.sleep(0.01)
        context.abort(grpc.StatusCode.UNAVAILABLE, "the server went away")


def header(path: str, offset: int = 0) -> pb.DownloadResponse:
    file = entries.EntryHeader(path=path, type=entries.ENTRY_TYPE_FILE, size=len(CONTENT), crc32c=CRC32C, offset=offset)
    return pb.DownloadResponse(file=file)


def nothing(_: pb.DownloadRequest) -> Iterator[pb.DownloadResponse]:
    yield from ()


def only_the_header(request: pb.DownloadRequest) -> Iterator[pb.DownloadResponse]:
    yield header("b" if request.start_after else "a", request.held[0].length if request.held else 0)


def the_first_file_and_a_header(request: pb.DownloadRequest) -> Iterator[pb.DownloadResponse]:
    if not request.start_after:
        yield header("a")
        yield pb.DownloadResponse(chunk=CONTENT)
        yield pb.DownloadResponse(file_end=entries.FileEnd(size=len(CONTENT), crc32c=CRC32C))
    yield header("b")


@pytest.mark.parametrize("sent", [nothing, only_the_header, the_first_file_and_a_header])
def test_a_download_of_which_nothing_comes_gives_up(
    sent: Callable[[pb.DownloadRequest], Iterator[pb.DownloadResponse]], tmp_path: Path, work: Path
) -> None:
    gives_up = pytest.raises(artifacts.ArtifactsDownloadError, match=r"the connection .* was lost: the server went away")
    with serving(BreaksOff(sent), tmp_path, timeout=0.5) as client, gives_up:
        client.download("r", local_path="out")
    assert (work / "out/a").exists() == (sent is the_first_file_and_a_header)


def test_a_download_goes_on_for_as_long_as_bytes_come(tmp_path: Path, work: Path) -> None:
    def one_byte(request: pb.DownloadRequest) -> Iterator[pb.DownloadResponse]:
        path = "b" if request.start_after else "a"
        held = {file.path: file.length for file in request.held}
        at = held.get(path, 0)
        yield header(path, at)
        if at < len(CONTENT):
            yield pb.DownloadResponse(chunk=CONTENT[at : at + 1])
        else:
            yield pb.DownloadResponse(file_end=entries.FileEnd(size=len(CONTENT), crc32c=CRC32C))
            if path == "b":
                yield pb.DownloadResponse(finish=pb.DownloadFinish(files=2, bytes=2 * len(CONTENT)))

    server = BreaksOff(one_byte)
    with serving(server, tmp_path, timeout=0.5) as client:
        assert client.download("r", local_path="out").files == 2
    assert server.calls >= 2 * len(CONTENT)
    assert (work / "out/a").read_bytes() == (work / "out/b").read_bytes() == CONTENT


class FindsDamage(ArtifactsServiceServicer):
    """Says of each file, one after the other, that it arrived damaged: so many times."""

    def __init__(self, times: int):
        self.sends: Counter[str] = Counter()
        self._times = times

    def GetServerInfo(self, request: pb.GetServerInfoRequest, context: grpc.ServicerContext) -> pb.GetServerInfoResponse:  # noqa: N802
        return pb.GetServerInfoResponse()

    def GetUpload(self, request: pb.GetUploadRequest, context: grpc.ServicerContext) -> pb.GetUploadResponse:  # noqa: N802
        return pb.GetUploadResponse(upload=pb.Upload(state=pb.UPLOAD_STATE_OPEN))

    def Upload(self, requests: Iterator[pb.UploadRequest], context: grpc.ServicerContext) -> pb.UploadResponse:  # noqa: N802
        for request in requests:
            path = request.file.path
            if request.file.type == entries.ENTRY_TYPE_FILE:
                self.sends[path] += 1
                if self.sends[path] <= self._times:
                    fail(context, grpc.StatusCode.DATA_LOSS, "CHECKSUM_MISMATCH", path)
        return pb.UploadResponse(run="r", commit=1, files=3, bytes=3)


@pytest.mark.parametrize("more", [0, 1])
def test_each_file_that_arrives_damaged_is_sent_again(more: int, tmp_path: Path, work: Path) -> None:
    for name in "abc":
        (work / "in" / name).parent.mkdir(exist_ok=True)
        (work / "in" / name).write_bytes(b"x")
    server = FindsDamage(_upload.DAMAGED_FILE_SENDS - 1 + more)
    with serving(server, tmp_path, timeout=5) as client:
        if more:
            with pytest.raises(artifacts.ArtifactsUploadError) as caught:
                client.upload("in", run="r")
            assert (caught.value.reason, caught.value.metadata["path"]) == ("CHECKSUM_MISMATCH", "in/a")
            assert server.sends == {"in/a": _upload.DAMAGED_FILE_SENDS}
        else:
            assert client.upload("in", run="r").files == 3
            assert server.sends["in/c"] == _upload.DAMAGED_FILE_SENDS
