"""Ledger, staging and Dagster's own storage on one PostgreSQL, by one variable."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import psycopg2
import pyarrow as pa
import pytest

from connectors.errors import ConfigError
from pipelines.places import dagster_database, find_places
from pipelines.staging import Dataset
from pipelines.staging.open import open_staging
from tests.e2e.commandline import Project, contact, project
from tests.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401


@pytest.fixture
def on_postgres(tmp_path: Path, postgres_url: str) -> Iterator[Project]:  # noqa: F811
    with project(tmp_path) as made:
        made.write("dagster.yaml", (Path(__file__).resolve().parents[2] / "dagster.yaml").read_text())
        made.environ["CROSSDOCK_DATABASE"] = postgres_url
        made.contacts(contact(1), contact(2))
        yield made


def tables(url: str) -> dict[str, set[str]]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'crossdock_staging')")
        found: dict[str, set[str]] = {}
        for schema, table in cursor.fetchall():
            found.setdefault(schema, set()).add(table)
    connection.close()
    return found


def test_one_variable_puts_everything_there_and_no_database_is_left_in_the_home(on_postgres: Project) -> None:
    import dagster as dg

    assert on_postgres.json("run", "c2p")["created"] == 2
    assert on_postgres.json("run", "c2p")["unchanged"] == 2
    found = tables(on_postgres.environ["CROSSDOCK_DATABASE"])
    assert {"crossdock_runs", "crossdock_writes", "runs", "event_logs", "job_ticks"} <= found["public"]
    assert "batch" in found["crossdock_staging"]
    assert not [path for path in (on_postgres.folder / ".crossdock").rglob("*") if path.suffix in (".db", ".parquet", ".sqlite")]
    home = on_postgres.folder / ".crossdock" / "dagster"
    with pytest.MonkeyPatch.context() as patch:  # as the web server and the daemon open it: by the file in DAGSTER_HOME
        patch.setenv("CROSSDOCK_DATABASE", on_postgres.environ["CROSSDOCK_DATABASE"])
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert [run.job_name for run in instance.get_runs()] == ["c2p", "c2p"]
        patch.setenv("CROSSDOCK_DAGSTER", "sqlite")
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert instance.get_runs_count() == 0


def test_each_may_lie_elsewhere() -> None:
    one, other = "postgresql://one/db", "postgresql://other/db"
    everything = find_places({"CROSSDOCK_DATABASE": one}, Path("/x"))
    assert (everything.ledger, everything.staging) == (one, one)
    apart = find_places({"CROSSDOCK_DATABASE": one, "CROSSDOCK_LEDGER": other, "CROSSDOCK_STAGING": "folder"}, Path("/x"))
    assert (apart.ledger, apart.staging) == (other, "/x/folder")
    assert dagster_database({"CROSSDOCK_DATABASE": one}) == "postgresql+psycopg2://one/db"
    assert dagster_database({"CROSSDOCK_DATABASE": one, "CROSSDOCK_DAGSTER": other}) == "postgresql+psycopg2://other/db"
    assert dagster_database({"CROSSDOCK_DATABASE": one, "CROSSDOCK_DAGSTER": "sqlite"}) is dagster_database({}) is None
    with pytest.raises(ConfigError, match="CROSSDOCK_DAGSTER takes postgresql"):
        dagster_database({"CROSSDOCK_DAGSTER": "mysql://user:secret@host/db"})


def test_staging_opens_few_connections_and_replaces_one_that_broke_while_it_lay_idle(
    postgres_server: PostgresServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    connect = adbc.connect

    def counted(uri: str, *how: Any, **more: Any) -> Any:
        opened.append(uri)
        return connect(uri, *how, **more)

    monkeypatch.setattr(adbc, "connect", counted)
    staging, dataset = open_staging(postgres_server.create("pooled")), Dataset(("a", "b"))

    def write() -> None:
        with staging.begin(dataset) as writer:
            writer.write(pa.RecordBatch.from_pydict({"n": [1, 2, 3]}))
            batch = writer.commit({})
        staging.put_index(batch, "i", {"x": np.arange(3)})
        assert staging.take(batch, np.array([2]))["n"].to_pylist() == [3]
        assert staging.scan(batch).read_all().num_rows == 3

    for _ in range(10):
        write()
    assert len(opened) <= 3
    postgres_server.restart()
    write()
    assert len(staging.batches(dataset)) == 11
    staging.close()
