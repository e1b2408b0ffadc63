"""What a client needs to know, from its caller or the environment. An empty variable is an unset one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote as percent_encode
from urllib.parse import unquote, urlsplit

from ._errors import DstackError
from ._paths import name_problem, quote

# How long a lost connection is taken up again without progress.
DEFAULT_TIMEOUT_SECONDS = 30.0

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Settings:
    """Everything that makes one client different from another."""

    url: str
    token: str | None
    project: str
    run: str | None
    timeout: float
    ca_file: str | None
    cert_file: str | None
    key_file: str | None


def read_settings(
    *,
    url: str | None = None,
    token: str | None = None,
    project: str | None = None,
    run: str | None = None,
    timeout: float | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    cert_file: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from what the caller gave, then the environment, then the defaults."""
    env = os.environ if env is None else env
    if project is None:
        project = env.get("DSTACK_PROJECT", "")
        if project:
            check_name("project", project)
    else:
        check_name("project", project)
    timeout = DEFAULT_TIMEOUT_SECONDS if timeout is None else timeout
    if not timeout > 0:
        raise DstackError(f"timeout {timeout} must be more than 0 seconds")
    token = token if token is not None else env.get("DSTACK_ARTIFACTS_TOKEN") or None
    if token is not None and not (token.isascii() and token.isprintable()):
        raise DstackError("the token has a character that no token has, such as a line break at its end")
    url = url if url is not None else env.get("DSTACK_ARTIFACTS_URL") or default_url(env)
    grpc_target(url)
    return Settings(
        url=url,
        token=token,
        project=project,
        run=run if run is not None else env.get("DSTACK_RUN_NAME") or env.get("RUN_NAME") or None,
        timeout=timeout,
        ca_file=os.fspath(ca_file) if ca_file is not None else env.get("SSL_CERT_FILE") or None,
        cert_file=None if cert_file is None else os.fspath(cert_file),
        key_file=None if key_file is None else os.fspath(key_file),
    )


def default_url(env: Mapping[str, str]) -> str:
    """The default socket's URL."""
    runtime = env.get("XDG_RUNTIME_DIR")
    if runtime:
        path = os.path.join(runtime, "dstack-artifacts", "server.sock")
    else:
        home = env.get("HOME") or os.path.expanduser("~")
        path = os.path.join(home, ".dstack", "artifacts", "server.sock")
    return "unix://" + percent_encode(path)


def grpc_target(url: str) -> tuple[str, bool]:
    """What gRPC calls the address, and whether it is spoken to by TLS. Fails for what is no server's URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad_url(url) from None
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return "unix://" + percent_encode(unquote(parts.path)), False
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
        raise bad_url(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"dns:///{host}:{port or _DEFAULT_PORTS[parts.scheme]}", parts.scheme == "https"


def bad_url(url: str) -> DstackError:
    """The error for what is no server's URL."""
    return DstackError(f"{quote(url)} is not the URL of a server: use unix:///path, http://host:port or https://host:port")


def check_name(kind: str, name: str, error: type[DstackError] = DstackError) -> None:
    """Refuses a bad name before anything is sent."""
    problem = name_problem(name)
    if problem is not None:
        raise error(f"{kind} {quote(name)}: a name {problem}", reason="NAME_INVALID", metadata={"kind": kind, "name": name})
