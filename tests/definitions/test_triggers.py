"""When syncs run by themselves: schedules that never run one beside itself, and syncs that follow others."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster import _check as check
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.scheduler import DagsterDaemonScheduler
from dagster._core.test_utils import (
    InProcessTestWorkspaceLoadTarget,
    create_run_for_test,
    create_test_daemon_workspace_context,
    freeze_time,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._scheduler.scheduler import launch_scheduled_runs

from connectors.errors import ConfigError
from pipelines.components.names import applied_key, raw_key
from pipelines.components.triggers import ASSET_JOB, FOLLOW, busy
from tests.definitions.projects import ROOT, Project, new_project

PEOPLE = {"from": "stacker_demo.contacts", "to": "robostack_demo.people", "match": ["email"]}


@pytest.fixture
def chained(tmp_path: Path) -> Project:
    """`first`, and `second` and `third` after it; `third` has windows and a schedule too."""
    made = new_project(tmp_path, shipped=False)
    made.write("first", {**PEOPLE, "schedule": "*/5 * * * *"})
    made.write("second", {**PEOPLE, "to": "robostack_demo.orgs", "after": ["first"]})
    made.write(
        "third", {**PEOPLE, "after": ["second", "first"], "schedule": "0 * * * *", "partitions": {"by": "at", "start": "2026-01-01"}}
    )
    return made


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def applied(instance: dg.DagsterInstance, sync: str, **counts: int) -> None:
    """A run of the sync ended so."""
    instance.report_runless_asset_event(dg.AssetMaterialization(applied_key(sync), metadata=dict(counts)))


def look(project: Project, instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[dict[str, Any], str]:
    """One look of the sensor: the runs it asks for by job, and its new cursor."""
    defs = project.defs()
    context = dg.build_sensor_context(instance, cursor=cursor, definitions=defs)
    found = defs.resolve_sensor_def(FOLLOW).evaluate_tick(context)
    return {check.not_none(one.job_name): one for one in check.not_none(found.run_requests)}, check.not_none(found.cursor)


def test_a_sync_follows_another_that_wrote_something_and_only_once(chained: Project, instance: dg.DagsterInstance) -> None:
    applied(instance, "first", created=5)
    asked, cursor = look(chained, instance)
    assert asked == {}  # what was before the first look is no news
    applied(instance, "first", created=0, updated=0, unchanged=5)
    asked, cursor = look(chained, instance, cursor)
    assert asked == {}
    applied(instance, "first", updated=1)
    applied(instance, "first", created=0)
    asked, cursor = look(chained, instance, cursor)
    assert set(asked) == {"second", "third"}
    assert (asked["second"].partition_key, asked["third"].tags["crossdock/live"]) == (None, "true")
    assert (
        asked["third"].partition_key
        == chained.defs().resolve_asset_graph().get(applied_key("third")).partitions_def.get_last_partition_key()
    )
    assert look(chained, instance, cursor)[0] == {}


def test_the_first_run_of_a_sync_is_news_to_those_that_follow_it(chained: Project, instance: dg.DagsterInstance) -> None:
    asked, cursor = look(chained, instance)
    assert asked == {}
    applied(instance, "first", created=5)
    assert set(look(chained, instance, cursor)[0]) == {"second", "third"}


def test_a_sync_that_still_runs_follows_later_and_holds_no_other(chained: Project, instance: dg.DagsterInstance) -> None:
    _, cursor = look(chained, instance)
    applied(instance, "first", created=0)
    _, cursor = look(chained, instance, cursor)
    applied(instance, "first", created=1)
    run = create_run_for_test(instance, job_name="second", status=dg.DagsterRunStatus.STARTED, tags={"crossdock/sync": "second"})
    asked, cursor = look(chained, instance, cursor)
    assert set(asked) == {"third"}
    instance.report_run_canceled(run)
    asked, cursor = look(chained, instance, cursor)
    assert set(asked) == {"second"}


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_tick_is_left_out_while_a_run_of_the_sync_waits_or_runs(
    chained: Project, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    defs = chained.defs()

    def tick(name: str) -> Any:
        now = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
        context = dg.build_schedule_context(instance, scheduled_execution_time=now, repository_def=defs.get_repository_def())
        return defs.resolve_schedule_def(f"{name}_schedule").evaluate_tick(context)

    (request,) = tick("first").run_requests
    assert (request.partition_key, request.tags["crossdock/sync"]) == (None, "first")
    run = create_run_for_test(instance, job_name="first", status=status, tags={"crossdock/sync": "first"})
    skipped = tick("first")
    assert skipped.run_requests == []
    assert skipped.skip_message.startswith(f"first is {status.value.lower()} since ")
    (other,) = tick("third").run_requests
    assert (other.tags["crossdock/live"], other.partition_key) == ("true", "2026-11-22")  # whatever day it is when the daemon comes to it
    instance.report_run_canceled(run)
    assert len(tick("first").run_requests) == 1


def test_schedules_and_the_sensor_stand_still_unless_the_environment_says_otherwise(tmp_path: Path, chained: Project) -> None:
    def states(project: Project) -> set[str]:
        defs = project.defs()
        return {one.default_status.value for one in [*(defs.schedules or []), *(defs.sensors or [])]}

    assert states(chained) == {"STOPPED"}
    assert states(Project(chained.folder, {**chained.environ, "CROSSDOCK_SCHEDULES": "running"})) == {"RUNNING"}
    with pytest.raises(ConfigError, match="CROSSDOCK_SCHEDULES is 'yes'; write running"):
        Project(chained.folder, {**chained.environ, "CROSSDOCK_SCHEDULES": "yes"}).defs()


def test_syncs_that_would_run_one_another_for_ever_are_refused(chained: Project) -> None:
    chained.write("first", {**PEOPLE, "after": ["third"]})
    runtime = chained.runtime()
    with pytest.raises(ConfigError, match="first after third after first: they would run one another for ever"):
        runtime.validate(runtime.syncs.files["first"].spec, runtime.syncs.files["first"])
    chained.write("first", {**PEOPLE, "after": ["first"]})
    runtime = chained.runtime()
    with pytest.raises(ConfigError, match="first after first: they would"):
        runtime.validate(runtime.syncs.files["first"].spec)


def test_ticks_that_were_missed_are_caught_up_by_one_run(chained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Dagster's own scheduler and the project's dagster.yaml; for a sync with windows Dagster would run once for each tick."""
    home = chained.folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    monkeypatch.chdir(chained.folder)
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="pipelines.definitions"), location_name="crossdock")
    began = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
    with (
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance,
        create_test_daemon_workspace_context(InProcessTestWorkspaceLoadTarget(origin), instance) as workspace,
    ):
        location = workspace.create_request_context().get_code_location("crossdock")
        (repository,) = location.get_repositories().values()
        with freeze_time(began):
            instance.start_schedule(repository.get_schedule("third_schedule"))
        for hours, runs in ((5, 1), (6, 1)):  # the first run is still queued when the next tick comes
            with freeze_time(began + timedelta(hours=hours)):
                most = check.inst(instance.scheduler, DagsterDaemonScheduler).max_catchup_runs
                list(launch_scheduled_runs(workspace, logging.getLogger("test"), began + timedelta(hours=hours), {}, max_catchup_runs=most))
            assert instance.get_runs_count() == runs
        (run,) = instance.get_runs()
        assert (run.status, run.job_name, run.tags["dagster/partition"]) == (dg.DagsterRunStatus.QUEUED, "third", "2026-11-22")


def test_a_backfill_from_the_pages_is_a_run_of_its_syncs_and_of_no_other(chained: Project, instance: dg.DagsterInstance) -> None:
    chosen = frozenset([applied_key("third"), raw_key("stacker_demo.contacts")])
    create_run_for_test(instance, job_name=ASSET_JOB, status=dg.DagsterRunStatus.STARTED, asset_selection=chosen)
    assert str(busy(instance, "third")).startswith("third is started since ")
    assert busy(instance, "first") is None


def test_runs_that_write_to_one_stream_are_kept_apart_and_no_trigger_waits_for_another_in_all_shipped_settings(chained: Project) -> None:
    defs = chained.defs()
    first, second, third = (defs.resolve_job_def(name).tags["crossdock/target"] for name in ("first", "second", "third"))
    assert first == third != second
    for file in ("dagster.yaml", "deploy/workers/dagster.yaml"):
        settings = yaml.safe_load((ROOT / file).read_text())
        assert settings["schedules"]["use_threads"] is settings["sensors"]["use_threads"] is True, file
        limits = settings["concurrency"]["runs"]["tag_concurrency_limits"]
        assert {"key": "crossdock/target", "value": {"applyLimitPerUniqueValue": True}, "limit": 1} in limits, file
