"""Plan rows: what to create, update and delete, from the two sides and what is known of them. Reads staging and the ledger only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors import jsontext
from connectors.arrow_lists import from_numpy
from connectors.base import Stream
from pipelines import changes
from pipelines.arrays import texts
from pipelines.desired import Desired
from pipelines.diff import Diff
from pipelines.elsewhere import places_of_ids
from pipelines.engine import Engine
from pipelines.keys import key_of, plain_id, same_id
from pipelines.ledger import NEVER_SHOWN, Match
from pipelines.memory import unseen
from pipelines.observe import Observation, key_hashes
from pipelines.spec import SyncSpec

Positions = npt.NDArray[np.int64]

CHUNK = 20_000
REPEATS_UNTIL_NORMALISED = 2
SAMPLED = ("op", "source_id", "key", "sink_id", "before", "after")  # of a row, in a sample
SAMPLES = 20  # of each op
HELD = "an earlier create of it has no known outcome; look there, then retry or dismiss it"
TAKEN = (
    "the record that it was has another match key and other values now: changed there, or another record under its old id; "
    "settle it there, or retry it to make it anew"
)
UNSEEN = (
    "an earlier run made it, and no read has shown it since; wait, set T_lag_s if that is usual, or look there, and retry it if it is not"
)
STRAYS = 5_000  # records gone from both sides, or under another key, that are looked for by id

REFUSED_SCHEMA = pa.schema([(name, pa.string()) for name in ("source_id", "key", "outcome", "field", "reason")])


@dataclass
class PlanRows:
    """The rows of one plan, made in chunks; what else comes of making them gathers here.

    `owned` are the key hashes this sync matched before, `held` the keys that wait for a person, `released` those a person let
    go, `dismissed` the writes (by key) that a person does not want sent again, `deletes` whether absence at the source counts.
    `in_parts` makes creates and updates in another way, with the same rows (`plan_parts`).
    `counts` are the outcomes so far; `refused` the records without a row (REFUSED_SCHEMA); `at` says of each row where its
    desired row lies (-1 for deletes); `samples` are the first changes of each op.
    """

    engine: Engine
    spec: SyncSpec
    stream: Stream
    desired: Desired
    existing: Observation
    found: Diff
    owned: Positions
    held: frozenset[str]
    waiting: Mapping[str, str]  # source id → the key under which a create of it waits for a person
    released: frozenset[str]
    dismissed: Mapping[str, str | None]
    deletes: bool
    unproven: frozenset[int]
    in_parts: Callable[["PlanRows"], Iterator[pa.RecordBatch]] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    refused: list[pa.Table] = field(default_factory=list)
    at: list[Positions] = field(default_factory=list)
    never_shown: set[int] = field(default_factory=set)  # desired positions of what an earlier run made and no read showed since
    others: set[int] = field(default_factory=set)  # desired positions of what was made under an id that another record seems to have now

    def make(self) -> Iterator[pa.RecordBatch]:
        """Creates, updates, deletes (changes.PLAN_SCHEMA), each by key hash, so that equal inputs give equal plans."""
        self.refuse("invalid", self.desired.invalid)
        missing = self._owned_missing()
        moved = self._moved(missing)
        create, (ours, theirs) = self._to_create(moved), self._to_update(moved)
        alike = not (moved or self.never_shown or self.others or self.unproven) and self.spec.mode in ("upsert", "mirror")
        if self.in_parts is not None and alike:
            yield from self.in_parts(self)
        else:
            yield from self.creates(create)
            yield from self.updates(ours, theirs, moved)
        yield from self._deletes(missing, moved)

    def _owned_missing(self) -> Positions:
        """Sink records that this sync matched before and that are no longer desired."""
        missing = self.found.missing
        if not len(self.owned) or not len(missing):
            return missing[:0]
        return missing[np.isin(self.existing.hashes_of(missing), self.owned)]

    def _moved(self, missing: Positions) -> dict[int, int]:
        """Records whose match key changed, at the source or in the sink: desired position → position of the sink record they already are.

        The crosswalk knows them by their source id, or by the key that they have here, so that they are updated and not created a
        second time.
        """
        if not len(self.found.create) or not (len(missing) or len(self.found.existing_duplicates) or self._any_vanished()):
            return {}
        positions: dict[str, int] = {}
        for chunk in chunks(missing):
            keys, ours = self._ours(chunk)
            positions.update((key, place) for key, place, known in zip(keys, chunk.tolist(), ours.tolist(), strict=True) if key and known)
        moved: dict[int, int] = {}
        strays: dict[str, int] = {}
        last: dict[int, str | None] = {}
        own: list[int] = []  # the hashes of their old keys, under which they may stand beside others
        known = set(self.desired.index.position[np.isin(key_hashes(self.desired.index), self.owned)].tolist())
        for chunk in chunks(self.found.create):
            rows = self._desired_rows(chunk, ["__source_id", "__key"])
            by_source = dict(zip(rows["__source_id"].to_pylist(), chunk.tolist(), strict=True))
            for match in self.engine.ledger.matches_of_sources(self.spec.name, list(by_source)):
                if match.key in positions and match.source_id in by_source:
                    moved[by_source[match.source_id]] = positions[match.key]
                elif match.source_id in by_source:
                    strays[plain_id(match.sink_id)] = by_source[match.source_id]
                    last[by_source[match.source_id]] = match.applied
                    own.append(match.key_hash)
                    if match.repeats == NEVER_SHOWN:
                        self.never_shown.add(by_source[match.source_id])
            by_key = {key: at for key, at in zip(rows["__key"].to_pylist(), chunk.tolist(), strict=True) if at in known and at not in last}
            for match in self.engine.ledger.matches(self.spec.name, list(by_key)):
                if by_key[match.key] not in moved and plain_id(match.sink_id) not in strays:
                    strays[plain_id(match.sink_id)], last[by_key[match.key]] = by_key[match.key], match.applied
        standing = places_of_ids(self.engine.staging, self.stream, self.existing, strays.keys(), apart_from=self._taken_hashes(own))
        taken = set(moved.values())
        strayed = {strays[one]: place for one, place in standing.items() if place not in taken}
        return {**self._still_ours(strayed, last), **moved}

    def _still_ours(self, strayed: Mapping[int, int], last: Mapping[int, str | None]) -> dict[int, int]:
        """Those of the records found by id that still look like what was written; the others may be somebody else's by now."""
        ours: dict[int, int] = {}
        for start in range(0, len(strayed), CHUNK):
            pairs = list(strayed.items())[start : start + CHUNK]
            standing = changes.still_standing(
                self._existing_rows(np.array([place for _, place in pairs], np.int64)),
                texts([last[wanted] for wanted, _ in pairs]),
                match=self.spec.match,
                types=self.desired.types,
                write_only=self.stream.write_only,
            )
            ours.update(compress(pairs, standing))
            self.others.update(wanted for wanted, _ in compress(pairs, ~standing))
        return ours

    def _taken_hashes(self, old: Sequence[int] = ()) -> Positions:
        """The key hashes of all records that are desired or matched: what has one of them is that record, whatever its id was before.

        But for `old` keys of records that have another one now.
        """
        return np.union1d(np.setdiff1d(self.owned, np.array(old, np.int64)), key_hashes(self.desired.index))

    def _any_vanished(self) -> bool:
        """Whether some record that this sync matched before does not show under its key."""
        return bool(len(np.setdiff1d(self.owned, key_hashes(self.existing.index))))

    def _to_create(self, moved: dict[int, int]) -> Positions:
        create = self.found.create
        if moved:
            create = create[~np.isin(create, np.fromiter(moved, np.int64))]
        if self.spec.mode == "update":
            self._count("skipped", len(create))
            return create[:0]
        if self.unproven:
            seeming = np.isin(create, self.desired.index.position[np.isin(key_hashes(self.desired.index), list(self.unproven))])
            self._refuse_seemingly_gone(create[seeming])
            create = create[~seeming]
        return create

    def creates(self, create: Positions) -> Iterator[pa.RecordBatch]:
        """The rows that create these desired records."""
        for chunk in chunks(create):
            rows = self._desired_rows(chunk)
            if self.waiting or self.held or self.never_shown:
                unseen = np.isin(chunk, np.fromiter(self.never_shown, np.int64)) & self._not(self.released, rows)
                held = ~self._not(self.held, rows)
                held |= np.array([source_id in self.waiting for source_id in rows["__source_id"].to_pylist()], bool)
                self._refuse_held(rows.filter(from_numpy(held & ~unseen)), HELD)
                self._refuse_held(rows.filter(from_numpy(unseen)), UNSEEN)
                held |= unseen
                chunk, rows = chunk[~held], rows.filter(from_numpy(~held))
            if self.others:
                doubted = np.isin(chunk, np.fromiter(self.others, np.int64)) & self._not(self.released, rows)
                self._refuse_conflicts(rows.filter(from_numpy(doubted)), TAKEN)
                chunk, rows = chunk[~doubted], rows.filter(from_numpy(~doubted))
            yield self._planned(
                "create",
                changes.create_rows(rows, match=self.spec.match, types=self.desired.types, nulls=self.spec.writes.nulls),
                chunk,
            )

    def _to_update(self, moved: dict[int, int]) -> tuple[Positions, Positions]:
        ours = np.concatenate([self.found.differ, np.fromiter(moved.keys(), np.int64, len(moved))])
        theirs = np.concatenate([self.found.differ_existing, np.fromiter(moved.values(), np.int64, len(moved))])
        self._conflicting_keys()
        if self.spec.mode == "insert":
            self._count("skipped", len(ours) + self.found.same_count)
            return ours[:0], theirs[:0]
        self._count("unchanged", self.found.same_count)
        return ours, theirs

    def updates(self, ours: Positions, theirs: Positions, moved: Mapping[int, int]) -> Iterator[pa.RecordBatch]:
        """The rows that bring these sink records to these desired ones, pair by pair."""
        for chunk, other in zip(chunks(ours), chunks(theirs), strict=True):
            yield self._planned("update", *self._update_chunk(chunk, other, moved))

    def _update_chunk(self, ours: Positions, theirs: Positions, moved: Mapping[int, int]) -> tuple[pa.RecordBatch, Positions]:
        spec, desired = self.spec, self._desired_rows(ours)
        known = self._known(desired, [place in moved for place in ours.tolist()])
        found = changes.update_rows(
            desired,
            self._existing_rows(theirs),
            texts([match.applied if match else None for match in known]),
            match=spec.match,
            types=self.desired.types,
            id_field=self.stream.id_field,
            nulls=spec.writes.nulls,
            existing_policy=spec.writes.existing,
            drift=spec.drift,
            write_only=self.stream.write_only,
            recalled=unseen(self.stream, self.desired.types),
        )
        self._count("unchanged", len(found.unchanged))
        self._count("drifted", sum(match is not None and not match.repeats for match in compress(known, found.drifted)))
        if found.conflicts.num_rows:
            self._refuse_rows("conflict", desired, found.conflicts)
        stuck = self._normalised(found, known)
        return found.rows.filter(from_numpy(~stuck)), ours[found.positions[~stuck]]

    def _known(self, desired: pa.Table, moved: list[bool]) -> list[Match | None]:
        """What the crosswalk knows of each record: by its key, or, where that moved, by its source id."""
        keys, sources = desired["__key"].to_pylist(), desired["__source_id"].to_pylist()
        by_key = {match.key: match for match in self.engine.ledger.matches(self.spec.name, keys)}
        strayed = [source for source, has_moved in zip(sources, moved, strict=True) if has_moved]
        by_source = {match.source_id: match for match in self.engine.ledger.matches_of_sources(self.spec.name, strayed)}
        rows = zip(keys, sources, moved, strict=True)
        return [(by_source.get(source) if has_moved else None) or by_key.get(key) for key, source, has_moved in rows]

    def _normalised(self, found: changes.Updates, known: list[Match | None]) -> npt.NDArray[np.bool_]:
        """Rows that were written twice just so, read back otherwise and have stayed so: the sink has its own form of them."""
        stuck = np.zeros(found.rows.num_rows, bool)
        for number, (place, row) in enumerate(zip(found.positions.tolist(), found.rows.column("fingerprint").to_pylist(), strict=True)):
            match = known[place]
            stuck[number] = match is not None and match.repeats >= REPEATS_UNTIL_NORMALISED and match.fingerprint == row
            stuck[number] &= self.spec.drift != "overwrite" or not found.drifted[place]  # else what others changed is not in the row
        if stuck.any():
            fields = sorted({name for names in found.rows.filter(from_numpy(stuck))["fields"].to_pylist() for name in names})
            self._count("unchanged", int(stuck.sum()))
            self.warnings.append(
                f"{int(stuck.sum())} records keep reading back otherwise in {', '.join(fields)}: normalised by the sink, left alone"
            )
        return stuck

    def _deletes(self, missing: Positions, moved: dict[int, int]) -> Iterator[pa.RecordBatch]:
        if not self.deletes:
            return
        gone = missing[~np.isin(missing, np.fromiter(moved.values(), np.int64, len(moved)))]
        kept = self._still_at_the_source()
        others = 0
        for chunk in chunks(gone):
            keys, ours = self._ours(chunk)
            others += int((~ours).sum())
            chunk = chunk[ours & np.array([key not in kept for key in keys], bool)]
            rows = self._existing_rows(chunk)
            planned = changes.delete_rows(rows, match=self.spec.match, types=self.desired.types, id_field=self.stream.id_field)
            yield self._planned("delete", planned, np.full(len(chunk), -1, np.int64))
        self._warn_of_strays(set(moved.values()))
        if others:
            why = "others made them anew, they are left alone"
            self.warnings.append(f"{others} records of {self.spec.target} have match keys of this sync's but other ids: {why}")

    def _warn_of_strays(self, moved: set[int]) -> None:
        """Records of ours without a source that the sink shows under another match key: whether to delete them a person decides."""
        known = np.union1d(key_hashes(self.existing.index), key_hashes(self.desired.index))
        lost = np.setdiff1d(self.owned, known)[:STRAYS].tolist()
        if not lost:
            return
        ids = {match.sink_id for match in self.engine.ledger.matches_of_hashes(self.spec.name, lost)}
        places = set(places_of_ids(self.engine.staging, self.stream, self.existing, ids, apart_from=self._taken_hashes()).values())
        if count := len(places - moved):
            why = "left alone; delete them there, and map the key the way the sink keeps it"
            self.warnings.append(
                f"{count} records of {self.spec.target} without a source have another match key there than was written: {why}"
            )

    def _ours(self, chunk: Positions) -> tuple[list[str | None], npt.NDArray[np.bool_]]:
        """The match keys of these sink records, and whether each is the very record that the crosswalk knows by that key."""
        rows = self._existing_rows(chunk)
        keys = changes.key_texts(rows, self.spec.match, self.desired.types).to_pylist()
        ids = [jsontext.dumps(value).decode() for value in rows[self.stream.id_field].to_pylist()]
        known = {match.key: match.sink_id for match in self.engine.ledger.matches(self.spec.name, [key for key in keys if key is not None])}
        return keys, np.array([same_id(known.get(key or ""), sink_id) for key, sink_id in zip(keys, ids, strict=True)], bool)

    def _still_at_the_source(self) -> set[str]:
        """Keys of sink records whose source record exists but is invalid: present, therefore never deleted."""
        invalid = self.desired.invalid
        keys = {key for key in invalid["key"].to_pylist() if key}
        ids = [source_id for source_id in invalid["source_id"].to_pylist() if source_id]
        return keys | {match.key for match in self.engine.ledger.matches_of_sources(self.spec.name, ids)}

    def _planned(self, op: str, rows: pa.RecordBatch, at: Positions) -> pa.RecordBatch:
        if self.dismissed:
            sent = zip(rows["key"].to_pylist(), rows["after"].to_pylist(), strict=True)
            kept = np.array([after is None or self.dismissed.get(key_of(key)) != after for key, after in sent], bool)
            self._count("skipped", int((~kept).sum()))
            rows, at = rows.filter(from_numpy(kept)), at[kept]
        self._count(op, rows.num_rows)
        self.at.append(at)
        wanted = SAMPLES - sum(sample["op"] == op for sample in self.samples)
        if wanted > 0:
            self.samples += [_sample(row) for row in rows.slice(0, wanted).to_pylist()]
        return rows

    def _conflicting_keys(self) -> None:
        """Desired records whose key several sink records have: none of them can be told to be the right one."""
        if len(self.found.conflict):
            why = f"several records of {self.spec.target} have this match key; merge them there, or match on more fields"
            self._refuse_conflicts(self._desired_rows(self.found.conflict, ["__source_id", "__key"]), why)

    def _refuse_seemingly_gone(self, positions: Positions) -> None:
        """Records that were in the sink and are not shown any more, unproven: made again they might be there twice."""
        why = (
            f"{self.spec.target} held this record and does not show it any more, and no read of it proves that it is gone; "
            "look there and at what the credentials may see"
        )
        self._refuse_conflicts(self._desired_rows(positions, ["__source_id", "__key"]), why)

    def _refuse_conflicts(self, rows: pa.Table, why: str) -> None:
        fields = [", ".join(self.spec.match)] * rows.num_rows
        self.refuse("conflict", _refusals(rows["__source_id"], rows["__key"], fields, [why] * rows.num_rows))

    def _not(self, keys: frozenset[str], rows: pa.Table) -> npt.NDArray[np.bool_]:
        return np.array([key not in keys for key in rows["__key"].to_pylist()], bool)

    def _refuse_held(self, rows: pa.Table, why: str) -> None:
        """Creates of which nobody knows whether they happened: they wait until a person says so, however many runs that takes, and
        whatever key the record has by then.
        """
        pairs = zip(rows["__key"].to_pylist(), rows["__source_id"].to_pylist(), strict=True)
        keys = [key if key in self.held else self.waiting.get(source_id, key) for key, source_id in pairs]
        self.refuse("quarantined", _refusals(rows["__source_id"], keys, [""] * rows.num_rows, [why] * rows.num_rows))

    def _refuse_rows(self, outcome: str, desired: pa.Table, conflicts: pa.RecordBatch) -> None:
        rows = desired.select(["__source_id", "__key"]).take(conflicts["position"])
        self.refuse(outcome, _refusals(rows["__source_id"], rows["__key"], conflicts["field"], conflicts["reason"]))

    def refuse(self, outcome: str, rows: pa.Table) -> None:
        """Rows of source_id, key, field, reason that get no write."""
        self._count({"conflict": "conflicts"}.get(outcome, outcome), rows.num_rows)
        outcomes = texts([outcome] * rows.num_rows)
        columns = [rows["source_id"], rows["key"], outcomes, rows["field"], rows["reason"]]
        self.refused.append(pa.Table.from_arrays(columns, schema=REFUSED_SCHEMA))

    def _desired_rows(self, positions: Positions, columns: list[str] | None = None) -> pa.Table:
        return self.desired.rows.take(self.engine.staging, positions, columns)

    def _existing_rows(self, positions: Positions) -> pa.Table:
        return self.existing.rows.take(self.engine.staging, positions)

    def _count(self, outcome: str, count: int) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + count


def chunks(positions: Positions) -> list[Positions]:
    """The positions in parts of CHUNK at most, so that what is taken at once stays bounded."""
    return [positions[at : at + CHUNK] for at in range(0, len(positions), CHUNK)]


def _refusals(source_ids: Any, keys: Any, fields: Any, reasons: Any) -> pa.Table:
    columns = [
        column if isinstance(column, pa.Array | pa.ChunkedArray) else texts(column) for column in (source_ids, keys, fields, reasons)
    ]
    return pa.Table.from_arrays(columns, names=["source_id", "key", "field", "reason"])


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    """One change as a plan keeps it in its note: the JSON texts of the row, whose numbers are exact; see `Plan.first_changes`."""
    return {name: row[name] for name in SAMPLED}
