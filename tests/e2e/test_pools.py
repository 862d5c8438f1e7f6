"""Pools: what many runs may do on one platform at once, on Dagster's real instance, in SQLite and in PostgreSQL."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.e2e.commandline import ROOT, contact, project
from tests.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401

PATIENCE_S = 60
SETTINGS = (ROOT / "dagster.yaml").read_text()


class Gate:
    """A platform that answers nobody before it is opened."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app, self.open = app, threading.Event()
        self.waiting = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.waiting += 1
        await asyncio.to_thread(self.open.wait, PATIENCE_S)
        await self._app(scope, receive, send)


def until(found: Callable[[], Any], running: Sequence[subprocess.Popen[str]]) -> Any:
    """What `found` gives once it is true, while all of these run; a look at the real instance now and then."""
    pause = threading.Event()
    for _ in range(PATIENCE_S * 10):
        if answer := found():
            return answer
        for process in running:
            assert process.poll() is None, process.communicate()
        pause.wait(0.1)
    raise AssertionError(f"nothing after {PATIENCE_S} s")


def test_a_step_waits_until_the_other_runs_leave_its_platform_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gates: list[Gate] = []

    def gated(app: Any) -> Gate:
        gates.append(Gate(app))
        return gates[0]

    with project(tmp_path, around=gated) as made:
        assert SETTINGS.count("default_limit: 4") == 1
        made.contacts(contact(1), contact(2))
        made.sync("first")
        made.sync("second", to="there.orgs", match=["domain"], fields={"domain": "email"})
        home = tmp_path / ".crossdock" / "dagster"
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_text(SETTINGS.replace("default_limit: 4", "default_limit: 1"))
        made.environ["DAGSTER_HOME"] = str(home)
        execute = ("job", "execute", "-m", "pipelines.definitions", "-j")
        program = (sys.executable, "-c", "from dagster._cli import main; main()")
        running = [made.start(*execute, name, command=program) for name in ("first", "second")]
        until(lambda: gates[0].waiting, running)
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            storage = instance.event_log_storage
            until(lambda: storage.get_concurrency_info("there").pending_step_count, running)
            found = storage.get_concurrency_info("there")
            assert (found.slot_count, found.active_slot_count) == (1, 1)
            (reading,) = found.active_run_ids
            gates[0].open.set()
            ended = [process.communicate(timeout=PATIENCE_S) for process in running]
            assert [process.returncode for process in running] == [0, 0], ended
            assert storage.get_concurrency_info("there").active_slot_count == 0
            spans = []
            for run in instance.get_runs():
                steps = [one for one in instance.get_run_step_stats(run.run_id) if not one.step_key.startswith("here__")]
                spans += [(one.start_time, one.end_time, run.run_id) for one in steps]
        spans.sort()
        assert len(spans) == 4
        assert spans[0][2] == reading
        with dg.DagsterInstance.from_config(str(home)) as instance:  # a run that was killed keeps its place until a daemon looks
            assert instance.event_log_storage.claim_concurrency_slot("there", "killed", "step").is_claimed
        assert made.json("run", "first")["unchanged"] == 2  # what a person starts does not wait for it
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_in_postgres_processes_that_meet_a_pool_first_make_it_once_and_it_follows_the_settings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres_url: str,  # noqa: F811
) -> None:
    monkeypatch.setenv("CROSSDOCK_DATABASE", postgres_url)

    def instance(limit: int) -> dg.DagsterInstance:
        (tmp_path / "dagster.yaml").write_text(SETTINGS.replace("default_limit: 4", f"default_limit: {limit}"))
        return dg.DagsterInstance.from_config(str(tmp_path))

    def met(limit: int, *pools: str) -> dict[str, tuple[int, int]]:
        with instance(limit) as one, instance(limit) as other, ThreadPoolExecutor(6) as threads:
            storages = [one.event_log_storage, other.event_log_storage] * 3
            for pool in pools:
                assert list(threads.map(lambda storage, pool=pool: storage.initialize_concurrency_limit_to_default(pool), storages))
            slots = {pool: one.event_log_storage.get_concurrency_info(pool).slot_count for pool in pools}
            return {pool.name: (pool.limit, slots[pool.name]) for pool in one.event_log_storage.get_pool_limits()}

    assert met(4, "crm", "app") == {"crm": (4, 4), "app": (4, 4)}
    with instance(2) as one:
        one.event_log_storage.set_concurrency_slots("app", 7)  # dagster instance concurrency set
    assert met(2, "crm", "app") == {"crm": (2, 2), "app": (7, 7)}
