"""Bytes that come from memory, file objects and iterables, and go to file objects and streams."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from dstack import artifacts
from dstack.artifacts import Client

MIB = 1024 * 1024
BYTES = bytes(range(251)) * 20_000


def blocks_of(sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield BYTES[at : at + size]
        at += size
    yield BYTES[at:]


class Reader:
    """No more than `read`."""

    def __init__(self) -> None:
        self._file = io.BytesIO(BYTES)

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(min(size, 100_000))


def spooled() -> tempfile.SpooledTemporaryFile[bytes]:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(BYTES)
    file.seek(0)
    return file


SOURCES: dict[str, Callable[[], object]] = {
    "bytes": lambda: BYTES,
    "bytearray": lambda: bytearray(BYTES),
    "memoryview": lambda: memoryview(BYTES),
    "a memoryview of numbers": lambda: memoryview(BYTES[: len(BYTES) // 4 * 4]).cast("i"),
    "BytesIO": lambda: io.BytesIO(BYTES),
    "a buffered reader": lambda: io.BufferedReader(io.BytesIO(BYTES)),
    "a temporary file": spooled,
    "only read": Reader,
    "a list": lambda: [BYTES[:1000], BYTES[1000:]],
    "a generator of small pieces": lambda: blocks_of([1] * 1000),
    "a generator of large pieces": lambda: blocks_of([3 * MIB, 0, MIB, 7]),
    "a generator of chunks": lambda: blocks_of([MIB, MIB]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_can_be_uploaded(name: str, client: Client) -> None:
    source = SOURCES[name]()
    result = client.upload_bytes(source, "f", run="r")  # type: ignore[arg-type]
    if hasattr(source, "close"):
        source.close()
    expected = BYTES[: len(BYTES) // 4 * 4] if "numbers" in name else BYTES
    assert (result.files, result.bytes, result.skipped) == (1, len(expected), 0)
    assert client.read("f", run="r") == expected


def test_a_generator_that_fills_one_buffer_again_and_again(client: Client) -> None:
    def source() -> Iterator[bytearray]:
        buffer = bytearray(1000)
        for at in range(3000):
            buffer[:] = bytes([at % 256]) * 1000
            yield buffer

    client.upload_bytes(source(), "f", run="r")
    assert client.read("f", run="r") == b"".join(bytes([at % 256]) * 1000 for at in range(3000))


def test_a_file_object_is_read_from_where_it_stands(client: Client) -> None:
    file = io.BytesIO(b"headbody")
    file.seek(4)
    client.upload_bytes(file, "f", run="r")
    assert client.read("f", run="r") == b"body"


def test_nothing_is_a_file_too(client: Client) -> None:
    for name, source in {"bytes": b"", "iterable": iter(()), "file": io.BytesIO()}.items():
        assert client.upload_bytes(source, name, run="r").bytes == 0
        assert client.read(name, run="r") == b""
        with client.open(name, run="r") as file:
            assert file.read() == b""


def test_what_a_source_raises_goes_through_and_nothing_is_seen(client: Client) -> None:
    def source() -> Iterator[bytes]:
        yield b"x" * 3 * MIB
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        client.upload_bytes(source(), "f", run="r")
    assert client.runs() == []


@pytest.mark.parametrize("source", ["text", 3, io.StringIO("text"), iter(["text"])])
def test_what_is_not_bytes_is_refused(source: object, client: Client) -> None:
    with pytest.raises(TypeError, match="source"):
        client.upload_bytes(source, "f", run="r")  # type: ignore[arg-type]
    assert client.runs() == []


def test_one_file_cannot_be_the_root(client: Client) -> None:
    with pytest.raises(artifacts.ArtifactsUploadError, match="is the root"):
        client.upload_bytes(b"x", "/", run="r")


def test_more_streams_at_once_than_a_connection_takes(client: Client) -> None:
    client.upload_bytes(bytes(1_000_000), "a", run="r")

    def begin(_: int) -> int:
        blocks = client.stream("a", run="r")
        with closing(blocks):
            return len(next(blocks))

    with ThreadPoolExecutor(250) as threads:
        assert all(threads.map(begin, range(500)))


def test_from_one_run_to_another_without_disk(client: Client) -> None:
    client.upload_bytes(BYTES, "f", run="r")
    client.upload_bytes(client.stream("f", run="r"), "g", tag="t")
    with client.open("g", tag="t") as file:
        client.upload_bytes(file, "h", run="r")
    assert client.read("h", run="r") == BYTES


@pytest.fixture
def stored(client: Client) -> Client:
    client.upload_bytes(BYTES, "f", run="r")
    return client


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, None), (5, 10), (MIB - 1, 2), (len(BYTES) - 1, None), (7, 10 * len(BYTES))])
def test_parts(offset: int, length: int | None, stored: Client) -> None:
    expected = BYTES[offset : None if length is None else offset + length]
    assert stored.read("f", run="r", offset=offset, length=length) == expected


def test_a_part_behind_the_end_is_an_error(stored: Client) -> None:
    with pytest.raises(artifacts.ArtifactsDownloadError) as caught:
        stored.read("f", run="r", offset=len(BYTES))
    assert caught.value.reason == "RANGE_INVALID"
    with pytest.raises(ValueError, match="offset"):
        stored.read("f", run="r", offset=-1)


@pytest.mark.parametrize("path", ["", "nothing", "folder"])
def test_what_is_no_file_cannot_be_read(path: str, stored: Client) -> None:
    stored.upload_bytes(b"1", "folder/a", run="r")
    for read in (stored.read, stored.open, lambda *a, **k: next(stored.stream(*a, **k))):
        with pytest.raises(artifacts.ArtifactsDownloadError):
            read(path, run="r")
    with pytest.raises(artifacts.RunNotFoundError):
        stored.read("f", run="no-such-run")
    with pytest.raises(artifacts.TagNotFoundError):
        stored.open("f", tag="no-such-tag")


def test_a_stream_that_is_left_early(stored: Client) -> None:
    stream = stored.stream("f", run="r")
    assert next(stream) == BYTES[: len(BYTES)][:MIB]
    stream.close()
    assert stored.read("f", run="r", length=3) == BYTES[:3]


def test_a_file_object(stored: Client) -> None:
    with stored.open("f", run="r") as file:
        assert file.readable() and file.seekable() and not file.writable()
        assert file.read(5) == BYTES[:5]
        assert file.tell() == 5
        buffer = bytearray(2 * MIB)
        assert file.readinto(buffer) == len(buffer)
        assert buffer == BYTES[5 : 5 + 2 * MIB]
        assert file.seek(-3, io.SEEK_END) == len(BYTES) - 3
        assert file.read() == BYTES[-3:]
        assert file.read(1) == b""
        assert file.seek(10) == 10
        assert file.seek(5, io.SEEK_CUR) == 15
        assert file.read(4) == BYTES[15:19]
        assert file.seek(len(BYTES) + 100) == len(BYTES) + 100
        assert file.read() == b""
        file.seek(0)
        assert file.read() == BYTES
        with pytest.raises(ValueError, match="before"):
            file.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_a_file_object_against_a_file(stored: Client) -> None:
    """The same steps on both, with positions from a fixed sequence."""
    here = io.BytesIO(BYTES)
    state = 7
    with stored.open("f", run="r") as there:
        for _ in range(60):
            state = state * 1103515245 + 12345 & 0x7FFFFFFF
            position, size = state % len(BYTES), state >> 8 & 0x3FFFF
            assert there.seek(position) == here.seek(position)
            assert there.read(size) == here.read(size)
            assert there.tell() == here.tell()


def test_a_file_object_keeps_to_its_commit(stored: Client) -> None:
    with stored.open("f", run="r") as file:
        assert file.read(10) == BYTES[:10]
        stored.upload_bytes(b"another", "f", run="r")
        file.seek(MIB)
        assert file.read(10) == BYTES[MIB : MIB + 10]
    assert stored.read("f", run="r") == b"another"
    assert stored.read("f", run="r", commit=1) == BYTES


def test_libraries_that_want_a_file_object(client: Client, work: Path) -> None:
    with zipfile.ZipFile("a.zip", "w") as archive:
        for name in ("one", "two"):
            archive.writestr(name, os.urandom(300_000))
    client.upload("a.zip", run="r")
    with client.open("a.zip", run="r") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["one", "two"]
