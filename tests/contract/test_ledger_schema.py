"""The ledger's version: an older ledger is brought forward whole or not at all, a newer one is refused and left as it is."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from connectors.errors import ConfigError
from pipelines import ledger_schema
from pipelines.ledger import State, open_ledger
from tests.clock import FakeClock
from tests.postgres import postgres_server, postgres_url  # noqa: F401

CLOCK = FakeClock()

FIRST = """
CREATE TABLE crossdock_crosswalk (sync TEXT NOT NULL, "key" TEXT NOT NULL, key_hash {big} NOT NULL, source_id TEXT, sink_id TEXT NOT NULL,
    applied TEXT, fingerprint {big}, repeats INTEGER DEFAULT '0' NOT NULL, run_id TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (sync, "key"));
CREATE INDEX crossdock_crosswalk_source ON crossdock_crosswalk (sync, source_id);
CREATE TABLE crossdock_failures (sync TEXT NOT NULL, "key" TEXT NOT NULL, source_id TEXT NOT NULL, outcome TEXT NOT NULL,
    field TEXT NOT NULL, reason TEXT NOT NULL, op TEXT, request TEXT, attempts INTEGER NOT NULL, released BOOLEAN NOT NULL,
    dismissed BOOLEAN NOT NULL, run_id TEXT NOT NULL, first_seen TEXT NOT NULL, last_seen TEXT NOT NULL,
    PRIMARY KEY (sync, "key", source_id));
CREATE TABLE crossdock_meta (name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name));
CREATE TABLE crossdock_positions (sync TEXT NOT NULL, spec_hash TEXT NOT NULL, batch_id TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (sync));
CREATE TABLE crossdock_runs (run_id TEXT NOT NULL, sync TEXT NOT NULL, status TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT,
    spec_hash TEXT, summary TEXT DEFAULT '{{}}' NOT NULL, PRIMARY KEY (run_id));
CREATE INDEX ix_crossdock_runs_sync ON crossdock_runs (sync);
CREATE TABLE crossdock_targets (target TEXT NOT NULL, epoch {big} NOT NULL, holder TEXT, until TEXT, PRIMARY KEY (target));
CREATE TABLE crossdock_writes (run_id TEXT NOT NULL, seq {big} NOT NULL, sync TEXT NOT NULL, "key" TEXT NOT NULL, source_id TEXT,
    op TEXT NOT NULL, sink_id TEXT, state TEXT NOT NULL, attempt INTEGER NOT NULL, epoch {big} NOT NULL, intent_at TEXT NOT NULL,
    "before" TEXT, "after" TEXT, fingerprint {big}, reason TEXT DEFAULT '' NOT NULL, settled_at TEXT,
    PRIMARY KEY (run_id, seq)) {rowless};
CREATE INDEX crossdock_writes_open ON crossdock_writes (sync) WHERE state IN ('in_flight', 'accepted', 'refused', 'unknown');
INSERT INTO crossdock_meta VALUES ('schema_version', '1');
INSERT INTO crossdock_runs VALUES ('r1', 's', 'ok', '2026-11-01T10:00:00+00:00', '2026-11-01T10:00:01+00:00', 'h', '{{"created": 2}}');
INSERT INTO crossdock_writes VALUES ('r1', 1, 's', '["k1"]', 'src1', 'create', '"9"', 'confirmed', 1, 4, '2026-11-01T10:00:00+00:00',
    NULL, '{{"email": "k1"}}', 77, '', '2026-11-01T10:00:01+00:00'), ('r1', 2, 's', '["k2"]', 'src2', 'create', NULL, 'in_flight', 2, 4,
    '2026-11-01T10:00:00+00:00', NULL, '{{"email": "k2"}}', 78, '', NULL);
INSERT INTO crossdock_crosswalk VALUES ('s', '["k1"]', -5, 'src1', '"9"', '{{"email": "k1"}}', 77, 0, 'r1', '2026-11-01T10:00:01+00:00');
INSERT INTO crossdock_failures VALUES ('s', '["k3"]', 'src3', 'rejected', 'email', 'email is taken', 'create', '{{}}', 3, {no}, {no}, 'r1',
    '2026-11-01T10:00:01+00:00', '2026-11-01T10:00:01+00:00');
INSERT INTO crossdock_targets VALUES ('account people', 4, NULL, NULL);
INSERT INTO crossdock_positions VALUES ('s', 'h', 'batch7', '2026-11-01T10:00:01+00:00');
"""
JOINED = """
CREATE TABLE crossdock_paces (account TEXT NOT NULL, pace {raw} NOT NULL, PRIMARY KEY (account));
CREATE TABLE crossdock_parts (run_id TEXT NOT NULL, kind TEXT NOT NULL, shard INTEGER NOT NULL, sync TEXT NOT NULL, target TEXT NOT NULL,
    epoch {big} NOT NULL, writer TEXT NOT NULL, count INTEGER NOT NULL, state TEXT NOT NULL, claims INTEGER DEFAULT '0' NOT NULL,
    holder TEXT, until TEXT, stopped TEXT DEFAULT '' NOT NULL, found TEXT DEFAULT '{{}}' NOT NULL, PRIMARY KEY (run_id, kind, shard));
CREATE INDEX ix_crossdock_parts_sync ON crossdock_parts (sync);
CREATE TABLE crossdock_told (sync TEXT NOT NULL, findings TEXT NOT NULL, told_at TEXT NOT NULL, PRIMARY KEY (sync));
INSERT INTO crossdock_told VALUES ('s', '["pending"]', '2026-11-01T10:00:01+00:00');
"""
"""Version 1 as it was written on the day before there were steps: the tables, and a run with one write that nobody answered."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))
    yield engine
    engine.dispose()


def put(database: Engine, script: str) -> None:
    """What this SQL makes, in either kind of database."""
    sqlite = database.dialect.name == "sqlite"
    big, raw, no, rowless = ("INTEGER", "BLOB", "0", "WITHOUT ROWID") if sqlite else ("BIGINT", "BYTEA", "false", "")
    with database.begin() as connection:
        for statement in script.format(big=big, raw=raw, no=no, rowless=rowless).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)


def tables(database: Engine) -> dict[str, Any]:
    """Every table with its columns, key and indexes, as the database tells them."""
    found = sa.inspect(database)
    return {
        name: (
            {one["name"]: (str(one["type"]), one["nullable"], one["default"]) for one in found.get_columns(name)},
            found.get_pk_constraint(name)["constrained_columns"],
            {one["name"]: one["column_names"] for one in found.get_indexes(name)},
        )
        for name in found.get_table_names()
    }


def content(database: Engine) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with database.connect() as connection:
        return {name: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}"))) for name in sorted(tables(database))}


@pytest.mark.parametrize("script", [FIRST + JOINED, FIRST], ids=["the last ledger of version 1", "an early one"])
def test_a_ledger_of_the_first_version_is_brought_forward_with_all_it_knows(
    script: str, url: str, database: Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    put(database, script)
    before = content(database)
    ledger = open_ledger(url, CLOCK)
    assert [(one.key, one.attempt, one.epoch) for one in ledger.open_writes("s")] == [('["k2"]', 2, 4)]
    assert [(one.key, one.sink_id, one.fingerprint) for one in ledger.matches("s")] == [('["k1"]', '"9"', 77)]
    assert [(one.reason, one.attempts) for one in ledger.failures("s")] == [("email is taken", 3)]
    assert (ledger.position("s", "h"), ledger.epoch("account people")) == ("batch7", 4)
    assert ledger.told("s") == (frozenset({"pending"}) if "told" in script else frozenset())
    ledger.settle("r1", [(2, State.CONFIRMED, '"10"', "")])
    ledger.close()
    after = content(database)
    assert {name for name in before if before[name] != after[name]} == {"crossdock_meta", "crossdock_writes"}
    assert after["crossdock_meta"] == [f"('schema_version', '{ledger_schema.version()}')"]
    new = f"sqlite:///{tmp_path / 'new.db'}" if "sqlite" in url else request.getfixturevalue("postgres_server").create("new_" + url[-32:])
    open_ledger(new, CLOCK).close()
    fresh = sa.create_engine(new.replace("postgresql:", "postgresql+psycopg2:"))
    assert tables(database) == tables(fresh)
    fresh.dispose()


def noted(connection: Connection) -> None:
    """A step of tomorrow's. Taken twice it would fail."""
    connection.exec_driver_sql("ALTER TABLE crossdock_runs ADD COLUMN note TEXT DEFAULT '' NOT NULL")
    connection.exec_driver_sql("INSERT INTO crossdock_meta VALUES ('noted', 'once')")


def broken(connection: Connection) -> None:
    """A step that does something, and then ends badly."""
    noted(connection)
    connection.exec_driver_sql("INSERT INTO crossdock_nowhere VALUES (1)")


def test_a_step_that_fails_leaves_the_ledger_as_it_was_and_all_who_open_it_at_once_take_the_step_once(
    url: str, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, FIRST)
    before, shape = content(database), tables(database)
    monkeypatch.setattr(ledger_schema, "STEPS", (*ledger_schema.STEPS, broken))
    with pytest.raises((ConfigError, sa.exc.DBAPIError)):
        open_ledger(url, CLOCK)
    assert (content(database), tables(database)) == (before, shape)
    monkeypatch.setattr(ledger_schema, "STEPS", (*ledger_schema.STEPS[:-1], noted))
    with ThreadPoolExecutor(6) as opening:
        for opened in list(opening.map(lambda _: open_ledger(url, CLOCK), range(6))):
            assert opened.runs("s")[0].summary == {"created": 2}
            opened.close()
    assert content(database)["crossdock_meta"] == ["('noted', 'once')", "('schema_version', '3')"]


def test_a_newer_ledger_is_refused_and_nothing_is_made_in_it(url: str, database: Engine) -> None:
    put(database, FIRST + "UPDATE crossdock_meta SET value = '99';\n")
    before = content(database)
    with pytest.raises(ConfigError, match=r"schema version 99, this Crossdock knows \d+: upgrade Crossdock"):
        open_ledger(url, CLOCK)
    assert content(database) == before


@pytest.mark.parametrize("change", ["DELETE FROM crossdock_meta;\n", "UPDATE crossdock_meta SET value = 'two';\n"])
def test_a_ledger_that_says_no_version_is_refused(change: str, url: str, database: Engine) -> None:
    put(database, FIRST + change)
    with pytest.raises(ConfigError, match="names no schema version"):
        open_ledger(url, CLOCK)


def test_a_ledger_of_todays_version_is_opened_while_another_process_writes_to_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    open_ledger(url, CLOCK).close()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as writing:
        writing.execute("BEGIN EXCLUSIVE")
        opened = open_ledger(url, CLOCK)
        assert opened.runs() == []
        opened.close()
