"""Which workers Dagster starts for a run whose writes are split, and what a worker leaves to others."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import _check as check

from connectors.errors import ConfigError
from pipelines.components.project import project_defs
from pipelines.components.working import SENSOR
from pipelines.engine import silent, spec_hash
from pipelines.fence import target_of
from pipelines.ledger_shards import CLOSING, Shards, Split
from pipelines.preparing import offered as offering
from pipelines.preparing import prepare
from pipelines.runtime import Runtime
from pipelines.shards import claims
from pipelines.working import Worked, work_once
from tests.definitions.projects import new_project
from tests.postgres import postgres_server, postgres_url  # noqa: F401

SHARDS = {"from": "stacker_demo.contacts", "to": "robostack_demo.people", "match": ["email"], "writes": {"shards": 3}}


@pytest.fixture
def runtime(tmp_path: Path, postgres_url: str) -> Iterator[Runtime]:  # noqa: F811
    made = new_project(tmp_path, shipped=False, CROSSDOCK_LEDGER=postgres_url)
    made.write("big", SHARDS)
    with made.runtime() as opened:
        yield opened


def offered(runtime: Runtime, target: str) -> Shards:
    """The shards of a run under way that writes to this target."""
    spec, shards = runtime.syncs.files["big"].spec, Shards(runtime.ledger)
    runtime.ledger.begin_run("r1", "big", spec_hash(spec))
    assert runtime.ledger.claim(target, 0, "w", runtime.clock.now() + timedelta(hours=1), dead=False)
    shards.open(Split("r1", "big", target, 1, "w", 3))
    return shards


def test_a_worker_is_started_for_each_free_shard_and_another_where_one_died(runtime: Runtime) -> None:
    shards, now = offered(runtime, target_of(runtime.engine(), runtime.syncs.files["big"].spec)), runtime.clock.now()

    def asked() -> set[str]:
        """The keys of the runs that the sensor asks for; Dagster starts one run for each key, ever."""
        defs = project_defs(runtime)
        with dg.DagsterInstance.ephemeral() as instance:
            found = defs.resolve_sensor_def(SENSOR).evaluate_tick(dg.build_sensor_context(instance, definitions=defs))
        return {check.not_none(one.run_key) for one in check.not_none(found.run_requests)}

    first = asked()
    assert (len(first), asked()) == (3, first)
    assert shards.claim("r1", "lives", now, now + timedelta(hours=1))
    assert shards.claim("r1", "died", now, now - timedelta(seconds=1))
    assert (len(asked()), len(asked() - first)) == (2, 1)


def test_a_run_that_another_worker_closes_at_this_moment_is_over_and_not_taken_over(runtime: Runtime) -> None:
    spec, target = runtime.syncs.files["big"].spec, target_of(runtime.engine(), runtime.syncs.files["big"].spec)
    shards, later = offered(runtime, target), runtime.clock.now() + timedelta(hours=1)
    while (claim := shards.claim("r1", "other", runtime.clock.now(), later)) and claim.shard != CLOSING:
        assert shards.done(claim)
    (split,) = shards.under_way()
    runtime.ledger.finish_run("r1", "ok", {})
    runtime.ledger.release(target, 1, "w")  # and the shards are forgotten next
    assert list(claims(runtime.engine(), spec, split, wait=True)) == []


def test_a_worker_whose_connection_is_another_account_leaves_the_run_to_others(runtime: Runtime) -> None:
    offered(runtime, "https://elsewhere.example people")
    told: list[str] = []
    assert work_once(runtime, "big", tell=told.append) == Worked(0, 0)
    assert told == ["run r1 of big writes to another account than robostack_demo is here; it is left to others"]


def test_a_worker_that_does_not_see_the_plan_says_which_setting_to_share(runtime: Runtime) -> None:
    offered(runtime, target_of(runtime.engine(), runtime.syncs.files["big"].spec))
    runtime.ledger.note_run("r1", {"plan": "made elsewhere"})
    with pytest.raises(ConfigError, match=r"the plan of run r1 of big is not in this staging; .*CROSSDOCK_STAGING"):
        work_once(runtime, "big", tell=print)


def test_a_worker_that_comes_when_a_run_has_gone_on_without_it_does_nothing_and_is_no_failure(runtime: Runtime) -> None:
    engine, spec = runtime.engine(), runtime.syncs.files["big"].spec
    runtime.ledger.begin_run("r2", spec.name, "h")
    with offering(engine, spec, "r2", "plan", 3, {}) as first, offering(engine, spec, "r3", "plan", 3, {}) as second:
        assert first is not None
        assert second is None
        assert [one.kind for one in Shards(runtime.ledger).under_way("big")] == ["plan"]
        runtime.ledger.release(first.split.target, first.split.epoch, first.split.writer)
        assert prepare(engine, spec, first.split, silent) == 0
    assert prepare(engine, spec, first.split, silent) == 0
    assert not Shards(runtime.ledger).under_way("big")
