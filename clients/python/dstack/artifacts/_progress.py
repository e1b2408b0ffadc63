"""Progress bars where a person looks: in terminals and notebooks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress:
    """Counts bytes, and shows them if somebody looks. `shown` is the caller's wish; None means to find out."""

    def __init__(self, what: str, total: int | None, shown: bool | None) -> None:
        self._bar: tqdm[object] | None = None
        if wanted(shown):
            self._bar = _bar(what, total)

    def to(self, done: int) -> None:
        """So many bytes are done."""
        if self._bar is not None and done > self._bar.n:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def wanted(shown: bool | None) -> bool:
    """Whether to show progress."""
    return _is_looked_at() if shown is None else shown


def _is_looked_at() -> bool:
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _bar(what: str, total: int | None) -> tqdm[object]:
    if _in_notebook():
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(total=total, desc=what, unit="B", unit_scale=True, unit_divisor=1024, dynamic_ncols=True)
