"""The rules for names and artifact paths. The cases in `test/vectors` hold them for every language."""

from __future__ import annotations

import json
import os
import re

# Bytes of UTF-8 in a path.
MAX_PATH_BYTES = 1024
# Bytes of UTF-8 in one segment: what file systems take.
MAX_SEGMENT_BYTES = 255
# Bytes of a link's target: what Linux takes.
MAX_LINK_TARGET_BYTES = 4096
# A text in a message is cut to this many characters.
MAX_SHOWN = 200

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a project, run or tag, for a sentence after it; None if nothing."""
    if name == "":
        return "is empty"
    if _NAME.fullmatch(name):
        return None
    return "must be 1 to 128 letters, digits, `.`, `_` or `-`, and start with a letter, a digit or `_`"


def is_id(text: str) -> bool:
    """Whether an upload id is of the protocol's form."""
    return _ID.fullmatch(text) is not None


def trim_path(path: str) -> str:
    """A path without its one leading and its one trailing `/`. `""`, `.` and `/` are the root, `""`."""
    if path in (".", "/"):
        return ""
    return path.removeprefix("/").removesuffix("/")


def path_problem(path: str) -> str | None:
    """What is wrong with a trimmed path that isn't the root, for a sentence after it; None if nothing."""
    if path == "":
        return "is the root, as which one file can't be stored"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if size > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    if _CONTROL.search(path):
        return "has a control character"
    if "\\" in path:
        return "has a backslash"
    for segment in path.split("/"):
        if segment == "":
            return "has an empty segment"
        if segment in (".", ".."):
            return f"has a `{segment}` segment"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"has a segment longer than {MAX_SEGMENT_BYTES} bytes"
    return None


def path_key(path: str) -> list[bytes]:
    """Orders paths: segment by segment, each by its UTF-8 bytes, so that a folder comes right before what is in it."""
    return path.encode("utf-8", "surrogatepass").split(b"/") if path else []


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it; everything lies in the root."""
    return folder in ("", path) or path.startswith(folder + "/")


def join_path(folder: str, name: str) -> str:
    """Joins two artifact paths, either of which may be the root."""
    return f"{folder}/{name}" if folder and name else folder + name


def link_problem(path: str, target: str) -> str | None:
    """What is wrong with the target of a link at `path`, a path from the root of the tree that it must stay in; None if nothing."""
    if target == "":
        return "points to nothing"
    try:
        size = len(target.encode())
    except UnicodeEncodeError:
        return "has a target that is no path"
    if size > MAX_LINK_TARGET_BYTES:
        return f"has a target longer than {MAX_LINK_TARGET_BYTES} bytes"
    if "\0" in target:
        return "has a target that is no path"
    if target.startswith("/"):
        return f"points to {quote(target)}, which is absolute"
    depth = path.count("/")
    for segment in target.split("/"):
        if segment == "..":
            depth -= 1
        elif segment not in ("", "."):
            depth += 1
        if depth < 0:
            return f"points to {quote(target)}, outside the tree"
    return None


def default_artifact_path(local_path: str) -> str | None:
    """Where an upload of `local_path` goes if nothing else is said, lexically; None if that is outside the working directory."""
    clean = os.path.normpath(local_path)
    if clean.startswith("/"):
        return clean.lstrip("/")
    if clean == ".." or clean.startswith("../"):
        return None
    return "" if clean == "." else clean


def expand_home(path: str) -> str:
    """A local path with a leading `~` expanded."""
    return os.path.expanduser(path) if path == "~" or path.startswith("~/") else path


def quote(text: str) -> str:
    """A text in quotes, on one line, cut to a readable length."""
    shown = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    return json.dumps(shown.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False)
