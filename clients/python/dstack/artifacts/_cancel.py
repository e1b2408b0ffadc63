"""Cancelling calls from another thread: how the asyncio client ends what runs on its threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Cancelled(BaseException):
    """The caller is gone. Not an Exception, so that nothing takes it for a failure to retry."""


class Call(Protocol):
    """What can be cancelled: a running gRPC call."""

    def cancel(self) -> object: ...


class Cancellation:
    """Whether the caller is gone, and the call to end in that case."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def cancel(self) -> None:
        """Ends the running calls and all later ones."""
        with self._lock:
            self._event.set()
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether the caller is gone."""
        return self._event.is_set()

    def check(self) -> None:
        """Raises `Cancelled` if the caller is gone."""
        if self.is_cancelled:
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Waits; raises `Cancelled` as soon as the caller is gone."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def watching(self, call: Call) -> Iterator[None]:
        """The call is cancelled with the caller while the block runs, and when the block fails."""
        with self._lock:
            self._calls.append(call)
        try:
            self.check()
            yield
        except BaseException as error:
            call.cancel()
            # What the call says once it was cancelled isn't why.
            if not isinstance(error, KeyboardInterrupt | GeneratorExit):
                self.check()
            raise
        finally:
            with self._lock:
                self._calls.remove(call)


_current: ContextVar[Cancellation | None] = ContextVar("dstack_artifacts_cancellation", default=None)


def current() -> Cancellation:
    """The cancellation of the running operation; one that nobody uses if there is none."""
    return _current.get() or Cancellation()


def install(cancellation: Cancellation) -> None:
    """Makes it the one of this context."""
    _current.set(cancellation)
