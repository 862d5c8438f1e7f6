"""Aftermath: what killed runs leave behind beside their open writes. I/O only through the ledger."""

from dataclasses import replace

from pipelines.engine import Engine
from pipelines.keys import members_of, plain_id, same_id
from pipelines.ledger import Match, Run, State, Write
from pipelines.settle import hashes_of, matched_then
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
    """Take into the crosswalk what runs since the last whole one made or changed and did not live to remember: it is this sync's.

    Otherwise what they changed would look like other people's edits, or a record whose key they changed like one never seen before.
    """
    done: list[Write] = []
    for run in engine.ledger.runs(spec.name, _RUNS):
        if _was_whole(run):
            break
        confirmed = engine.ledger.writes(run.run_id, [State.CONFIRMED])
        done = [write for write in confirmed if write.op in ("create", "update") and write.sink_id] + done
    desired = engine.staging.batches(Dataset(("desired", spec.name))) if done else []
    if not desired:
        return
    made = {write.key: write for write in done if write.op == "create"}
    known = {match.key for match in engine.ledger.matches(spec.name, list(made))} if made else set()
    lost = {write.key: _match(write, None) for write in made.values() if write.key not in known}
    updates = [write for write in done if write.op == "update" and write.source_id]
    before = list(engine.ledger.matches_of_sources(spec.name, [str(write.source_id) for write in updates])) if updates else []
    old = {_place(match): match for match in (*before, *lost.values())}
    for write in updates:
        now = _match(write, old.get(_place(write)))
        if now != old.get(_place(write)):
            old[_place(write)] = lost[write.key] = now
    of_run: dict[str, list[Match]] = {}
    runs = {write.key: write.run_id for write in done}
    for match in lost.values():
        of_run.setdefault(runs[match.key], []).append(match)
    for run_id, found in of_run.items():
        hashes = hashes_of([match.key for match in found], matched_then(engine, spec, run_id), desired[-1].schema)
        engine.ledger.put_matches(spec.name, run_id, [replace(match, key_hash=int(one)) for match, one in zip(found, hashes, strict=True)])
    keys = {_place(write): write.key for write in updates}
    if moved := [match for match in before if keys.get(_place(match), match.key) != match.key]:
        engine.ledger.drop_moved(spec.name, moved)


def _place(one: Write | Match) -> tuple[str | None, str]:
    """The two records that a write or a match is about."""
    return one.source_id, plain_id(str(one.sink_id))


def _match(write: Write, old: Match | None) -> Match:
    """What a confirmed write says of its record, over what was known of it. The hash of the key is still to be set."""
    if old is None:
        return Match(write.key, 0, write.source_id, str(write.sink_id), write.after, write.fingerprint)
    applied = {**members_of(old.applied), **members_of(write.after)}
    text = "{" + ",".join(f"{name}:{value}" for name, value in applied.items()) + "}"
    return replace(old, key=write.key, key_hash=old.key_hash if write.key == old.key else 0, applied=text, fingerprint=write.fingerprint)


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
