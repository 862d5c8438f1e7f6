"""A bounded pipe between two threads that neither can hang on: an error at one end reaches the other."""

import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stopped(Exception):
    """The reader of the pipe has gone; whoever writes to it can stop too."""


class Pipe(Generic[Item]):
    """Items in the order they were put, at most `max_count` of them and, beyond one, `max_bytes` together."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition()

    def put(self, item: Item, size_bytes: int) -> None:
        """Add an item, waiting for room. Raises Stopped once the reader has gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(size_bytes))
            if self._stopped:
                raise Stopped
            self._items.append((item, size_bytes))
            self._bytes += size_bytes
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more items. With an error, that is what the reader gets after the items before it."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """The reader wants no more."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> Item | None:
        """The next item; None at the end, or when none came in time (`ended` tells which). Raises the writer's error unchanged."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._stopped, timeout_s)
            if self._items:
                item, size_bytes = self._items.popleft()
                self._bytes -= size_bytes
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    @property
    def ended(self) -> bool:
        """Whether nothing is left and nothing will come."""
        with self._changed:
            return not self._items and (self._ended or self._stopped)

    def feed(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Do `work`, which puts into this pipe, in a thread of its own; its end, or its error, is the pipe's."""

        def run() -> None:
            try:
                work()
            except Stopped:
                self.end()
            except BaseException as error:  # noqa: BLE001  (it is raised where the items are taken)
                self.end(error)
            else:
                self.end()

        thread = threading.Thread(target=copy_context().run, args=(run,), name=name, daemon=True)
        thread.start()
        return thread

    def _has_room(self, size_bytes: int) -> bool:
        return not self._items or (len(self._items) < self._max_count and self._bytes + size_bytes <= self._max_bytes)
