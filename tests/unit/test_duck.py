"""Sessions share a database where that saves making one, and nothing else."""

import subprocess
import sys
from threading import Barrier, Thread

import duckdb
import pyarrow as pa
import pytest

from pipelines import duck

ROWS = pa.table({"n": [1, 2, 3]})


@pytest.fixture(autouse=True)
def none_idle() -> None:
    duck.close_idle()


def test_a_session_sees_nothing_of_the_one_whose_database_it_took_over() -> None:
    with duck.session() as first:
        first.register("rows", ROWS)
        first.execute("CREATE TEMP TABLE made AS SELECT 1 AS one")
        first.execute("SET VARIABLE told = 'secret'")
    assert len(duck._idle) == 1
    with duck.session() as second:
        assert not duck._idle
        for table in ("rows", "made"):
            with pytest.raises(duckdb.CatalogException):
                second.sql(f"SELECT * FROM {table}")
        assert second.sql("SELECT getvariable('told')").fetchall() == [(None,)]


@pytest.mark.parametrize("separately", [False, True])
def test_every_session_is_locked_and_in_utc_the_later_ones_too(separately: bool) -> None:
    for _ in range(2):
        with duck.session(separately=separately) as connection:
            assert connection.sql("SELECT strftime(TIMESTAMPTZ '2026-07-01 12:00:00+02', '%H:%M %Z')").fetchall() == [("10:00 UTC",)]
            optimizers = connection.sql("SELECT current_setting('disabled_optimizers')").fetchall()
            assert optimizers == [("common_subexpressions" if separately else "",)]
            for refused in ("SET TimeZone = 'Europe/Berlin'", "SELECT * FROM read_csv('/etc/passwd')", "ATTACH '/tmp/other.db'"):
                with pytest.raises(duckdb.Error):
                    connection.execute(refused)
            unnamed = ROWS
            with pytest.raises(duckdb.CatalogException):
                connection.sql("SELECT * FROM unnamed")
            assert unnamed.num_rows == 3


def test_sessions_at_once_know_different_rows_by_the_same_name() -> None:
    found, together = dict[int, int](), Barrier(3)

    def count(rows: int) -> None:
        with duck.session() as connection, duck.known_as(connection, {"rows": pa.table({"n": range(rows)})}):
            together.wait(30)
            found[rows] = connection.sql("SELECT count(*) FROM rows").fetchall()[0][0]
            together.wait(30)

    threads = [Thread(target=count, args=(rows,)) for rows in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {1: 1, 2: 2, 3: 3}
    assert len(duck._idle) == 1


def test_a_database_that_was_given_much_or_failed_is_not_kept() -> None:
    much = pa.table({"n": range(duck.KEPT_BYTES // 8 + 1)})
    for rows, kept in ((ROWS, True), (much, False), (ROWS.to_reader(), True), (much.to_reader(1000), False)):
        with duck.session() as connection:
            assert duck.query(connection, "SELECT count(n) AS n FROM rows", rows=rows)["n"].to_pylist() in ([3], [much.num_rows])
        assert bool(duck._idle) is kept
    with pytest.raises(duckdb.ConversionException), duck.session() as connection:
        duck.query(connection, "SELECT CAST('a' AS INTEGER) FROM rows", rows=ROWS)
    assert not duck._idle


def test_a_process_that_is_forked_has_databases_of_its_own() -> None:
    program = """
import multiprocessing, pyarrow as pa
from pipelines import duck, runtime

def count():
    with duck.session() as connection:
        assert duck.query(connection, "SELECT sum(n) AS s FROM rows", rows=pa.table({"n": [1, 2]})).to_pylist() == [{"s": 3}]

count()
assert duck._idle
child = multiprocessing.get_context("fork").Process(target=count)
child.start()
assert not duck._idle
child.join(60)
count()
print(child.exitcode)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "0\n", done.stderr
