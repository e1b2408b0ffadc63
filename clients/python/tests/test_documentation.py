"""What the documentation says, as it says it."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dstack import artifacts
from dstack.artifacts import AsyncClient, Client, aio
from servers import ROOT, Server

METHODS = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]


def test_the_documented_examples(server: Server, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSTACK_ARTIFACTS_URL", server.url)
    monkeypatch.setenv("DSTACK_PROJECT", "examples")
    monkeypatch.setenv("DSTACK_RUN_NAME", "sharp-shrimp-1")
    dataset = work / "datasets/dataset1"
    dataset.mkdir(parents=True)
    (dataset / "train.csv").write_text("a,b\n")
    (work / "model").mkdir()
    (work / "model/weights").write_bytes(os.urandom(1000))

    artifacts.upload(local_path="datasets/dataset1")
    artifacts.upload(local_path="datasets/dataset1", artifact_path="data", tag="my_tag")

    run = artifacts.tag("my_tag").run
    artifacts.upload("model", "output/my_model", run=run)
    artifacts.delete_tag("my_tag")
    artifacts.create_tag("my_tag", run)
    (dataset / "train.csv").unlink()

    artifacts.download(run="sharp-shrimp-1")
    artifacts.download(tag="my_tag", artifact_path="output/my_model", local_path="./my_model")

    assert (dataset / "train.csv").read_text() == "a,b\n"
    assert (work / "my_model/weights").read_bytes() == (work / "model/weights").read_bytes()


def test_signatures() -> None:
    upload = inspect.signature(artifacts.upload).parameters
    assert [(name, p.default) for name, p in upload.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        ("local_path", inspect.Parameter.empty),
        ("artifact_path", None),
        ("tag", None),
    ]
    name, last = list(upload.items())[-1]
    assert (name, last.kind, last.default) == ("run", last.KEYWORD_ONLY, None)
    download = inspect.signature(artifacts.download).parameters
    assert [(name, p.default) for name, p in download.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        ("run", None),
        ("tag", None),
        ("artifact_path", None),
        ("local_path", None),
    ]


def test_errors_are_in_the_module() -> None:
    assert issubclass(artifacts.ArtifactsUploadError, artifacts.DstackError)
    assert issubclass(artifacts.ArtifactsDownloadError, artifacts.DstackError)
    assert issubclass(artifacts.RunNotFoundError, artifacts.ArtifactsDownloadError)
    assert issubclass(artifacts.TagNotFoundError, artifacts.ArtifactsDownloadError)


@pytest.mark.parametrize("name", METHODS)
def test_each_name_is_there_for_the_module_a_client_and_asyncio(name: str) -> None:
    method = getattr(Client, name)
    parameters = list(inspect.signature(method).parameters)
    assert list(inspect.signature(getattr(AsyncClient, name)).parameters) == parameters
    if name != "close":
        assert list(inspect.signature(getattr(artifacts, name)).parameters) == parameters[1:]
        assert list(inspect.signature(getattr(aio, name)).parameters) == parameters[1:]


@pytest.mark.parametrize("name", METHODS)
def test_each_name_says_arguments_results_and_errors(name: str) -> None:
    method = getattr(Client, name)
    doc = inspect.getdoc(method) or ""
    for parameter in list(inspect.signature(method).parameters)[1:]:
        assert re.search(rf"^    {parameter}: \S", doc, re.MULTILINE), parameter
    assert "\nReturns:\n" in doc
    assert "\nRaises:\n" in doc or name == "close"
    assert inspect.getdoc(getattr(AsyncClient, name)) == doc


def test_importing_loads_little_and_no_grpc() -> None:
    code = "import sys; from dstack import artifacts; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "dstack.artifacts" in modules
    assert not {"grpc", "google.protobuf", "asyncio", "tqdm", "ssl", "socket"} & set(modules)


def test_the_package_dstack_belongs_to_others() -> None:
    assert not list(ROOT.glob("*/python/dstack/__init__.py"))


def test_the_example_of_raw_stubs(server: Server, work: Path) -> None:
    page = (ROOT / "docs/python.md").read_text()
    [code] = re.findall(r"## Only the protocol\n.*?```python\n(.*?)```", page, re.DOTALL)
    assert "unix:///run/user/1000/dstack-artifacts/server.sock" in code
    code = code.replace("unix:///run/user/1000/dstack-artifacts/server.sock", server.url)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "b'hello'"
