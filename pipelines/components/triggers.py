"""When a sync runs by itself: at the times of its cron expression, or after others that wrote something. Never beside itself.

Schedules and the sensor are stopped until a person starts them, unless CROSSDOCK_SCHEDULES is `running`: a checkout on some
laptop must not write to platforms because its pages were opened.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipelines.components.names import applied_key
from pipelines.components.partitions import LIVE, current_key
from pipelines.spec import SyncSpec

__all__ = ["ASSET_JOB", "FOLLOW", "busy", "live_request", "schedule_of", "sensor_of"]

FOLLOW = "after_others"
ASSET_JOB = "__ASSET_JOB"  # what the pages and backfills run, with the assets that they name and none of a job's tags
_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_WROTE = ("created", "updated", "deleted")
_LOOKED_AT = 50  # runs of another sync since the last look; more than that changed something, surely


def schedule_of(spec: SyncSpec, job: Any, *, running: bool) -> dg.ScheduleDefinition:
    """The sync's cron expression. A tick is left out while a run of the sync waits or runs: the next one takes what changed."""

    @dg.schedule(
        name=f"{spec.name}_schedule",
        job=job,
        cron_schedule=str(spec.schedule),
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description=f"Runs {spec.name}." + ("" if running else " It is stopped until you start it here."),
        execution_timezone="UTC",
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        doing = busy(context.instance, spec.name)
        return dg.SkipReason(doing) if doing else live_request(spec, at=context.scheduled_execution_time)

    return tick


def sensor_of(followers: Sequence[SyncSpec], jobs: Sequence[Any], *, running: bool) -> dg.SensorDefinition:
    """One sensor for every sync with `after`: it looks whether those it follows wrote something since its last look."""

    @dg.sensor(
        name=FOLLOW,
        jobs=jobs,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Runs the syncs that follow others, once those wrote something: "
        + "; ".join(f"{spec.name} after {', '.join(spec.after)}" for spec in followers),
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        leaders = sorted({leader for spec in followers for leader in spec.after})
        latest = _latest(context.instance, leaders)
        requests = list(_follow(context.instance, followers, latest, seen))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))

    return look


def live_request(spec: SyncSpec, run_key: str | None = None, at: datetime | None = None) -> dg.RunRequest:
    """A run that reads from the sync's cursor. A tick that was due at some time may ask for no window that had not begun `at` it."""
    key = current_key(spec, at)
    tags = {"crossdock/sync": spec.name, **({LIVE: "true"} if key else {})}
    return dg.RunRequest(run_key=run_key, job_name=spec.name, partition_key=key, tags=tags)


def _follow(
    instance: dg.DagsterInstance, followers: Sequence[SyncSpec], latest: Mapping[str, int], seen: dict[str, int]
) -> Iterator[dg.RunRequest]:
    """The runs that are due, and in `seen` how far each was looked at. What ran before the first look is no news."""
    for spec in followers:
        marks = {f"{spec.name} after {leader}": (leader, latest.get(leader, 0)) for leader in spec.after}
        fresh = {mark: place for mark, place in marks.items() if seen.get(mark, place[1]) < place[1]}
        if any(_wrote(instance, leader, seen[mark]) for mark, (leader, _) in fresh.items()):
            if busy(instance, spec.name):
                continue  # and look again at the next tick
            yield live_request(spec, f"{spec.name}:{max(number for _, number in fresh.values())}")
        seen.update({mark: number for mark, (_, number) in marks.items()})


def _latest(instance: dg.DagsterInstance, syncs: Sequence[str]) -> dict[str, int]:
    """The number of the last event that says that a sync was applied (they count from 1), for those that ever were."""
    records = instance.get_asset_records([applied_key(sync) for sync in syncs])
    found = {record.asset_entry.asset_key.path[0]: record.asset_entry.last_materialization_record for record in records}
    return {sync: last.storage_id for sync, last in found.items() if last is not None}


def _wrote(instance: dg.DagsterInstance, sync: str, after: int) -> bool:
    """Whether a run of the sync wrote something since that event."""
    wanted = dg.AssetRecordsFilter(asset_key=applied_key(sync), after_storage_id=after)
    found = instance.fetch_materializations(wanted, limit=_LOOKED_AT).records
    return len(found) == _LOOKED_AT or any(_counts(record) for record in found)


def _counts(record: dg.EventLogRecord) -> int:
    shown = record.asset_materialization.metadata if record.asset_materialization else {}
    return sum(int(getattr(shown.get(name), "value", 0) or 0) for name in _WROTE)


def busy(instance: dg.DagsterInstance, sync: str) -> str | None:
    """What the sync is doing already, or None."""
    named = instance.get_run_records(dg.RunsFilter(statuses=_ACTIVE, tags={"crossdock/sync": sync}), limit=1)
    chosen = [] if named else instance.get_run_records(dg.RunsFilter(statuses=_ACTIVE, job_name=ASSET_JOB))
    found = [*named, *(one for one in chosen if applied_key(sync) in (one.dagster_run.asset_selection or ()))]
    if not found:
        return None
    run, began = found[0].dagster_run, datetime.fromtimestamp(found[0].create_timestamp.timestamp(), UTC)
    what = f"{run.status.value.lower()} since {began:%H:%M:%S} UTC in run {run.run_id[:8]}"
    return f"{sync} is {what}; the next tick takes what changed meanwhile"
