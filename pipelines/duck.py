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


@contextmanager
def session(*, separately: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-memory database with a locked configuration, its times in UTC; closed at the end. Costs 12 ms.

    `separately` keeps the optimizer from computing what expressions have in common in front of them,
    where their TRY would not hold.
    """
    connection = duckdb.connect(":memory:", config=dict(_LOCKED))
    try:
        connection.sql("SET TimeZone = 'UTC'")
        connection.sql("SET python_enable_replacements = false")
        if separately:
            connection.sql("SET disabled_optimizers = 'common_subexpressions'")
        connection.sql("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


@contextmanager
def known_as(connection: duckdb.DuckDBPyConnection, inputs: Mapping[str, Rows]) -> Iterator[None]:
    """These rows known by their names while the block lasts."""
    for table in inputs:
        connection.register(table, inputs[table])
    try:
        yield
    finally:
        for table in inputs:
            connection.unregister(table)


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
