"""Time that only the simulation moves, with things that happen when it comes to them."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualTime:
    """Seconds since the start of a schedule. Moving it runs what was to happen on the way, each at its own moment."""

    def __init__(self, elapsed_s: float = 0.0) -> None:
        self.elapsed_s = elapsed_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_s: float, happens: Callable[[], None]) -> None:
        """Let this happen `delay_s` from now."""
        self._count += 1
        heapq.heappush(self._due, (self.elapsed_s + delay_s, self._count, happens))

    def advance(self, duration_s: float) -> None:
        """Move on."""
        until = self.elapsed_s + max(0.0, duration_s)
        while self._due and self._due[0][0] <= until:
            moment, _, happens = heapq.heappop(self._due)
            self.elapsed_s = max(self.elapsed_s, moment)
            happens()
        self.elapsed_s = until

    @property
    def waiting_count(self) -> int:
        """How many things are still to happen."""
        return len(self._due)


class ProcessClock:
    """`connectors.base.Clock` of one simulated process. `step` is told before each wait, and may not return."""

    def __init__(self, time: VirtualTime, step: Callable[[str], None]) -> None:
        self._time, self._step = time, step

    def now(self) -> datetime:
        """The wall clock."""
        return START + timedelta(seconds=self._time.elapsed_s)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._time.elapsed_s

    def sleep(self, duration_s: float) -> None:
        """Wait without waiting."""
        if duration_s > 0:
            self._step("wait")
            self._time.advance(duration_s)
