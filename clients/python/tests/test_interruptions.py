"""Connections that break, servers that die, clients that are killed: at every point nothing is seen, and the next try goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dstack import artifacts
from dstack.artifacts import Client, _read
from dstack.artifacts._chunks import Received
from dstack.artifacts.v1 import artifacts_pb2 as pb
from servers import Proxy, Server

MIB = 1024 * 1024
# Three data objects of a server, so that some of it is persisted whenever it is cut off late.
LARGE = 48 * MIB
UPLOAD_ID = "an-upload-that-was-cut-off"


@pytest.fixture
def large(work: Path) -> Path:
    folder = work / "large"
    folder.mkdir()
    (folder / "a").write_bytes(b"before")
    block = os.urandom(MIB)
    with (folder / "b").open("wb") as file:
        for at in range(LARGE // MIB):
            file.write(at.to_bytes(8, "big") + block[8:])
    (folder / "c").write_bytes(b"behind")
    return folder


def assert_same(left: Path, right: Path) -> None:
    subprocess.run(["diff", "-r", left, right], check=True)


class Once:
    """A function for `progress` that does something at a number of bytes, once."""

    def __init__(self, at: int, action: Callable[[], None]):
        self.at = at
        self.action: Callable[[], None] | None = action

    def __call__(self, done: int, total: int | None) -> None:
        if done >= self.at and self.action is not None:
            action, self.action = self.action, None
            action()


def restart(server: Server) -> Callable[[], None]:
    def act() -> None:
        server.kill()
        server.start()

    return act


@pytest.mark.parametrize("at", [0, 30 * MIB, LARGE])
def test_an_upload_survives_a_restart_of_the_server(at: int, own_server: Server, large: Path, work: Path) -> None:
    with Client(own_server.url) as client:
        once = Once(at, restart(own_server))
        result = client.upload("large", "", run="r", progress=once)
        assert once.action is None
        assert (result.commit, result.files, result.bytes) == (1, 3, LARGE + 12)
        client.download("r", local_path="out")
    assert_same(large, work / "out")


@pytest.mark.parametrize("at", [1, 30 * MIB])
def test_a_download_survives_a_restart_of_the_server(at: int, own_server: Server, large: Path, work: Path) -> None:
    with Client(own_server.url) as client:
        client.upload("large", "", run="r")
        once = Once(at, restart(own_server))
        result = client.download("r", local_path="out", progress=once)
        assert once.action is None
        assert (result.files, result.bytes) == (3, LARGE + 12)
    assert_same(large, work / "out")
    assert not list(work.rglob("*.partial"))


def test_a_stream_that_can_be_read_once_survives_a_restart_of_the_server(own_server: Server) -> None:
    blocks = [bytes([at]) * MIB for at in range(96)]

    def source() -> Iterator[bytes]:
        for at, block in enumerate(blocks):
            if at == 80:
                restart(own_server)()
            yield block

    with Client(own_server.url) as client:
        assert client.upload_bytes(source(), "f", run="r").bytes == 96 * MIB
        got = []
        for block in client.stream("f", run="r"):
            got.append(block)
            if len(got) == 40:
                restart(own_server)()
        assert b"".join(got) == b"".join(blocks)


def test_threads_that_share_a_client_survive_restarts_of_the_server(own_server: Server) -> None:
    ends_at = time.monotonic() + 4
    with Client(own_server.url, timeout=20) as client:
        client.upload_bytes(b"1", "a", run="r")

        def use(_: int) -> set[str]:
            errors = set()
            while time.monotonic() < ends_at:
                # A server that isn't there when a read begins is an error at once.
                try:
                    client.read("a", run="r")
                except artifacts.DstackError as error:
                    errors.add(str(error))
            return errors

        with ThreadPoolExecutor(16) as threads:
            uses = [threads.submit(use, at) for at in range(16)]
            for _ in range(4):
                time.sleep(0.6)
                own_server.kill()
                own_server.start()
            errors = set().union(*(each.result() for each in uses))
        assert not [error for error in errors if "hannel" in error]


def test_a_file_object_that_failed_says_why_until_it_is_sought(own_server: Server) -> None:
    # Reading on would leave out what the read that failed had got.
    content = os.urandom(24 * MIB)
    with Client(own_server.url, timeout=0.5) as client:
        client.upload_bytes(content, "f", run="r")
        with client.open("f", run="r") as file:
            assert file.read(MIB) == content[:MIB]
            own_server.kill()
            with pytest.raises(artifacts.ArtifactsDownloadError, match=r"no server at|was lost") as first:
                file.read()
            own_server.start()
            with pytest.raises(artifacts.ArtifactsDownloadError) as second:
                file.read(1)
            assert str(second.value) == str(first.value)
            position = file.tell()
            assert position >= MIB
            file.seek(position)
            assert file.read(1) == content[position : position + 1]
            file.seek(MIB)
            assert file.read() == content[MIB:]


def test_a_file_object_whose_read_was_interrupted_says_so_until_it_is_sought(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(8 * MIB)
    client.upload_bytes(content, "f", run="r")
    take = _read._Reader.take

    def interrupted(self: _read._Reader, message: Received) -> bytes | None:
        if self.position >= 4 * MIB:
            raise KeyboardInterrupt
        return take(self, message)

    with client.open("f", run="r") as file:
        with monkeypatch.context() as patched:
            patched.setattr(_read._Reader, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                file.read()
        with pytest.raises(artifacts.ArtifactsDownloadError, match='reading "f" was interrupted'):
            file.read()
        file.seek(0)
        assert file.read() == content


@pytest.mark.parametrize("cut", [1000, 30 * MIB, LARGE])
def test_an_upload_goes_on_after_a_lost_connection(
    cut: int, server: Server, project: str, proxy: Callable[..., Proxy], large: Path, work: Path
) -> None:
    between = proxy(server, cut_up=cut)
    with Client(between.url, project=project) as client:
        assert client.upload("large", "", run="r", upload_id=f"{UPLOAD_ID}-{cut}").commit == 1
        assert [run.commits for run in client.runs()] == [1]
    with Client(server.url, project=project) as client:
        client.download("r", local_path="out")
    assert_same(large, work / "out")
    assert between.up < cut + LARGE + MIB


@pytest.mark.parametrize("cut", [1000, 30 * MIB, LARGE - 1000])
def test_a_download_goes_on_after_a_lost_connection(
    cut: int, server: Server, project: str, proxy: Callable[..., Proxy], large: Path, work: Path
) -> None:
    with Client(server.url, project=project) as client:
        client.upload("large", "", run="r")
    between = proxy(server, cut_down=cut)
    with Client(between.url, project=project) as client:
        client.download("r", local_path="out")
    assert_same(large, work / "out")
    # What came before the cut didn't come again, but for what was in flight.
    assert between.down < LARGE + 16 * MIB


def test_a_finish_whose_answer_is_lost_gives_one_commit(server: Server, project: str, proxy: Callable[..., Proxy], work: Path) -> None:
    (work / "a").write_bytes(b"1")
    with Client(proxy(server).url, project=project) as probe:
        probe.server_info()
    between = proxy_that_loses_the_last_answer(proxy, server, project, work)
    with Client(between.url, project=project) as client:
        result = client.upload("a", run="lost")
    with Client(server.url, project=project) as client:
        assert (result.commit, client.run("lost").commits) == (1, 1)


def proxy_that_loses_the_last_answer(proxy: Callable[..., Proxy], server: Server, project: str, work: Path) -> Proxy:
    """Learns from an upload how many bytes a server answers with, and cuts the next one right before the end of that."""
    between = proxy(server)
    with Client(between.url, project=project) as client:
        client.upload("a", run="told")
    return proxy(server, cut_down=between.down - 20)


def test_a_server_that_stays_away_is_an_error_when_the_time_is_over(own_server: Server, large: Path) -> None:
    with Client(own_server.url, timeout=1) as client:
        begin = time.monotonic()
        with pytest.raises(artifacts.ArtifactsUploadError, match="no server at") as caught:
            client.upload("large", "", run="r", upload_id=UPLOAD_ID, progress=Once(30 * MIB, own_server.kill))
        assert time.monotonic() - begin >= 1
        assert caught.value.upload_id == UPLOAD_ID
        own_server.start()
        assert client.runs() == []
        assert client.upload("large", "", run="r", upload_id=UPLOAD_ID).commit == 1


def run_client(code: str, url: str, project: str, work: Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that may kill itself."""
    head = f"""
        import os, signal, sys
        from dstack.artifacts import Client, _progress
        _progress.REPORT_SECONDS = 0
        client = Client({url!r}, project={project!r})
        def at(count, action):
            return lambda done, total: action() if done >= count else None
        def die():
            os.kill(os.getpid(), signal.SIGKILL)
        def interrupt():
            os.kill(os.getpid(), signal.SIGINT)
    """
    code = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True, timeout=120, check=False)


def persisted_bytes(client: Client, upload_id: str) -> int:
    request = pb.GetUploadRequest(project=client._connection.settings.project, upload_id=upload_id)
    page = client._connection.unary(lambda stub: stub.GetUpload, request)
    return sum(span.length for file in page.files for span in file.spans)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("at", [0, 1, 40 * MIB, LARGE + 6])
def test_a_killed_upload_leaves_nothing_to_see_and_is_gone_on_with(
    at: int, server: Server, project: str, proxy: Callable[..., Proxy], large: Path, work: Path
) -> None:
    between = proxy(server)
    code = f"client.upload('large', '', run='r', upload_id='{UPLOAD_ID}', progress=at({at}, die))"
    assert run_client(code, between.url, project, work).returncode == -signal.SIGKILL
    with Client(server.url, project=project) as client:
        assert client.runs() == []
        if at >= 40 * MIB:
            wait_until(lambda: persisted_bytes(client, UPLOAD_ID) >= 16 * MIB)
            assert [upload.upload_id for upload in client.uploads()] == [UPLOAD_ID]
    before = between.up
    with Client(between.url, project=project) as client:
        assert client.upload("large", "", run="r", upload_id=UPLOAD_ID).commit == 1
        assert client.upload("large", "", run="r", upload_id=UPLOAD_ID).commit == 1
        if at >= 40 * MIB:
            assert between.up - before < LARGE - 15 * MIB
    with Client(server.url, project=project) as client:
        client.download("r", local_path="out")
    assert_same(large, work / "out")


@pytest.mark.parametrize("at", [0, 1, 40 * MIB, LARGE + 6])
def test_a_killed_download_leaves_whole_files_or_none_and_is_gone_on_with(
    at: int, server: Server, project: str, proxy: Callable[..., Proxy], large: Path, work: Path
) -> None:
    with Client(server.url, project=project) as client:
        client.upload("large", "", run="r")
    code = f"client.download('r', local_path='out', progress=at({at}, die))"
    assert run_client(code, server.url, project, work).returncode == -signal.SIGKILL
    for path in (work / "out").iterdir():
        if not path.name.endswith(".partial"):
            assert path.read_bytes() == (large / path.name).read_bytes()
    between = proxy(server)
    with Client(between.url, project=project) as client:
        client.download("r", local_path="out")
    assert_same(large, work / "out")
    if at >= 40 * MIB:
        assert between.down < LARGE - 30 * MIB


@pytest.mark.parametrize("call", ["upload('large', '', run='r'", "download('there', local_path='out'"])
def test_an_interrupted_transfer_ends_at_once_and_leaves_nothing(call: str, server: Server, project: str, large: Path, work: Path) -> None:
    with Client(server.url, project=project) as client:
        client.upload("large", "", run="there")
    code = f"""
        try:
            client.{call}, progress=at(20 << 20, interrupt))
        except KeyboardInterrupt:
            print("interrupted")
        print(len(client.runs()))
    """
    done = run_client(code, server.url, project, work)
    assert done.stdout.split() == ["interrupted", "1"], done.stderr
    assert done.stderr == ""
    assert not (work / "out/b").exists()


def test_an_interrupt_while_nothing_happens(server: Server, project: str, work: Path) -> None:
    code = """
        import threading
        def source():
            yield b"x"
            threading.Timer(0.2, interrupt).start()
            threading.Event().wait()
        try:
            client.upload_bytes(source(), "f", run="r")
        except KeyboardInterrupt:
            print("interrupted")
        print(client.runs())
    """
    done = run_client(code, server.url, project, work)
    assert done.stdout.split() == ["interrupted", "[]"], done.stderr


def test_a_fork_of_a_process_that_used_the_client(server: Server, project: str, work: Path) -> None:
    code = """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        client.upload_bytes(b"parent", "parent", run="r")

        def child(number):
            client.upload_bytes(str(number).encode() * 3_000_000, f"child-{number}", run="r")
            return client.read("parent", run="r").decode()

        with context.Pool(3) as pool:
            print(*pool.map(child, range(6)))
        print(len(client.read("child-5", run="r")), client.run("r").commits)
        client.close()
    """
    done = run_client(code, server.url, project, work)
    assert done.stdout.splitlines() == [" ".join(["parent"] * 6), "3000000 7"], done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_of_a_process_that_used_asyncio(server: Server, project: str, work: Path) -> None:
    code = f"""
        import asyncio, multiprocessing
        os.environ.update(DSTACK_ARTIFACTS_URL={server.url!r}, DSTACK_PROJECT={project!r})
        from dstack.artifacts import aio
        asyncio.run(aio.upload_bytes(b"parent", "a", run="r"))

        def child(_):
            return asyncio.run(aio.read("a", run="r")).decode()

        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(*pool.map(child, range(2)))
    """
    done = run_client(code, server.url, project, work)
    assert (done.stdout.strip(), done.stderr) == ("parent parent", "")
