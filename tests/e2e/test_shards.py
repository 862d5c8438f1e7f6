"""One run written by workers of several hosts: separate homes, one ledger and rate limit in Postgres, one worker killed in the middle."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from pipelines.ledger_shards import Shards
from pipelines.run import SyncRun
from pipelines.staging import Batch
from tests.e2e.commandline import CONNECTIONS, Project, contact, project
from tests.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401

pytestmark = pytest.mark.slow

RECORDS, BATCH, SHARDS = 400, 5, 12
RATE, BURST = 20, 5
SETTINGS = f"    timeout_s: 1\n    T_server_max_s: 0.2\n    concurrency: 3\n    rate_limit: {RATE}/s\n    burst: {BURST}\n    streams:"


class _Counted:
    """Robostack, noting when each request arrived, and saying when a third and two thirds of the writes did."""

    def __init__(self) -> None:
        self.arrived_s: list[float] = []
        self.writes: list[str] = []
        self.reached, self._writes = (threading.Event(), threading.Event()), 0

    def __call__(self, app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                self.arrived_s.append(time.monotonic())
                self.writes += [scope["method"]] if scope["method"] in ("PUT", "PATCH", "DELETE") else []
                self._writes += scope["method"] == "PUT"
                for third, event in enumerate(self.reached, 1):
                    if self._writes >= RECORDS // BATCH * third // 3:
                        event.set()
            await app(scope, receive, send)

        return wrapped

    def most_above(self, rate: float) -> float:
        """By how much, at worst, the requests of any span were more than `rate` allows in it: the burst that was used."""
        times = self.arrived_s
        return max(
            number - first - rate * (at - times[first]) + 1
            for first in range(len(times))
            for number, at in enumerate(times)
            if number >= first
        )


def _holders(url: str) -> list[int]:
    """The processes that hold a shard now."""
    with closing(psycopg2.connect(url)) as ledger, ledger.cursor() as cursor:
        cursor.execute("SELECT holder FROM crossdock_parts WHERE holder IS NOT NULL AND state = 'open'")
        return [int(holder.split(":")[1]) for (holder,) in cursor.fetchall()]


@contextmanager
def _workers(made: Project, hosts: tuple[str, ...]) -> Iterator[list["subprocess.Popen[str]"]]:
    """Workers with a home each, waiting for something to do."""
    started = []
    try:
        for host in hosts:
            made.environ["CROSSDOCK_HOME"] = str(made.folder / host)
            started.append(made.start("work", "--wait", "1h"))
        made.environ["CROSSDOCK_HOME"] = str(made.folder / "leader")
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_four_workers_write_one_run_and_nothing_is_lost_or_doubled_when_one_and_then_the_first_are_killed(
    tmp_path: Path,
    postgres_url: str,  # noqa: F811
) -> None:
    counted = _Counted()
    with project(tmp_path, around=counted) as made:
        made.write("connections.yaml", CONNECTIONS.replace("    streams:", SETTINGS))
        made.environ |= {"CROSSDOCK_LEDGER": postgres_url, "CROSSDOCK_STAGING": str(tmp_path / "shared")}
        made.contacts(*(contact(n) for n in range(RECORDS)), contact(RECORDS, email=""))
        made.sync(writes={"batch": BATCH, "shards": SHARDS, "on_unknown": "retry"}, limits={"create_count": RECORDS})
        with _workers(made, ("one", "one", "two")) as workers:
            leader = made.start("run", "c2p", "--json")
            assert counted.reached[0].wait(90)
            victims, held = [], []
            while not victims or len(held) < 2:  # two work side by side, one of them is killed
                held = _holders(postgres_url)
                victims = [process for process in workers if process.pid in held]
                assert leader.poll() is None, leader.communicate()
            victims[0].kill()
            assert counted.reached[1].wait(90)
            leader.kill()
            leader.communicate()
            ended = _ended(made)
        assert (ended["status"], ended["created"], ended["invalid"], ended["quarantined"]) == ("partial", RECORDS, 1, 0)
        assert sorted(person["email"] for person in made.people()) == sorted(f"p{n}@example.com" for n in range(RECORDS))
        assert counted.most_above(RATE) <= BURST + RATE / 2  # a busy machine lets some arrive half a second late; four paces would give 60
        again = made.json("plan", "c2p")
        assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, RECORDS)


def _ended(made: Project) -> Any:
    """The run that was split, as soon as a worker has closed it."""
    until_s = time.monotonic() + 90
    while time.monotonic() < until_s:
        first = made.json("runs", "c2p")["runs"][-1]
        if first["status"] != "running":
            return first
    raise AssertionError(first)


def test_a_worker_that_reads_the_sink_and_makes_all_rows_of_a_plan_gives_the_plan_of_one_process(
    tmp_path: Path,
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.planning.LEAST", 1)
    counted = _Counted()
    with project(tmp_path, around=counted) as made:
        made.environ |= {"CROSSDOCK_LEDGER": postgres_url, "CROSSDOCK_STAGING": str(tmp_path / "shared")}
        made.contacts(*(contact(n) for n in range(40)))
        assert made.json("run", "c2p")["created"] == 40
        changed = [contact(n, name="New") for n in range(20, 40)]
        made.contacts(*(contact(n) for n in range(20)), *changed, *(contact(n) for n in range(40, 90)), contact(90, score="much"))
        whole = made.json("plan", "c2p")
        made.sync(writes={"shards": 6})
        monkeypatch.setattr("pipelines.preparing.prepare", lambda *_: 0)  # this process makes none
        extracted = SyncRun._extracted

        def slowly(run: SyncRun, full: bool) -> Batch:
            until_s = time.monotonic() + 60
            while not Shards(run.engine.ledger).found(run.run_id, "see").get(0):
                assert time.monotonic() < until_s, "no worker read the sink"
            return extracted(run, full)

        monkeypatch.setattr(SyncRun, "_extracted", slowly)
        counted.arrived_s.clear()
        with _workers(made, ("one",)):
            parts = made.json("plan", "c2p")
        assert len(counted.arrived_s) == whole["requests"]["sink"]["read"]
        told = ("digest", "read", "created", "updated", "unchanged", "invalid", "changes", "requests", "warnings")
        assert {name: parts[name] for name in told} == {name: whole[name] for name in told}
        assert (parts["created"], parts["updated"], parts["invalid"]) == (50, 20, 1)
        assert not _parts_left(postgres_url)


def _parts_left(url: str) -> int:
    with closing(psycopg2.connect(url)) as ledger, ledger.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM crossdock_parts")
        return int((cursor.fetchone() or (0,))[0])


def test_a_run_in_shards_needs_no_other_worker_but_a_ledger_that_others_could_see(
    tmp_path: Path,
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.planning.LEAST", 1)
    counted = _Counted()
    with project(tmp_path, around=counted) as made:
        made.contacts(*(contact(n) for n in range(9)), contact(9, email=""))
        made.sync(writes={"shards": 3})
        refused = made.run("run", "c2p")
        assert (refused.status, made.people()) == (3, [])
        assert "set CROSSDOCK_LEDGER to postgresql://" in refused.err
        assert made.run("work").status == 3
        made.environ["CROSSDOCK_LEDGER"] = postgres_url
        ran = made.json("run", "c2p")
        assert (ran["status"], ran["created"], ran["differences"], len(made.people())) == ("partial", 9, 0, 9)
        assert ran["requests"]["sink"]["write"] == 3
        assert made.json("work") == {"status": "ok", "exit": 0, "runs": 0, "records": 0}
        made.sync(writes={"shards": 3}, mode="mirror", deletes={"max_count": 5, "max_share": 1.0})
        counted.writes.clear()
        made.contacts(*(contact(n, name="New") for n in range(4)))
        ran = made.json("run", "c2p")
        assert (ran["updated"], ran["deleted"], len(made.people())) == (4, 5, 4)
        assert counted.writes == sorted(counted.writes, key=lambda method: method == "DELETE"), "a delete overtook an update"


def test_a_worker_that_waits_outlives_its_database_going_away_and_coming_back(tmp_path: Path, postgres_server: PostgresServer) -> None:  # noqa: F811
    url = postgres_server.create("going_away")
    with project(tmp_path) as made, closing(psycopg2.connect(postgres_server.url("postgres"))) as beside, beside.cursor() as admin:
        beside.autocommit = True
        made.environ |= {"CROSSDOCK_LEDGER": url, "CROSSDOCK_STAGING": str(tmp_path / "shared")}

        def connections() -> int:
            admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'going_away'")
            return int(admin.fetchone()[0])

        def looks_again() -> bool:
            admin.execute("SELECT max(query_start - backend_start) > '3 s' FROM pg_stat_activity WHERE datname = 'going_away'")
            return bool(admin.fetchone()[0])

        def until(found: Any) -> None:
            give_up_s = time.monotonic() + 90
            while not found():
                assert time.monotonic() < give_up_s
                assert worker.poll() is None, worker.communicate()

        assert made.run("status").status == 0  # the tables are made
        worker = made.start("work", "--wait", "1h")
        try:
            until(looks_again)
            admin.execute("ALTER DATABASE going_away ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'going_away'")
            assert worker.stderr is not None
            assert "out of reach" in worker.stderr.readline()
            assert connections() == 0
            admin.execute("ALTER DATABASE going_away ALLOW_CONNECTIONS true")
            until(looks_again)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=30)
