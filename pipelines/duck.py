"""A DuckDB that computes and reaches nothing: no files, no network, no extensions, no Python variables. Pure."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import duckdb
import pyarrow as pa

Rows: TypeAlias = pa.Table | pa.RecordBatch | pa.RecordBatchReader

_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}


KEPT_BYTES = 4_000_000
"""A database that was given no more than this is kept for the next session; open ones hold on to memory that they computed with."""

_idle: dict[bool, duckdb.DuckDBPyConnection] = {}  # by `separately`; whoever takes one has it alone
_given_bytes: dict[int, int] = {}  # by the id of a session's connection


@contextmanager
def session(*, separately: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-memory database with a locked configuration, its times in UTC. No view or temporary table outlasts the block.

    Making one takes 12 ms of processor time, so it is kept for the next session where this one was given little and ended well.
    `separately` keeps the optimizer from computing what expressions have in common in front of them,
    where their TRY would not hold.
    """
    database = _idle.pop(separately, None)
    if database is None:
        database = _database(separately)
    connection = database.cursor()  # what it knows by name is its own
    _given_bytes[id(connection)] = 0
    small = False
    try:
        yield connection
        small = _given_bytes[id(connection)] <= KEPT_BYTES
    finally:
        del _given_bytes[id(connection)]
        connection.close()
        if not small or _idle.setdefault(separately, database) is not database:
            database.close()


def close_idle() -> None:
    """Close what is kept for later sessions. To be called before a fork: the threads of a database stay behind in the parent."""
    for separately in (False, True):
        if (database := _idle.pop(separately, None)) is not None:
            database.close()


def _database(separately: bool) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(":memory:", config=dict(_LOCKED))
    try:
        database.execute("SET GLOBAL TimeZone = 'UTC'")
        database.execute("SET GLOBAL python_enable_replacements = false")
        if separately:
            database.execute("SET GLOBAL disabled_optimizers = 'common_subexpressions'")
        database.execute("SET GLOBAL lock_configuration = true")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def known_as(connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, Rows]) -> Iterator[None]:
    """These rows known by their names while the block lasts."""
    for table, rows in inputs.items():
        connection.register(table, _counted(rows, id(connection)))
    try:
        yield
    finally:
        for table in inputs:
            connection.unregister(table)


def _counted(rows: Rows, session_id: int) -> Rows:
    """The same rows; their size is added to what that session was given, where it is one of ours."""
    if session_id not in _given_bytes:
        return rows
    if not isinstance(rows, pa.RecordBatchReader):
        _given_bytes[session_id] += rows.nbytes
        return rows

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            _given_bytes[session_id] += batch.nbytes
            yield batch

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def query(connection: duckdb.DuckDBPyConnection, sql: str, **inputs: Rows) -> pa.Table:
    """The answer to one SELECT over these inputs, each known by its name while it runs."""
    with known_as(connection, inputs):
        return connection.sql(sql).to_arrow_table()


def name(identifier: str) -> str:
    """The identifier as SQL, quoted."""
    return '"' + identifier.replace('"', '""') + '"'


def string(text: str) -> str:
    """The text as an SQL constant. A NUL cannot stand in SQL, so it is built."""
    return "(" + " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in text.split("\0")) + ")"
