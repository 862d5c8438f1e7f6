"""Real ledgers on one SQLite file, opened once for many schedules, each of which begins with an empty one.

The file lies in memory where the machine has such a folder. That is honest for the crashes simulated here: a
process ends, and SQLite rolls back what it had not committed. Losing power is not simulated.
"""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from connectors.base import Clock
from pipelines.ledger import Ledger, open_ledger
from tests.simulation.moments import ProcessClock, VirtualTime
from tests.simulation.process import Step
from tests.simulation.quick import QuickEngine


class _Lent:
    """The clock of whoever has the ledger now."""

    def __init__(self) -> None:
        self.clock: Clock = ProcessClock(VirtualTime(), lambda point: None)

    def now(self) -> datetime:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def sleep(self, duration_s: float) -> None:
        self.clock.sleep(duration_s)


class Ledgers:
    """Ledgers over the file in `folder`, by the number of the process that has them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self._opened: list[tuple[Ledger, _Lent, list[Step]]] = []
        self._quick: list[QuickEngine] = []
        self._in_use: list[Ledger] = []
        self._open().close()
        self.outside = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        self._empty = sqlite3.connect(":memory:", check_same_thread=False)
        self.outside.backup(self._empty)

    def reset(self, content: sqlite3.Connection | None = None) -> None:
        """Give the file this content; None: empty."""
        while self._in_use:
            self._in_use.pop().close()
        (content or self._empty).backup(self.outside)

    def content(self) -> sqlite3.Connection:
        """A copy of what the file holds now."""
        copied = sqlite3.connect(":memory:", check_same_thread=False)
        self.outside.backup(copied)
        return copied

    def lend(self, number: int, clock: Clock, step: Step, *, quick: bool) -> Ledger:
        """A ledger for the process of this number. `step` is told before each commit, inside the transaction."""
        place = 2 * number + quick
        while len(self._opened) <= place:
            lent, steps = _Lent(), [step]
            ledger = self._open(lent)
            if len(self._opened) % 2:
                self._quick.append(QuickEngine(ledger._engine, lambda steps=steps: steps[0]("commit")))  # type: ignore[misc]
                ledger._engine = self._quick[-1]  # type: ignore[assignment]
            else:
                sa.event.listen(ledger._engine, "commit", lambda connection, steps=steps: steps[0]("commit"))
            self._opened.append((ledger, lent, steps))
        ledger, lent, steps = self._opened[place]
        lent.clock, steps[0] = clock, step
        self._in_use.append(ledger)
        return ledger

    def close(self) -> None:
        """Give the file back."""
        for ledger, _, _ in self._opened:
            ledger.close()
        for engine in self._quick:
            engine.close()
        self.outside.close()
        self._empty.close()

    def _open(self, clock: Any = None) -> Ledger:
        return open_ledger(f"sqlite:///{self.path}", clock or _Lent())
