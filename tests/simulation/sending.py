"""Sending without threads, so that one seed is one order of events: a call is answered at once, or only when its answer is awaited.

Both orders happen where calls have threads of their own; which it is alternates from call to call.
"""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from pipelines import apply


class _InlineCallers:
    def __init__(self, count: int) -> None:
        self._handed = 0

    def __enter__(self) -> "_InlineCallers":
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing is under way."""

    def hand(self, send: Callable[[Any], Any], call: Any) -> Future[Any]:
        """A call that is answered now, or at the latest when somebody asks for its answer."""
        answer = _Answer(send, call)
        self._handed += 1
        if self._handed % 2:
            answer.come()
        return answer

    def answered(self, under_way: Collection[Future[Any]]) -> Collection[Future[Any]]:
        """The first of them."""
        first = next(iter(under_way))
        first.come()  # type: ignore[attr-defined]
        return [first]


class _Answer(Future[Any]):
    def __init__(self, send: Callable[[Any], Any], call: Any) -> None:
        super().__init__()
        self._send, self._call = send, call

    def come(self) -> None:
        """Send the call, if it was not."""
        if self.done():
            return
        try:
            self.set_result(self._send(self._call))
        except BaseException as error:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        """The answer."""
        self.come()
        return super().result(timeout)


@contextmanager
def inline() -> Iterator[None]:
    """Calls are sent by whoever hands them out while the block lasts."""
    real = apply.Callers
    apply.Callers = _InlineCallers  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        apply.Callers = real  # type: ignore[misc]
