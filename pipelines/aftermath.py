"""Aftermath: what killed runs leave behind beside their open writes. I/O only through the ledger."""

from pipelines.engine import Engine
from pipelines.keys import same_id
from pipelines.ledger import Match, Run, State, Write
from pipelines.settle import hashes_of
from pipelines.spec import SyncSpec
from pipelines.staging import Dataset

_RUNS = 100  # looked back at


def close_killed(engine: Engine, spec: SyncSpec, run_id: str) -> None:
    """Close the runs that began before this one and never ended. The caller holds the right to write, so their processes are gone."""
    own = engine.ledger.run(run_id)
    for run in engine.ledger.runs(spec.name, _RUNS):
        if run.status == "running" and own is not None and run.started_at < own.started_at:
            reason = f"its process ended without a word; what it had under way was looked up before run {run_id[:8]} wrote anything"
            engine.ledger.finish_run(run.run_id, "failed", {"message": reason})


def remember_made(engine: Engine, spec: SyncSpec) -> None:
    """Take into the crosswalk what runs since the last whole one made and did not live to remember: it is this sync's."""
    made: dict[str, Write] = {}
    for run in engine.ledger.runs(spec.name, _RUNS):
        if _was_whole(run):
            break
        creates = (write for write in engine.ledger.writes(run.run_id, [State.CONFIRMED]) if write.op == "create" and write.sink_id)
        made = {write.key: write for write in creates} | made
    known = {match.key for match in engine.ledger.matches(spec.name, list(made))}
    lost = [write for key, write in made.items() if key not in known]
    desired = engine.staging.batches(Dataset(("desired", spec.name))) if lost else []
    hashes = hashes_of([write.key for write in lost], spec, desired[-1].schema) if desired else []
    for write, key_hash in zip(lost, hashes, strict=False):
        match = Match(write.key, key_hash, write.source_id, str(write.sink_id), write.after, write.fingerprint)
        engine.ledger.put_matches(spec.name, write.run_id, [match])


def forget_deleted(engine: Engine, spec: SyncSpec) -> None:
    """Take out of the crosswalk what runs since the last whole one deleted and did not live to forget."""
    for run in engine.ledger.runs(spec.name, _RUNS):
        if _was_whole(run):
            return
        deleted = {write.key: write.sink_id for write in engine.ledger.writes(run.run_id, [State.CONFIRMED]) if write.op == "delete"}
        known = engine.ledger.matches(spec.name, list(deleted))
        engine.ledger.drop_matches(spec.name, [match.key for match in known if same_id(match.sink_id, deleted[match.key])])


def _was_whole(run: Run) -> bool:
    return run.status in ("ok", "partial") and run.summary.get("kind", "run") not in ("plan", "verify")
