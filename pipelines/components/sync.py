"""One spec to its definitions: the plan and the applied records as assets with checks, a job, a schedule."""

import hashlib
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from pipelines.components import checks, pages
from pipelines.components.names import applied_key, group, op_name, owners, plain, plan_key, raw_key, remote_key
from pipelines.components.partitions import partitions, policy
from pipelines.components.session import STARTED_BY, Materialized, Session, newest_plan, step
from pipelines.components.triggers import schedule_of
from pipelines.spec import SyncSpec, duration

__all__ = ["ApplyConfig", "broken_sync_defs", "build_sync_defs", "job_of", "run_config"]

BROKEN_GROUP = "broken_syncs"
PATIENCE_S = 3600.0  # for another run that writes to the same target, where nobody sits before the command and sees it


class ApplyConfig(dg.Config):
    """What a person decided about this run."""

    approve: str | None = None  # the digest of the plan that may be applied although a guard refused it


def build_sync_defs(
    spec: SyncSpec,
    *,
    lookups: Sequence[dg.AssetDep] = (),
    connector: str | None = None,
    job: UnresolvedAssetJobDefinition | None = None,
    running: bool = False,
) -> dg.Definitions:
    """The definitions of one sync. `lookups` are the applied records of the syncs whose crosswalks its mapping asks and that run
    before it; `connector` is the sink's, as a kind; `job` is its job, where others name it too; `running`: its schedule is,
    from the start. The source asset, shared by all syncs of a stream, is not among them.
    """
    job = job or job_of(spec)
    schedules = [schedule_of(spec, job, running=running)] if spec.schedule else []
    return dg.Definitions(assets=[_plan_asset(spec, lookups), _applied_asset(spec, connector)], jobs=[job], schedules=schedules)


def job_of(spec: SyncSpec) -> UnresolvedAssetJobDefinition:
    """What a run of the sync runs: read, plan, apply."""
    return dg.define_asset_job(
        spec.name,
        selection=dg.AssetSelection.assets(raw_key(spec.source), plan_key(spec.name), applied_key(spec.name)),
        description=_purpose(spec),
        tags={"crossdock/sync": spec.name, "crossdock/target": spec.target},
    )


def broken_sync_defs(name: str, problem: str) -> dg.Definitions:
    """A sync that cannot run, as an asset that says why. It stands where the sync's own would, so that its history stays."""

    @dg.asset(
        key=applied_key(name),
        description=f"This sync cannot run. {problem}",
        group_name=BROKEN_GROUP,
        tags={"crossdock/broken": "true"},
        metadata={"problem": problem},
    )
    def broken() -> None:
        raise dg.Failure(problem, allow_retries=False)

    return dg.Definitions(assets=[broken])


def run_config(spec: SyncSpec, *, full: bool = False, approve: str | None = None) -> dg.RunConfig:
    """The configuration of a run of the sync's job, as the launchpad would hold it."""
    steps = {op_name(raw_key(spec.source)): {"full": full}, op_name(applied_key(spec.name)): {"approve": approve} if approve else {}}
    return dg.RunConfig(ops={name: {"config": values} for name, values in steps.items() if values})


def _plan_asset(spec: SyncSpec, lookups: Sequence[dg.AssetDep]) -> dg.AssetsDefinition:
    @dg.asset(
        key=plan_key(spec.name),
        deps=[raw_key(spec.source), remote_key(spec.target), *lookups],
        description=f"What to write to {spec.target}, from {spec.source}: mapped, compared, guarded. Writes nothing itself.",
        group_name=group(spec),
        kinds={"duckdb"},
        owners=owners(spec.owners),
        tags=_tags(spec),
        code_version=_code_version(spec),
        check_specs=checks.plan_specs(spec.name),
        partitions_def=partitions(spec),
        backfill_policy=policy(spec),
        pool=plain(spec.target_connection),
    )
    def plan(context: dg.AssetExecutionContext, crossdock: dg.ResourceParam[Session]) -> Materialized:
        with step(context, crossdock, spec) as run:
            planned = run.plan()
            if applied_key(spec.name) not in context.job_def.asset_layer.selected_asset_keys:
                run.close_planned(planned)
                run.engine.ledger.note_run(run.run_id, {"kind": "plan"})
            engine = run.engine
            source = run.source()
            sink = engine.open(spec.target_connection).stream(spec.target_stream)
            kept = engine.ledger.run(run.run_id)
        return dg.MaterializeResult(
            metadata=pages.of_plan(planned, pages.refused_rows(spec, engine.staging, planned), source, sink, kept.summary if kept else {}),
            data_version=dg.DataVersion(planned.digest),
            check_results=checks.plan_results(planned),
        )

    return plan


def _applied_asset(spec: SyncSpec, connector: str | None) -> dg.AssetsDefinition:
    @dg.asset(
        key=applied_key(spec.name),
        deps=[plan_key(spec.name)],
        description=_purpose(spec),
        group_name=group(spec),
        kinds={connector} if connector else None,
        owners=owners(spec.owners),
        tags=_tags(spec),
        code_version=_code_version(spec),
        check_specs=checks.applied_specs(spec.name),
        partitions_def=partitions(spec),
        backfill_policy=policy(spec),
        freshness_policy=dg.FreshnessPolicy.time_window(duration(spec.fresh_within)) if spec.fresh_within else None,
        pool=plain(spec.target_connection),
    )
    def applied(context: dg.AssetExecutionContext, config: ApplyConfig, crossdock: dg.ResourceParam[Session]) -> Materialized:
        from pipelines.watch import look

        with step(context, crossdock, spec) as run:
            plan = newest_plan(run)
            summary = run.apply(plan, approve=config.approve, patience_s=0 if STARTED_BY in context.run.tags else PATIENCE_S)
            engine = run.engine
            source = run.source()
        if summary.status == "refused":
            raise dg.Failure(" ".join(f"{message}." for message in summary.refusals), metadata=pages.of_refusal(plan), allow_retries=False)
        return dg.MaterializeResult(
            metadata={
                **pages.of_health(look(engine.ledger, spec, engine.clock.now())),
                **pages.of_applied(spec, summary, plan, engine.ledger, engine.staging, source),
            },
            data_version=dg.DataVersion(plan.digest),
            check_results=checks.applied_results(summary, plan),
        )

    return applied


def _purpose(spec: SyncSpec) -> str:
    what = {
        "insert": "new records are created",
        "update": "existing records are updated",
        "upsert": "records are created and updated",
        "mirror": "records are created, updated and deleted",
    }[spec.mode]
    said = f"{spec.source} → {spec.target}, matched by {', '.join(spec.match)}; {what}."
    return f"{spec.description.strip()}\n\n{said}" if spec.description else said


def _tags(spec: SyncSpec) -> dict[str, str]:
    return {"crossdock/sync": spec.name, "crossdock/mode": spec.mode}


def _code_version(spec: SyncSpec) -> str:
    """A digest of what the spec says: Dagster shows assets as out of date when it changed, but not because settings were invented."""
    return hashlib.sha256(spec.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12]
