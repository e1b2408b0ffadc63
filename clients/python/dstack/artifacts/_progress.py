"""Progress: bars where a person looks, in terminals and notebooks, or a function of the caller's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeAlias

# True: show a bar. False: show none. None: show one where a person looks. Or a function that is told the bytes so far and in all,
# None while that isn't known.
ShowProgress: TypeAlias = "bool | Callable[[int, int | None], None] | None"

# Between two calls of a function.
REPORT_SECONDS = 0.1


class _Bar(Protocol):
    n: float

    def update(self, n: float, /) -> object: ...
    def close(self) -> None: ...


class Progress:
    """Counts bytes, and shows them if somebody looks. `total` is asked only then."""

    def __init__(self, what: str, total: Callable[[], int | None], shown: ShowProgress) -> None:
        self._bar: _Bar | None = None
        self._report: Callable[[int, int | None], None] | None = None
        self._total: int | None = None
        self._done = 0
        self._next_report = 0.0
        if callable(shown):
            self._report, self._total = shown, total()
        elif _is_looked_at() if shown is None else shown:
            self._bar = _bar(what, total())

    def to(self, done: int) -> None:
        """So many bytes are done: fewer than before where something has to be sent again."""
        self._done = done
        if self._bar is not None and done > self._bar.n:
            self._bar.update(done - self._bar.n)
        elif self._report is not None and time.monotonic() >= self._next_report:
            self._next_report = time.monotonic() + REPORT_SECONDS
            self._report(done, self._total)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._report is not None and kind is None:
            self._report(self._done, self._total)


def _is_looked_at() -> bool:
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # As tqdm finds out, whose bar it will be.
    return shell is not None and "IPKernelApp" in shell.config


def _bar(what: str, total: int | None) -> _Bar:
    from tqdm.auto import tqdm

    bar: _Bar = tqdm(total=total, desc=what, unit="B", unit_scale=True, unit_divisor=1024, dynamic_ncols=True)
    return bar
