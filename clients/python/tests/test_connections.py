"""Ways to a server, and what is said when there is none."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dstack import artifacts
from dstack.artifacts import Client
from servers import Server

TOKEN = "a-token-for-tests"
OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        [*OPENSSL.split(), "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture(scope="module")
def tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("tcp"), store="memory:", listen="http://127.0.0.1:0", env={"DSTACK_ARTIFACTS_TOKEN": TOKEN})
    yield server
    server.kill()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[Server]:
    cert, key = certificate
    server = Server(
        tmp_path_factory.mktemp("tls-server"),
        "--tls-cert",
        cert,
        "--tls-key",
        key,
        store="memory:",
        listen="https://127.0.0.1:0",
        env={"DSTACK_ARTIFACTS_TOKEN": TOKEN},
    )
    yield server
    server.kill()


def there_and_back(client: Client, work: Path) -> None:
    (work / "in").mkdir()
    (work / "in/small").write_bytes(b"x")
    (work / "in/large").write_bytes(bytes(range(256)) * 10_000)
    result = client.upload("in", "", run="r")
    assert (result.files, result.bytes) == (2, 2_560_001)
    client.download("r", local_path="out")
    for name in ("small", "large"):
        assert (work / "out" / name).read_bytes() == (work / "in" / name).read_bytes()


def test_over_a_unix_socket(client: Client, work: Path) -> None:
    there_and_back(client, work)


def test_over_a_unix_socket_whose_path_has_a_space_and_a_percent_sign(tmp_path_factory: pytest.TempPathFactory, work: Path) -> None:
    folder = tmp_path_factory.mktemp("a b")
    server = Server(folder, store="memory:", listen=f"unix://{folder}/100%25.sock".replace(" ", "%20"))
    try:
        with Client(server.url) as client:
            there_and_back(client, work)
    finally:
        server.kill()


def test_over_tcp_with_a_token(tcp: Server, work: Path) -> None:
    with Client(tcp.url, token=TOKEN) as client:
        there_and_back(client, work)


def test_the_environment_names_server_and_token(tcp: Server, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSTACK_ARTIFACTS_URL", tcp.url)
    with pytest.raises(artifacts.DstackError) as caught:
        artifacts.runs()
    assert caught.value.reason == "TOKEN_MISSING"
    monkeypatch.setenv("DSTACK_ARTIFACTS_TOKEN", TOKEN)
    artifacts.runs()


def test_a_wrong_token(tcp: Server, work: Path) -> None:
    (work / "a").write_text("1")
    with Client(tcp.url, token="another") as client, pytest.raises(artifacts.ArtifactsUploadError) as caught:
        client.upload("a")
    assert caught.value.reason == "TOKEN_INVALID"


def test_over_tls(tls: Server, certificate: tuple[str, str], work: Path) -> None:
    with Client(tls.url, token=TOKEN, ca_file=certificate[0]) as client:
        there_and_back(client, work)


def test_tls_with_an_authority_of_the_environment(
    tls: Server, certificate: tuple[str, str], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    with Client(tls.url.replace("127.0.0.1", "localhost"), token=TOKEN) as client:
        there_and_back(client, work)


def test_a_certificate_that_nobody_vouches_for(tls: Server) -> None:
    with Client(tls.url, token=TOKEN) as client, pytest.raises(artifacts.DstackError, match="no secure connection to https://"):
        client.runs()


@pytest.mark.parametrize("url", ["unix:///nowhere/at/all.sock", "http://127.0.0.1:1", "http://no-such-host.invalid:80"])
def test_no_server_is_an_error_at_once(url: str, work: Path) -> None:
    (work / "a").write_text("1")
    message = f"^no server at {url}: start one with `dstack-artifacts serve`$"
    with Client(url, token="x") as client:
        with pytest.raises(artifacts.ArtifactsUploadError, match=message):
            client.upload("a")
        with pytest.raises(artifacts.ArtifactsDownloadError, match=message):
            client.download("r")
        with pytest.raises(artifacts.DstackError, match=message):
            client.runs()
        with pytest.raises(artifacts.ArtifactsDownloadError, match=message):
            client.read("a", run="r")
    assert sorted(path.name for path in work.iterdir()) == ["a"]


def test_a_server_of_something_else(tmp_path: Path, work: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    other = grpc.server(ThreadPoolExecutor(1))
    other.add_insecure_port(f"unix://{tmp_path}/other.sock")
    other.start()
    try:
        with Client(f"unix://{tmp_path}/other.sock") as client, pytest.raises(artifacts.DstackError, match="is not a server of artifacts"):
            client.runs()
    finally:
        other.stop(None)


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://x", "http://", "http://x/path", "unix://relative", "http://x:port"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(artifacts.DstackError, match="is not the URL of a server"):
        Client(url)


def test_the_default_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(artifacts.DstackError, match=f"no server at unix://{tmp_path}/.dstack/artifacts/server.sock"):
        artifacts.runs()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    with pytest.raises(artifacts.DstackError, match=f"no server at unix://{tmp_path}/run/dstack-artifacts/server.sock"):
        artifacts.runs()


def test_a_closed_client_says_so(server: Server) -> None:
    client = Client(server.url)
    client.runs()
    client.close()
    with pytest.raises(artifacts.DstackError, match="the client is closed"):
        client.runs()


def test_a_client_can_be_given_to_another_process(client: Client, project: str) -> None:
    client.upload_bytes(b"1", "a", run="r")
    again = pickle.loads(pickle.dumps(client))
    assert again.read("a", run="r") == b"1"
    assert pickle.loads(pickle.dumps(artifacts.upload)).__name__ == "upload"
    again.close()


@pytest.mark.parametrize("options", [{"project": "a/b"}, {"timeout": 0}, {"ca_file": "/nowhere"}, {"token": "line\n"}])
def test_settings_that_cannot_be(options: dict[str, object], tls: Server) -> None:
    with pytest.raises(artifacts.DstackError):
        Client(tls.url, **options).runs()  # type: ignore[arg-type]
