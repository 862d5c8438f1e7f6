"""The database under the ledger: its transactions, many rows at once, and what its trouble means. SQLite or Postgres."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from connectors.base import Clock
from pipelines import ledger_statements as asking
from pipelines.ledger_bulk import upserts
from pipelines.ledger_schema import prepare
from pipelines.ledger_trouble import trouble

GROWN = 20_000  # rows
SEEN = 10  # of Postgres's usual 100: 3,000 rows of a table tell that its keys are many, and a tenth of the time


class Database:
    """One database. Threads may share it; every method of what is kept in it is one transaction."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._dialect = engine.dialect.name
        self._mark = "?" if self._dialect == "sqlite" else "%s"
        self._lock = threading.RLock() if self._dialect == "sqlite" else nullcontext()  # Postgres: a connection a thread
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._grown: dict[str, tuple[int, int]] = {}  # by table: the rows put into it so far, and how many are too many to go on blindly
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
            execute(connection, upserts(table.name, [column.name for column in table.primary_key], rows, self._mark))
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
                connection.exec_driver_sql(f"SET LOCAL default_statistics_target = {SEEN}")
                connection.exec_driver_sql(f"ANALYZE {table.name} ({', '.join(sorted(asked))})")
        self._grown[table.name] = total, limit

    def _many(self, connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """One statement for many rows; for SQLite straight through the driver, which is three times as fast."""
        if self._dialect != "sqlite":
            connection.execute(statement, list(rows))
            return
        text, order = asking.spelt(self._engine.dialect, statement, *rows[0])
        connection.exec_driver_sql(text, [tuple(row[name] for name in order) for row in rows])

    def compact(self) -> None:
        """Give the room of what was forgotten back to the disk. PostgreSQL does that by itself."""
        if self._engine.dialect.name == "sqlite":
            with self._lock, self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def shared(self) -> bool:
        """Whether processes on other hosts may use this ledger too."""
        return self._engine.dialect.name != "sqlite"

    def close(self) -> None:
        """Give back connections."""
        self._beside.shutdown()
        self._engine.dispose()


def sqlite_engine(url: sa.URL) -> Engine:
    """A SQLite file, made where there is none, whose commits are durable."""
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


def execute(connection: Connection, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
    """Run statements with their parameters."""
    for statement, values in statements:
        connection.exec_driver_sql(statement, values)
