"""Runs in the ledger: what each came to, how far each sync got, and what people were told."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines import ledger_statements as asking
from pipelines import ledger_tables as tables
from pipelines.ledger_database import Database
from pipelines.ledger_records import OPEN, Run, State


class Runs(Database):
    """Runs and positions, by sync."""

    def begin_run(self, run_id: str, sync: str, spec_hash: str, kind: str = "run") -> None:
        """Record that a run started, and what for. Repeating it for the same run changes nothing."""
        known = "{}" if kind == "run" else json.dumps({"kind": kind})
        row = {"run_id": run_id, "sync": sync, "status": "running", "started_at": self._now(), "spec_hash": spec_hash, "summary": known}
        statement = asking.insert_unless_there(self._dialect, tables.runs, *row)
        with self._begin() as connection:
            connection.execute(statement, {f"new_{name}": value for name, value in row.items()})

    def note_run(self, run_id: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a run's summary (values replace those of the same name)."""
        self._change_summary(run_id, lambda kept: {**kept, **facts})

    def count_requests(self, run_id: str, side: str, sent: Mapping[str, int]) -> None:
        """Add requests of one side (`source`, `sink`) to a run's, whichever process sent them. Both sides are always there."""

        def counted(kept: dict[str, Any]) -> dict[str, Any]:
            sides = {name: {"read": 0, "write": 0, **kept.get("requests", {}).get(name, {})} for name in ("source", "sink")}
            for kind, count in sent.items():
                sides[side][kind] = sides[side].get(kind, 0) + count
            return {**kept, "requests": sides}

        self._change_summary(run_id, counted)

    def _change_summary(self, run_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replace a run's summary by what `change` makes of it; nobody else changes it meanwhile."""
        with self._begin() as connection:
            found = connection.execute(asking.SUMMARY, {"this_run": run_id}).scalar_one()
            connection.execute(asking.SET_SUMMARY, {"this_run": run_id, "new_summary": json.dumps(change(json.loads(found)))})

    def finish_run(self, run_id: str, status: str, summary: Mapping[str, Any]) -> None:
        """Record how a run ended; `summary` joins what was noted before."""
        self.note_run(run_id, summary)
        with self._begin() as connection:
            connection.execute(asking.FINISH, {"this_run": run_id, "new_status": status, "new_finished_at": self._now()})

    def run(self, run_id: str) -> Run | None:
        """The run of that id, or None."""
        with self._begin() as connection:
            row = connection.execute(asking.RUN, {"this_run": run_id}).mappings().first()
        return _run(row) if row else None

    def runs(self, sync: str | None = None, limit: int = 20) -> list[Run]:
        """The latest runs, newest first."""
        query, given = (asking.ALL_RUNS, {}) if sync is None else (asking.RUNS, {"this_sync": sync})
        with self._begin() as connection:
            return [_run(row) for row in connection.execute(query, {**given, "most": limit}).mappings()]

    def forget_runs(self, sync: str, before: datetime, *, keep: int = 20) -> int:
        """Forget runs that ended before that time, and their writes, but for the newest ones and writes that somebody may still need.

        Gives how many runs. Writes without an outcome and quarantined ones stay, and with them their run.
        """
        runs, writes = tables.runs.c, tables.writes.c
        newest = sa.select(runs.run_id).where(runs.sync == sync).order_by(runs.started_at.desc()).limit(keep)
        ended = sa.select(runs.run_id).where(runs.sync == sync, runs.finished_at < before.isoformat(), runs.run_id.not_in(newest))
        needed = [state.value for state in (*OPEN, State.QUARANTINED)]
        forgotten = 0
        with self._begin() as connection:
            old = [row[0] for row in connection.execute(ended)]
        for run_id in old:
            with self._begin() as connection:
                connection.execute(sa.delete(tables.writes).where(writes.run_id == run_id, writes.state.not_in(needed)))
                left = connection.execute(sa.select(writes.seq).where(writes.run_id == run_id).limit(1)).first()
                if left is None:
                    forgotten += connection.execute(sa.delete(tables.runs).where(runs.run_id == run_id)).rowcount
        return forgotten

    # positions

    def position(self, sync: str, spec_hash: str) -> str | None:
        """The id of the last staged batch this sync took in full, or None (also when its spec changed since)."""
        with self._begin() as connection:
            found: str | None = connection.execute(asking.POSITION, {"this_sync": sync, "this_hash": spec_hash}).scalar()
        return found

    def move_position(self, sync: str, spec_hash: str, batch_id: str) -> None:
        """Record that every record up to this batch has an outcome."""
        with self._begin() as connection:
            self._upsert(
                connection,
                tables.positions,
                [{"sync": sync, "spec_hash": spec_hash, "batch_id": batch_id, "updated_at": self._now()}],
            )

    # what people were told

    def told(self, sync: str) -> frozenset[str]:
        """The findings that alerts were sent about and that were not over then."""
        query = sa.select(tables.told.c.findings).where(tables.told.c.sync == sync)
        with self._begin() as connection:
            found = connection.execute(query).scalar()
        return frozenset(json.loads(found)) if found else frozenset()

    def tell(self, sync: str, findings: Iterable[str]) -> None:
        """Record what people know now."""
        row = {"sync": sync, "findings": json.dumps(sorted(findings)), "told_at": self._now()}
        with self._begin() as connection:
            self._upsert(connection, tables.told, [row])


def _run(row: Mapping[Any, Any]) -> Run:
    return Run(
        row["run_id"], row["sync"], row["status"], row["started_at"], row["finished_at"], row["spec_hash"], json.loads(row["summary"])
    )
