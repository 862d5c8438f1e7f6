"""What the ledger keeps of a delivered plan: who is who on both sides, and which records are still to be delivered."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from connectors import jsontext
from connectors.base import JsonValue
from connectors.errors import ContractError
from pipelines import changes
from pipelines.engine import Engine
from pipelines.keys import same_id
from pipelines.ledger import Failure, Match, State, Write
from pipelines.otherform import folded
from pipelines.plan import Plan
from pipelines.planning import adopted_dataset, refused_dataset
from pipelines.sent import Sent
from pipelines.settle import Hits, failure
from pipelines.spec import SyncSpec
from pipelines.staging import kept_batch

_FAILED = {
    State.REJECTED: "rejected",
    State.NOT_APPLIED: "rejected",
    State.CONFLICT: "conflict",
    State.UNKNOWN: "unknown",
    State.ACCEPTED: "unknown",
    State.REFUSED: "rejected",
    State.IN_FLIGHT: "unknown",
}


def remember(
    engine: Engine,
    run_id: str,
    sent: Sent,
    writes: Sequence[Write],
    confirmed: Sequence[int],
    ids: Mapping[int, str | None],
    hits: Hits,
    repeats: Callable[[Write, Match | None], int],
    shown: Mapping[int, Mapping[str, Any]],
) -> None:
    """Put the confirmed ones among the writes (numbers) into the crosswalk, and take out those deleted or known by another key before.

    `ids`: what was found out of sink ids, by number. `repeats` gives how often just this was written and read back otherwise, told
    what is remembered of the record where that was just this. `shown` are records that read back otherwise, by the number of the write.
    """
    ledger, sync = engine.ledger, sent.spec.name
    gone = [writes[number].key for number in confirmed if writes[number].op == "delete"]
    kept = [number for number in confirmed if writes[number].op != "delete"]
    by_source = {writes[number].source_id: number for number in kept if writes[number].source_id is not None}
    before = list(ledger.matches_of_sources(sync, [str(source_id) for source_id in by_source]))
    ledger.drop_matches(sync, gone)
    if not kept:
        return
    known = {match.source_id: match for match in before}
    rows = changes.create_rows(sent.desired_of([writes[number] for number in kept]), match=sent.spec.match, types=sent.types)
    matches = []
    for number, row in zip(kept, rows.select(["after", "fingerprint"]).to_pylist(), strict=True):
        write, fingerprint = writes[number], row["fingerprint"]
        old = known.get(write.source_id)
        form = as_kept(row["after"], shown.get(write.seq, {}), whatever=sent.spec.drift == "overwrite", unread=sent.stream.write_only)
        again = old is not None and old.fingerprint == fingerprint and (write.seq not in shown or old.applied == form)
        matches.append(
            Match(
                key=write.key,
                key_hash=int(hits.hashes[number]),
                source_id=write.source_id,
                sink_id=str(ids.get(number) or write.sink_id),
                applied=form,
                fingerprint=fingerprint,
                repeats=repeats(write, old if again else None),
            )
        )
    ledger.put_matches(sync, run_id, matches)
    moved = (match for match in before if match.source_id and match.key != writes[by_source[match.source_id]].key)
    ledger.drop_moved(sync, moved)  # last: a run killed before it leaves more than it should, never less


def remember_in_vain(engine: Engine, run_id: str, sent: Sent, updates: Sequence[tuple[Write, int]]) -> None:
    """Count updates (each with its key's hash) that were accepted and left the record as it was, however often they were sent.

    What the sink makes of such values may be just what it held before: they are not written for ever either.
    """
    accepted = [(write, key_hash) for write, key_hash in updates if write.state is State.ACCEPTED]
    known = {match.key: match for match in engine.ledger.matches(sent.spec.name, [write.key for write, _ in accepted])} if accepted else {}
    matches = []
    for write, key_hash in accepted:
        old = known.get(write.key)
        count = 1 + (max(old.repeats, 0) if old is not None and old.fingerprint == write.fingerprint else 0)
        applied = old.applied if old is not None else None
        matches.append(Match(write.key, key_hash, write.source_id, str(write.sink_id), applied, write.fingerprint, count))
    engine.ledger.put_matches(sent.spec.name, run_id, matches)


def as_kept(applied: str, shown: Mapping[str, Any], *, whatever: bool, unread: Collection[str] = ()) -> str:
    """What was written (a JSON object), in the form in which the sink keeps it: what differs from that later was changed there by others.

    `shown` is the record as it read back, lists and objects as JSON text; `unread` are fields that no read shows. A value of it counts
    where it is what was sent in another form, or `whatever` it is, nothing included: where other people's edits are overwritten, taking one
    that came in between for the sink's form costs one more write.
    """
    sent = jsontext.loads(applied)
    if not shown or not isinstance(sent, dict):
        return applied
    kept = {name: value if name in unread else _kept(value, shown.get(name), whatever) for name, value in sent.items()}
    return jsontext.dumps(kept).decode()


def _kept(sent: JsonValue, shown: Any, whatever: bool) -> JsonValue:
    if shown is None:
        return None if whatever else sent
    if isinstance(sent, list | dict):
        with suppress(ContractError):
            return jsontext.loads(shown) if whatever and isinstance(shown, str) else sent
        return sent
    return shown if isinstance(shown, str | int | float | Decimal) and (whatever or folded(shown) == folded(sent)) else sent


def adopt(engine: Engine, spec: SyncSpec, run_id: str, plan: Plan) -> None:
    """Pairs that were the same already: this sync knows them from now on, and no longer by another key, if it matched otherwise before."""
    ledger = engine.ledger
    known = ledger.knows_any(spec.name)
    for part in engine.staging.scan(kept_batch(engine.staging, adopted_dataset(spec), plan.adopted_id)):
        pairs = [Match(**row) for row in part.to_pylist()]
        now = {match.source_id: match for match in pairs if match.source_id}
        before = list(ledger.matches_of_sources(spec.name, list(now))) if known else []
        ledger.put_matches(spec.name, run_id, pairs)
        otherwise = (old for old in before if old.source_id and old.key != now[old.source_id].key)
        ledger.drop_moved(spec.name, [old for old in otherwise if same_id(old.sink_id, now[str(old.source_id)].sink_id)])


def keep_failures(engine: Engine, run_id: str, plan: Plan, sent: Sent) -> None:
    """What was not delivered stays pending; what an earlier run left pending and this one delivered, or did not find, is over.

    But a create that waits for a person is not over because its source record was not seen: nobody knows yet whether it happened.
    """
    ledger, sync = engine.ledger, sent.spec.name
    waiting = [failure for failure in ledger.failures(sync) if failure.outcome == "quarantined"]
    held = {failure.key for failure in waiting}
    for part in engine.staging.scan(kept_batch(engine.staging, refused_dataset(sent.spec), plan.refused_id)):
        rows = [{name: str(value or "") for name, value in row.items()} for row in part.to_pylist()]
        ledger.hold_failures(sync, run_id, (row["key"] for row in rows if row["outcome"] == "quarantined"))
        fresh = (row for row in rows if row["outcome"] != "quarantined" or row["key"] not in held)
        ledger.put_failures(sync, run_id, (Failure(**row) for row in fresh))  # type: ignore[arg-type]
    failed = ledger.writes(run_id, list(_FAILED))  # what is quarantined is kept already
    ledger.put_failures(sync, run_id, (failure(write, _FAILED[write.state], write.reason) for write in failed))
    seen = set(_desired_ids(engine, sent)) if waiting else set()
    ledger.hold_failures(sync, run_id, [failure.key for failure in waiting if failure.source_id not in seen])
    ledger.drop_failures_before(sync, run_id, only=None if plan.window is None else _desired_ids(engine, sent))


def _desired_ids(engine: Engine, sent: Sent) -> list[str]:
    """The source records that a window holds: about what lies outside it the run has nothing to say."""
    scanned = engine.staging.scan(sent.desired, ["__source_id"])
    return [source_id for part in scanned for source_id in part.column(0).to_pylist() if source_id is not None]
