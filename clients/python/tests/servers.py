"""Servers for tests, as processes; and a proxy before them that counts bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
READY_SECONDS = 60


class Server:
    """`dstack-artifacts serve`; it can be killed and started again where it was."""

    def __init__(self, folder: Path, *args: str, listen: str | None = None, store: str | None = None, env: dict[str, str] | None = None):
        self.folder = folder
        self._listen = listen or f"unix://{folder}/server.sock"
        self._store = store or str(folder / "store")
        self._args = args
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("DSTACK_", "RUN_NAME"))} | (env or {})
        self._env["PATH"] = f"{ROOT / 'node_modules/.bin'}:{self._env['PATH']}"
        self._process: subprocess.Popen[str] | None = None
        self.run = ""
        self.url = ""
        self.start()

    def start(self) -> None:
        """Returns when it listens; at the same port as before, if there was a port."""
        with (self.folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                ["node", "src/main.ts", "serve", "--store", self._store, "--listen", self._listen, *self._args],
                cwd=ROOT,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        watchdog = threading.Timer(READY_SECONDS, self._process.kill)
        watchdog.start()
        for line in self._process.stdout or ():
            if line.startswith("listening on "):
                self.url = self._listen = line.removeprefix("listening on ").strip()
            if line.startswith("run "):
                self.run = line.removeprefix("run ").strip()
                break
        else:
            raise AssertionError(f"the server did not start: {(self.folder / 'server.log').read_text()}")
        watchdog.cancel()

    def send_signal(self, which: int) -> None:
        """Sends it a signal, and doesn't wait."""
        if self._process is not None:
            self._process.send_signal(which)

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Ends it, and returns when it has ended."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(READY_SECONDS)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


class Proxy:
    """
    Passes connections on to a server's Unix socket and counts bytes; cuts the first connection behind some of them, or holds up what goes
    to the server for some milliseconds, as a long way does.
    """

    def __init__(self, folder: Path, url: str, cut_up: int | None = None, cut_down: int | None = None, late_ms: int = 0):
        self.url = f"unix://{folder}/proxy.sock"
        self.up = 0
        self.down = 0
        self._target = url.removeprefix("unix://")
        self._late_seconds = {"up": late_ms / 1000, "down": 0.0}
        self._cut: dict[str, int | None] = {"up": cut_up, "down": cut_down}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "proxy.sock"))
        self._listener.listen()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._sockets:
            _end(each)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._sockets += [near, far]
            try:
                far.connect(self._target)
            except OSError:
                near.close()
                continue
            for direction, source, sink in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._pass, args=(direction, source, sink), daemon=True).start()

    def _pass(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while block := source.recv(65536):
                cut = self._cut[direction]
                setattr(self, direction, getattr(self, direction) + len(block))
                if cut is not None and getattr(self, direction) > cut:
                    self._cut[direction] = None
                    break
                time.sleep(self._late_seconds[direction])
                sink.sendall(block)
        except OSError:
            pass
        _end(source)
        _end(sink)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
