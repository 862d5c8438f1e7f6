"""One run of one sync, step by step: extract, plan, apply, each resumable by the run's id. I/O only through the Engine."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from connectors.base import Stream
from connectors.errors import ConfigError, ConnectorError, RetryableError
from pipelines.aftermath import close_killed, forget_deleted, remember_made
from pipelines.backfill import extract_window, source_stream, window_batch
from pipelines.checkpoint import finished
from pipelines.delivery import Delivered, deliver
from pipelines.engine import Engine, Progress, extract_source, raw_dataset, silent, spec_hash
from pipelines.fence import fence, take, taken, target_of
from pipelines.history import history_lock, record_history
from pipelines.ledger import State
from pipelines.ledger_shards import LostShard, Split, Stage
from pipelines.logs import about, event
from pipelines.observe import seen_dataset
from pipelines.plan import NEVER, Plan
from pipelines.plan_parts import given_to_all, joined
from pipelines.plan_rows import PlanRows
from pipelines.planning import plan_dataset, plan_sync
from pipelines.preparing import Offered, offered, prepare
from pipelines.retention import forget, prune
from pipelines.settle import recover
from pipelines.shards import Work, check_shared, claims, close_claimed, do_claimed, end, offer
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, batch_of
from pipelines.summary import OUTCOMES, Status, Summary, adds_up, planned
from pipelines.window import Window

WAIT_PAUSE_S = 2.0  # between looks whether another run is done with the target
LOST_PAUSE_S = 1.0  # after a shard was lost: whatever took it is not fought over
Kind = Literal["run", "plan", "verify", "undo"]


class SyncRun:
    """The steps of one run. What a step learnt is kept in the ledger under `run_id`, so that steps may run in different processes.

    With `window` it is a run of a backfill (of that name): about that window only, beside the live cursor, deleting nothing.
    `kind` says what the run is for, and is known however it ends.
    """

    def __init__(
        self,
        engine: Engine,
        spec: SyncSpec,
        run_id: str,
        progress: Progress = silent,
        *,
        window: Window | None = None,
        backfill: str | None = None,
        kind: Kind = "run",
    ) -> None:
        self.engine, self.spec, self.run_id, self._progress = engine, spec, run_id, progress
        self._window, self._backfill, self._kind = window, backfill or run_id, kind
        self._started_s = engine.clock.monotonic()

    def extract(self, *, full: bool = False) -> Batch:
        """Read the source into staging. Raises ConnectorError; then nothing is staged and the run is recorded as failed."""
        self._begin()
        with self._recorded("extract", self.spec.source), self._counted("source"):
            event("extracting")
            with self._seeing(full) as ahead:
                batch = self._extracted(full)
                event("extracted", records=batch.count, mode=batch.note.get("mode"))
                seen = ahead.taken() if ahead is not None else None
            self._keep_history()
        self._note({"raw": batch.id, **({} if seen is None else {"seen": seen})})
        return batch

    @contextmanager
    def _seeing(self, full: bool) -> Iterator[Offered | None]:
        """Offer to a worker, while the source is read, to read the sink: where all of it is going to be, and nothing is under way there."""
        engine, spec = self.engine, self.spec
        whole = (full or spec.read.mode == "full") and spec.compare == "sink" and self._window is None
        shared = spec.writes.shards > 1 and engine.ledger.shared
        if not (whole and shared) or engine.ledger.open_writes(spec.name) or self._held_elsewhere():
            yield None
        else:
            given = {"epoch": engine.ledger.epoch(self._target)}
            with offered(engine, spec, self.run_id, "see", 1, given) as ahead:
                yield ahead

    def _extracted(self, full: bool) -> Batch:
        if self._window is None:
            return extract_source(self.engine, self.spec, full=full, progress=self._progress)
        return extract_window(self.engine, self.spec, self._window, self._backfill, progress=self._progress)

    def _keep_history(self) -> None:
        if self.spec.history is None:
            return
        stream = self.engine.open(self.spec.source_connection).stream(self.spec.source_stream)
        with suppress(RetryableError), self.engine.lock(history_lock(self.spec)):  # held: the next read takes this one along
            record_history(self.engine.staging, self.spec, stream.id_field)

    def source(self) -> Stream:
        """The source stream, as described when it was staged where this run replays what is."""
        return source_stream(self.engine, self.spec, None if self._window is None else self._raw())

    def plan(self) -> Plan:
        """Plan from what this run staged, or from the newest batch if it staged nothing. Reads the sink."""
        self._begin()
        with ExitStack() as held:
            try:
                held.enter_context(self.engine.lock(self._target))
            except RetryableError:  # another run is writing: what it has under way is not ours to settle, and applying will plan anew
                return self._make_plan(settle=False)
            return self._make_plan(settle=True)

    def apply(self, plan: Plan | None = None, *, approve: str | None = None, patience_s: float = 0) -> Summary:
        """Apply this run's plan, read back what was written, and close the run. A refused plan writes nothing.

        A plan that others overtook, because they wrote to the target since its sink was looked at, is made anew first.
        Raises RetryableError where another run still writes to the target after `patience_s`, and ConnectorError where nothing
        could be delivered because the sink is out of reach or refuses us.
        """
        self._begin()
        with self._recorded("apply", self.spec.target), self._alone(patience_s):
            plan = plan or self._plan()
            if self.engine.ledger.epoch(self._target) != plan.epoch:
                plan = self._make_plan(settle=True)
            if approve is not None and not plan.approved_by(approve):
                message = f"digest {approve} was approved, but the plan is now {plan.digest[:12]}; look at the new plan and approve that"
                return self._close_unapplied(plan, "refused", (message,))
            if standing := plan.standing(approve):
                return self._close_unapplied(plan, "refused", tuple(refusal.message for refusal in standing))
            if self.spec.writes.shards > 1 and plan.counts.changes and self._window is None:
                return self._split(plan)
            with self._counted("sink"), fence(self.engine, self.spec, plan.epoch) as held:
                close_killed(self.engine, self.spec, self.run_id)
                delivered = deliver(self.engine, self.spec, self.run_id, plan, held, progress=self._progress)
        return self._close(plan, delivered)

    def work_on(self, split: Split, *, wait: bool = False) -> int:
        """Do parts of this run beside its other workers, and close it where they are the last. Gives how many records.

        With `wait` until the run is closed or taken over, else until no shard is free. Raises RetryableError where another run took over.
        """
        if split.kind != "write":
            with self._counted("sink"):
                return prepare(self.engine, self.spec, split, self._progress)
        record_count, plan = 0, self._plan()
        with closing(claims(self.engine, self.spec, split, wait=wait)) as parts:
            for work in parts:
                try:
                    if work.stage is Stage.CLOSE:
                        self._close_split(work, plan)
                        return record_count
                    with self._counted("sink"):
                        record_count += do_claimed(work, plan, self._progress)
                    event("shard_done", stage=work.stage.name.lower(), shard=work.claim.shard)
                except LostShard as error:  # another worker goes on with it
                    event("shard_lost", reason=str(error))
                    self.engine.clock.sleep(LOST_PAUSE_S)
        return record_count

    def _split(self, plan: Plan) -> Summary:
        """Offer the plan's writes to all workers, and be one of them."""
        check_shared(self.engine, self.spec)
        held = take(self.engine, self.spec, plan.epoch)
        close_killed(self.engine, self.spec, self.run_id)
        self.work_on(offer(self.engine, self.spec, self.run_id, held), wait=True)
        run = self.engine.ledger.run(self.run_id)
        if run is None or run.status == "running":
            raise RetryableError(f"another run took over {self._target}; run again")
        summary = Summary.from_kept(self.spec.name, self.run_id, run.summary)
        if summary.status == "failed":
            raise RetryableError(summary.message or "; ".join(summary.warnings))
        return summary

    def _close_split(self, work: Work, plan: Plan) -> None:
        """Settle what all workers sent, and record how the run ended; the time is that since it began, whoever worked."""
        with self._counted("sink"):
            delivered = close_claimed(work, plan, self._progress)
        run = self.engine.ledger.run(self.run_id)
        if run is not None:
            took = self.engine.clock.now() - datetime.fromisoformat(run.started_at)
            self.engine.ledger.note_run(self.run_id, {"duration_s": round(took.total_seconds(), 3)})
        try:
            self._close(plan, delivered)
        except ConnectorError as error:
            event("run_failed", reason=str(error))  # it is in the ledger, where the run's own process finds it
        end(work)

    def _close(self, plan: Plan, delivered: Delivered) -> Summary:
        """Record what a delivered plan came to. Raises what stopped it where nothing was written."""
        self._applied(plan)
        prune(self.engine.staging, self.spec)
        forget(self.engine, self.spec)
        summary = self._delivered(plan, delivered)
        self._finish(summary)
        if delivered.stopped_by is not None and summary.status == "failed":
            raise delivered.stopped_by
        return summary

    def close_planned(self, plan: Plan) -> Summary:
        """Close a run that was only to be planned: what it would do, and whether a guard would refuse it."""
        refusals = tuple(refusal.message for refusal in plan.refusals)
        return self._close_unapplied(plan, "refused" if refusals else "ok", refusals)

    def _close_unapplied(self, plan: Plan, status: Status, refusals: tuple[str, ...]) -> Summary:
        self._note({})
        summary = planned(self.spec.name, self.run_id, plan.counts, status=status, **{**self._facts(plan), "refusals": refusals})
        self._finish(summary)
        return summary

    def _delivered(self, plan: Plan, delivered: Delivered) -> Summary:
        def count(op: str | None, *states: State) -> int:
            return sum(number for (written, state), number in delivered.counts.items() if op in (None, written) and state in states)

        counts, warnings = plan.counts, list(plan.warnings)
        if (otherwise := (delivered.differences or 0) - delivered.unshown) > 0:
            warnings.append(
                f"{otherwise} written records read back otherwise in {', '.join(delivered.differing_fields)}: "
                f"the sink may normalise these fields, or others write them too"
            )
        if delivered.unshown:
            warnings.append(
                f"{delivered.unshown} records that {self.spec.target_connection} says it made are not shown by it; "
                f"if they are later, set T_lag_s of {self.spec.target_connection} to the seconds that takes"
            )
        if delivered.stopped_by is not None:
            warnings.append(f"stopped early: {delivered.stopped_by}")
        summary = Summary(
            sync=self.spec.name,
            run_id=self.run_id,
            status="ok",
            read=counts.read,
            desired=counts.desired,
            created=count("create", State.CONFIRMED),
            updated=count("update", State.CONFIRMED),
            deleted=count("delete", State.CONFIRMED),
            unchanged=counts.unchanged,
            skipped=counts.skipped,
            invalid=counts.invalid,
            rejected=count(None, State.REJECTED, State.NOT_APPLIED),
            conflicts=counts.conflicts + count(None, State.CONFLICT),
            unknown=count(None, State.UNKNOWN, State.ACCEPTED, State.IN_FLIGHT),
            quarantined=counts.quarantined + count(None, State.QUARANTINED),
            differences=delivered.differences,
            drifted=counts.drifted,
            **{**self._facts(plan), "warnings": tuple(warnings), "refusals": ()},
        )
        if not adds_up(summary, counts):
            raise AssertionError(
                f"the outcomes of {summary.accounted} records do not add up to {counts.read} read and {counts.missing} deleted"
            )
        written = summary.created + summary.updated + summary.deleted
        stopped = delivered.stopped_by is not None and not written
        return replace(summary, status="failed" if stopped else "partial" if summary.undelivered else "ok")

    # what the ledger keeps of the run

    def _begin(self) -> None:
        self.engine.ledger.begin_run(self.run_id, self.spec.name, spec_hash(self.spec), self._kind)
        if self._window is not None:
            self.engine.ledger.note_run(self.run_id, {"kind": "backfill", "window": self._window.as_json(), "backfill": self._backfill})

    def _finish(self, summary: Summary) -> None:
        """Record how the run ended."""
        self.engine.ledger.finish_run(self.run_id, summary.status, summary.as_json())
        with about(sync=self.spec.name, run=self.run_id):
            facts = {name: getattr(summary, name) for name in ("status", "read", *OUTCOMES, "requests", "duration_s", "message")}
            event("run_ended", **facts)

    def _kept(self) -> Mapping[str, Any]:
        run = self.engine.ledger.run(self.run_id)
        return run.summary if run is not None else {}

    def _note(self, facts: Mapping[str, Any]) -> None:
        spent = self._kept().get("duration_s", 0.0) + self.engine.clock.monotonic() - self._started_s
        self._started_s = self.engine.clock.monotonic()
        self.engine.ledger.note_run(self.run_id, {**facts, "duration_s": round(spent, 3)})

    @contextmanager
    def _alone(self, patience_s: float) -> Iterator[None]:
        """Be the only run that writes to the target. Raises RetryableError where another one still does after that long."""
        until_s, waiting = self.engine.clock.monotonic() + patience_s, False
        while True:
            with ExitStack() as held:
                try:
                    held.enter_context(self.engine.lock(self._target))
                    if self._held_elsewhere():
                        raise taken(self.engine, self._target)
                except RetryableError as error:
                    if self.engine.clock.monotonic() >= until_s:
                        raise
                    if not waiting:
                        event("waiting", reason=str(error))
                        waiting = True
                else:
                    yield
                    return
            self.engine.clock.sleep(WAIT_PAUSE_S)

    def _held_elsewhere(self) -> bool:
        """Whether a run on another host has the right to write: then what it has under way is not ours to settle."""
        return self.engine.ledger.shared and self.engine.ledger.held_until(self._target) is not None

    @property
    def _target(self) -> str:
        return target_of(self.engine, self.spec)

    def _planned(self, epoch: int) -> Plan:
        many = epoch != NEVER and self.spec.writes.shards > 1 and self._window is None and self.engine.ledger.shared
        in_parts = self._in_parts if many else None
        seen = self._seen()
        return plan_sync(
            self.engine,
            self.spec,
            self._raw(),
            window=self._window,
            progress=self._progress,
            seen=seen,
            in_parts=in_parts,
            epoch=epoch,
        )

    def _seen(self) -> Batch | None:
        """The sink as a worker read it while the source was read, if nobody has written to it since and the run still has to look."""
        kept = self._kept().get("seen")
        if not kept or kept["epoch"] != self.engine.ledger.epoch(self._target) or "plan" in self._kept():
            return None
        return batch_of(self.engine.staging, seen_dataset(self.spec), kept["batch"])

    def _in_parts(self, rows: PlanRows) -> Iterator[pa.RecordBatch]:
        """The creates and updates of the plan, made by this process and whoever works for it."""
        with offered(self.engine, self.spec, self.run_id, "plan", self.spec.writes.shards, given_to_all(rows)) as ahead:
            if ahead is None:
                yield from rows.creates(rows.found.create)
                yield from rows.updates(rows.found.differ, rows.found.differ_existing, {})
            else:
                yield from joined(rows, ahead.all_made(self._progress))

    def _applied(self, plan: Plan) -> None:
        """Every record staged up to the plan's batch has an outcome now; about a window that says nothing."""
        if self._window is not None:
            return
        self.engine.ledger.move_position(self.spec.name, spec_hash(self.spec), plan.raw_id)

    def _make_plan(self, *, settle: bool) -> Plan:
        spec, epoch = self.spec, self.engine.ledger.epoch(self._target)  # first: whoever takes the target after that makes the plan stale
        settle = settle and not self._held_elsewhere()
        asks = spec.read.mode == "incremental" and spec.source_connection != spec.target_connection  # see `pipelines.takeover`
        with self._recorded("plan", spec.target), self._counted("sink"), self._counted("source") if asks else nullcontext():
            if settle:
                recover(self.engine, self.spec, progress=self._progress)
                remember_made(self.engine, self.spec)
                forget_deleted(self.engine, self.spec)
            plan = self._planned(epoch if settle else NEVER)
            counts = plan.counts
            event("planned", create=counts.create, update=counts.update, delete=counts.delete, refusals=len(plan.refusals))
        self._note({"plan": plan.batch_id, "match": list(self.spec.match)})
        return plan

    @contextmanager
    def _counted(self, side: Literal["source", "sink"]) -> Iterator[None]:
        """Add the requests sent meanwhile to the run's, also where the step fails."""
        connection = self.spec.source_connection if side == "source" else self.spec.target_connection
        sent: dict[str, int] = {}
        try:
            with self.engine.counting(connection, sent):
                yield
        finally:
            self.engine.ledger.count_requests(self.run_id, side, sent)
            self._note({})

    @contextmanager
    def _recorded(self, step: str, stream: str) -> Iterator[None]:
        """Record the run as failed where the step raises a ConnectorError. What is logged meanwhile says what it is about."""
        try:
            with about(sync=self.spec.name, run=self.run_id, stream=stream, step=step):
                yield
        except ConnectorError as error:
            with suppress(ConnectorError):  # the ledger may be what failed
                self._note({})
                facts = {name: self._kept().get(name, empty) for name, empty in (("requests", {}), ("duration_s", 0.0))}
                summary = Summary(self.spec.name, self.run_id, "failed", message=str(error), **facts)
                self._finish(summary)
            raise

    def _raw(self) -> Batch:
        wanted = self._kept().get("raw")
        if self._window is None:
            staged = finished(self.engine.staging, raw_dataset(self.spec))
            found = next((batch for batch in reversed(staged) if wanted is None or batch.id == wanted), None)
        else:
            found = window_batch(self.engine.staging, self.spec, wanted)
        if found is None:
            raise ConfigError(f"nothing of {self.spec.source} is staged; run `crossdock run {self.spec.name}` to read it first")
        return found

    def _plan(self) -> Plan:
        wanted = self._kept().get("plan")
        for batch in reversed(self.engine.staging.batches(plan_dataset(self.spec))):
            if wanted is None or batch.id == wanted:
                return Plan.from_note(batch.id, batch.note)
        if wanted is not None:
            raise ConfigError(
                f"the plan of run {self.run_id[:8]} of {self.spec.name} is not in this staging; name the one it was made in with "
                "CROSSDOCK_STAGING, which workers share"
            )
        raise ConfigError(f"{self.spec.name} has no plan; run `crossdock plan {self.spec.name}` first")

    def _facts(self, plan: Plan) -> dict[str, Any]:
        kept = self._kept()
        return {
            "digest": plan.digest,
            "complete": plan.complete,
            "reasons": plan.reasons,
            "warnings": plan.warnings,
            "requests": kept.get("requests", {}),
            "duration_s": kept.get("duration_s", 0.0),
        }


def run_sync(
    engine: Engine, spec: SyncSpec, run_id: str, *, full: bool = False, approve: str | None = None, progress: Progress = silent
) -> Summary:
    """All steps of one run, in this process. Raises ConnectorError where the run could not be carried out."""
    run = SyncRun(engine, spec, run_id, progress)
    run.extract(full=full)
    return run.apply(run.plan(), approve=approve)
