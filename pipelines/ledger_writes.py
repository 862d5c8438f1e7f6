"""Writes in the ledger: intended before they are sent, settled after their answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipelines import ledger_statements as asking
from pipelines import ledger_tables as tables
from pipelines.ledger_bulk import Settled, intents, settlements
from pipelines.ledger_database import Database, execute
from pipelines.ledger_postgres import LEAST, copy_new, settle
from pipelines.ledger_records import State, Write

EVERY = 2**62  # beyond the number of every write


class Writes(Database):
    """Writes, by run and number."""

    def intend(self, writes: Sequence[Write], settled: Sequence[Settled] = (), guard: Callable[[Connection], None] | None = None) -> None:
        """Make intents durable, and what came of earlier writes (`settled`: see `settle`). Only when this returned may they be sent.

        Both go into one transaction, or, where it is many outcomes and Postgres, into two side by side, which is quicker.
        `guard` comes first and may raise; then nothing is kept.
        """
        if self._dialect == "sqlite" or not writes or len(settled) < LEAST:
            self._intend(writes, settled, guard)
            return
        outcomes = self._beside.submit(self.settle, writes[0].run_id, settled, guard)
        try:
            self._intend(writes, (), guard)
        finally:
            outcomes.result()

    def _intend(self, writes: Sequence[Write], settled: Sequence[Settled], guard: Callable[[Connection], None] | None) -> None:
        with self._begin() as connection:
            if guard is not None:
                guard(connection)
            for run_id in {write.run_id for write in writes[:1]}:
                self._settle(connection, run_id, settled)
            fresh = self._dialect == "postgresql" and len(writes) >= LEAST and all(write.attempt == 1 for write in writes)
            if not (fresh and copy_new(connection, writes)):
                execute(connection, intents(writes, self._mark))
        self._grew(tables.writes, len(writes))

    def settle(self, run_id: str, settled: Sequence[Settled], guard: Callable[[Connection], None] | None = None) -> None:
        """Record what came of writes of one run. `guard` as for intents."""
        if not settled:
            return
        with self._begin() as connection:
            if guard is not None:
                guard(connection)
            self._settle(connection, run_id, settled)

    def _settle(self, connection: Connection, run_id: str, settled: Sequence[Settled]) -> None:
        if self._dialect == "postgresql":
            settle(connection, run_id, settled, self._now())
        else:
            execute(connection, settlements(run_id, settled, self._now(), self._mark))

    def intended(self, run_id: str, within: range) -> npt.NDArray[np.int64]:
        """The numbers in this range of a run's writes that were intended and are not known to have been left unsent."""
        columns = tables.writes.c
        here = (columns.run_id == run_id, columns.seq >= within.start, columns.seq < within.stop)
        query = sa.select(columns.seq).where(*here, columns.state != State.NOT_APPLIED.value)
        with self._begin() as connection:
            return np.fromiter((row[0] for row in connection.execute(query)), dtype=np.int64)

    def open_writes(self, sync: str) -> list[Write]:
        """Writes of any run of this sync whose outcome is not known, oldest first."""
        with self._begin() as connection:
            return [_write(row) for row in connection.execute(asking.OPEN_WRITES, {"this_sync": sync}).mappings()]

    def writes(self, run_id: str, states: Sequence[State] | None = None, within: range | None = None) -> Iterator[Write]:
        """The writes of one run (of those numbers) in the order of their seq, in bounded memory."""
        query, given = (asking.WRITES, {}) if states is None else (asking.WRITES_IN, {"these_states": [state.value for state in states]})
        last, end = (-1, EVERY) if within is None else (within.start - 1, within.stop)
        while True:
            with self._begin() as connection:
                found = connection.execute(query, {**given, "this_run": run_id, "after_seq": last, "before_seq": end, "most": 5000})
                rows = [_write(row) for row in found.mappings()]
            if not rows:
                return
            yield from rows
            last = rows[-1].seq

    def write_counts(self, run_id: str) -> dict[tuple[str, State], int]:
        """How many writes of a run stand where, by op and state."""
        with self._begin() as connection:
            rows = connection.execute(asking.WRITE_COUNTS, {"this_run": run_id}).all()
        return {(op, State(state)): count for op, state, count in rows}

    def history(self, sync: str, key: str, source_id: str | None = None) -> list[tuple[Write, str | None]]:
        """Every write of one record across runs, by its key or its id at the source, oldest first, each with the time it was settled."""
        columns = tables.writes.c
        named = columns.key == key if source_id is None else sa.or_(columns.key == key, columns.source_id == source_id)
        query = sa.select(tables.writes).where(columns.sync == sync, named).order_by(columns.intent_at)
        with self._begin() as connection:
            return [(_write(row), row["settled_at"]) for row in connection.execute(query).mappings()]


def _write(row: Mapping[Any, Any]) -> Write:
    values = {name: row[name] for name in Write.__dataclass_fields__}
    return Write(**{**values, "state": State(row["state"]), "intent_at": datetime.fromisoformat(row["intent_at"])})
