"""Progress, where somebody looks."""

from __future__ import annotations

import fcntl
import os
import pickle
import pty
import struct
import subprocess
import sys
import termios
import types
from pathlib import Path

import pytest
from dstack.artifacts import Client

MIB = 1024 * 1024


def test_progress_is_told(client: Client, work: Path) -> None:
    (work / "in").mkdir()
    (work / "in/a").write_bytes(bytes(3 * MIB))
    (work / "in/b").write_bytes(b"1")
    for act in (
        lambda told: client.upload("in", run="r", progress=told),
        lambda told: client.download("r", local_path="out", progress=told),
    ):
        told: list[tuple[int, int | None]] = []
        act(lambda done, total, told=told: told.append((done, total)))
        assert {total for _, total in told} == {3 * MIB + 1}
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert told[-1][0] == 3 * MIB + 1


def test_a_bar_is_shown_in_terminals(client: Client, work: Path) -> None:
    (work / "a").write_bytes(b"1")
    code = "import pickle, sys; client = pickle.load(sys.stdin.buffer); client.upload('a', run='r'); client.download('r', local_path='out')"
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(client), stderr=far, check=True, timeout=60)
    os.close(far)
    shown = os.read(near, 100_000).decode()
    os.close(near)
    assert "upload: 100%" in shown
    assert "download: 100%" in shown


def test_a_bar_is_shown_in_notebooks(
    client: Client, work: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    client.upload_bytes(b"1", "a", run="r")
    assert "upload: 100%" in capfd.readouterr().err


def test_no_bar_is_shown_elsewhere_unless_it_is_asked_for(client: Client, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (work / "a").write_bytes(b"1")
    client.upload("a", run="r")
    client.download("r", local_path="out")
    client.upload("a", run="r", progress=False)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    client.upload("a", run="r", progress=True)
    assert "upload: 100%" in capfd.readouterr().err
