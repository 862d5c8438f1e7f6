"""Permission: whether a write may still be put on the wire, asked at the moment it is. Pure.

Between an engine's "go" and the first byte lie waits: for the quota, for a platform that asks to be left alone, for a
machine that stood still. Whoever lets others write meanwhile says so here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["may_write", "writing_while"]

_asked: ContextVar[Callable[[], bool] | None] = ContextVar("may_write", default=None)


@contextmanager
def writing_while(allowed: Callable[[], bool]) -> Iterator[None]:
    """Inside the block, this thread's writes are sent only while `allowed()`; it is asked often and must be quick."""
    token = _asked.set(allowed)
    try:
        yield
    finally:
        _asked.reset(token)


def may_write() -> bool:
    """Whether this thread may write now. True where nobody set a condition."""
    allowed = _asked.get()
    return allowed is None or allowed()
