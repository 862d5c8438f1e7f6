"""Settle: find out by looking what became of writes whose answer was lost, or did not say which record is which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.arrow import records_to_batch
from connectors.base import Delivery, Stream
from pipelines import changes
from pipelines.arrays import texts
from pipelines.assumed import assumed
from pipelines.chunked import chunked
from pipelines.engine import Engine, Progress, silent
from pipelines.fingerprint import Index, index
from pipelines.keys import key_values, same_id, shown
from pipelines.ledger import Failure, State, Write
from pipelines.ledger_bulk import Settled
from pipelines.observe import Observation, ids_at, key_hashes, observation, see, see_what_is_missing
from pipelines.otherform import in_another_form
from pipelines.spec import SyncSpec
from pipelines.staging import Dataset

ATTEMPTS = 3  # sends of one record in one run, at most
CHUNK = 5_000
UNANSWERED = (State.UNKNOWN, State.IN_FLIGHT)
_SUPERSEDED = "the run ended before an answer; a later plan starts from what the sink shows"
LONGEST_SEND = timedelta(minutes=30)  # from an intent to its last request, the sender's waits and the queue before it included


@dataclass(frozen=True)
class Hits:
    """Where keys were found in an observation, key by key: how many records, and the position of the first (-1: none)."""

    counts: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.int64]

    def only(self, numbers: Sequence[int]) -> "Hits":
        """The hits of some of the keys, by their numbers."""
        chosen = np.array(numbers, np.int64)
        return Hits(self.counts[chosen], self.positions[chosen], self.hashes[chosen])


def find(observed: Observation, keys: Sequence[str], match: Sequence[str], types: pa.Schema) -> Hits:
    """Look keys (JSON lists of the match values) up in what the sink showed."""
    asked = _index_of(keys, match, types)
    place = np.argsort(asked.position, kind="stable")
    high = asked.key_hi[place]
    left = np.searchsorted(observed.index.key_hi, high, "left")
    counts = (np.searchsorted(observed.index.key_hi, high, "right") - left).astype(np.int64)
    positions = np.full(len(keys), -1, np.int64)
    positions[counts > 0] = observed.index.position[left[counts > 0]]
    return Hits(counts, positions, key_hashes(asked)[place])


def not_found(observed: Observation, keys: Sequence[str], match: Sequence[str], types: pa.Schema) -> set[int]:
    """The numbers of the keys that the sink did not show."""
    return set(np.flatnonzero(find(observed, keys, match, types).counts == 0).tolist()) if keys else set()


def settle_creates(
    engine: Engine, spec: SyncSpec, stream: Stream, observed: Observation, writes: Sequence[Write], hits: Hits, *, proven: bool
) -> list[Settled]:
    """What each create came to, by its match key: found once, it is adopted; `proven` not to be there, it is free to be sent
    again (NOT_APPLIED) where that was allowed; else, and when found several times, it is kept for a person.

    What the platform said it had made is never sent again: where it is not found, it may only be hidden. Nor is what it may hold
    under its key in a form of its own.
    """
    found = iter(ids_at(engine.staging, observed, stream, hits.positions[hits.counts > 0]))
    free = [
        write
        for write, count in zip(writes, hits.counts.tolist(), strict=True)
        if proven
        and not count
        and (write.state is State.REFUSED or (write.state is not State.ACCEPTED and may_send_again(engine, spec, stream, write)))
    ]
    rewritten = dict(zip(((write.run_id, write.seq) for write in free), in_another_form(engine, spec, stream, observed, free), strict=True))
    settled = []
    for write, count in zip(writes, hits.counts.tolist(), strict=True):
        sink_id = next(found) if count else None
        if count == 1:
            settled.append((write.seq, State.CONFIRMED, sink_id, ""))
        elif count:
            reason = f"{count} records of {spec.target} have the match key {shown(write.key)}, one is {sink_id}; keep one, dismiss this"
            settled.append((write.seq, State.QUARANTINED, None, reason))
        elif rewritten.get((write.run_id, write.seq)):
            reason = f"{spec.target} holds a record whose match key is {shown(write.key)} in another form; if it is this one, dismiss this"
            settled.append((write.seq, State.QUARANTINED, None, reason))
        elif write.state is State.REFUSED and proven:
            settled.append((write.seq, State.NOT_APPLIED, None, write.reason))
        elif (write.run_id, write.seq) in rewritten:
            settled.append((write.seq, State.NOT_APPLIED, None, "no answer, and no such record was found: it is sent again"))
        else:
            why = write.reason.partition(";")[0]
            lost = f"no answer came that could be trusted ({why})" if why else "no answer came"
            answer = {State.ACCEPTED: "it was accepted", State.REFUSED: "its call was refused"}.get(write.state, lost)
            reason = f"{answer}, but no record of {spec.target} with this match key was found; look there, then retry or dismiss it"
            settled.append((write.seq, State.QUARANTINED, None, reason))
    return settled


def may_send_again(engine: Engine, spec: SyncSpec, stream: Stream, write: Write) -> bool:
    """Whether a write that was not found may be repeated: E1 always, a create only where a person allowed it, and not for ever."""
    capability = stream.capabilities.write(write.op)  # type: ignore[arg-type]
    if capability is None or write.attempt >= ATTEMPTS:
        return False
    allowed = assumed(spec, engine.settings(spec.target_connection)).on_unknown
    return capability.delivery is Delivery.E1 or (capability.delivery is Delivery.E2 and allowed == "retry")


def wait_until_quiet(engine: Engine, spec: SyncSpec, last_intent: datetime) -> None:
    """Wait until no write intended by then can still take effect or stay hidden: T_server_max and T_lag after it was sent.

    Nobody is sending any more. When exactly the last request left is not known: at the latest now, or LONGEST_SEND after its intent.
    """
    now = engine.clock.now()
    quiet_at = min(now, last_intent + LONGEST_SEND) + assumed(spec, engine.settings(spec.target_connection)).quiet
    engine.clock.sleep((quiet_at - now).total_seconds())


def recover(engine: Engine, spec: SyncSpec, *, progress: Progress = silent) -> int:
    """Settle what earlier runs left without an outcome, before anything is planned. Gives how many writes there were.

    The caller holds the target's lock: nobody else is in the middle of these writes.
    Creates and deletes are looked up by their match key once none of them can still take effect. Updates
    need no look of their own, unless `drift` says that other people's edits stay: the coming plan starts from what the sink shows.
    """
    left = engine.ledger.open_writes(spec.name)
    if not left:
        return 0
    wait_until_quiet(engine, spec, max(write.intent_at for write in left))
    of_run: dict[str, list[Write]] = {}
    for write in left:
        of_run.setdefault(write.run_id, []).append(write)
    keyed: dict[tuple[str, ...], list[Write]] = {}
    for run_id, writes in of_run.items():
        keyed.setdefault(matched_then(engine, spec, run_id).match, []).extend(writes)
    for match, writes in keyed.items():
        _recover(engine, spec.model_copy(update={"match": match}), writes, progress)
    return len(left)


def matched_then(engine: Engine, spec: SyncSpec, run_id: str) -> SyncSpec:
    """The sync with the match fields that it had in that run: what the keys of the run's writes are made of."""
    run = engine.ledger.run(run_id)
    match = tuple(run.summary.get("match", ())) if run is not None else ()
    return spec.model_copy(update={"match": match}) if match else spec


def _recover(engine: Engine, spec: SyncSpec, left: Sequence[Write], progress: Progress) -> None:
    """Settle these writes, whose keys are made of the match fields of `spec`."""
    stream = engine.sink(spec.target_connection).stream(spec.target_stream)
    looked_up = [write for write in left if write.op != "update" or spec.drift != "overwrite"]
    if looked_up:
        types = pa.schema([(name, pa.string()) for name in spec.match])
        keys = sorted({write.key for write in looked_up})
        batch = see(engine, spec, stream, keys, progress=progress)
        first = observation(engine.staging, spec, stream, batch, types)
        missing = partial(not_found, keys=keys, match=spec.match, types=types)
        observed, proven = see_what_is_missing(engine, spec, stream, keys, first, missing, types, progress=progress)
        for op, settle in (("create", settle_creates), ("delete", _settle_deletes), ("update", _settle_updates)):
            for chunk in chunked((write for write in looked_up if write.op == op), CHUNK):
                hits = find(observed, [write.key for write in chunk], spec.match, types)
                _record(engine, spec, chunk, settle(engine, spec, stream, observed, chunk, hits, proven=proven))
    updates = [write for write in left if write.op == "update" and spec.drift == "overwrite"]
    _record(engine, spec, updates, [(write.seq, State.SUPERSEDED, None, _SUPERSEDED) for write in updates])


def _settle_deletes(
    engine: Engine, spec: SyncSpec, stream: Stream, observed: Observation, writes: Sequence[Write], hits: Hits, *, proven: bool
) -> list[Settled]:
    """A delete whose record is proven not to be there has happened; any other is for the coming plan to decide."""
    happened, undecided = (State.CONFIRMED, None, ""), (State.SUPERSEDED, None, _SUPERSEDED)
    gone = [proven and count == 0 for count in hits.counts.tolist()]
    return [(write.seq, *(happened if is_gone else undecided)) for write, is_gone in zip(writes, gone, strict=True)]


def _settle_updates(
    engine: Engine, spec: SyncSpec, stream: Stream, observed: Observation, writes: Sequence[Write], hits: Hits, *, proven: bool
) -> list[Settled]:
    """An update whose record shows all that was sent has happened, and is no other's edit; any other is for the coming plan to decide.

    What stands under its key may be another record, where the update was to change the key. Judged by value, as after the writes of a
    run that lives on (`pipelines.sent.Sent.differing`).
    """
    happened, undecided = (State.CONFIRMED, None, ""), (State.SUPERSEDED, None, _SUPERSEDED)
    there = np.flatnonzero(hits.counts == 1)
    desired = engine.staging.batches(Dataset(("desired", spec.name))) if len(there) else []
    shows = np.zeros(len(writes), bool)
    if desired:
        types = pa.schema(
            [field for field in desired[-1].schema if not field.name.startswith("__") and field.name not in stream.write_only]
        )
        rows = observed.rows.take(engine.staging, hits.positions[there])
        asked = [writes[number] for number in there.tolist()]
        found = ids_at(engine.staging, observed, stream, hits.positions[there])
        same = np.array([same_id(write.sink_id, sink_id) for write, sink_id in zip(asked, found, strict=True)], bool)
        shows[there] = same & changes.showing(rows, texts([write.after for write in asked]), types=types)
    return [(write.seq, *(happened if shows_it else undecided)) for write, shows_it in zip(writes, shows.tolist(), strict=True)]


def _record(engine: Engine, spec: SyncSpec, writes: Sequence[Write], settled: Sequence[Settled]) -> None:
    """Keep what recovered writes came to; one for a person first becomes a failure, which later plans respect."""
    of_run: dict[str, list[tuple[Write, Settled]]] = {}
    for write, outcome in zip(writes, settled, strict=True):
        of_run.setdefault(write.run_id, []).append((write, outcome))
    for run_id, outcomes in of_run.items():
        held = [failure(write, "quarantined", outcome[3]) for write, outcome in outcomes if outcome[1] is State.QUARANTINED]
        engine.ledger.put_failures(spec.name, run_id, held)
        engine.ledger.settle(run_id, [outcome for _, outcome in outcomes])


def failure(write: Write, outcome: str, reason: str) -> Failure:
    """The pending record that an undelivered write leaves."""
    return Failure(key=write.key, source_id=write.source_id or "", outcome=outcome, reason=reason, op=write.op, request=write.after)


def hashes_of(keys: Sequence[str], spec: SyncSpec, types: pa.Schema) -> list[int]:
    """The hash of each key as the crosswalk keeps it. `types` are those of the desired records."""
    asked = _index_of(keys, spec.match, types)
    hashes: list[int] = key_hashes(asked)[np.argsort(asked.position, kind="stable")].tolist()
    return hashes


def _index_of(keys: Sequence[str], match: Sequence[str], types: pa.Schema) -> Index:
    rows = records_to_batch([key_values(key, match) for key in keys], None)
    return index(pa.RecordBatchReader.from_batches(rows.schema, [rows]), match, [], types)
