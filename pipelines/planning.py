"""Plan: map the staged source, see the sink, compare, and store what would be written. Changes nothing anywhere else."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import changes
from pipelines.arrays import integers, single, texts
from pipelines.desired import due, make_desired
from pipelines.diff import diff, unchanged
from pipelines.engine import Engine, Progress, completeness, is_full, raw_dataset, silent, spec_hash
from pipelines.ledger import Match
from pipelines.observe import Observation, ids_at, known_fields, observation, remembered, see
from pipelines.plan import Counts, Plan, promises, refusals
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, BatchWriter, Dataset

Positions = npt.NDArray[np.int64]

CHUNK = 20_000
REPEATS_UNTIL_NORMALISED = 2
SAMPLES = 20  # of each op

REFUSED_SCHEMA = pa.schema([(name, pa.string()) for name in ("source_id", "key", "outcome", "field", "reason")])
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


def plan_sync(engine: Engine, spec: SyncSpec, raw: Batch, *, progress: Progress = silent) -> Plan:
    """Make and store the plan for what is staged up to `raw`. Reads the sink; writes nothing but staging.

    Raises ConfigError where the spec does not fit the data, and ConnectorError where the sink cannot be read.
    """
    return _Planning(engine, spec, raw, progress).plan()


@dataclass
class _Planning:
    engine: Engine
    spec: SyncSpec
    raw: Batch
    progress: Progress
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    refused: list[pa.Table] = field(default_factory=list)
    at: list[Positions] = field(default_factory=list)  # of each plan row, where its desired row lies; -1 for deletes

    def plan(self) -> Plan:
        spec, engine = self.spec, self.engine
        source = engine.open(spec.source_connection).stream(spec.source_stream)
        self.stream = engine.sink(spec.target_connection).stream(spec.target_stream)
        staged = engine.staging.batches(raw_dataset(spec))
        failures = engine.ledger.failures(spec.name)
        self.held = {failure.key for failure in failures if failure.outcome == "quarantined" and not failure.released}
        position = engine.ledger.position(spec.name, spec_hash(spec))
        taken = due(staged, self.raw, position, frozenset(failure.source_id for failure in failures))
        seen = self._seen_first()
        fields = known_fields(engine.staging, spec, self.stream)
        self.desired = make_desired(engine, spec, source, self.stream, taken, sink_fields=fields, progress=self.progress)
        self._refuse("invalid", self.desired.invalid)
        self.owned = engine.ledger.match_hashes(spec.name)
        self.existing = self._existing(seen)
        self.found = diff(self.desired.index, self.existing.index)
        with engine.staging.begin(plan_dataset(spec)) as writer:
            digest = changes.digest(self._kept(self._numbered(self._rows()), writer))
            adopted = self._store_adopted()
            refused = self._store_refused()
            plan = self._value(self._previous_read(staged), digest, adopted, refused)
            batch = writer.commit(plan.note())
        engine.staging.put_index(batch, "desired", {"position": np.concatenate([*self.at, np.empty(0, np.int64)])})
        return Plan.from_note(batch.id, batch.note)

    # the two sides

    def _seen_first(self) -> Batch | None:
        """The whole sink, where it must be read anyway and its field names decide what is mapped."""
        if self.spec.fields is None and self._whole_sink() and self.spec.compare == "sink":
            return see(self.engine, self.spec, self.stream, None, progress=self.progress)
        return None

    def _whole_sink(self) -> bool:
        return self.spec.mode == "mirror" or is_full(self.raw)

    def _existing(self, seen: Batch | None) -> Observation:
        """What the sink holds: all of it, or as much as this plan needs to see."""
        engine, spec, types = self.engine, self.spec, self.desired.types
        if spec.compare == "ledger" and len(self.owned) and not engine.ledger.open_writes(spec.name):
            known = remembered(engine, spec, self.stream, types)
            if known is not None and not self._unheard_of(known):
                return known
        if seen is None:
            seen = see(engine, spec, self.stream, None if self._whole_sink() else self._keys(), progress=self.progress)
        return observation(engine.staging, spec, seen, types)

    def _unheard_of(self, known: Observation) -> bool:
        """Whether records are desired that the ledger never met: the sink must be looked at before they are created."""
        return len(diff(self.desired.index, known.index).create) > 0

    def _keys(self) -> list[str]:
        rows = self.engine.staging.take(self.desired.batch, np.sort(self.desired.index.position), ["__key"])
        keys: list[str] = rows["__key"].to_pylist()
        return keys

    # rows, in the order they are written: creates, updates, deletes, each by key hash, so that equal inputs give equal plans

    def _rows(self) -> Iterator[pa.RecordBatch]:
        missing = self._owned_missing()
        moved = self._moved(missing)
        yield from self._creates(moved)
        yield from self._updates(moved)
        yield from self._deletes(missing, moved)

    def _owned_missing(self) -> Positions:
        """Sink records that this sync matched before and that are no longer desired."""
        missing = self.found.missing
        if not len(self.owned) or not len(missing):
            return missing[:0]
        return missing[np.isin(self.existing.hashes_of(missing), self.owned)]

    def _moved(self, missing: Positions) -> dict[int, int]:
        """Records whose match key changed at the source: desired position → position of the sink record they already are.

        The crosswalk knows them by their source id, so that they are updated and not created a second time.
        """
        if not len(missing) or not len(self.found.create):
            return {}
        positions: dict[str, int] = {}
        for chunk in _chunks(missing):
            keys = changes.key_texts(self._existing_rows(chunk), self.spec.match, self.desired.types)
            positions.update(zip(keys.to_pylist(), chunk.tolist(), strict=True))
        moved = {}
        for chunk in _chunks(self.found.create):
            by_source = dict(zip(self._desired_rows(chunk, ["__source_id"])["__source_id"].to_pylist(), chunk.tolist(), strict=True))
            for match in self.engine.ledger.matches_of_sources(self.spec.name, list(by_source)):
                if match.key in positions and match.source_id in by_source:
                    moved[by_source[match.source_id]] = positions[match.key]
        return moved

    def _creates(self, moved: dict[int, int]) -> Iterator[pa.RecordBatch]:
        create = self.found.create
        if moved:
            create = create[~np.isin(create, np.fromiter(moved, np.int64))]
        if self.spec.mode == "update":
            self._count("skipped", len(create))
            return
        for chunk in _chunks(create):
            rows = self._desired_rows(chunk)
            if self.held:
                held = np.array([key in self.held for key in rows["__key"].to_pylist()], bool)
                self._count("quarantined", int(held.sum()))
                chunk, rows = chunk[~held], rows.filter(pa.array(~held))
            yield self._planned(
                "create",
                changes.create_rows(rows, match=self.spec.match, types=self.desired.types, nulls=self.spec.writes.nulls),
                chunk,
            )

    def _updates(self, moved: dict[int, int]) -> Iterator[pa.RecordBatch]:
        ours = np.concatenate([self.found.differ, np.fromiter(moved.keys(), np.int64, len(moved))])
        theirs = np.concatenate([self.found.differ_existing, np.fromiter(moved.values(), np.int64, len(moved))])
        self._conflicting_keys()
        if self.spec.mode == "insert":
            self._count("skipped", len(ours) + self.found.same_count)
            return
        self._count("unchanged", self.found.same_count)
        for chunk, other in zip(_chunks(ours), _chunks(theirs), strict=True):
            yield self._planned("update", *self._update_chunk(chunk, other))

    def _update_chunk(self, ours: Positions, theirs: Positions) -> tuple[pa.RecordBatch, Positions]:
        spec, desired = self.spec, self._desired_rows(ours)
        matches = {match.key: match for match in self.engine.ledger.matches(spec.name, desired["__key"].to_pylist())}
        known = [matches.get(key) for key in desired["__key"].to_pylist()]
        found = changes.update_rows(
            desired,
            self._existing_rows(theirs),
            pa.array([match.applied if match else None for match in known], pa.string()),
            match=spec.match,
            types=self.desired.types,
            id_field=self.stream.id_field,
            nulls=spec.writes.nulls,
            existing_policy=spec.writes.existing,
            drift=spec.drift,
            write_only=self.stream.write_only,
        )
        self._count("unchanged", len(found.unchanged))
        if found.conflicts.num_rows:
            self._refuse_rows("conflict", desired, found.conflicts)
        stuck = self._normalised(found, known)
        return found.rows.filter(pa.array(~stuck)), ours[found.positions[~stuck]]

    def _normalised(self, found: changes.Updates, known: list[Match | None]) -> npt.NDArray[np.bool_]:
        """Rows that were written twice just so and still read back otherwise: the sink has its own form of them."""
        stuck = np.zeros(found.rows.num_rows, bool)
        for number, (place, row) in enumerate(zip(found.positions.tolist(), found.rows.column("fingerprint").to_pylist(), strict=True)):
            match = known[place]
            stuck[number] = match is not None and match.repeats >= REPEATS_UNTIL_NORMALISED and match.fingerprint == row
        if stuck.any():
            fields = sorted({name for names in found.rows.filter(pa.array(stuck))["fields"].to_pylist() for name in names})
            self._count("unchanged", int(stuck.sum()))
            self.warnings.append(
                f"{int(stuck.sum())} records keep reading back otherwise in {', '.join(fields)}: normalised by the sink, left alone"
            )
        return stuck

    def _deletes(self, missing: Positions, moved: dict[int, int]) -> Iterator[pa.RecordBatch]:
        if self.spec.mode != "mirror" or not is_full(self.raw):
            return
        gone = missing[~np.isin(missing, np.fromiter(moved.values(), np.int64, len(moved)))]
        kept = self._still_at_the_source()
        for chunk in _chunks(gone):
            rows = self._existing_rows(chunk)
            if kept:
                keys = changes.key_texts(rows, self.spec.match, self.desired.types).to_pylist()
                chosen = np.array([key not in kept for key in keys], bool)
                chunk, rows = chunk[chosen], rows.filter(pa.array(chosen))
            planned = changes.delete_rows(rows, match=self.spec.match, types=self.desired.types, id_field=self.stream.id_field)
            yield self._planned("delete", planned, np.full(len(chunk), -1, np.int64))

    def _still_at_the_source(self) -> set[str]:
        """Keys of sink records whose source record exists but is invalid: present, therefore never deleted."""
        invalid = self.desired.invalid
        keys = {key for key in invalid["key"].to_pylist() if key}
        ids = [source_id for source_id in invalid["source_id"].to_pylist() if source_id]
        return keys | {match.key for match in self.engine.ledger.matches_of_sources(self.spec.name, ids)}

    # what the plan keeps of them

    def _planned(self, op: str, rows: pa.RecordBatch, at: Positions) -> pa.RecordBatch:
        self._count(op, rows.num_rows)
        self.at.append(at)
        wanted = SAMPLES - sum(sample["op"] == op for sample in self.samples)
        if wanted > 0:
            self.samples += [_sample(row) for row in rows.slice(0, wanted).to_pylist()]
        return rows

    def _numbered(self, parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        start = 0
        for rows in parts:
            if rows.num_rows:
                seq = integers(np.arange(start, start + rows.num_rows, dtype=np.int64))
                yield pa.RecordBatch.from_arrays([seq, *rows.columns[1:]], schema=changes.PLAN_SCHEMA)
                start += rows.num_rows

    def _kept(self, parts: Iterable[pa.RecordBatch], writer: BatchWriter) -> Iterator[pa.RecordBatch]:
        writer.write(single(changes.PLAN_SCHEMA.empty_table()))
        for rows in parts:
            writer.write(rows)
            self.progress("plan", rows.num_rows)
            yield rows

    def _conflicting_keys(self) -> None:
        """Desired records whose key several sink records have: none of them can be told to be the right one."""
        if len(self.found.conflict):
            rows = self._desired_rows(self.found.conflict, ["__source_id", "__key"])
            why = f"several records of {self.spec.target} have this match key; merge them there, or match on more fields"
            count = rows.num_rows
            self._refuse("conflict", _refusals(rows["__source_id"], rows["__key"], [", ".join(self.spec.match)] * count, [why] * count))

    def _refuse_rows(self, outcome: str, desired: pa.Table, conflicts: pa.RecordBatch) -> None:
        rows = desired.select(["__source_id", "__key"]).take(conflicts["position"])
        self._refuse(outcome, _refusals(rows["__source_id"], rows["__key"], conflicts["field"], conflicts["reason"]))

    def _refuse(self, outcome: str, rows: pa.Table) -> None:
        """Rows of source_id, key, field, reason that get no write."""
        self._count({"conflict": "conflicts"}.get(outcome, outcome), rows.num_rows)
        outcomes = pa.array([outcome] * rows.num_rows, pa.string())
        self.refused.append(pa.table([rows["source_id"], rows["key"], outcomes, rows["field"], rows["reason"]], schema=REFUSED_SCHEMA))

    def _store_refused(self) -> str:
        with self.engine.staging.begin(refused_dataset(self.spec)) as writer:
            writer.write(single(pa.concat_tables([REFUSED_SCHEMA.empty_table(), *self.refused])))
            return writer.commit({}).id

    def _store_adopted(self) -> str:
        """Pairs that are the same record already and that the crosswalk does not know yet."""
        ours, theirs = unchanged(self.desired.index, self.existing.index)
        with self.engine.staging.begin(adopted_dataset(self.spec)) as writer:
            if len(ours):
                hashes = self.existing.hashes_of(theirs)
                fresh = ~np.isin(hashes, self.owned)
                for mine, other, key_hash in zip(_chunks(ours[fresh]), _chunks(theirs[fresh]), _chunks(hashes[fresh]), strict=True):
                    writer.write(self._pairs(mine, other, key_hash))
            else:
                writer.write(single(MATCH_SCHEMA.empty_table()))
            return writer.commit({}).id

    def _pairs(self, ours: Positions, theirs: Positions, hashes: Positions) -> pa.RecordBatch:
        desired = self._desired_rows(ours)
        rows = changes.create_rows(desired, match=self.spec.match, types=self.desired.types)
        ids = ids_at(self.engine.staging, self.existing, self.stream, theirs)
        columns = [desired["__key"], desired["__source_id"], texts(ids), rows["after"], integers(hashes), rows["fingerprint"]]
        return single(pa.table(columns, schema=MATCH_SCHEMA))

    def _value(self, previous_read: int | None, digest: str, adopted: str, refused: str) -> Plan:
        spec, read = self.spec, completeness(self.raw)
        counts = Counts(
            read=self.desired.read,
            desired=self.desired.count,
            create=self.counts.get("create", 0),
            update=self.counts.get("update", 0),
            delete=self.counts.get("delete", 0),
            unchanged=self.counts.get("unchanged", 0),
            skipped=self.desired.skipped + self.counts.get("skipped", 0),
            invalid=self.counts.get("invalid", 0),
            conflicts=self.counts.get("conflicts", 0),
            quarantined=self.counts.get("quarantined", 0),
            existing=self.existing.batch.count,
            owned=len(self.owned),
            previous_read=previous_read,
        )
        named = self._named(digest)
        return Plan(
            sync=spec.name,
            batch_id="",
            raw_id=self.raw.id,
            desired_id=self.desired.batch.id,
            adopted_id=adopted,
            refused_id=refused,
            digest=named,
            counts=counts,
            refusals=refusals(spec, counts, read, named),
            complete=read.complete,
            reasons=read.reasons,
            promises=promises(spec, counts, self.stream.capabilities),
            warnings=tuple(self.warnings),
            samples=tuple(self.samples),
        )

    def _named(self, digest: str) -> str:
        """The digest of the rows together with what they are to be applied to."""
        said = "\0".join((self.spec.name, self.spec.source, self.spec.target, self.spec.mode, digest))
        return hashlib.sha256(said.encode()).hexdigest()

    def _previous_read(self, staged: list[Batch]) -> int | None:
        """How many records the last full read before this one gave; None where this is no full read or the first."""
        if not is_full(self.raw):
            return None
        return next((batch.count for batch in reversed(staged) if is_full(batch) and batch.id < self.raw.id), None)

    def _desired_rows(self, positions: Positions, columns: list[str] | None = None) -> pa.Table:
        return self.engine.staging.take(self.desired.batch, positions, columns)

    def _existing_rows(self, positions: Positions, columns: list[str] | None = None) -> pa.Table:
        return self.engine.staging.take(self.existing.batch, positions, columns)

    def _count(self, outcome: str, count: int) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + count


def _chunks(positions: Positions) -> list[Positions]:
    return [positions[at : at + CHUNK] for at in range(0, len(positions), CHUNK)]


def _refusals(source_ids: Any, keys: Any, fields: Any, reasons: Any) -> pa.Table:
    return pa.table({"source_id": source_ids, "key": keys, "field": fields, "reason": reasons})


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    """One change as `plan --json` shows it: its op, key and, of each field, before and after."""
    before, after = (json.loads(row[name]) if row[name] else {} for name in ("before", "after"))
    return {"op": row["op"], "key": json.loads(row["key"]), "before": before, "after": after}
