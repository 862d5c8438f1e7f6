"""A clock that tests own: its sleep advances it and returns at once."""

from datetime import UTC, datetime, timedelta
from threading import Lock


class FakeClock:
    """`connectors.base.Clock` without waiting. `slept` lists every wait in seconds, in order. Threads may share it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.slept: list[float] = []
        self._start = start
        self._elapsed_s = 0.0
        self._lock = Lock()

    def now(self) -> datetime:
        """The simulated wall clock, aware, UTC."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Simulated seconds since the clock was made."""
        return self._elapsed_s

    def sleep(self, duration_s: float) -> None:
        """Note the wait and move the time forward by it."""
        with self._lock:
            self.slept.append(duration_s)
            self._elapsed_s += max(0.0, duration_s)

    def advance(self, duration_s: float) -> None:
        """Let time pass without anyone having waited."""
        with self._lock:
            self._elapsed_s += duration_s
