"""Callers: threads that send calls, while whoever hands the calls out prepares the next ones."""

from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

Call = TypeVar("Call")
Answer = TypeVar("Answer")


class Callers:
    """`count` threads that each send one call at a time. As a context manager it ends when the last call under way was answered."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="apply")

    def __enter__(self) -> "Callers":
        return self

    def __exit__(self, *raised: object) -> None:
        self._threads.shutdown()

    def hand(self, send: Callable[[Call], Answer], call: Call) -> Future[Answer]:
        """Let a caller send this, in the context of whoever hands it over."""
        return self._threads.submit(copy_context().run, send, call)

    def answered(self, under_way: Collection[Future[Answer]]) -> Collection[Future[Answer]]:
        """Wait until at least one of these was answered; gives those that were."""
        return wait(under_way, return_when=FIRST_COMPLETED).done
