"""Extraction without its threads, so that one seed is one order of events: each pipe is filled before it is read."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines import extract
from pipelines.pipe import Pipe, Stopped


class _InlinePipe(Pipe[Any]):
    """A pipe without bounds whose work is done where it is begun."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        super().__init__(1 << 40, 1 << 60)

    def feed(self, work: Callable[[], None], name: str) -> threading.Thread:
        """Do the work now. Gives a thread that has nothing to do."""
        try:
            work()
        except Stopped:
            self.end()
        except BaseException as error:
            self.end(error)
        else:
            self.end()
        thread = _Done()
        return thread


class _Done(threading.Thread):
    def join(self, timeout: float | None = None) -> None:
        """It never ran."""


@contextmanager
def inline() -> Iterator[None]:
    """Extraction is single-threaded while the block lasts."""
    real = extract.Pipe
    extract.Pipe = _InlinePipe  # type: ignore[misc]
    try:
        yield
    finally:
        extract.Pipe = real  # type: ignore[misc]
