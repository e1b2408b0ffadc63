"""What users install: the wheel, the sdist, and a checkout, each in a fresh virtual environment, with the documented examples."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import ROOT, Server

INSTALL_SECONDS = 300
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python")
EXAMPLES = """
import os
from dstack import artifacts

os.makedirs("datasets/dataset1")
with open("datasets/dataset1/train.csv", "w") as file:
    file.write("a,b")
artifacts.upload(local_path="datasets/dataset1")
artifacts.upload(local_path="datasets/dataset1", artifact_path="data", tag="my_tag")
artifacts.copy(artifacts.tag("my_tag").run, "output/my_model", tag="my_tag", artifact_path="data")
artifacts.create_tag("my_tag_2", artifacts.tag("my_tag").run)
artifacts.download(run="sharp-shrimp-1")
artifacts.download(tag="my_tag_2", artifact_path="output/my_model", local_path="./my_model")
print(open("my_model/train.csv").read(), os.path.dirname(artifacts.__file__))
"""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Virtual environments by what is installed in them; installed side by side, for the sake of time."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", dist, cwd=ROOT)
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")

    def make(what: Path, extras: str) -> Path:
        folder = tmp_path_factory.mktemp("venv")
        venv.create(folder)
        # Compiling what is installed takes most of the time, and is done when it is imported.
        run(*PIP, folder / "bin/python", "install", "--quiet", f"{what}{extras}", cwd=folder, env=os.environ | {"PIP_NO_COMPILE": "1"})
        return folder

    with ThreadPoolExecutor() as pool:
        made = {
            name: pool.submit(make, *what)
            for name, what in {"wheel": (wheel, ""), "sdist": (sdist, ""), "checkout": (ROOT, "[aws,azure,gcp]")}.items()
        }
        return {name: future.result() for name, future in made.items()}


@pytest.mark.parametrize("name", ["wheel", "sdist", "checkout"])
def test_the_documented_examples_run_from_an_installation(name: str, environments: dict[str, Path], server: Server, work: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"DSTACK_ARTIFACTS_URL": server.url, "DSTACK_PROJECT": f"install-{name}", "DSTACK_RUN_NAME": "sharp-shrimp-1"}
    text, place = run(environments[name] / "bin/python", "-c", EXAMPLES, cwd=work, env=environment).split()
    assert text == "a,b"
    assert Path(place).is_relative_to(environments[name])


def test_it_lives_beside_another_distribution_of_that_package(environments: dict[str, Path], work: Path) -> None:
    """PyPI's dstack has the package `dstack`, of which ours is a part."""
    python = environments["wheel"] / "bin/python"
    [site] = (environments["wheel"] / "lib").glob("python*/site-packages")
    (site / "dstack/__init__.py").write_text("its = True\n")
    check = "import dstack; from dstack import artifacts; from dstack.artifacts.v1 import artifacts_pb2; print(dstack.its)"
    assert run(python, "-c", check, cwd=work).strip() == "True"
    assert (site / "dstack/artifacts/py.typed").exists()
    run(*PIP, python, "uninstall", "--yes", "--quiet", "dstack-artifacts", cwd=work)
    assert [path.name for path in (site / "dstack").iterdir() if path.name != "__pycache__"] == ["__init__.py"]
