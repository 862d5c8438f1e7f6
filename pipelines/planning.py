"""Plan: map the staged source, see the sink, compare, and store what would be written. Changes nothing anywhere else."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines import changes
from pipelines.absence import can_look_up, look_up
from pipelines.arrays import integers, no_rows, single, texts
from pipelines.assumed import assumed
from pipelines.backfill import due_in, source_stream, warnings_of
from pipelines.checkpoint import finished
from pipelines.desired import due, make_desired
from pipelines.diff import diff, unchanged
from pipelines.elsewhere import ask_for_ids
from pipelines.engine import Engine, Progress, completeness, is_full, raw_dataset, silent, spec_hash
from pipelines.fence import target_of
from pipelines.keys import key_values, value_count
from pipelines.ledger import NEVER_SHOWN
from pipelines.memory import recalled
from pipelines.observe import Observation, ids_at, key_hashes, known_fields, observation, remembered, see, see_what_is_missing
from pipelines.plan import Counts, Plan, doubted, empty, hidden_records, promises, refusals
from pipelines.plan_parts import LEAST
from pipelines.plan_rows import REFUSED_SCHEMA, PlanRows, Positions, chunks
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, BatchWriter, Dataset
from pipelines.takeover import refuse_takeovers
from pipelines.window import Window

InParts = Callable[[PlanRows], Iterator[pa.RecordBatch]]

MATCH_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "source_id", "sink_id", "applied")] + [("key_hash", pa.int64()), ("fingerprint", pa.int64())]
)


def plan_dataset(spec: SyncSpec) -> Dataset:
    """Where the rows of this sync's plans lie (changes.PLAN_SCHEMA); the plan itself is the batch's note."""
    return Dataset(("plan", spec.name))


def refused_dataset(spec: SyncSpec) -> Dataset:
    """Where the records lie that a plan could not plan, with outcome and reason (REFUSED_SCHEMA)."""
    return Dataset(("refused", spec.name))


def adopted_dataset(spec: SyncSpec) -> Dataset:
    """Where the pairs lie that a plan found to be the same record for the first time (MATCH_SCHEMA)."""
    return Dataset(("adopted", spec.name))


def plan_sync(
    engine: Engine,
    spec: SyncSpec,
    raw: Batch,
    *,
    window: Window | None = None,
    progress: Progress = silent,
    seen: Batch | None = None,
    in_parts: InParts | None = None,
    epoch: int | None = None,
) -> Plan:
    """Make and store the plan for what is staged up to `raw`, or for a window of it. Reads the sink; writes nothing but staging.

    `seen` is the whole sink as read for this plan already; `in_parts` makes the creates and updates of a large one. `epoch`: that
    of the target when nobody was seen to write to it (None: now; NEVER: another run may be writing, so that whoever applies this plan
    makes it anew).
    Raises ConfigError where the spec does not fit the data, and ConnectorError where the sink cannot be read.
    """
    return _Planning(engine, spec, raw, window, progress, seen, in_parts, epoch).plan()


@dataclass
class _Planning:
    engine: Engine
    spec: SyncSpec
    raw: Batch
    window: Window | None
    progress: Progress
    seen: Batch | None
    in_parts: InParts | None
    known_epoch: int | None
    hidden: tuple[int, tuple[str, ...]] = (0, ())  # records to create that the sink may hold all the same, and why
    unproven: frozenset[int] = frozenset()  # key hashes of records that seem gone from the sink, which no read proved

    def plan(self) -> Plan:
        spec, engine = self.spec, self.engine
        source = source_stream(engine, spec, None if self.window is None else self.raw)
        self.stream = engine.sink(spec.target_connection).stream(spec.target_stream)
        self.epoch = engine.ledger.epoch(target_of(engine, spec)) if self.known_epoch is None else self.known_epoch
        staged = finished(engine.staging, raw_dataset(spec))
        failures = engine.ledger.failures(spec.name)
        waits = [failure for failure in failures if failure.outcome == "quarantined" and not failure.released]
        held, waiting = (
            frozenset(failure.key for failure in waits),
            {failure.source_id: failure.key for failure in waits if failure.source_id},
        )
        released = frozenset(failure.key for failure in failures if failure.released)
        dismissed = {failure.key: failure.request for failure in engine.ledger.failures(spec.name, dismissed=True)}
        position = engine.ledger.position(spec.name, spec_hash(spec))
        if self.window is None:
            taken = due(staged, self.raw, position, frozenset(failure.source_id for failure in failures))
        else:
            taken = due_in(engine.staging, spec, self.window, self.raw)
        seen = self.seen or self._seen_first()
        fields = known_fields(engine.staging, spec, self.stream)
        self.desired = make_desired(engine, spec, source, self.stream, taken, sink_fields=fields, progress=self.progress)
        if not self._whole_source and self.desired.count:
            self.desired = refuse_takeovers(engine, spec, source, taken, self.desired)
        self.desired = recalled(engine, spec, self.stream, self.desired)
        self.owned = engine.ledger.match_hashes(spec.name)
        self.existing = self._existing(seen)
        found = diff(self.desired.index, self.existing.index)
        deletes = spec.mode == "mirror" and self._whole_source
        known = (self.owned, held, waiting, released, dismissed, deletes, self.unproven)
        large = len(found.create) + len(found.differ) >= LEAST
        rows = PlanRows(engine, spec, self.stream, self.desired, self.existing, found, *known, self.in_parts if large else None)
        with engine.staging.begin(plan_dataset(spec)) as writer:
            digest = changes.digest(self._kept(_numbered(rows.make()), writer))
            adopted, refused = self._store_adopted(), self._store_refused(rows.refused)
            plan = self._value(rows, named(spec, digest), self._previous_read(staged, position), adopted, refused)
            batch = writer.commit(plan.note())
        engine.staging.put_index(batch, "desired", {"position": np.concatenate([*rows.at, np.empty(0, np.int64)])})
        return Plan.from_note(batch.id, batch.note)

    # the two sides

    def _seen_first(self) -> Batch | None:
        """The whole sink, where it must be read anyway and its field names decide what is mapped."""
        if self.spec.fields is None and self._whole_sink() and self.spec.compare == "sink":
            return see(self.engine, self.spec, self.stream, None, progress=self.progress)
        return None

    @property
    def _whole_source(self) -> bool:
        """Whether absence from this plan's source records means anything."""
        return self.window is None and is_full(self.raw)

    def _whole_sink(self) -> bool:
        return self._whole_source or (self.spec.mode == "mirror" and self.window is None)

    def _existing(self, seen: Batch | None) -> Observation:
        """What the sink holds: all of it, or as much as this plan needs to see."""
        engine, spec, types = self.engine, self.spec, self.desired.types
        if spec.compare == "ledger" and len(self.owned) and not engine.ledger.open_writes(spec.name) and not self._older_ledger():
            known = remembered(engine, spec, self.stream, types)
            if known is not None and not self._unheard_of(known):
                return known
        keys = None if self._whole_sink() else self._keys()
        batch = seen or see(engine, spec, self.stream, keys, progress=self.progress)
        if self._seems_empty(batch):
            batch = see(engine, spec, self.stream, keys, progress=self.progress)
        first = observation(engine.staging, spec, self.stream, batch, types)
        found, proven = see_what_is_missing(engine, spec, self.stream, keys, first, self._vanished_from, types, progress=self.progress)
        self.unproven = frozenset() if proven else self._vanished_from(found)
        return self._looked_for(self._asked_by_id(found))

    def _asked_by_id(self, seen: Observation) -> Observation:
        """The same with records of ours that have another match key in the sink by now, where only keys were asked for."""
        if seen.full or not len(self.owned):
            return seen
        ids: set[str] = set()
        for chunk in chunks(diff(self.desired.index, seen.index).create):
            rows = self.desired.rows.take(self.engine.staging, chunk, ["__source_id", "__key"])
            ids.update(match.sink_id for match in self.engine.ledger.matches_of_sources(self.spec.name, rows["__source_id"].to_pylist()))
            ids.update(match.sink_id for match in self.engine.ledger.matches(self.spec.name, rows["__key"].to_pylist()))
        return ask_for_ids(self.engine, self.spec, self.stream, seen, ids, self.desired.types, progress=self.progress)

    def _looked_for(self, seen: Observation) -> Observation:
        """The same with what the sink holds of the records that would be created, wherever the read may hide some.

        Looked up are all of them where the read is in doubt, and else those that this sync knows to have been there.
        """
        doubts = seen.completeness.doubts
        create = diff(self.desired.index, seen.index).create
        if unshown := self._unmatchable(seen):
            self.hidden = (len(create), (*doubts, unshown))
            return seen
        if not doubts:
            create = create[np.isin(create, self._positions_of(self._vanished_from(seen)))]
        if not len(create):
            return seen
        if not seen.full or not can_look_up(self.stream, len(create)):
            self.hidden = (len(create), doubts)
            return seen
        keys = [
            key for chunk in chunks(create) for key in self.desired.rows.take(self.engine.staging, chunk, ["__key"])["__key"].to_pylist()
        ]
        asked = [key_values(key, self.spec.match) for key in keys]
        found = look_up(self.engine, self.spec, self.stream, seen, asked, self.desired.types, progress=self.progress)
        if found.proven:
            self.unproven = frozenset()
        else:
            self.hidden = (len(diff(self.desired.index, found.observed.index).create), doubts)
        return found.observed

    def _unmatchable(self, seen: Observation) -> str:
        """Why a sink that was read whole may hold what would be created, whatever it shows: it shows no match field of any record."""
        unshown = [name for name in self.spec.match if name not in seen.batch.schema.names]
        if not (seen.full and seen.batch.count and unshown):
            return ""
        return f"none of its {seen.batch.count} records shows {', '.join(unshown)}, by which they are matched"

    def _positions_of(self, hashes: frozenset[int]) -> Positions:
        """Where the desired records with these key hashes stand."""
        return self.desired.index.position[np.isin(key_hashes(self.desired.index), list(hashes))]

    def _vanished_from(self, observed: Observation) -> frozenset[int]:
        """The key hashes of desired records that this sync knows to have been in the sink and that it does not show."""
        wanted = np.intersect1d(key_hashes(self.desired.index), self.owned)
        return frozenset(np.setdiff1d(wanted, key_hashes(observed.index)).tolist())

    def _seems_empty(self, batch: Batch) -> bool:
        """Whether the sink shows nothing at all where nothing tells that it should: one such answer is not believed."""
        unknown = not len(self.owned) or (self.spec.mode == "update" and is_full(batch))
        return unknown and not batch.count and self.desired.count > 0

    def _older_ledger(self) -> bool:
        """Whether the ledger does not know the plan that was staged last: an older one may have been put in its place."""
        staged = self.engine.staging.batches(plan_dataset(self.spec))
        known = {run.summary.get("plan") for run in self.engine.ledger.runs(self.spec.name)}
        return bool(staged) and staged[-1].id not in known

    def _unheard_of(self, known: Observation) -> bool:
        """Whether records are desired that the ledger never met: the sink must be looked at before they are created."""
        return len(diff(self.desired.index, known.index).create) > 0

    def _keys(self) -> list[str]:
        """The keys of all desired records, and those by which the same source records are known so far."""
        keys: set[str] = set()
        for chunk in chunks(np.sort(self.desired.index.position)):
            rows = self.engine.staging.take(self.desired.batch, chunk, ["__key", "__source_id"])
            keys.update(rows["__key"].to_pylist())
            known = self.engine.ledger.matches_of_sources(self.spec.name, rows["__source_id"].to_pylist())
            keys.update(match.key for match in known if value_count(match.key) == len(self.spec.match))  # else it was matched otherwise
        return sorted(keys)

    # what is stored

    def _kept(self, parts: Iterable[pa.RecordBatch], writer: BatchWriter) -> Iterator[pa.RecordBatch]:
        writer.write(no_rows(changes.PLAN_SCHEMA))
        for rows in parts:
            writer.write(rows)
            self.progress("plan", rows.num_rows)
            yield rows

    def _store_refused(self, refused: list[pa.Table]) -> str:
        with self.engine.staging.begin(refused_dataset(self.spec)) as writer:
            writer.write(single(pa.concat_tables([pa.Table.from_batches([], REFUSED_SCHEMA), *refused])))
            return writer.commit({}).id

    def _store_adopted(self) -> str:
        """Pairs that are the same record already and that the crosswalk does not know yet, or not as seen."""
        ours, theirs = unchanged(self.desired.index, self.existing.index)
        hashes = self.existing.hashes_of(theirs)
        fresh = ~np.isin(hashes, np.setdiff1d(self.owned, self.engine.ledger.match_hashes(self.spec.name, repeats=NEVER_SHOWN)))
        with self.engine.staging.begin(adopted_dataset(self.spec)) as writer:
            writer.write(no_rows(MATCH_SCHEMA))
            for mine, other, key_hash in zip(chunks(ours[fresh]), chunks(theirs[fresh]), chunks(hashes[fresh]), strict=True):
                writer.write(self._pairs(mine, other, key_hash))
            return writer.commit({}).id

    def _pairs(self, ours: Positions, theirs: Positions, hashes: Positions) -> pa.RecordBatch:
        desired = self.desired.rows.take(self.engine.staging, ours)
        rows = changes.create_rows(desired, match=self.spec.match, types=self.desired.types)
        ids = ids_at(self.engine.staging, self.existing, self.stream, theirs)
        columns = [desired["__key"], desired["__source_id"], texts(ids), rows["after"], integers(hashes), rows["fingerprint"]]
        return single(pa.Table.from_arrays(columns, schema=MATCH_SCHEMA))

    def _value(self, rows: PlanRows, digest: str, previous_read: int | None, adopted: str, refused: str) -> Plan:
        spec, read, counted = self.spec, completeness(self.raw), rows.counts
        counts = Counts(
            read=self.desired.read,
            desired=self.desired.count,
            create=counted.get("create", 0),
            update=counted.get("update", 0),
            delete=counted.get("delete", 0),
            unchanged=counted.get("unchanged", 0),
            skipped=self.desired.skipped + counted.get("skipped", 0),
            invalid=counted.get("invalid", 0),
            conflicts=counted.get("conflicts", 0),
            quarantined=counted.get("quarantined", 0),
            existing=self.existing.batch.count,
            owned=len(self.owned),
            previous_read=previous_read,
            drifted=counted.get("drifted", 0),
        )
        return Plan(
            sync=spec.name,
            batch_id="",
            raw_id=self.raw.id,
            desired_id=self.desired.batch.id,
            adopted_id=adopted,
            refused_id=refused,
            epoch=self.epoch,
            digest=digest,
            counts=counts,
            refusals=(
                *refusals(spec, counts, read, digest),
                *hidden_records(spec, min(self.hidden[0], counts.create), self.hidden[1], digest),
            ),
            complete=read.complete,
            reasons=read.reasons,
            promises=promises(counts, self.stream.capabilities, assumed(spec, self.engine.settings(spec.target_connection))),
            warnings=(
                *self._of_window(),
                *empty(spec.source, read, full=self._whole_source),
                *doubted(spec.source, read),
                *doubted(spec.target, self.existing.completeness),
                *rows.warnings,
            ),
            samples=tuple(rows.samples),
            window=None if self.window is None else self.window.as_json(),
        )

    def _of_window(self) -> tuple[str, ...]:
        return () if self.window is None else warnings_of(self.engine.staging, self.spec, self.window, self.raw)

    def _previous_read(self, staged: list[Batch], position: str | None) -> int | None:
        """How many records the last full read before this one gave; None where this is no full read or the first.

        An empty one counts only once this sync took it (up to `position`): asking again does not make it believable.
        """
        if not self._whole_source:
            return None
        before = (batch for batch in reversed(staged) if is_full(batch) and batch.id < self.raw.id)
        return next((batch.count for batch in before if batch.count or (position is not None and batch.id <= position)), None)


def named(spec: SyncSpec, digest: str) -> str:
    """The digest of plan rows together with what they are to be applied to."""
    said = "\0".join((spec.name, spec.source, spec.target, spec.mode, digest))
    return hashlib.sha256(said.encode()).hexdigest()


def _numbered(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows with running numbers, from 0."""
    start = 0
    for rows in parts:
        if rows.num_rows:
            seq = integers(np.arange(start, start + rows.num_rows, dtype=np.int64))
            yield pa.RecordBatch.from_arrays([seq, *rows.columns[1:]], schema=changes.PLAN_SCHEMA)
            start += rows.num_rows
