"""The ledger: what was intended, what came of it, and who is who on both sides. SQLite or Postgres.

A write is recorded before it is sent (`intend`, durable) and settled after its answer (`settle`);
whatever is found unsettled later has an unknown outcome and is looked up, never resent blindly.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from connectors.base import Clock
from connectors.errors import ConfigError
from pipelines import ledger_statements as asking
from pipelines import ledger_tables as tables
from pipelines.ledger_bulk import Settled, intents, settlements, upserts
from pipelines.ledger_copy import LEAST, copy_new
from pipelines.ledger_records import NEVER_SHOWN, OPEN, Failure, Match, Run, State, Write
from pipelines.ledger_schema import prepare
from pipelines.ledger_trouble import trouble

__all__ = ["NEVER_SHOWN", "OPEN", "Failure", "Ledger", "Match", "Run", "State", "Write", "open_ledger"]

GROWN = 20_000  # rows
EVERY = 2**62  # beyond the number of every write


class Ledger:
    """The ledger on one database. Threads may share it; every method is one transaction."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.RLock()
        self._mark = "?" if engine.dialect.name == "sqlite" else "%s"
        self._dialect = engine.dialect.name
        self._grown: dict[str, tuple[int, int]] = {}  # by table: the rows put into it so far, and how many are too many to go on blindly
        self._prepare()

    def _prepare(self) -> None:
        self._engine.connect().close()  # an address where nothing answers is a matter of configuration
        prepare(self._begin)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._lock, self._engine.begin() as connection:
                yield connection
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            if (found := trouble(error, self._engine.url)) is not None:
                raise found from error
            raise

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction, for what the ledger's database keeps beside these tables."""
        return self._begin()

    def _now(self) -> str:
        return self._clock.now().isoformat()

    def _upsert(self, connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        if self._dialect == "postgresql":
            _execute(connection, upserts(table.name, [column.name for column in table.primary_key], rows, self._mark))
        else:
            self._many(connection, asking.upsert(self._dialect, table, *rows[0]), rows)

    def _grew(self, table: sa.Table, count: int) -> None:
        """Let Postgres look at a table that grows fast. It does by itself a minute later, and until then reads all of it for a few rows."""
        if self._dialect != "postgresql":
            return
        total, limit = self._grown.get(table.name, (0, GROWN))
        total += count
        if total >= limit:
            limit = 2 * total
            asked = {column.name for index in table.indexes for column in index.columns} | {column.name for column in table.primary_key}
            with self._begin() as connection:
                connection.exec_driver_sql(f"ANALYZE {table.name} ({', '.join(sorted(asked))})")
        self._grown[table.name] = total, limit

    def _many(self, connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """One statement for many rows; for SQLite straight through the driver, which is three times as fast."""
        if self._dialect != "sqlite":
            connection.execute(statement, list(rows))
            return
        text, order = asking.spelt(self._engine.dialect, statement, *rows[0])
        connection.exec_driver_sql(text, [tuple(row[name] for name in order) for row in rows])

    # runs

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

    def compact(self) -> None:
        """Give the room of what was forgotten back to the disk. PostgreSQL does that by itself."""
        if self._engine.dialect.name == "sqlite":
            with self._lock, self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    # writes

    def intend(self, writes: Sequence[Write], settled: Sequence[Settled] = (), guard: Callable[[Connection], None] | None = None) -> None:
        """Make intents durable. Only when this returned may they be sent. `settled` goes into the same transaction: see `settle`.

        `guard` comes first and may raise; then nothing is kept.
        """
        with self._begin() as connection:
            if guard is not None:
                guard(connection)
            for run_id in {write.run_id for write in writes[:1]}:
                _execute(connection, settlements(run_id, settled, self._now(), self._mark))
            fresh = self._dialect == "postgresql" and len(writes) >= LEAST and all(write.attempt == 1 for write in writes)
            if not (fresh and copy_new(connection, writes)):
                _execute(connection, intents(writes, self._mark))
        self._grew(tables.writes, len(writes))

    def settle(self, run_id: str, settled: Sequence[Settled], guard: Callable[[Connection], None] | None = None) -> None:
        """Record what came of writes of one run. `guard` as for intents."""
        if not settled:
            return
        with self._begin() as connection:
            if guard is not None:
                guard(connection)
            _execute(connection, settlements(run_id, settled, self._now(), self._mark))

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

    def history(self, sync: str, key: str) -> list[tuple[Write, str | None]]:
        """Every write of one record across runs, oldest first, each with the time it was settled."""
        query = sa.select(tables.writes).where(tables.writes.c.sync == sync, tables.writes.c.key == key).order_by(tables.writes.c.intent_at)
        with self._begin() as connection:
            return [(_write(row), row["settled_at"]) for row in connection.execute(query).mappings()]

    # crosswalk

    def put_matches(self, sync: str, run_id: str, matches: Iterable[Match]) -> None:
        """Remember who is who, replacing what was known of the same keys."""
        now = self._now()
        for chunk in _chunks(matches, 5000):
            rows = [{"sync": sync, "run_id": run_id, "updated_at": now, **vars(match)} for match in chunk]
            with self._begin() as connection:
                self._upsert(connection, tables.crosswalk, rows)
            self._grew(tables.crosswalk, len(rows))

    def drop_matches(self, sync: str, keys: Iterable[str]) -> None:
        """Forget records that are no longer in the sink."""
        for chunk in _chunks(keys, 500):
            with self._begin() as connection:
                connection.execute(asking.DROP_MATCHES, {"this_sync": sync, "these": chunk})

    def drop_moved(self, sync: str, matches: Iterable[Match]) -> None:
        """Forget these keys of records that have another one now, but for those that are another source record's meanwhile."""
        columns = tables.crosswalk.c
        for chunk in _chunks(((match.key, match.source_id) for match in matches), 500):
            with self._begin() as connection:
                moved = sa.tuple_(columns.key, columns.source_id).in_(chunk)
                connection.execute(sa.delete(tables.crosswalk).where(columns.sync == sync, moved))

    def matches(self, sync: str, keys: Sequence[str] | None = None) -> Iterator[Match]:
        """Crosswalk rows of these keys, or of all, in bounded memory."""
        if keys is not None:
            yield from self._matches_with(sync, "key", keys)
            return
        last = ""
        while True:
            with self._begin() as connection:
                rows = connection.execute(asking.MATCHES, {"this_sync": sync, "this_key": last, "most": 20000}).all()
            if not rows:
                return
            yield from (Match(*row) for row in rows)
            last = rows[-1][0]

    def matches_of_sources(self, sync: str, source_ids: Sequence[str]) -> Iterator[Match]:
        """Crosswalk rows of these source records."""
        return self._matches_with(sync, "source_id", source_ids)

    def matches_of_hashes(self, sync: str, key_hashes: Sequence[int]) -> Iterator[Match]:
        """Crosswalk rows whose keys have these hashes."""
        return self._matches_with(sync, "key_hash", key_hashes)

    def _matches_with(self, sync: str, column: str, values: Sequence[Any]) -> Iterator[Match]:
        for chunk in _chunks(values, 500):
            with self._begin() as connection:
                rows = connection.execute(asking.matches_with(column), {"this_sync": sync, "these": chunk}).all()
            yield from (Match(*row) for row in rows)

    def match_count(self, sync: str) -> int:
        """How many records this sync knows on both sides."""
        query = sa.select(sa.func.count()).select_from(tables.crosswalk).where(tables.crosswalk.c.sync == sync)
        with self._begin() as connection:
            return int(connection.execute(query).scalar_one())

    def knows_any(self, sync: str) -> bool:
        """Whether this sync knows any record on both sides."""
        with self._begin() as connection:
            return connection.execute(asking.ANY_MATCH, {"this_sync": sync}).first() is not None

    def match_hashes(self, sync: str, *, repeats: int | None = None) -> npt.NDArray[np.int64]:
        """The key hashes of every crosswalk row of the sync (with these `repeats`), sorted: what this sync owns."""
        query, given = (asking.MATCH_HASHES, {}) if repeats is None else (asking.MATCH_HASHES_REPEATED, {"these_repeats": repeats})
        with self._begin() as connection:
            hashes = np.fromiter((row[0] for row in connection.execute(query, {**given, "this_sync": sync})), dtype=np.int64)
        hashes.sort()
        return hashes

    # failures

    def put_failures(self, sync: str, run_id: str, failures: Iterable[Failure]) -> None:
        """Keep records pending; a record already pending counts one attempt more."""
        now = self._now()
        for chunk in _chunks(failures, 1000):
            rows = [
                {
                    **vars(failure),
                    "sync": sync,
                    "run_id": run_id,
                    "first_seen": now,
                    "last_seen": now,
                    "attempts": 1,
                    "released": False,
                    "dismissed": False,
                }
                for failure in {(failure.key, failure.source_id): failure for failure in chunk}.values()
            ]
            with self._begin() as connection:
                connection.execute(asking.upsert_failures(self._dialect), rows)

    def hold_failures(self, sync: str, run_id: str, keys: Iterable[str]) -> None:
        """These records still wait for a person: this run saw them and tried nothing."""
        now = self._now()
        for chunk in _chunks(keys, 500):
            condition = (tables.failures.c.sync == sync, tables.failures.c.key.in_(chunk))
            with self._begin() as connection:
                connection.execute(sa.update(tables.failures).where(*condition).values(run_id=run_id, last_seen=now))

    def dismiss_failures(self, sync: str, pairs: Iterable[tuple[str, str]]) -> int:
        """A person settled these failures, by (key, source id). Gives how many there were.

        One that was sent is kept out of sight, so that the same write is not planned again; others are forgotten.
        """
        columns, count = tables.failures.c, 0
        for chunk in _chunks(pairs, 300):
            chosen = (columns.sync == sync, ~columns.dismissed, sa.tuple_(columns.key, columns.source_id).in_(chunk))
            with self._begin() as connection:
                count += connection.execute(sa.delete(tables.failures).where(*chosen, columns.request.is_(None))).rowcount
                count += connection.execute(sa.update(tables.failures).where(*chosen).values(dismissed=True)).rowcount
        return count

    def drop_failures_before(self, sync: str, run_id: str, *, only: Iterable[str] | None = None) -> int:
        """Forget failures that this run did not see again: what it looked at was delivered, is gone, or never was. Gives how many.

        With `only`, those of these source records.
        """
        given = {"this_sync": sync, "this_run": run_id}
        by_source = tables.failures.c.source_id.in_
        chosen = [asking.DROP_FAILURES] if only is None else [asking.DROP_FAILURES.where(by_source(chunk)) for chunk in _chunks(only, 500)]
        with self._begin() as connection:
            return sum(connection.execute(one, given).rowcount for one in chosen)

    def release_failures(self, sync: str, keys: Sequence[str] | None = None) -> int:
        """Allow pending records to be tried again, quarantined ones too. Gives how many."""
        columns = tables.failures.c
        statement = sa.update(tables.failures).where(columns.sync == sync, ~columns.dismissed).values(released=True)
        if keys is not None:
            statement = statement.where(tables.failures.c.key.in_(keys))
        with self._begin() as connection:
            return connection.execute(statement).rowcount

    def failures(self, sync: str, limit: int | None = None, *, dismissed: bool = False) -> list[Failure]:
        """Pending records (or those a person dismissed), the longest pending first."""
        query = asking.FAILURES if limit is None else asking.FAILURES.limit(limit)
        with self._begin() as connection:
            return [Failure(*row) for row in connection.execute(query, {"this_sync": sync, "is_dismissed": dismissed})]

    def failure_counts(self, sync: str) -> dict[str, int]:
        """How many records are pending, by outcome."""
        columns = tables.failures.c
        query = sa.select(columns.outcome, sa.func.count()).where(columns.sync == sync, ~columns.dismissed).group_by(columns.outcome)
        with self._begin() as connection:
            return {str(outcome): int(count) for outcome, count in connection.execute(query)}

    def failure_count(self, sync: str) -> int:
        """How many records are pending."""
        columns = tables.failures.c
        query = sa.select(sa.func.count()).select_from(tables.failures).where(columns.sync == sync, ~columns.dismissed)
        with self._begin() as connection:
            return int(connection.execute(query).scalar_one())

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

    # who may write where

    def epoch(self, target: str) -> int:
        """How often the right to write to this target was given so far. A plan made at one epoch is stale at the next."""
        with self._begin() as connection:
            return int(connection.execute(asking.EPOCH, {"this_target": target}).scalar() or 0)

    def held_until(self, target: str) -> datetime | None:
        """Until when somebody has the right to write to this target, unless it is renewed; None where it is free."""
        columns = tables.targets.c
        query = sa.select(columns.until).where(columns.target == target, columns.holder.is_not(None), columns.until >= self._now())
        with self._begin() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else datetime.fromisoformat(found)

    def claim(self, target: str, epoch: int, holder: str, until: datetime, *, dead: bool) -> bool:
        """Take the right to write, moving the epoch on from `epoch`, until then. False where the epoch is another or somebody holds it.

        `dead`: the caller knows that whoever held it is gone (it holds the host's lock and nobody else's host uses this ledger).
        """
        first = asking.insert_unless_there(self._dialect, tables.targets, "target", "epoch")
        given = {"this_target": target, "this_epoch": epoch, "now": self._now(), "is_dead": dead}
        with self._begin() as connection:
            connection.execute(first, {"new_target": target, "new_epoch": 0})
            taken = connection.execute(asking.CLAIM, {**given, "new_holder": holder, "new_until": until.isoformat()})
        return taken.rowcount == 1

    def renew(self, target: str, epoch: int, holder: str, until: datetime) -> bool:
        """Keep the right for longer. False where another has taken it meanwhile."""
        given = {"this_target": target, "this_epoch": epoch, "this_holder": holder, "new_until": until.isoformat()}
        with self._begin() as connection:
            return connection.execute(asking.RENEW, given).rowcount == 1

    def release(self, target: str, epoch: int, holder: str) -> None:
        """Give the right back, if it is still held."""
        with self._begin() as connection:
            connection.execute(asking.RELEASE, {"this_target": target, "this_epoch": epoch, "this_holder": holder})

    @property
    def shared(self) -> bool:
        """Whether processes on other hosts may use this ledger too."""
        return self._engine.dialect.name != "sqlite"

    def close(self) -> None:
        """Give back connections."""
        self._engine.dispose()


def open_ledger(url: str, clock: Clock) -> Ledger:
    """The ledger at `sqlite:///path` or `postgresql://…`. Raises ConfigError where it cannot be opened."""
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    try:
        parsed = sa.make_url(url)
        kind = parsed.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise ConfigError(f"the ledger cannot lie at an address of the kind {kind}://; give sqlite:///… or postgresql://…")
        sqlite_file = kind == "sqlite"
        return Ledger(_sqlite(parsed) if sqlite_file else sa.create_engine(parsed, pool_pre_ping=True), clock)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        place = url.split("@")[-1]
        raise ConfigError(f"the ledger at {place} cannot be opened ({type(error).__name__}); check CROSSDOCK_LEDGER") from error
    except ImportError as error:
        raise ConfigError(f"the driver of {url.split('://')[0]}:// is not installed ({error}); install crossdock[postgres]") from error


def _sqlite(url: sa.URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    memory = not url.database or url.database == ":memory:"
    engine = sa.create_engine(
        url, connect_args={"check_same_thread": False, "timeout": 60}, poolclass=sa.pool.StaticPool if memory else None
    )

    def durable(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    sa.event.listen(engine, "connect", durable)
    return engine


def _run(row: Mapping[Any, Any]) -> Run:
    return Run(
        row["run_id"], row["sync"], row["status"], row["started_at"], row["finished_at"], row["spec_hash"], json.loads(row["summary"])
    )


def _write(row: Mapping[Any, Any]) -> Write:
    values = {name: row[name] for name in Write.__dataclass_fields__}
    return Write(**{**values, "state": State(row["state"]), "intent_at": datetime.fromisoformat(row["intent_at"])})


def _execute(connection: Connection, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
    for statement, values in statements:
        connection.exec_driver_sql(statement, values)


def _chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
