"""The one policy for trying again what was cut off. `test/vectors/limits.json` has its numbers for every language."""

from __future__ import annotations

import random
import time

from ._cancel import Cancellation
from ._status import Failure

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
WAIT_FACTOR = 2


class Patience:
    """Decides, failure by failure, whether to try again: until `timeout` seconds pass without progress."""

    def __init__(self, timeout: float, cancellation: Cancellation) -> None:
        self._timeout = timeout
        self._cancellation = cancellation
        self._failures = 0
        self._since: float | None = None
        # Whether the server answered anything: one that can't be reached at first is an error at once.
        self.reached = False

    def progressed(self) -> None:
        """Something got ahead since the last failure."""
        self.reached = True
        self._failures = 0
        self._since = None

    def wait(self, failure: Failure) -> bool:
        """Waits for the next try; False if it is no use, or if too long passed without progress."""
        if failure.reason is not None:
            self.reached = True
        if not failure.temporary or (failure.unreachable and not self.reached):
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now
        left = self._timeout - (now - self._since)
        if left <= 0:
            return False
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * WAIT_FACTOR ** min(self._failures, 10))
        self._failures += 1
        self._cancellation.sleep(min(left, max(failure.retry_after or 0.0, random.uniform(0, longest))))
        return True
