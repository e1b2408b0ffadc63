"""The client for asyncio."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from dstack import artifacts
from dstack.artifacts import AsyncClient, aio
from servers import Server

MIB = 1024 * 1024
BYTES = bytes(range(251)) * 20_000

Run = Callable[[Callable[[AsyncClient], Awaitable[object]]], object]


@pytest.fixture
def run(server: Server, project: str) -> Run:
    def do(what: Callable[[AsyncClient], Awaitable[object]]) -> object:
        async def main() -> object:
            async with AsyncClient(server.url, project=project) as client:
                return await what(client)

        return asyncio.run(main())

    return do


def test_there_and_back(run: Run, work: Path) -> None:
    (work / "in/sub").mkdir(parents=True)
    (work / "in/sub/f").write_bytes(BYTES)

    async def main(client: AsyncClient) -> None:
        result = await client.upload("in", "data", tag="t")
        assert (result.files, result.bytes, result.tag) == (1, len(BYTES), "t")
        assert (await client.download(tag="t", artifact_path="data", local_path="out")).files == 1
        assert (work / "out/sub/f").read_bytes() == BYTES
        assert await client.read("data/sub/f", tag="t", offset=5, length=7) == BYTES[5:12]
        assert [entry.path for entry in (await client.list(tag="t", recursive=True)).entries] == ["data", "data/sub", "data/sub/f"]
        assert [run.name for run in await client.runs()] == [result.run]
        assert (await client.run(result.run)).tags == ("t",)
        assert (await client.create_tag("u", result.run)).commit == 1
        assert [tag.name for tag in await client.tags()] == ["t", "u"]
        await client.delete_tag("u")
        assert (await client.copy("other", "x", tag="t", artifact_path="data")).files == 1
        assert (await client.verify(tag="t")).damaged == ()
        assert await client.delete_run(result.run, force=True) == ["t"]
        assert await client.uploads() == []
        assert (await client.collect_garbage(dry_run=True)).deleted_objects == 0
        assert (await client.server_info()).store_kind == "file"
        with pytest.raises(artifacts.TagNotFoundError):
            await client.tag("t")
        with pytest.raises(artifacts.DstackError) as caught:
            await client.abort_upload("there-is-no-such-upload")
        assert caught.value.reason == "UPLOAD_NOT_FOUND"

    run(main)


def test_the_module_uses_the_environment(server: Server, project: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSTACK_ARTIFACTS_URL", server.url)
    monkeypatch.setenv("DSTACK_PROJECT", project)

    async def main() -> None:
        await aio.upload_bytes(b"1", "a", run="r")
        assert await aio.read("a", run="r") == b"1"

    asyncio.run(main())
    asyncio.run(main())
    assert artifacts.run("r").commits == 2


def test_streams(run: Run) -> None:
    async def source() -> AsyncIterator[bytes]:
        for at in range(0, len(BYTES), 100_000):
            await asyncio.sleep(0)
            yield BYTES[at : at + 100_000]

    async def main(client: AsyncClient) -> None:
        assert (await client.upload_bytes(source(), "a", run="r")).bytes == len(BYTES)
        await client.upload_bytes(io.BytesIO(BYTES), "b", run="r")
        await client.upload_bytes(client.stream("a", run="r"), "c", run="r")
        for name in ("a", "b", "c"):
            assert b"".join([block async for block in client.stream(name, run="r")]) == BYTES
        async for block in client.stream("a", run="r"):
            assert block == BYTES[: len(block)]
            break
        async with await client.open("a", run="r") as file:
            assert await file.seek(-5, io.SEEK_END) == len(BYTES) - 5
            assert await file.read() == BYTES[-5:]
            assert file.tell() == len(BYTES)
            await file.seek(0)
            buffer = bytearray(10)
            assert await file.readinto(buffer) == 10
            assert buffer == BYTES[:10]

    run(main)


def test_what_a_source_raises_goes_through(run: Run) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("mine")

    async def main(client: AsyncClient) -> None:
        with pytest.raises(LookupError, match="mine"):
            await client.upload_bytes(source(), "a", run="r")
        assert await client.runs() == []

    run(main)


def test_uploads_of_downloads_more_than_there_are_threads(run: Run) -> None:
    async def main(client: AsyncClient) -> None:
        await client.upload_bytes(BYTES, "a", run="r")
        copies = (client.upload_bytes(client.stream("a", run="r"), f"copy-{at}", run="s") for at in range(80))
        results = await asyncio.wait_for(asyncio.gather(*copies), 60)
        assert {result.bytes for result in results} == {len(BYTES)}

    run(main)


def test_many_at_once(run: Run) -> None:
    async def main(client: AsyncClient) -> None:
        results = await asyncio.gather(*(client.upload_bytes(str(at).encode(), f"f{at}", run="r") for at in range(40)))
        assert sorted(result.commit for result in results) == list(range(1, 41))
        read = await asyncio.gather(*(client.read(f"f{at}", run="r") for at in range(40)))
        assert read == [str(at).encode() for at in range(40)]

    run(main)


def test_the_loop_goes_on_meanwhile(run: Run) -> None:
    async def main(client: AsyncClient) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await client.upload_bytes(bytes(64 * MIB), "a", run="r")
        ticking.cancel()
        assert ticks > 3

    run(main)


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(MIB)


async def waiting() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.Event().wait()


@pytest.mark.parametrize("source", [endless, waiting], ids=["while it sends", "while it waits for the source"])
def test_a_cancelled_upload_ends_and_leaves_nothing(source: Callable[[], object], run: Run) -> None:
    async def main(client: AsyncClient) -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        told = lambda done, total: loop.call_soon_threadsafe(begun.set)  # noqa: E731
        task = asyncio.create_task(client.upload_bytes(source(), "a", run="r", progress=told))  # type: ignore[arg-type]
        if source is endless:
            await begun.wait()
        else:
            await asyncio.sleep(0.2)
        task.cancel()
        begin = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begin < 20
        assert await client.runs() == []

    run(main)


def test_a_cancelled_download_ends_and_is_gone_on_with(run: Run, work: Path) -> None:
    async def main(client: AsyncClient) -> None:
        await client.upload_bytes(bytes(64 * MIB), "a", run="r")
        begun = threading.Event()
        go_on = threading.Event()

        def told(done: int, total: int | None) -> None:
            if done > 8 * MIB:
                begun.set()
                go_on.wait(60)

        task = asyncio.create_task(client.download("r", local_path="out", progress=told))
        await asyncio.to_thread(begun.wait, 60)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (work / "out/a").exists()
        assert len(list((work / "out").glob(".*.partial"))) == 1
        await client.download("r", local_path="out")
        assert (work / "out/a").stat().st_size == 64 * MIB
        assert not list((work / "out").glob(".*.partial"))

    run(main)


def test_a_time_limit_of_the_callers(own_server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(own_server.url) as client:
            await client.upload_bytes(b"1", "a", run="r")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.upload_bytes(waiting(), "a", run="r"), 0.3)

    asyncio.run(main())


def test_a_file_whose_read_was_cancelled_can_be_sought_and_read(own_server: Server) -> None:
    content = os.urandom(24 * MIB)

    async def main() -> None:
        async with AsyncClient(own_server.url) as client:
            await client.upload_bytes(content, "a", run="r")
            async with await client.open("a", run="r") as file:
                assert await file.read(MIB) == content[:MIB]
                own_server.send_signal(signal.SIGSTOP)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(file.read(), 0.3)
                own_server.send_signal(signal.SIGCONT)
                with pytest.raises(artifacts.ArtifactsDownloadError, match='reading "a" was interrupted'):
                    await file.read(1)
                await file.seek(MIB)
                assert await file.read() == content[MIB:]

    asyncio.run(main())
