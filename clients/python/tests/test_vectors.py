"""What clients of all languages agree on, as `test/vectors` says it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import pytest
from dstack import artifacts
from dstack.artifacts import Client, _chunks, _download, _messages, _paths, _retry, _settings, _status, _upload, _walk
from dstack.artifacts._crc32c import extend_by_tail
from dstack.artifacts._incoming import Wanted
from dstack.artifacts.v1.errors_pb2 import ErrorReason
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from servers import ROOT, Server

Json = Any


def vectors(name: str) -> Json:
    return json.loads((ROOT / "test/vectors" / name).read_text())


NAMES, PATHS, LIMITS, ERRORS = vectors("names.json"), vectors("paths.json"), vectors("limits.json"), vectors("errors.json")


def short(value: Json) -> str:
    return ascii(value)[:40]


@pytest.mark.parametrize("name", NAMES["valid"], ids=short)
def test_valid_names(name: str) -> None:
    assert _paths.name_problem(name) is None


@pytest.mark.parametrize("case", NAMES["invalid"], ids=short)
def test_invalid_names(case: Json) -> None:
    assert _paths.name_problem(case["name"]) == case["problem"]


@pytest.mark.parametrize("case", PATHS["valid"], ids=short)
def test_valid_paths(case: Json) -> None:
    normalised = _paths.trim_path(case["path"])
    assert normalised == case["normalised"]
    assert normalised == "" or _paths.path_problem(normalised) is None


@pytest.mark.parametrize("case", PATHS["invalid"], ids=short)
def test_invalid_paths(case: Json) -> None:
    assert _paths.path_problem(_paths.trim_path(case["path"])) == case["problem"]


def test_the_order_of_paths() -> None:
    assert sorted(set(PATHS["order"]), key=_paths.path_key) == PATHS["order"]


@pytest.mark.parametrize("case", vectors("link-targets.json")["links"], ids=short)
def test_link_targets(case: Json) -> None:
    assert (_paths.link_problem(case["path"], case["target"]) is None) == case["ok"]


@pytest.mark.parametrize("case", vectors("upload-defaults.json")["cases"], ids=short)
def test_where_uploads_go(case: Json) -> None:
    given = case["local_path"], case["artifact_path"], case["is_file"]
    if "error" in case:
        with pytest.raises(artifacts.ArtifactsUploadError, match=re.escape(case["error"])):
            _walk.artifact_path_of(*given)
    else:
        assert _walk.artifact_path_of(*given) == case["path"]


@pytest.mark.parametrize("case", vectors("partial-names.json")["files"], ids=short)
def test_names_of_partial_files(case: Json) -> None:
    assert Wanted(case["path"], case["size"], int(case["crc32c"], 16), 0, None).partial == case["name"]


def test_limits() -> None:
    ours = {
        "timeout_ms": _settings.DEFAULT_TIMEOUT_SECONDS * 1000,
        "retry_first_wait_ms": _retry.FIRST_WAIT_SECONDS * 1000,
        "retry_longest_wait_ms": _retry.LONGEST_WAIT_SECONDS * 1000,
        "retry_wait_factor": _retry.WAIT_FACTOR,
        "changing_file_reads": _messages.READS_OF_A_CHANGING_FILE,
        "damaged_file_sends": _upload.DAMAGED_FILE_SENDS,
        "damaged_file_fetches": _download.DAMAGED_FILE_FETCHES,
        "max_chunk_bytes": _messages.CHUNK_BYTES,
        "max_path_bytes": _paths.MAX_PATH_BYTES,
        "max_segment_bytes": _paths.MAX_SEGMENT_BYTES,
        "max_link_target_bytes": _paths.MAX_LINK_TARGET_BYTES,
        "permission_bits": f"{_messages.PERMISSION_BITS:o}",
    }
    for name, value in ours.items():
        assert value == LIMITS[name], name
    assert _paths.is_id("a" * LIMITS["min_id_length"]) and not _paths.is_id("a" * (LIMITS["min_id_length"] - 1))
    assert _paths.is_id("a" * LIMITS["max_id_length"]) and not _paths.is_id("a" * (LIMITS["max_id_length"] + 1))
    assert not _paths.name_problem("a" * LIMITS["max_name_length"]) and _paths.name_problem("a" * (LIMITS["max_name_length"] + 1))
    assert min(LIMITS["max_held_files"], LIMITS["max_page_size"]["list_entries"]) >= _download.LISTING_PAGE
    assert _settings.read_settings(env={}).project == LIMITS["default_project"]


def test_classes_of_errors() -> None:
    for case in ERRORS["classes"]:
        parent = Exception if case["parent"] is None else getattr(artifacts, case["parent"])
        assert getattr(artifacts, case["name"]).__base__ is parent


def test_every_reason_is_in_the_table() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert {case["reason"] for case in ERRORS["reasons"]} == names - {"UNSPECIFIED"}


class FailedCall(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """A call that ended as a case says."""

    def __init__(self, case: Json):
        self._code = grpc.StatusCode[case["code"]]
        status = status_pb2.Status(code=self._code.value[0], message="it failed")
        if "reason" in case:
            info = error_details_pb2.ErrorInfo(reason=case["reason"], domain=ERRORS["domain"])
            status.details.append(_packed(info))
        if case.get("retry_after_ms") is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(case["retry_after_ms"])
            status.details.append(_packed(retry))
        self._metadata = (("grpc-status-details-bin", status.SerializeToString()),) if status.details else ()

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "it failed"

    def trailing_metadata(self) -> Any:
        return self._metadata

    def _unused(self, *_: object) -> Any:
        raise NotImplementedError

    add_callback = cancel = initial_metadata = is_active = time_remaining = _unused


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


@pytest.mark.parametrize("case", ERRORS["reasons"] + ERRORS["without_reason"], ids=lambda case: case.get("reason", case["code"]))
def test_errors(case: Json) -> None:
    failure = _status.failure_of(FailedCall(case))
    assert failure.temporary == case["retryable"]
    asked = case.get("retry_after_ms")
    assert failure.retry_after == (None if asked is None else asked / 1000)
    for doing in ("upload", "download", "other"):
        error = _status.to_error(failure, doing, "http://x")
        assert type(error).__name__ == case[doing]
        assert error.reason == case.get("reason")


@pytest.mark.filterwarnings("ignore:.*was left out")
@pytest.mark.parametrize("case", vectors("cases.json")["cases"], ids=lambda case: case["name"])
def test_cases(case: Json, server: Server, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    project = f"c-{hashlib.sha256(case['name'].encode()).hexdigest()[:16]}"
    with Client(server.url, project=project) as client:
        player = Player(client, server)
        for step in case["steps"]:
            player.play(step)


class Player:
    """Does the steps of a case."""

    def __init__(self, client: Client, server: Server):
        self.client = client
        self.words = {"cwd": os.getcwd(), "server_run": server.run}

    def play(self, step: Json) -> None:
        kind = next(iter(step))
        getattr(self, kind)(self.filled(step))

    def filled(self, value: Json) -> Json:
        if isinstance(value, str):
            for word, meaning in self.words.items():
                value = value.replace(f"{{{word}}}", meaning)
            return value
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        return {key: self.filled(each) for key, each in value.items()} if isinstance(value, dict) else value

    def make(self, step: Json) -> None:
        for entry in step["make"]:
            make_entry(entry)
        for entry in reversed(step["make"]):
            path = path_of(entry)
            if "mode" in entry and "link" not in entry:
                os.chmod(path, int(entry["mode"], 8))
            if "mtime_ns" in entry:
                time = int(entry["mtime_ns"])
                os.utime(path, ns=(time, time), follow_symlinks=False)

    def remove(self, step: Json) -> None:
        for path in step["remove"]:
            os.unlink(path)

    def upload(self, step: Json) -> None:
        self.expect(step, lambda: self.client.upload(**step["upload"]))

    def download(self, step: Json) -> None:
        self.expect(step, lambda: self.client.download(**step["download"]))

    def create_tag(self, step: Json) -> None:
        given = dict(step["create_tag"])
        self.expect(step, lambda: self.client.create_tag(given.pop("tag"), **given))

    def list(self, step: Json) -> None:
        listing = self.client.list(**step["list"])
        check_fields(listing, step.get("result", {}))
        assert len(listing.entries) == len(step["entries"])
        for entry, expected in zip(listing.entries, step["entries"], strict=True):
            for name, value in expected.items():
                found = getattr(entry, name)
                shown = {"mode": lambda v: f"{v:o}", "mtime_ns": str, "crc32c": lambda v: f"{v:08x}"}.get(name, lambda v: v)
                assert shown(found) == value

    def tree(self, step: Json) -> None:
        check_tree(step["tree"], step["entries"])

    def remove_partials(self, step: Json) -> None:
        partials = [
            path for path in Path(step["remove_partials"]).rglob(".*.partial") if re.fullmatch(r"\.[0-9a-f]{32}\.partial", path.name)
        ]
        assert len(partials) == step["count"]
        for partial in partials:
            partial.unlink()

    def expect(self, step: Json, act: Any) -> None:
        if "error" in step:
            with pytest.raises(artifacts.DstackError) as caught:
                act()
            assert type(caught.value).__name__ == step["error"]["class"]
            assert "\n" not in str(caught.value)
            for text in step["error"]["contains"]:
                assert text in str(caught.value)
            return
        result = act()
        check_fields(result, step.get("result", {}))
        if isinstance(result, artifacts.UploadResult):
            self.words["run"] = result.run


def check_fields(result: object, expected: Json) -> None:
    for name, value in expected.items():
        found = getattr(result, name)
        if value == "{generated}":
            assert re.fullmatch(r"[a-z]+-[a-z]+-[0-9]+", found)
        else:
            assert found == value, name


def path_of(entry: Json) -> str:
    return os.fsdecode(bytes.fromhex(entry["path_hex"])) if "path_hex" in entry else entry["path"]


def bytes_of(entry: Json, seed: int | None = None) -> bytes:
    if "text" in entry:
        return entry["text"].encode()
    seed = entry["seed"] if seed is None else seed
    blocks = -(-entry["size"] // 32)
    return b"".join(hashlib.sha256(f"{seed}:{at}".encode()).digest() for at in range(blocks))[: entry["size"]]


def make_entry(entry: Json) -> None:
    path = path_of(entry)
    if "partial_in" in entry:
        whole = bytes_of(entry)
        wanted = Wanted(path, len(whole), google_crc32c.value(whole), 0, None)
        os.makedirs(entry["partial_in"], exist_ok=True)
        partial = Path(entry["partial_in"], wanted.partial)
        partial.write_bytes(bytes_of(entry, entry.get("bytes_of_seed"))[: entry["length"]])
        return
    if path.endswith("/"):
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    if "link" in entry:
        os.symlink(entry["link"], path)
    elif entry.get("fifo"):
        os.mkfifo(path)
    else:
        with open(path, "wb") as file:
            file.write(bytes_of(entry))


def check_tree(folder: str, expected: Json) -> None:
    allowed = set()
    for entry in expected:
        path = os.path.normpath(os.path.join(folder, path_of(entry).rstrip("/")))
        allowed.add(path)
        found = os.lstat(path)
        if "link" in entry:
            assert os.readlink(path) == entry["link"]
        elif entry["path"].endswith("/"):
            assert stat.S_ISDIR(found.st_mode)
        else:
            assert stat.S_ISREG(found.st_mode)
            assert Path(path).read_bytes() == bytes_of(entry)
        if "mode" in entry:
            assert f"{stat.S_IMODE(found.st_mode):o}" == entry["mode"]
        if "mtime_ns" in entry:
            assert str(found.st_mtime_ns) == entry["mtime_ns"]
    folders = {str(parent) for path in allowed for parent in Path(path).parents}
    for at, names, files in os.walk(folder):
        for name in names + files:
            path = os.path.normpath(os.path.join(at, name))
            assert path in allowed or path in folders, f"{path} should not be there"


def test_a_message_is_taken_as_a_chunk_only_if_it_is_nothing_else() -> None:
    for length in (0, 1, 127, 128, 16384, 1 << 20):
        block = os.urandom(length)
        assert _chunks.deserialize(_chunks.chunk_message(block)) == block


def test_a_checksum_is_extended_by_the_end_of_a_message() -> None:
    for head in range(9):
        for length in (0, 1, 1 << 20):
            data, before = os.urandom(head + length), int.from_bytes(os.urandom(4), "big")
            assert extend_by_tail(before, memoryview(data)[head:]) == google_crc32c.extend(before, data[head:])
