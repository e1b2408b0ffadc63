"""Hands messages from one thread to another, so that the network and what is at its ends work at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

# Bytes that wait between the threads. More gains nothing, and is memory.
_WAITING_BYTES = 2 * 1024 * 1024
# What an item costs beside its bytes.
_ITEM_BYTES = 1024


class Pipe(Generic[Item]):
    """One thread puts items in until it closes the pipe, another one iterates over them until it leaves."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._items: deque[tuple[Item, int]] = deque()
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
            cost = size + _ITEM_BYTES
            self._items.append((item, cost))
            self._bytes += cost
            self._changed.notify()
            return True

    def close(self, error: Exception | None = None) -> None:
        """There are no more items; `error` is raised behind the last one."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()

    def leave(self) -> None:
        """No more items are taken."""
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        with self._changed:
            while not self._items and not self._closed and not self._left:
                self._changed.wait()
            if not self._items:
                if self._error is not None and not self._left:
                    raise self._error
                raise StopIteration
            item, cost = self._items.popleft()
            before = self._bytes
            self._bytes -= cost
            # The other thread waits only if there was no room.
            if before >= _WAITING_BYTES:
                self._changed.notify()
            return item
