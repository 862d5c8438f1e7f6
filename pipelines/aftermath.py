"""Aftermath: what killed runs leave behind beside their open writes. I/O only through the ledger."""

from pipelines.engine import Engine
from pipelines.keys import same_id
from pipelines.ledger import State
from pipelines.spec import SyncSpec

_RUNS = 100  # looked back at


def close_killed(engine: Engine, spec: SyncSpec, run_id: str) -> None:
    """Close the runs that began before this one and never ended. The caller holds the right to write, so their processes are gone."""
    own = engine.ledger.run(run_id)
    for run in engine.ledger.runs(spec.name, _RUNS):
        if run.status == "running" and own is not None and run.started_at < own.started_at:
            reason = f"its process ended without a word; what it had under way was looked up before run {run_id[:8]} wrote anything"
            engine.ledger.finish_run(run.run_id, "failed", {"message": reason})


def forget_deleted(engine: Engine, spec: SyncSpec) -> None:
    """Take out of the crosswalk what runs since the last whole one deleted and did not live to forget."""
    for run in engine.ledger.runs(spec.name, _RUNS):
        if run.status in ("ok", "partial") and run.summary.get("kind", "run") not in ("plan", "verify"):
            return
        deleted = {write.key: write.sink_id for write in engine.ledger.writes(run.run_id, [State.CONFIRMED]) if write.op == "delete"}
        known = engine.ledger.matches(spec.name, list(deleted))
        engine.ledger.drop_matches(spec.name, [match.key for match in known if same_id(match.sink_id, deleted[match.key])])
