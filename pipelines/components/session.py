"""What the steps of a run are given: the opened project, and where to tell progress. Opened once per process and run."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from connectors.errors import ConfigError, ConnectorError, RetryableError
from pipelines.components.launcher import process_of
from pipelines.components.names import sync_of
from pipelines.components.partitions import backfill_of_run, window_of_run
from pipelines.runtime import Runtime, open_runtime
from pipelines.spec import SyncSpec

if TYPE_CHECKING:  # the engine brings pyarrow and DuckDB: only a step that runs pays for them
    from pipelines.engine import Progress
    from pipelines.plan import Plan
    from pipelines.run import SyncRun

    Materialized: TypeAlias = dg.MaterializeResult[None]
else:  # Dagster knows the bare class only, and would otherwise store what a step returns
    Materialized = dg.MaterializeResult

__all__ = [
    "RESOURCE",
    "STARTED_BY",
    "Materialized",
    "Session",
    "end_run",
    "newest_plan",
    "open_session",
    "selected_syncs",
    "step",
    "sync_run",
    "tell_people",
    "told_plainly",
]

RESOURCE = "crossdock"
STARTED_BY = "crossdock/started_by"  # the tag of a run that a person's command carries out itself
TELL_EVERY_S = 5.0

_log = logging.getLogger("dagster")


@dataclass(frozen=True)
class Session:
    """The project as steps use it. `progress` is told (step, count); None: it goes to the run's log now and then.

    `touched` are the syncs that had a step in this run.
    """

    runtime: Runtime
    progress: "Progress | None" = None
    touched: dict[str, SyncSpec] = field(default_factory=dict)

    def tell(self) -> None:
        """Tell people what the syncs that were touched came to, where anybody wants to know. Nothing fails by it."""
        tell_people(self.runtime, self.touched.values())


@dg.resource(description="The project: its connections, ledger and staging, opened when a step first uses them.")
def open_session(context: dg.InitResourceContext) -> Iterator[Session]:
    """The session of a run in this process. Nothing is opened before it is used, and everything is closed at the end."""
    if context.instance is not None and context.run is not None:
        context.instance.add_run_tags(context.run.run_id, process_of(context.run.run_id))
    with open_runtime() as runtime:
        session = Session(runtime)
        try:
            yield session
        finally:
            session.tell()


def tell_people(runtime: Runtime, specs: Iterable[SyncSpec]) -> None:
    """Send what is new about these syncs to where CROSSDOCK_ALERTS says. What cannot be sent is logged, and nothing fails by it."""
    try:
        if not runtime.alerts:
            return
        from pipelines.watch import tell

        for spec in specs:
            tell(runtime.ledger, spec, runtime.clock.now(), runtime.alerts)
    except ConnectorError as error:
        _log.warning("nobody was told how the run ended: %s", error)


def selected_syncs(context: dg.AssetExecutionContext) -> set[str]:
    """The syncs that this run plans or applies."""
    return {name for key in context.job_def.asset_layer.selected_asset_keys if (name := sync_of(key))}


def ledger_run_id(context: dg.AssetExecutionContext, sync: str) -> str:
    """The id under which the ledger keeps this run of a sync: Dagster's own, or one of several in a run of many syncs."""
    return context.run.run_id if len(selected_syncs(context)) == 1 else f"{context.run.run_id}.{sync}"


def sync_run(context: dg.AssetExecutionContext, session: Session, spec: SyncSpec) -> "SyncRun":
    """This run of the sync, so that each step finds what the others learnt: a live one, or one over the window its tags name."""
    from pipelines.run import SyncRun

    session.touched[spec.name] = spec
    progress, tags = session.progress or _Log(context, session), context.run.tags
    window, run_id = window_of_run(tags, spec), ledger_run_id(context, spec.name)
    return SyncRun(session.runtime.engine(), spec, run_id, progress, window=window, backfill=backfill_of_run(tags))


def newest_plan(run: "SyncRun") -> "Plan":
    """The plan that this run made, or else the newest of its sync: what a step started by itself applies. Raises ConfigError."""
    from pipelines.plan import Plan
    from pipelines.planning import plan_dataset

    kept = run.engine.ledger.run(run.run_id)
    wanted = kept.summary.get("plan") if kept else None
    for batch in reversed(run.engine.staging.batches(plan_dataset(run.spec))):
        if wanted in (None, batch.id):
            return Plan.from_note(batch.id, batch.note)
    raise ConfigError(f"{run.spec.name} has no plan to apply; materialize its plan first")


@contextmanager
def told_plainly() -> Iterator[None]:
    """An error that a person can act on fails the step with its sentence, and without a traceback."""
    try:
        yield
    except ConnectorError as error:
        raise dg.Failure(str(error), allow_retries=isinstance(error, RetryableError)) from None


@contextmanager
def step(context: dg.AssetExecutionContext, session: Session, spec: SyncSpec) -> Iterator["SyncRun"]:
    """This run of the sync for one step. However the step ends early, the ledger does not go on calling the run running."""
    with told_plainly():
        run = sync_run(context, session, spec)
        try:
            yield run
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | DagsterExecutionInterruptedError)
            end_run(session, run.run_id, "the run was stopped" if stopped else str(error) or type(error).__name__)
            raise


def end_run(session: Session, run_id: str, reason: str) -> None:
    """Record that a run failed, unless it ended before."""
    with suppress(ConnectorError):  # the ledger may be what failed
        ledger = session.runtime.ledger
        if (kept := ledger.run(run_id)) is not None and kept.finished_at is None:
            ledger.finish_run(run_id, "failed", {"message": reason})


class _Log:
    """Progress as log lines: the first, then one every few seconds for each kind of step."""

    def __init__(self, context: dg.AssetExecutionContext, session: Session) -> None:
        self._log, self._clock = context.log, session.runtime.clock
        self._counts: dict[str, int] = {}
        self._told_s: dict[str, float] = {}

    def __call__(self, step: str, count: int) -> None:
        self._counts[step] = self._counts.get(step, 0) + count
        now = self._clock.monotonic()
        if now - self._told_s.get(step, now - TELL_EVERY_S) >= TELL_EVERY_S:
            self._told_s[step] = now
            self._log.info(f"{step}: {self._counts[step]:,} records")
