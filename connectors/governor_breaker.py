"""One breaker per host: after failures in a row it is left alone for a while, and one read then finds out whether it is back.

A write never finds that out: its outcome would be one more that nobody knows.
"""

from threading import Lock

from connectors.base import Clock, Rng

__all__ = ["Breaker"]

FAILURES = 10  # in a row, over all threads: two requests with all their repeats
OPEN_S, OPEN_CAP_S = 5.0, 60.0  # doubling with every probe that fails; between half of it and all of it


class Breaker:
    """Counts what came of requests to one host. Threads may share it. Hold `probing` while finding out whether it is back."""

    def __init__(self, clock: Clock, rng: Rng) -> None:
        self.probing = Lock()
        self._clock, self._rng = clock, rng
        self._lock = Lock()
        self._failures = 0
        self._openings = 0
        self._until_s = 0.0

    def open_s(self) -> float | None:
        """Seconds that the host is still left alone; 0: a read may try it; None: nothing is wrong."""
        with self._lock:
            if self._failures < FAILURES:
                return None
            return max(0.0, self._until_s - self._clock.monotonic())

    def failures(self) -> int:
        """How many requests failed in a row."""
        with self._lock:
            return self._failures

    def succeeded(self) -> None:
        """The host answered, whatever it said."""
        with self._lock:
            self._failures = self._openings = 0

    def failed(self) -> None:
        """The host was out of reach, broke off, or said that it is in trouble."""
        with self._lock:
            self._failures += 1
            now_s = self._clock.monotonic()
            if self._failures < FAILURES or now_s < self._until_s:  # those under way when it opened say nothing new
                return
            share = 0.5 + self._rng.random() / 2
            self._until_s = now_s + min(OPEN_CAP_S, OPEN_S * 2**self._openings) * share
            self._openings = min(self._openings + 1, 10)
