#!/usr/bin/env python3
"""Writes the reference in docs/python.md from the client's docstrings. With --check, fails if it is not what it would write."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path

from dstack import artifacts
from dstack.artifacts.aio import AsyncFile

PAGE = Path(__file__).parents[1] / "docs/python.md"
BEGIN = "<!-- What follows is made by scripts/python-docs.py from the docstrings. -->"
SECTIONS = {"Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises"}


def markdown(documented: object) -> str:
    """A docstring: its sections as lists, its first paragraphs as they are."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    out: list[str] = []
    section = ""
    for line in lines:
        head = re.fullmatch(r"(\w+):", line)
        item = re.fullmatch(r"    (\w+): (.*)", line)
        if head and head[1] in SECTIONS:
            section = head[1]
            out += [f"**{SECTIONS[section]}**", ""]
        elif section and item and section != "Returns":
            out.append(f"- `{item[1]}`: {item[2]}")
        elif section and out[-1].startswith("- "):
            out.append(f"  {line.strip()}".rstrip())
        else:
            out.append(line.strip())
    return "\n".join(out)


def signature(name: str, documented: object) -> str:
    """A call, as one writes it."""
    parameters = inspect.signature(documented).parameters.values()  # type: ignore[arg-type]
    bare = [parameter.replace(annotation=parameter.empty) for parameter in parameters if parameter.name != "self"]
    return f"`{name}{inspect.Signature(bare)}`"


def reference() -> str:
    """The whole reference."""
    parts = ["## Functions", "All of them are methods of `Client` too."]
    bases = [artifacts.Client, *artifacts.Client.__bases__]
    methods = {name: method for each in bases for name, method in vars(each).items() if not name.startswith("_")}
    for name, method in methods.items():
        if name != "close":
            parts += [f"### {name}", signature(name, method), markdown(method)]
    parts += ["## Clients"]
    for each in (artifacts.Client, artifacts.AsyncClient):
        parts += [f"### {each.__name__}", signature(each.__name__, each), markdown(each)]
    parts += [f"#### {artifacts.Client.__name__}.close", markdown(artifacts.Client.close)]
    parts += ["### AsyncFile", markdown(AsyncFile)]
    for name, method in vars(AsyncFile).items():
        if not name.startswith("_"):
            parts += [f"#### AsyncFile.{name}", signature(name, method), markdown(method)]
    kinds = [getattr(artifacts, name) for name in artifacts.__all__ if inspect.isclass(getattr(artifacts, name))]
    parts += ["## Results"]
    for each in kinds:
        if dataclasses.is_dataclass(each):
            parts += [f"### {each.__name__}", markdown(each)]
    parts += ["## Errors"]
    for each in kinds:
        if issubclass(each, Exception):
            parts += [f"### {each.__name__}", f"A `{each.__base__.__name__}`. {markdown(each)}"]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Writes or checks."""
    page = PAGE.read_text()
    wanted = f"{page.partition(BEGIN)[0].rstrip()}\n\n{BEGIN}\n\n{reference()}"
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(wanted)
    elif page != wanted:
        sys.stderr.write("docs/python.md is not current: run .tools/python-client/bin/python scripts/python-docs.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
