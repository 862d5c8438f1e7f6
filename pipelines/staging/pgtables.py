"""The tables in PostgreSQL that staging lies in, and what is said where they are out of reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from connectors.errors import RetryableError

SCHEMA = "crossdock_staging"

Cursor: TypeAlias = Any  # adbc_driver_manager.dbapi.Cursor, which has no types

_LOCK = 7_236_801_441  # keeps two processes from creating the tables at once
_TABLES = (
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE SEQUENCE IF NOT EXISTS {SCHEMA}.batch_id",
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.batch (
        id bigint PRIMARY KEY, dataset text NOT NULL, count bigint NOT NULL, note text NOT NULL, schema bytea NOT NULL)""",
    f"CREATE INDEX IF NOT EXISTS batch_dataset ON {SCHEMA}.batch (dataset, id)",
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.part (
        batch bigint, number bigint, first bigint NOT NULL, count bigint NOT NULL, schema bytea NOT NULL, PRIMARY KEY (batch, number))""",
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.piece (
        batch bigint, name text, number bigint, array_name text NOT NULL, dtype text NOT NULL, content bytea NOT NULL,
        PRIMARY KEY (batch, name, number))""",
)


def libpq_url(url: str) -> str:
    """The address without what SQLAlchemy adds to it (`postgresql+psycopg2://` is `postgresql://` here)."""
    scheme, colon, rest = url.partition(":")
    return scheme.partition("+")[0] + colon + rest


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Raise RetryableError where the database goes away inside the block. What it says may quote records, so it is left out."""
    try:
        yield
    except (adbc.OperationalError, OSError) as error:
        place = urlsplit(url)
        where = f"{place.hostname or 'localhost'}:{place.port or 5432}{place.path}"
        why = f"({type(error).__name__}); run again when it is back: what was being read is read anew"
        raise RetryableError(f"staging's database at {where} is out of reach {why}") from error


def create_tables(cursor: Cursor) -> None:
    """Make the tables that are not there yet."""
    rows(cursor, "SELECT pg_advisory_xact_lock($1)", _LOCK)
    for statement in _TABLES:
        cursor.execute(statement)


def rows(cursor: Cursor, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a query's answer."""
    cursor.execute(query, parameters or None)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def columns(cursor: Cursor, query: str) -> pa.Table:
    """A query's answer as Arrow has it."""
    cursor.execute(query)
    return cursor.fetch_arrow_table()


def part_table(batch: int, number: int) -> str:
    """The name of the table that holds a part."""
    return f"b{batch}_p{number}"
