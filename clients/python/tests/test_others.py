"""What other downloads and people do to the files of a download meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import google_crc32c
import pytest
from dstack.artifacts import Client
from dstack.artifacts._download import _Sink
from dstack.artifacts._incoming import Wanted
from dstack.artifacts.v1 import entries_pb2 as entries
from servers import Proxy, Server

MIB = 1024 * 1024


def partial_of(content: bytes, folder: Path) -> Path:
    """Where a download writes the file `a`."""
    return folder / Wanted("a", len(content), google_crc32c.value(content), 0, None).partial


def at_bytes(at: int, act: Callable[[], object]) -> Callable[[int, int | None], None]:
    """For `progress`: acts once, when so many bytes have come."""
    acted = []

    def progress(done: int, total: int | None) -> None:
        if not acted and done >= at:
            acted.append(act())

    return progress


@pytest.mark.parametrize(("size", "at"), [(6 * MIB, 2 * MIB), (6 * MIB, 6 * MIB), (300_000, 300_000)], ids=["begun", "all there", "small"])
def test_what_others_finished_and_changed_is_theirs(size: int, at: int, client: Client, work: Path) -> None:
    content = os.urandom(size)
    client.upload_bytes(content, "a", run="r")

    def finish_and_change() -> None:
        partial_of(content, work / "out").rename(work / "theirs")
        (work / "theirs").write_bytes(b"changed")
        (work / "theirs").chmod(0o640)
        os.utime(work / "theirs", ns=(1, 1))

    client.download("r", local_path="out", progress=at_bytes(at, finish_and_change))
    theirs = (work / "theirs").stat()
    assert (work / "theirs").read_bytes() == b"changed"
    assert (stat.S_IMODE(theirs.st_mode), theirs.st_mtime_ns) == (0o640, 1)
    assert (work / "out/a").read_bytes() == content
    assert os.listdir(work / "out") == ["a"]


def test_what_others_finished_while_the_last_bytes_were_written_keeps_mode_and_time(
    client: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1000)
    client.upload_bytes(content, "a", run="r")
    pwrite = os.pwrite

    def then_finish(file: int, block: memoryview, at: int) -> int:
        written = pwrite(file, block, at)
        if not (work / "theirs").exists():
            partial_of(content, work / "out").rename(work / "theirs")
            os.utime(work / "theirs", ns=(1, 1))
        return written

    monkeypatch.setattr(os, "pwrite", then_finish)
    client.download("r", local_path="out")
    theirs = (work / "theirs").stat()
    assert (stat.S_IMODE(theirs.st_mode), theirs.st_mtime_ns) == (0o600, 1)
    assert (work / "out/a").read_bytes() == content


def test_what_others_finished_is_not_fetched_any_further(
    client: Client, server: Server, project: str, proxy: Callable[..., Proxy], work: Path
) -> None:
    content = os.urandom(48 * MIB)
    client.upload_bytes(content, "a", run="r")

    def finish() -> None:
        partial = partial_of(content, work / "out")
        partial.write_bytes(content)
        partial.rename(work / "out/a")

    between = proxy(server)
    with Client(between.url, project=project) as other:
        assert other.download("r", local_path="out", progress=at_bytes(8 * MIB, finish)).bytes == len(content)
    assert (work / "out/a").read_bytes() == content
    # What came before, and what was in flight.
    assert between.down < 32 * MIB


def change(file: Path, _: bytes) -> None:
    times = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"changed")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def link_elsewhere(file: Path, content: bytes) -> None:
    file.unlink()
    elsewhere = file.parent.parent / "elsewhere"
    elsewhere.write_bytes(content)
    elsewhere.chmod(0o640)
    file.symlink_to(elsewhere)


def remove(file: Path, _: bytes) -> None:
    file.unlink()


@pytest.mark.parametrize("act", [change, link_elsewhere, remove])
def test_a_file_that_is_no_more_what_was_found_is_fetched(
    act: Callable[[Path, bytes], None], client: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(2 * MIB)
    client.upload_bytes(content, "a", run="r")
    client.download("r", local_path="out")
    after_a_look(monkeypatch, lambda: act(work / "out/a", content))
    client.download("r", local_path="out")
    assert (work / "out/a").read_bytes() == content
    assert not (work / "out/a").is_symlink()
    if act is link_elsewhere:
        assert stat.S_IMODE((work / "elsewhere").stat().st_mode) == 0o640


def test_a_file_that_others_replaced_by_the_same_is_not_fetched(client: Client, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(2 * MIB)
    client.upload_bytes(content, "a", run="r")
    client.download("r", local_path="out")
    (work / "same").write_bytes(content)
    inode = (work / "same").stat().st_ino
    after_a_look(monkeypatch, lambda: (work / "same").rename(work / "out/a"))
    client.download("r", local_path="out")
    assert (work / "out/a").stat().st_ino == inode


def test_what_was_begun_and_others_finished_is_taken_as_it_is(client: Client, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(2 * MIB)
    client.upload_bytes(content, "a", run="r")
    (work / "out").mkdir()
    partial = partial_of(content, work / "out")
    partial.write_bytes(content[:MIB])
    inode = partial.stat().st_ino

    def finish() -> None:
        partial.write_bytes(content)
        partial.rename(work / "out/a")

    after_a_look(monkeypatch, finish)
    client.download("r", local_path="out")
    assert (work / "out/a").stat().st_ino == inode
    assert os.listdir(work / "out") == ["a"]


def after_a_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Acts when a download has looked for files and not asked for any yet."""
    look = _Sink.look

    def then_act(sink: _Sink, listed: Sequence[entries.Entry]) -> None:
        look(sink, listed)
        act()

    monkeypatch.setattr(_Sink, "look", then_act)
