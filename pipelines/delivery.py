"""Deliver: apply a plan, find out what became of every write, read back what was written, and remember who is who."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors import jsontext
from connectors.errors import ConnectorError
from connectors.permission import writing_while
from pipelines import changes
from pipelines.apply import FIRST_CALL, Applied, Journal, Target, apply
from pipelines.arrays import single
from pipelines.assumed import assumed
from pipelines.chunked import chunked
from pipelines.elsewhere import ask_for_ids
from pipelines.engine import Engine, Progress, silent
from pipelines.fence import Fence
from pipelines.keys import key_values
from pipelines.ledger import NEVER_SHOWN, Match, State, Write
from pipelines.ledger_bulk import Settled
from pipelines.ledger_records import READ_BACK_OTHERWISE
from pipelines.logs import event
from pipelines.observe import Observation, observation, see, see_what_is_missing
from pipelines.plan import Plan
from pipelines.remembering import adopt, keep_failures, remember, remember_in_vain
from pipelines.sent import Sent
from pipelines.settle import CHUNK, UNANSWERED, failure, find, may_send_again, not_found, settle_creates, wait_until_quiet
from pipelines.spec import SyncSpec
from pipelines.staging import ROW_GROUP

LAGS_S = (0.3, 0.6, 1.2, 2.4)  # waited for what the platform says it did and does not show yet
LAG_SAMPLE = 20  # of such records are looked at meanwhile
LISTED_KEYS = 5_000  # more written records than these are read back with everything else

_WRITTEN = (State.CONFIRMED, State.ACCEPTED, State.REFUSED, State.UNKNOWN, State.IN_FLIGHT)
_DOUBTFUL = (*UNANSWERED, State.ACCEPTED, State.REFUSED)


@dataclass(frozen=True)
class Delivered:
    """What became of a plan's writes, by op and state, after everything was looked at.

    `differences` counts written records that did not read back as they were sent (None: nothing was
    written); `differing_fields` names the fields of those that are shown. `stopped_by` is the error that ended the sending early.
    `unshown` counts creates that were answered with an id and that no read shows.
    """

    counts: dict[tuple[str, State], int]
    differences: int | None
    differing_fields: tuple[str, ...] = ()
    stopped_by: ConnectorError | None = None
    unshown: int = 0


@dataclass(frozen=True)
class ReadBack:
    """What was written and did not read back as it was sent: how many records, in which fields where it is shown, and what is not shown."""

    differences: int = 0
    fields: frozenset[str] = frozenset()
    unshown: int = 0

    def __add__(self, other: "ReadBack") -> "ReadBack":
        return ReadBack(self.differences + other.differences, self.fields | other.fields, self.unshown + other.unshown)


@dataclass(frozen=True)
class Look:
    """What the sink showed after the writes, and whether what it does not show of writes in doubt is proven not to be there."""

    observed: Observation
    proven: bool


def deliver(engine: Engine, spec: SyncSpec, run_id: str, plan: Plan, held: Fence, *, progress: Progress = silent) -> Delivered:
    """Write the plan and settle every record of it, inside the target's fence.

    Raises ConnectorError only where the sink cannot be read back; everything sent is in the ledger then.
    """
    delivery = Delivery(engine, spec, run_id, plan, held, engine.ledger, progress)
    applied = delivery.send()
    event("written", records=applied.record_count, calls=applied.call_count)
    held.confirm()  # whoever took over meanwhile has settled what was sent
    look = delivery.look()
    event("looked", records=0 if look is None else look.observed.batch.count)
    read_back = delivery.settle(look, may_send=applied.stopped_by is None)
    event("settled")
    held.confirm()
    return delivery.close(read_back, applied.stopped_by)


@dataclass
class Delivery:
    """The steps of delivering a plan, or those of its rows whose numbers are `among`. Each may happen in another process.

    `again`: another one may have settled some of them already.
    """

    engine: Engine
    spec: SyncSpec
    run_id: str
    plan: Plan
    held: Fence
    ledger: Journal
    progress: Progress = silent
    among: range | None = None
    again: bool = False
    differing: dict[int, tuple[str, ...]] = field(default_factory=dict)  # by seq: the fields that read back otherwise
    unshown: set[int] = field(default_factory=set)  # the numbers of what the platform says it made and does not show

    def __post_init__(self) -> None:
        self.sink = self.engine.sink(self.spec.target_connection)
        self.sent = Sent(self.engine, self.spec, self.plan)
        self.stream, self.types = self.sent.stream, self.sent.types

    def send(self, without: npt.NDArray[np.int64] | None = None) -> Applied:
        """Send the rows, but for those with these numbers."""
        if self.among is None:
            return self._send(self.engine.staging.scan(self.sent.rows), 1, self.spec.writes.batch)
        numbers = np.setdiff1d(np.arange(self.among.start, self.among.stop), np.empty(0, np.int64) if without is None else without)
        parts = (numbers[at : at + ROW_GROUP // 2] for at in range(0, len(numbers), ROW_GROUP // 2))
        rows = (single(self.engine.staging.take(self.sent.rows, part)) for part in parts)
        return self._send(rows, 1, self.spec.writes.batch)

    def look(self) -> Look | None:
        """See what became of what was written; None where nothing was."""
        return self._look(None) if next(self._todo(None), None) is not None else None

    def settle(self, look: Look | None, *, may_send: bool) -> ReadBack | None:
        """Settle what was written, by that look (None: one of its own), and send again what may be. None where nothing was written."""
        if next(self._todo(None), None) is None:
            return None
        self._settle_all(look or self._look(None), may_send)
        fields = frozenset(name for seq, names in self.differing.items() if seq not in self.unshown for name in names)
        return ReadBack(len(self.differing), fields, len(self.unshown))

    def close(self, read_back: ReadBack | None, stopped_by: ConnectorError | None) -> Delivered:
        """Keep what follows for the whole plan, when all of it is settled. `stopped_by`: why some was not sent."""
        adopt(self.engine, self.spec, self.run_id, self.plan)
        keep_failures(self.engine, self.run_id, self.plan, self.sent)
        counts, found = self.engine.ledger.write_counts(self.run_id), read_back or ReadBack()
        differences = None if read_back is None else read_back.differences
        return Delivered(counts, differences, tuple(sorted(found.fields)), stopped_by, found.unshown)

    def _send(self, rows: Iterable[pa.RecordBatch], attempt: int, batch: int) -> Applied:
        concurrency = self.engine.settings(self.spec.target_connection).concurrency
        tried = self.engine.ledger.knows_any(self.spec.name) or self._answered()
        target = Target(self.sink, self.stream, self.spec.match, batch, concurrency, tried)
        with writing_while(self.held.holds):
            return apply(
                rows,
                target,
                run_id=self.run_id,
                sync=self.spec.name,
                ledger=self.ledger,
                clock=self.engine.clock,
                epoch=self.held.epoch,
                attempt=attempt,
                may_send=self.held.check,
                progress=lambda count: self.progress("apply", count),
            )

    def _answered(self) -> bool:
        """Whether something that this run wrote was answered well, whichever worker wrote it."""
        counts = self.engine.ledger.write_counts(self.run_id)
        return any(state in (State.CONFIRMED, State.ACCEPTED) for _, state in counts)

    # what became of it

    def _settle_all(self, look: Look, may_send: bool) -> None:
        """Settle, send again what may be (unanswered writes that did not happen, the good records of refused calls), and look again.

        Refused calls are halved from round to round until the record that the platform refuses stands alone. Where no call of
        several got through although they were halved and small, each record goes alone: the platform refuses such calls, or too
        many records for halving to be worth its calls.
        """
        only: set[int] | None = None
        attempt, size = 1, min(self.spec.writes.batch, self._largest_call())
        in_vain = False
        while True:
            again = [write for chunk in chunked(self._todo(only), CHUNK) for write in self._settle(chunk, look.observed, look.proven)]
            if not again or not may_send:
                return
            attempt += 1
            refused = sum(write.state is State.REFUSED for write in again)
            if refused:
                size = 1 if in_vain and size <= FIRST_CALL else max(1, min(size, refused) // 2)
            applied = self._send([_plan_rows(again, self.spec.match)], attempt, size)
            may_send, in_vain = applied.stopped_by is None, applied.in_vain
            only = {write.seq for write in again}
            look = self._look(only)

    def _largest_call(self) -> int:
        create = self.stream.capabilities.create
        return create.max_batch if create is not None else 1

    def _todo(self, only: set[int] | None, states: Sequence[State] = _WRITTEN) -> Iterator[Write]:
        """The writes in these states (those in which they may be in the sink), or those of them with these numbers."""
        within = self.among if only is None else range(min(only), max(only) + 1)
        writes = self.engine.ledger.writes(self.run_id, states, within)
        return writes if only is None else (write for write in writes if write.seq in only)

    def _look(self, only: set[int] | None) -> Look:
        """Read the written records back, after the time in which an unanswered write may still take effect."""
        if next(self._todo(only, UNANSWERED), None) is not None:
            wait_until_quiet(self.engine, self.spec, self.engine.clock.now())
        else:
            self.engine.clock.sleep(assumed(self.spec, self.engine.settings(self.spec.target_connection)).T_lag_s)
        keys = {write.key for write in islice(self._todo(only), LISTED_KEYS + 1)}
        asked = None if len(keys) > LISTED_KEYS else sorted(keys)
        first = self._see(asked)
        if unseen := self._unseen(first, only):
            self._wait_for(unseen)
            first = self._see(asked)
        missing = partial(self._missing, only=only)
        return Look(*see_what_is_missing(self.engine, self.spec, self.stream, asked, first, missing, self.types, progress=self.progress))

    def _see(self, keys: Sequence[str] | None) -> Observation:
        batch = see(self.engine, self.spec, self.stream, keys, progress=self.progress)
        return observation(self.engine.staging, self.spec, self.stream, batch, self.types)

    def _unseen(self, observed: Observation, only: set[int] | None) -> list[Write]:
        """The first of the writes that the platform says it did and that do not show yet.

        Of creates those that show neither under their key nor under their id, of updates answered without the record those that
        show it just as it was.
        """
        unseen: list[Write] = []
        said = (write for write in self._todo(only, [State.CONFIRMED, State.ACCEPTED]) if _said_done(write))
        for chunk in chunked(said, CHUNK):
            late = self.sent.late(chunk, observed)
            creates = [write for write in late if write.op == "create"]
            unseen += self._not_by_id(observed, creates[:LAG_SAMPLE]) + [write for write in late if write.op == "update"][:LAG_SAMPLE]
            if unseen:
                break
        return unseen

    def _not_by_id(self, observed: Observation, writes: Sequence[Write]) -> list[Write]:
        """Those of the writes whose record the sink does not show under its id either."""
        seen = self._with_ids(observed, [write.sink_id for write in writes])
        shown = self.sent.shown_as(writes, seen)
        return [write for write in writes if write.seq not in shown]

    def _with_ids(self, observed: Observation, sink_ids: Iterable[str | None]) -> Observation:
        """The observation together with the records that have these ids, whatever their match keys."""
        ids = {sink_id for sink_id in sink_ids if sink_id is not None}
        return ask_for_ids(self.engine, self.spec, self.stream, observed, ids, self.types, progress=self.progress)

    def _wait_for(self, writes: Sequence[Write]) -> None:
        """Give a platform that shows what was written a moment later that moment."""
        for pause_s in LAGS_S:
            self.engine.clock.sleep(pause_s)
            if not self.sent.late(writes, self._see([write.key for write in writes])):
                return

    def _missing(self, observed: Observation, only: set[int] | None) -> set[int]:
        """The numbers of writes in doubt whose record is not shown: what becomes of them depends on whether it is there."""
        missing: set[int] = set()
        for chunk in chunked((write for write in self._todo(only, _DOUBTFUL) if _in_doubt(write)), CHUNK):
            numbers = not_found(observed, [write.key for write in chunk], self.spec.match, self.types)
            missing.update(chunk[number].seq for number in numbers)
        return missing

    def _settle(self, writes: Sequence[Write], observed: Observation, proven: bool) -> list[Write]:
        """Settle a chunk of writes by what the sink shows; gives those that are to be sent again."""
        hits = find(observed, [write.key for write in writes], self.spec.match, self.types)
        still_there = self.sent.still_there(writes, observed, hits)
        wrong = {**self.sent.differing(writes, observed, hits), **still_there}
        changed = wrong if self.spec.drift == "overwrite" else self.sent.differing(writes, observed, hits, drift="overwrite")
        lost = [number for number, write in enumerate(writes) if write.op == "create" and write.state is not State.CONFIRMED]
        creates = [writes[number] for number in lost]
        settled = settle_creates(self.engine, self.spec, self.stream, observed, creates, hits.only(lost), proven=proven)
        outcomes = dict(zip(lost, settled, strict=True))
        rewritten = self.sent.rewritten(writes, observed, hits, wrong)
        outcomes |= {number: (writes[number].seq, State.CONFIRMED, None, "") for number in rewritten}
        for number in self.sent.overtaken(writes, observed, hits, wrong, changed):
            outcomes[number] = (writes[number].seq, State.CONFLICT, None, "others changed the record meanwhile, and their edits stay")
        for number, write in enumerate(writes):
            if (write.state is not State.CONFIRMED or number in still_there) and number not in outcomes:
                outcomes[number] = self._settle_repeatable(write, number in wrong, hits.counts[number] > 0)
        for number, fields in wrong.items():
            seq, state, sink_id, reason = outcomes.get(number, (writes[number].seq, writes[number].state, None, ""))
            if state is State.CONFIRMED and not reason:
                outcomes[number] = (seq, state, sink_id, f"{READ_BACK_OTHERWISE} in {', '.join(fields)}")
        self._keep_for_a_person(writes, outcomes)
        self.ledger.settle(self.run_id, list(outcomes.values()))
        states = [outcomes[number][1] if number in outcomes else write.state for number, write in enumerate(writes)]
        for number, (write, state) in enumerate(zip(writes, states, strict=True)):
            self.differing.pop(write.seq, None)
            if state is State.CONFIRMED and number in wrong:
                self.differing[write.seq] = wrong[number]
        ids = {number: outcome[2] for number, outcome in outcomes.items()}
        made = (number for number, state in enumerate(states) if state is State.CONFIRMED and writes[number].op == "create")
        gone = [writes[number] for number in made if hits.counts[number] == 0]
        confirmed = [number for number, state in enumerate(states) if state is State.CONFIRMED]
        otherwise = [replace(writes[n], sink_id=ids.get(n) or writes[n].sink_id) for n in confirmed if n in wrong or n in changed]
        seen = self._with_ids(observed, [write.sink_id for write in otherwise if write.op != "delete"])
        shown = self.sent.shown_as(otherwise, seen)
        self.unshown |= {write.seq for write in gone if write.seq not in shown}
        remember(self.engine, self.run_id, self.sent, writes, confirmed, ids, hits, self._repeats, shown)
        in_vain = [n for n, write in enumerate(writes) if states[n] is State.UNKNOWN and write.op == "update" and hits.counts[n] == 1]
        remember_in_vain(self.engine, self.run_id, self.sent, [(writes[n], int(hits.hashes[n])) for n in in_vain])
        return [write for write, state in zip(writes, states, strict=True) if state is State.NOT_APPLIED]

    def _keep_for_a_person(self, writes: Sequence[Write], outcomes: Mapping[int, Settled]) -> None:
        """What is quarantined is a failure before it is settled: a run that ends in between must not free it."""
        quarantined = [
            failure(writes[number], "quarantined", reason)
            for number, (_, state, _, reason) in outcomes.items()
            if state is State.QUARANTINED
        ]
        self.engine.ledger.put_failures(self.spec.name, self.run_id, quarantined)

    def _settle_repeatable(self, write: Write, wrong: bool, present: bool) -> Settled:
        """An update or delete whose answer does not tell: judged by what the sink shows now."""
        if not wrong:
            return (write.seq, State.CONFIRMED, None, "")
        if write.op == "update" and not present:
            return (write.seq, State.CONFLICT, None, "the record is not in the sink any more")
        seen = "still shows the record" if write.op == "delete" else "does not show it"
        if may_send_again(self.engine, self.spec, self.stream, write):
            return (write.seq, State.NOT_APPLIED, None, f"the sink {seen}: it is sent again")
        return (write.seq, State.UNKNOWN, None, f"sent {write.attempt} times, and the sink {seen}")

    def _repeats(self, write: Write, same: Match | None) -> int:
        """How often just this was written and read back otherwise; `same`: what is remembered of it, where it was just this."""
        if write.seq in self.unshown:
            return NEVER_SHOWN
        before = max(same.repeats if same else 0, 0)
        return 0 if write.seq not in self.differing else max(before, 1) if self.again else before + 1


def _said_done(write: Write) -> bool:
    """Whether the platform said that it did it, and only a look can show that it is there."""
    return write.op == "create" or (write.op == "update" and write.state is State.ACCEPTED)


def _in_doubt(write: Write) -> bool:
    """Whether the look alone decides what became of it."""
    return write.state in UNANSWERED or (write.op == "create" and write.state in (State.ACCEPTED, State.REFUSED))


def _plan_rows(writes: Sequence[Write], match: Sequence[str]) -> pa.RecordBatch:
    """Writes as plan rows, to be sent once more."""
    rows: list[dict[str, Any]] = [
        {
            "seq": write.seq,
            "op": write.op,
            "key": jsontext.dumps(key_values(write.key, match)).decode(),
            "source_id": write.source_id,
            "sink_id": write.sink_id,
            "fields": [],
            "before": write.before,
            "after": write.after,
            "fingerprint": write.fingerprint,
        }
        for write in sorted(writes, key=lambda write: ("create", "update", "delete").index(write.op))
    ]
    return pa.RecordBatch.from_pylist(rows, schema=changes.PLAN_SCHEMA)
