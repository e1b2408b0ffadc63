"""Hands messages from one thread to another, so that the network and what is at its ends work at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Bytes that wait between the threads. More gains nothing, and is memory.
_WAITING_BYTES = 4 * 1024 * 1024
# What an item costs beside its bytes.
_ITEM_BYTES = 1024


class Pipe(Generic[Item]):
    """One thread puts items in until it closes the pipe, another one iterates over them until it leaves.

    What waits is taken all at once, since threads that wake each other for each item take longer over that than over the items.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        # What was put in, and what the taker has of it.
        self._waiting: deque[Item] = deque()
        self._taken: deque[Item] = deque()
        self._bytes = 0
        self._closed = False
        self._error: Exception | None = None
        self._left = False

    def put(self, item: Item, size: int) -> bool:
        """Waits for room. False if nobody takes items any more."""
        with self._changed:
            while self._bytes >= _WAITING_BYTES and not self._left:
                self._changed.wait()
            if self._left:
                return False
            self._waiting.append(item)
            self._bytes += size + _ITEM_BYTES
            if len(self._waiting) == 1:
                self._changed.notify()
            return True

    def close(self, error: Exception | None = None) -> None:
        """There are no more items; `error` is raised behind the last one."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify()

    def leave(self) -> None:
        """No more items are taken."""
        with self._changed:
            self._left = True
            self._waiting.clear()
            self._changed.notify()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if not self._taken:
            self._take()
        return self._taken.popleft()

    def _take(self) -> None:
        with self._changed:
            while not self._waiting and not self._closed and not self._left:
                self._changed.wait()
            if not self._waiting:
                if self._error is not None and not self._left:
                    raise self._error
                raise StopIteration
            self._waiting, self._taken = self._taken, self._waiting
            self._bytes = 0
            self._changed.notify()
