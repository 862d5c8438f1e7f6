"""Split runs in Dagster: a job that writes shards of runs under way, and the sensor that starts it on as many workers as there is work."""

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg

from pipelines.components.session import Session, told_plainly
from pipelines.runtime import Runtime
from pipelines.spec import SyncSpec

__all__ = ["JOB", "SENSOR", "working_defs"]

JOB, SENSOR = "crossdock_work", "crossdock_workers"
EVERY_S = 10
MOST = 16  # runs of the job that one split run is helped by


class WorkConfig(dg.Config):
    """Which sync's runs are helped."""

    sync: str


def working_defs(runtime: Runtime, specs: Mapping[str, SyncSpec]) -> dg.Definitions:
    """The job and its sensor, where a sync has `writes.shards`; nothing where none has."""
    split = {name: spec for name, spec in specs.items() if spec.writes.shards > 1}
    if not split:
        return dg.Definitions()

    @dg.op(name="write_shards", description="Writes shards of a run that was planned and guarded elsewhere, until none is free.")
    def write_shards(context: dg.OpExecutionContext, config: WorkConfig, crossdock: dg.ResourceParam[Session]) -> None:
        from pipelines.working import work_once

        with told_plainly():
            found = work_once(crossdock.runtime, config.sync, tell=context.log.warning)
        context.log.info(f"{found.record_count:,} records of {found.run_count} runs were written here")

    @dg.job(name=JOB, description="One of several workers of a run whose writes are split.", tags={"crossdock/worker": "true"})
    def work() -> None:
        write_shards()

    @dg.sensor(
        name=SENSOR,
        job=work,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts workers for runs whose writes are split, as many as shards are free.",
    )
    def workers(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from pipelines.ledger_shards import Shards

        with replace(runtime) as fresh:
            if not fresh.ledger.shared:
                return dg.SkipReason(
                    "workers share their ledger, but this one is a file of this host; set CROSSDOCK_LEDGER to postgresql://…"
                )
            shards, now = Shards(fresh.ledger), fresh.clock.now()
            helped = [one for one in shards.under_way() if one.sync in split and one.kind != "plan"]  # a plan is made before a run starts
            wanted = [(one, shards.free(one.run_id, now, one.kind)[:MOST]) for one in helped]
        requests = [
            dg.RunRequest(
                run_key=f"{one.run_id}:{one.kind}:{shard}:{claims}",  # again where the worker that had it is gone
                run_config={"ops": {"write_shards": {"config": {"sync": one.sync}}}},
                tags={"crossdock/helps": one.sync},
            )
            for one, free in wanted
            for shard, claims in free
        ]
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("no shard is free")

    return dg.Definitions(jobs=[work], sensors=[workers])
