"""The most memory that transfers take, as the benchmark's role measures it. `--long` has the full sizes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dstack.artifacts import Client
from servers import ROOT, Proxy, Server

MIB = 1024 * 1024
LIMIT = 150 * MIB


def peak_of(server: Server, *args: str) -> int:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/roles/python_client.py"), *args],
        env=os.environ | {"DSTACK_ARTIFACTS_URL": server.url, "DSTACK_PROJECT": "memory"},
        check=True,
        capture_output=True,
        text=True,
    )
    figures = json.loads(done.stdout)
    print(*args[:1], figures)
    return int(figures["peakRssBytes"])


@pytest.mark.parametrize("size", [256, pytest.param(2048, marks=pytest.mark.long)])
def test_a_large_file(size: int, server: Server, work: Path) -> None:
    block = os.urandom(MIB)
    with (work / "f").open("wb") as file:
        for at in range(size):
            file.write(at.to_bytes(8, "big") + block[8:])
    assert peak_of(server, "upload", "f", f"large-{size}") < LIMIT
    assert peak_of(server, "download", f"large-{size}", "out") < LIMIT
    assert subprocess.run(["cmp", "f", "out/f"], check=False).returncode == 0
    # Into a place where it is already.
    assert peak_of(server, "download", f"large-{size}", "out") < LIMIT


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_files(count: int, server: Server, work: Path) -> None:
    for at in range(count):
        folder = work / "d" / str(at // 100)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{at}.txt").write_bytes(at.to_bytes(4, "big") * 1024)
    assert peak_of(server, "upload", "d", f"many-{count}") < LIMIT
    for _ in range(2):
        assert peak_of(server, "download", f"many-{count}", "out") < LIMIT
    subprocess.run(["diff", "-rq", "d", "out"], check=True)


def test_a_stream_that_can_be_read_once(server: Server, work: Path) -> None:
    code = f"""
import sys
sys.path.append({str(ROOT / "bench/roles")!r})
from dstack.artifacts import Client
from python_usage import peak_rss_bytes
client = Client({server.url!r}, project="memory")
client.upload_bytes((bytes([at]) * 2**20 for at in range(256)), "f", run="once")
size = sum(len(block) for block in client.stream("f", run="once"))
print(size, peak_rss_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    size, peak = map(int, done.stdout.split())
    assert size == 256 * MIB
    assert peak < LIMIT


def test_what_is_sent_ahead_of_a_slow_reader_is_bounded(server: Server, project: str, proxy: Callable[..., Proxy]) -> None:
    # A late answer to gRPC's pings looks like a line that holds much.
    between = proxy(server, late_ms=50)
    with Client(server.url, project=project) as client:
        client.upload_bytes((bytes(MIB) for _ in range(256)), "f", run="r")
    with Client(between.url, project=project) as client, contextlib.closing(client.stream("f", run="r")) as stream:
        read = sum(len(block) for block in itertools.islice(stream, 64))
        sent = -1
        while sent < between.down:
            sent = between.down
            time.sleep(0.5)
        assert read == 64 * MIB
        assert sent - read < 16 * MIB
