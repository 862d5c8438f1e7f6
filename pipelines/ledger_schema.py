"""The version of the ledger's tables: an older ledger is brought forward in one transaction, a newer one is left alone and refused.

Each step only adds (tables, indexes, columns that may be left out), so that a process which opened the ledger before goes
on. A step is written out and never changed afterwards: what the tables are like today is no part of it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from connectors.errors import ConfigError
from pipelines.ledger_tables import meta, metadata

__all__ = ["STEPS", "prepare", "version"]

_LOCK = 0x63726F7373  # any number that nobody else locks in this database
_SAID = sa.select(meta.c.value).where(meta.c.name == "schema_version")


def prepare(begin: Callable[[], AbstractContextManager[Connection]]) -> None:
    """Make the tables, or bring them forward to `version()`, whichever other processes do so at the same moment.

    `begin` opens a transaction. Nothing is locked or written where there is nothing to do. Raises ConfigError for a ledger of a
    newer version, or of none.
    """
    with begin() as connection:
        if _found(connection) == version():
            return
    with begin() as connection:
        _alone(connection)
        found = _found(connection)
        if found is None:
            metadata.create_all(connection)
            connection.execute(sa.insert(meta).values(name="schema_version", value=str(version())))
            return
        for step in STEPS[found - 1 :]:
            step(connection)
        connection.execute(sa.update(meta).where(meta.c.name == "schema_version").values(value=str(version())))


def version() -> int:
    """The version that this Crossdock writes: one more than there are steps."""
    return len(STEPS) + 1


def _alone(connection: Connection) -> None:
    """From here to the end of the transaction no other process makes or changes tables. One that did so before is seen."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _found(connection: Connection) -> int | None:
    """The ledger's version, at most ours; None where there is no ledger yet."""
    if not sa.inspect(connection).has_table(meta.name):
        return None
    said = connection.execute(_SAID).scalar()
    if said is None or not said.isdecimal() or int(said) < 1:
        raise ConfigError(
            "the ledger's table crossdock_meta names no schema version, so that somebody else changed it; "
            "put the ledger's last backup in its place, or point CROSSDOCK_LEDGER at another database"
        )
    if int(said) > version():
        raise ConfigError(
            f"the ledger has schema version {said}, this Crossdock knows {version()}: "
            "upgrade Crossdock, or point CROSSDOCK_LEDGER at another database"
        )
    return int(said)


def _tables_that_joined_the_first_version(connection: Connection) -> None:
    """Early ledgers of version 1 may lack these."""
    big, raw = ("BIGINT", "BYTEA") if connection.dialect.name == "postgresql" else ("INTEGER", "BLOB")
    for statement in (
        "CREATE TABLE IF NOT EXISTS crossdock_told (sync TEXT NOT NULL PRIMARY KEY, findings TEXT NOT NULL, told_at TEXT NOT NULL)",
        f"CREATE TABLE IF NOT EXISTS crossdock_paces (account TEXT NOT NULL PRIMARY KEY, pace {raw} NOT NULL)",
        "CREATE TABLE IF NOT EXISTS crossdock_parts (run_id TEXT NOT NULL, kind TEXT NOT NULL, shard INTEGER NOT NULL, sync TEXT NOT NULL, "
        f"target TEXT NOT NULL, epoch {big} NOT NULL, writer TEXT NOT NULL, count INTEGER NOT NULL, state TEXT NOT NULL, "
        "claims INTEGER DEFAULT '0' NOT NULL, holder TEXT, until TEXT, stopped TEXT DEFAULT '' NOT NULL, found TEXT DEFAULT '{}' NOT NULL, "
        "PRIMARY KEY (run_id, kind, shard))",
        "CREATE INDEX IF NOT EXISTS ix_crossdock_parts_sync ON crossdock_parts (sync)",
    ):
        connection.exec_driver_sql(statement)


STEPS: tuple[Callable[[Connection], None], ...] = (_tables_that_joined_the_first_version,)
"""From version 1 to 2, and so on."""
