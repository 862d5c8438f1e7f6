"""Two hosts that share a ledger, one of which stands still; and a ledger whose server is restarted under a run."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.e2e import kills_driver
from tests.e2e.kills import SCENARIOS, Bench, Platforms, platforms, run_once
from tests.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401

LATER_S = 3600  # longer than any lease


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Bench]:  # noqa: F811
    with platforms() as world:
        yield Bench(world, SCENARIOS["first"], tmp_path, {"CROSSDOCK_LEDGER": postgres_url})


def _hosts(bench: Bench) -> tuple[Path, dict[str, str], dict[str, str]]:
    """The project and the environments of two hosts: one ledger, but locks and staging of their own."""
    project = bench.folder / "template"
    return project, *({**bench.environ, "CROSSDOCK_HOME": str(bench.folder / host)} for host in ("one", "two"))  # type: ignore[return-value]


def _creates(world: Platforms) -> int:
    return sum(entry["method"] == "PUT" for entry in world.robostack.log)


def _emails(bench: Bench) -> list[str]:
    return sorted(str(row["email"]) for _, row in bench.world.rows(bench.sink))


def _woken(process: BaseProcess, project: Path, run_id: str) -> Any:
    os.kill(process.pid or 0, signal.SIGCONT)
    process.join(60)
    return kills_driver.ending(project, run_id)


@pytest.mark.parametrize("point", ["before PUT", "headers of PUT sent", "PUT answered, nothing read", "before commit of seen"])
def test_a_run_that_stood_still_longer_than_its_lease_sends_nothing_more(bench: Bench, point: str) -> None:
    project, one, two = _hosts(bench)
    stopped = kills_driver.stand_still(project, "first", "stopped", point, one, nth=2 if point == "before commit of seen" else 1)
    try:
        refused = run_once(project, "first", "early", environ=two)
        assert "another run is writing to" in refused["error"]
        (project / "clock_shift").write_text(str(LATER_S))
        taken_over = run_once(project, "first", "over", environ=two)
        assert taken_over["summary"]["status"] == "ok"
        sent, held = _creates(bench.world), _emails(bench)
    finally:
        woken = _woken(stopped, project, "stopped")
    assert "took over" in woken["error"], woken
    assert (_creates(bench.world), _emails(bench)) == (sent, held)
    assert held == sorted(bench.wanted)
    rest = run_once(project, "first", "rest", environ=one)
    assert (rest["summary"]["status"], rest["summary"]["requests"]["sink"]["write"]) == ("ok", 0)


def test_what_another_host_has_under_way_is_not_settled_by_this_one(tmp_path: Path, postgres_url: str) -> None:  # noqa: F811
    with platforms() as world:
        _check_not_settled(Bench(world, SCENARIOS["careful"], tmp_path, {"CROSSDOCK_LEDGER": postgres_url}))


def _check_not_settled(bench: Bench) -> None:
    project, one, two = _hosts(bench)
    stopped = kills_driver.stand_still(project, "careful", "stopped", "before PUT", one)
    try:
        refused = run_once(project, "careful", "early", environ=two)
    finally:
        finished = _woken(stopped, project, "stopped")
    assert "another run is writing to" in refused["error"]
    assert finished["summary"]["status"] == "ok"
    assert finished["summary"]["created"] == bench.creates
    assert _emails(bench) == sorted(bench.wanted)
    with closing(psycopg2.connect(bench.environ["CROSSDOCK_LEDGER"])) as ledger, ledger.cursor() as cursor:
        cursor.execute("SELECT key, reason FROM crossdock_failures")
        assert cursor.fetchall() == []


@pytest.mark.parametrize("point", ["before commit of plan", "after ledger intend", "before ledger put_matches"])
def test_a_restart_of_the_database_under_a_run_costs_nothing(
    bench: Bench,
    postgres_server: PostgresServer,  # noqa: F811
    point: str,
) -> None:
    project, home, _ = _hosts(bench)
    environ = {**home, "CROSSDOCK_STAGING": bench.environ["CROSSDOCK_LEDGER"]}
    stopped = kills_driver.stand_still(project, "first", "stopped", point, environ)
    try:
        postgres_server.restart()
    finally:
        woken = _woken(stopped, project, "stopped")
    assert "unexpected" not in woken, woken
    assert "summary" in woken or "run again" in woken["error"], woken
    (project / "clock_shift").write_text(str(LATER_S))  # the lease of a run that could not give it back
    finished = run_once(project, "first", "finish", environ=environ)
    assert finished["summary"]["status"] == "ok", finished
    assert _emails(bench) == sorted(bench.wanted)
    assert run_once(project, "first", "rest", environ=environ)["summary"]["requests"]["sink"]["write"] == 0
