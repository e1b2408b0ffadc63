"""A server that all tests share, each in a project of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dstack.artifacts import Client, _progress
from servers import Proxy, Server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also what takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes, and is left out without --long")
    if not config.getoption("--long") and not config.option.markexpr:
        config.option.markexpr = "not long"


VARIABLES = ("URL", "TOKEN", "STORE")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings reaches a test."""
    for name in VARIABLES:
        monkeypatch.delenv(f"DSTACK_ARTIFACTS_{name}", raising=False)
    for name in ("DSTACK_PROJECT", "DSTACK_RUN_NAME", "RUN_NAME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def every_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told at each step, so that tests can act at a certain one."""
    monkeypatch.setattr(_progress, "REPORT_SECONDS", 0)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that a test may kill."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"p-{request.node.nodeid.rpartition('/')[2]}")[:128]


@pytest.fixture
def client(server: Server, project: str) -> Iterator[Client]:
    with Client(server.url, project=project) as client:
        yield client


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a test."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Proxy]]:
    """Makes a proxy before a server."""
    made: list[Proxy] = []

    def make(server: Server, **cuts: int) -> Proxy:
        made.append(Proxy(tmp_path_factory.mktemp("proxy"), server.url, **cuts))
        return made[-1]

    yield make
    for each in made:
        each.close()
