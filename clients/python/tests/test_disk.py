"""What disks and other programs do to a transfer."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import google_crc32c
import pytest
from dstack import artifacts
from dstack.artifacts import Client
from dstack.artifacts._download import _Sink
from dstack.artifacts._incoming import Wanted
from dstack.artifacts.v1 import artifacts_pb2 as pb
from dstack.artifacts.v1 import entries_pb2 as entries
from servers import Server

MIB = 1024 * 1024
NOBODY = 65534


class Changes:
    """For `progress`: does something to the file at each of the first `times` steps that read the file from its middle."""

    def __init__(self, file: Path, times: int):
        self.file = file
        self.times = times
        self._highest = -1

    def __call__(self, done: int, total: int | None) -> None:
        # A count that falls back says that the file was begun again.
        if done < self._highest or self._highest < 0:
            if self.times > 0:
                self.times -= 1
                with self.file.open("ab") as file:
                    file.write(b"more")
            self._highest = 0
        self._highest = max(self._highest, done)


def test_a_file_that_changes_while_it_is_read_is_read_again(client: Client, work: Path) -> None:
    file = work / "f"
    file.write_bytes(bytes(3 * MIB))
    result = client.upload("f", run="r", progress=Changes(file, 1))
    assert result.bytes == file.stat().st_size == 3 * MIB + 4
    assert client.read("f", run="r") == file.read_bytes()


def test_a_file_that_changes_twice_is_an_error(client: Client, work: Path) -> None:
    file = work / "f"
    file.write_bytes(bytes(3 * MIB))
    with pytest.raises(artifacts.ArtifactsUploadError, match=r'"f" changed while it was read, twice'):
        client.upload("f", run="r", progress=Changes(file, 2))
    assert client.runs() == []


def test_a_file_that_shrinks_while_it_is_read(client: Client, work: Path) -> None:
    file = work / "f"
    file.write_bytes(bytes(3 * MIB))
    shrunk = False

    def shrink(done: int, total: int | None) -> None:
        nonlocal shrunk
        if not shrunk:
            shrunk = True
            os.truncate(file, MIB)

    assert client.upload("f", run="r", progress=shrink).bytes == MIB


def test_a_file_that_goes_away_is_an_error_that_names_it(client: Client, work: Path) -> None:
    for name in "ab":
        (work / name).write_bytes(b"x")
    with pytest.raises(artifacts.ArtifactsUploadError, match=r'b" does not exist'):
        client.upload(".", run="r", progress=lambda done, total: (work / "b").unlink(missing_ok=True))
    assert client.runs() == []


def test_sockets_and_fifos_are_left_out_with_a_warning(client: Client, work: Path) -> None:
    (work / "d").mkdir()
    (work / "d/a").write_bytes(b"1")
    os.mkfifo(work / "d/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("d/socket")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = client.upload("d", run="r")
    assert (result.files, result.skipped) == (1, 2)
    assert [str(warning.message).split(" is ")[0] for warning in caught] == ['"d/fifo"', '"d/socket"']
    assert {warning.filename for warning in caught} == {__file__}


def as_nobody(code: str, url: str, work: Path) -> subprocess.CompletedProcess[str]:
    """Runs code as a user who is not allowed everything, in a folder of his."""
    head = f"""
        import os
        os.chdir({str(work)!r})
        from dstack.artifacts import Client, _client, _upload, _download
        import dstack.artifacts, grpc, tqdm
        if os.getuid() == 0:
            os.setgid({NOBODY})
            os.setuid({NOBODY})
        client = Client({url!r}, token="t", project="nobody")
        def fails(act):
            try:
                act()
            except dstack.artifacts.DstackError as error:
                print(type(error).__name__, error)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("open"), store="memory:", listen="http://127.0.0.1:0", env={"DSTACK_ARTIFACTS_TOKEN": "t"})
    yield server
    server.kill()


def test_what_a_user_may_not_do(open_server: Server, work: Path) -> None:
    """Unreadable files and folders, folders that can't be written, and read-only folders that an earlier download made."""
    for folder in (work, *work.parents[:2]):
        folder.chmod(0o755)
    (work / "in/secret").mkdir(parents=True)
    (work / "in/file").write_bytes(b"1")
    (work / "in/file").chmod(0)
    (work / "mine").mkdir()
    if os.getuid() == 0:
        os.chown(work / "mine", NOBODY, NOBODY)
    (work / "theirs").mkdir(mode=0o555)
    code = """
        fails(lambda: client.upload("in", run="r"))
        client.upload_bytes(b"1", "d/e/a", run="r")
        os.makedirs("mine/src/d/e", exist_ok=True)
        open("mine/src/d/e/a", "w").write("2")
        os.chmod("mine/src/d/e", 0o555)
        os.chmod("mine/src/d", 0o555)
        client.upload("mine/src", "", run="r")
        for _ in range(2):
            client.download("r", local_path="mine/out")
            print(oct(os.stat("mine/out/d").st_mode)[-3:], oct(os.stat("mine/out/d/e").st_mode)[-3:], open("mine/out/d/e/a").read())
        fails(lambda: client.download("r", local_path="theirs/out"))
    """
    done = as_nobody(code, open_server.url, work)
    assert done.stdout.splitlines() == [
        'ArtifactsUploadError "in/file" can\'t be read: permission denied',
        "555 555 2",
        "555 555 2",
        'ArtifactsDownloadError "theirs/out" may not be accessed: permission denied',
    ], done.stderr


@pytest.fixture
def mine(work: Path) -> Path:
    """A folder of the user of `as_nobody`."""
    for folder in (work, *work.parents[:2]):
        folder.chmod(0o755)
    (work / "mine").mkdir()
    if os.getuid() == 0:
        os.chown(work / "mine", NOBODY, NOBODY)
    return work / "mine"


def test_what_can_not_be_looked_at_is_fetched(open_server: Server, mine: Path, work: Path) -> None:
    code = """
        client.upload_bytes(b"1", "d/a", run="r")
        client.upload_bytes(b"1", "b", run="r")
        client.download("r", local_path="mine/out")
        os.chmod("mine/out/d", 0o600)
        client.download("r", local_path="mine/out")
        print(open("mine/out/b").read(), oct(os.stat("mine/out/d").st_mode)[-3:])
        os.chmod("mine/out", 0o600)
        fails(lambda: client.download("r", local_path="mine/out"))
    """
    done = as_nobody(code, open_server.url, work)
    assert done.stdout.splitlines() == [
        "1 600",
        'ArtifactsDownloadError "mine/out/b" may not be accessed: permission denied',
    ], done.stderr


def test_a_name_that_is_too_long_is_an_error_that_names_it(client: Client, work: Path) -> None:
    (work / "a").write_bytes(b"1")
    client.upload("a", run="r")
    with pytest.raises(artifacts.ArtifactsDownloadError, match='x…" has a name that is too long'):
        client.download("r", artifact_path="a", local_path="x" * 256)


def test_a_file_of_somebody_else_with_the_right_bytes(open_server: Server, mine: Path, work: Path) -> None:
    """Nothing is set that is right already, and a file whose time can't be set is fetched."""
    code = """
        for name in ("a", "b", "c"):
            client.upload_bytes(b"1", name, run="r")
        client.download("r", local_path="mine/out")
    """
    done = as_nobody(code, open_server.url, work)
    assert done.stderr == ""
    inodes = {}
    for file in (mine / "out").iterdir():
        if os.getuid() == 0:
            os.chown(file, 0, 0)
        inodes[file.name] = file.stat().st_ino
    os.utime(mine / "out/b", ns=(1, 1))
    (mine / "out/c").chmod(0o604)
    done = as_nobody('print(client.download("r", local_path="mine/out").files)', open_server.url, work)
    assert done.stdout == "3\n", done.stderr
    assert (mine / "out/a").stat().st_ino == inodes["a"]
    assert (mine / "out/b").stat().st_mtime_ns != 1
    assert stat.S_IMODE((mine / "out/c").stat().st_mode) == 0o644
    for name in ("b", "c"):
        assert (mine / "out" / name).stat().st_uid == (mine / "out").stat().st_uid


def test_another_download_that_makes_the_folders_read_only_first(open_server: Server, mine: Path, work: Path) -> None:
    code = """
        os.makedirs("mine/in/d/e")
        for name in ("a", "b", "e/f", "e/g", "h"):
            open(f"mine/in/d/{name}", "w").write(name)
        os.symlink("a", "mine/in/d/l")
        os.makedirs("mine/in/d/m/n")
        open("mine/in/d/m/n/o", "w").write("o")
        for folder in ("m/n", "m", "e", ""):
            os.chmod(f"mine/in/d/{folder}", 0o555)
        client.upload("mine/in", "", run="r", symlinks="preserve")
        def other(done, total):
            for folder in ("m/n", "m", "e", ""):
                try:
                    os.chmod(f"mine/out/d/{folder}", 0o555)
                except FileNotFoundError:
                    pass
        from dstack.artifacts import _progress, _tree
        _progress.REPORT_SECONDS = 0
        print(client.download("r", local_path="mine/out", progress=other).files)

        # One more ends each time right after the folder was made writable.
        unlock = _tree.Tree._unlock
        def unlock_for_nothing(tree, folder):
            global more
            done, more = unlock(tree, folder), more - 1
            if more >= 0:
                os.chmod(folder, 0o555)
            return done
        more = 3
        _tree.Tree._unlock = unlock_for_nothing
        print(client.download("r", local_path="mine/again", progress=lambda done, total: os.chmod("mine/again/d", 0o555)).files)
    """
    done = as_nobody(code, open_server.url, work)
    assert done.stdout == "7\n7\n", done.stderr
    for out in ("out", "again"):
        subprocess.run(["diff", "-r", "--no-dereference", "mine/in", f"mine/{out}"], check=True)
        for folder in ("d", "d/e", "d/m", "d/m/n"):
            assert stat.S_IMODE((mine / out / folder).stat().st_mode) == 0o555


def test_a_download_that_fails_leaves_the_modes_of_folders_as_they_were(client: Client, work: Path) -> None:
    for name in ("a", "b"):
        (work / "in/d").mkdir(parents=True, exist_ok=True)
        (work / "in/d" / name).write_bytes(b"1")
    (work / "in/d").chmod(0o555)
    client.upload("in", "", run="r")
    (work / "out/d/b").mkdir(parents=True)
    (work / "out/d").chmod(0o555)
    with pytest.raises(artifacts.ArtifactsDownloadError, match="folder"):
        client.download("r", local_path="out")
    assert stat.S_IMODE((work / "out/d").stat().st_mode) == 0o555
    assert (work / "out/d/a").read_bytes() == b"1"


def test_a_file_with_another_name_is_not_changed_there(client: Client, work: Path) -> None:
    (work / "in").write_bytes(b"same")
    (work / "in").chmod(0o600)
    client.upload("in", "a", run="r")
    (work / "elsewhere").write_bytes(b"same")
    (work / "elsewhere").chmod(0o644)
    (work / "out").mkdir()
    os.link(work / "elsewhere", work / "out/a")
    client.download("r", local_path="out")
    assert stat.S_IMODE((work / "elsewhere").stat().st_mode) == 0o644
    assert stat.S_IMODE((work / "out/a").stat().st_mode) == 0o600
    assert (work / "elsewhere").stat().st_nlink == 1


@pytest.mark.parametrize("made", ["link", "fifo", "folder"])
def test_something_else_under_the_partial_name_makes_way(made: str, client: Client, work: Path) -> None:
    from dstack.artifacts._incoming import Wanted

    content = bytes(2 * MIB)
    client.upload_bytes(content, "a", run="r")
    [entry] = client.list("r").entries
    (work / "out").mkdir()
    partial = work / "out" / Wanted("a", len(content), entry.crc32c or 0, 0, None).partial
    (work / "victim").write_bytes(b"kept")
    if made == "link":
        partial.symlink_to(work / "victim")
    elif made == "fifo":
        os.mkfifo(partial)
    else:
        partial.mkdir()
    if made == "folder":
        with pytest.raises(artifacts.ArtifactsDownloadError):
            client.download("r", local_path="out")
    else:
        client.download("r", local_path="out")
        assert (work / "out/a").read_bytes() == content
    assert (work / "victim").read_bytes() == b"kept"


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(client: Client, work: Path) -> None:
    (work / "in/d").mkdir(parents=True)
    for name in ("a", "b"):
        (work / "in/d" / name).write_bytes(bytes(2 * MIB))
    client.upload("in", "", run="r")
    (work / "elsewhere").mkdir()

    def swap(done: int, total: int | None) -> None:
        if not (work / "out/moved").exists():
            (work / "out/d").rename(work / "out/moved")
            (work / "out/d").symlink_to(work / "elsewhere")

    client.download("r", local_path="out", progress=swap)
    assert list((work / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in (work / "out/moved").iterdir()) == ["a", "b"]


def upload_raw(client: Client, *headers: entries.EntryHeader) -> None:
    """Uploads entries as no client of ours would."""

    def messages() -> Iterator[pb.UploadRequest]:
        yield pb.UploadRequest(start=pb.UploadStart(upload_id="x" * 32, project=client._connection.settings.project, run="r"))
        for header in headers:
            yield pb.UploadRequest(file=header)
            if header.type == entries.ENTRY_TYPE_FILE:
                yield pb.UploadRequest(file_end=entries.FileEnd())
        yield pb.UploadRequest(finish=pb.UploadFinish(files=len(headers)))

    client._connection.open().stub.Upload(messages())


def test_setuid_setgid_and_sticky_are_never_restored(client: Client, work: Path) -> None:
    upload_raw(client, entries.EntryHeader(path="a", type=entries.ENTRY_TYPE_FILE, mode=0o7755))
    client.download("r", local_path="out")
    assert stat.S_IMODE((work / "out/a").stat().st_mode) == 0o755


def test_modes_and_times_that_nobody_told(client: Client, work: Path) -> None:
    upload_raw(client, entries.EntryHeader(path="a", type=entries.ENTRY_TYPE_FILE))
    client.download("r", local_path="out")
    assert stat.S_IMODE((work / "out/a").stat().st_mode) == 0o644


def test_times_before_1970_and_far_away(client: Client, work: Path) -> None:
    (work / "in").mkdir()
    times = {"a": -1, "b": -(10**18) - 1, "c": 253402300799_999999999 % 2**63, "d": 1}
    for name, time in times.items():
        (work / "in" / name).write_bytes(b"1")
        os.utime(work / "in" / name, ns=(0, time))
    client.upload("in", "", run="r")
    client.download("r", local_path="out")
    for name in times:
        assert (work / "out" / name).stat().st_mtime_ns == (work / "in" / name).stat().st_mtime_ns


def test_a_deep_tree(client: Client, work: Path) -> None:
    folder = Path("d", *["x"] * 500)
    folder.mkdir(parents=True)
    (folder / "f").write_bytes(b"deep")
    client.upload("d", "", run="r")
    client.download("r", local_path="out")
    assert Path("out", *["x"] * 500, "f").read_bytes() == b"deep"


def test_paths_may_be_path_objects(client: Client, work: Path) -> None:
    (work / "a").write_bytes(b"1")
    client.upload(Path("a"), run="r")
    client.download("r", local_path=Path("out"))
    assert (work / "out/a").read_bytes() == b"1"


def test_a_full_disk_is_an_error_that_names_the_file(client: Client, tmp_path: Path) -> None:
    client.upload_bytes(bytes(4 * MIB), "a", run="r")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False).returncode != 0:
        small = Path("/dev/full")
    try:
        with pytest.raises(artifacts.ArtifactsDownloadError, match=r"a\" can't be written: no space left on the disk|dev/full"):
            client.download("r", local_path=small)
    finally:
        subprocess.run(["umount", small], check=False, capture_output=True)


def test_two_downloads_to_one_folder_at_once(client: Client, server: Server, project: str, work: Path) -> None:
    content = os.urandom(12 * MIB)
    client.upload_bytes(content, "a", run="r")

    def second(done: int, total: int | None) -> None:
        """In the middle of the first one."""
        if done >= 5 * MIB and not (work / "out/a").exists():
            with Client(server.url, project=project) as other:
                other.download("r", local_path="out")
            assert (work / "out/a").read_bytes() == content

    client.download("r", local_path="out", progress=second)
    assert (work / "out/a").read_bytes() == content
    assert [path.name for path in (work / "out").iterdir()] == ["a"]


def test_a_folder_that_another_download_makes_at_the_same_time(client: Client, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client.upload_bytes(b"1", "d/e/a", run="r")
    mkdir = os.mkdir

    def twice(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None:
            mkdir(path, mode, dir_fd=dir_fd)
        mkdir(path, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", twice)
    client.download("r", local_path="out")
    assert (work / "out/d/e/a").read_bytes() == b"1"


def test_many_processes_that_download_to_one_folder(client: Client, server: Server, project: str, work: Path) -> None:
    (work / "in").mkdir()
    for name in ("a", "b", "c"):
        (work / "in" / name).write_bytes(os.urandom(5 * MIB))
    for number in range(100):
        (work / "in" / f"small{number}").write_bytes(os.urandom(number))
        (work / "in" / f"link{number}").symlink_to(f"small{number}")
    client.upload("in", "", run="r", symlinks="preserve")
    code = f"from dstack.artifacts import Client; Client({server.url!r}, project={project!r}).download('r', local_path='out')"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(6)]
    assert [process.wait(60) for process in running] == [0] * 6
    subprocess.run(["diff", "-r", "--no-dereference", "in", "out"], check=True)


def replace(partial: Path, _: Path) -> None:
    beginning = partial.read_bytes()[:1000]
    partial.unlink()
    partial.write_bytes(beginning)


@pytest.mark.parametrize("act", [Path.rename, lambda partial, _: partial.unlink(), replace], ids=["finished", "removed", "replaced"])
@pytest.mark.parametrize("at", [0, 4 * MIB], ids=["before it is gone on with", "while it is written"])
def test_a_file_whose_partial_is_taken_away_comes_again(
    act: Callable[[Path, Path], object], at: int, client: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(6 * MIB)
    client.upload_bytes(content, "a", run="r")
    partial = work / "out" / Wanted("a", len(content), google_crc32c.value(content), 0, None).partial
    (work / "out").mkdir()
    partial.write_bytes(content[: 2 * MIB])
    acted = []
    look = _Sink.look

    def then_act(sink: _Sink, listed: Sequence[entries.Entry]) -> None:
        look(sink, listed)
        acted.append(act(partial, work / "out/a"))

    def progress(done: int, total: int | None) -> None:
        if at and not acted and done >= at:
            acted.append(act(partial, work / "out/a"))

    if at == 0:
        monkeypatch.setattr(_Sink, "look", then_act)
    client.download("r", local_path="out", progress=progress)
    assert acted
    assert (work / "out/a").read_bytes() == content
    assert os.listdir(work / "out") == ["a"]


def test_a_download_whose_first_write_fails_says_why_and_leaves_nothing(client: Client, server: Server, project: str, work: Path) -> None:
    (work / "d/e").mkdir(parents=True)
    (work / "d/e/f").write_bytes(b"x" * 5000)
    client.upload(".", "", run="r")
    code = f"""
        import resource, signal
        from dstack.artifacts import ArtifactsDownloadError, Client
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            Client({server.url!r}, project={project!r}).download(run="r", local_path="out")
        except ArtifactsDownloadError as error:
            print(error)
    """
    said = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout == '"out/d/e/f" failed: File too large\n', said.stderr
    assert os.listdir("out/d/e") == []
