"""Undo: the plan that takes a run's writes back, from what the sink held before them. Reads the ledger and the sink."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from connectors import jsontext
from connectors.arrow import records_to_batch
from connectors.base import Op, Record, Stream
from connectors.errors import ConfigError
from pipelines import changes
from pipelines.arrays import no_rows, texts
from pipelines.assumed import assumed
from pipelines.chunked import chunked
from pipelines.engine import Engine, Progress, silent
from pipelines.keys import key_values
from pipelines.ledger import State, Write
from pipelines.ledger_records import READ_BACK_OTHERWISE
from pipelines.observe import ids_at, observation, see
from pipelines.plan import NEVER, Counts, Plan, promises, refusals
from pipelines.plan_rows import HELD, REFUSED_SCHEMA, SAMPLED, SAMPLES
from pipelines.planning import MATCH_SCHEMA, adopted_dataset, named, plan_dataset, refused_dataset
from pipelines.run import Kind, SyncRun
from pipelines.settle import CHUNK, find, matched_then
from pipelines.spec import SyncSpec
from pipelines.staging import Dataset

_INVERSE: dict[str, Op] = {"create": "delete", "update": "update", "delete": "create"}
_ORDER: tuple[Op, ...] = ("create", "update", "delete")


class UndoRun(SyncRun):
    """A run that takes back what another one wrote, under the same guards, fence and read-back as any run.

    A record that others changed since is left as it is and reported as a conflict.
    """

    def __init__(
        self, engine: Engine, spec: SyncSpec, run_id: str, undone: str, progress: Progress = silent, *, kind: Kind = "undo"
    ) -> None:
        super().__init__(engine, spec, run_id, progress, kind=kind)
        self._undone = undone

    def _planned(self, epoch: int) -> Plan:
        return plan_undo(self.engine, self.spec, self._undone, epoch, progress=self._progress)

    def _applied(self, plan: Plan) -> None:
        """The position stays: the source was not read, and its records are due as before."""


@dataclass(frozen=True)
class _Step:
    """One write taken back: what to send, and the values that the record should then have."""

    op: Op
    write: Write
    sink_id: str | None
    before: Record
    after: Record


def plan_undo(engine: Engine, spec: SyncSpec, run_id: str, epoch: int = NEVER, *, progress: Progress = silent) -> Plan:
    """The plan that takes the confirmed writes of a run back; `epoch` as for `pipelines.planning.plan_sync`.

    Raises ConfigError where there is nothing to take back, or the sink cannot do it.
    """
    stream = engine.sink(spec.target_connection).stream(spec.target_stream)
    writes = list(engine.ledger.writes(run_id, [State.CONFIRMED]))
    if (then := matched_then(engine, spec, run_id).match) != spec.match:
        raise ConfigError(
            f"run {run_id} matched records by {', '.join(then)}, and {spec.name} matches them by {', '.join(spec.match)} now, by which "
            f"what it wrote cannot be found again; put match: [{', '.join(then)}] back for as long as you undo it"
        )
    if not writes:
        raise ConfigError(f"run {run_id} wrote nothing that could be taken back; `crossdock runs {spec.name}` lists the runs")
    for op in sorted({_INVERSE[write.op] for write in writes}):
        if stream.capabilities.write(op) is None:
            raise ConfigError(f"{spec.target} cannot {op} records, so run {run_id} cannot be taken back")
    waiting = {one.key for one in engine.ledger.failures(spec.name) if one.outcome == "quarantined" and not one.released}
    steps, conflicts = _steps(engine, spec, stream, writes, progress)
    held = [step for step in steps if step.op == "create" and step.write.key in waiting]
    steps = [step for step in steps if step.op != "create" or step.write.key not in waiting]
    steps = _rekeyed(steps, spec.match)
    steps.sort(key=lambda step: (_ORDER.index(step.op), step.write.key))
    rows = [_row(number, step, spec) for number, step in enumerate(steps)]
    plan_rows = pa.RecordBatch.from_pylist(rows, schema=changes.PLAN_SCHEMA)
    with engine.staging.begin(Dataset(("desired", spec.name))) as writer:
        kept = [step for step in steps if step.op != "delete"]
        writer.write(_desired([(step.write, {**key_values(step.write.key, spec.match), **step.after}) for step in kept]))
        desired = writer.commit({"undo": run_id})
    with engine.staging.begin(adopted_dataset(spec)) as writer:
        writer.write(no_rows(MATCH_SCHEMA))
        adopted = writer.commit({})
    with engine.staging.begin(refused_dataset(spec)) as writer:
        writer.write(_refused("conflict", [(write, f"not taken back: {why}") for write, why in conflicts]))
        writer.write(_refused("quarantined", [(step.write, HELD) for step in held]))
        refused = writer.commit({})
    count = {op: sum(step.op == op for step in steps) for op in _ORDER}
    owned = len(engine.ledger.match_hashes(spec.name))
    counts = Counts(
        read=count["create"] + count["update"] + len(conflicts) + len(held),
        desired=count["create"] + count["update"],
        create=count["create"],
        update=count["update"],
        delete=count["delete"],
        conflicts=len(conflicts),
        quarantined=len(held),
        existing=owned,
        owned=owned,
    )
    digest = named(spec, f"undo {run_id} " + changes.digest([plan_rows]))
    with engine.staging.begin(plan_dataset(spec)) as writer:
        writer.write(plan_rows)
        plan = Plan(
            sync=spec.name,
            batch_id="",
            raw_id="",
            desired_id=desired.id,
            adopted_id=adopted.id,
            refused_id=refused.id,
            epoch=epoch,
            digest=digest,
            counts=counts,
            refusals=refusals(spec, counts, None, digest),
            complete=True,
            reasons=(f"the writes of run {run_id} are in the ledger",),
            promises=promises(counts, stream.capabilities, assumed(spec, engine.settings(spec.target_connection))),
            warnings=(f"the next run of {spec.name} writes this again, unless its source or its mapping changes first",),
            samples=tuple({name: row[name] for name in SAMPLED} for row in rows[: 3 * SAMPLES]),
        )
        batch = writer.commit(plan.note())
    places = np.concatenate([np.arange(counts.desired, dtype=np.int64), np.full(counts.delete, -1, np.int64)])
    engine.staging.put_index(batch, "desired", {"position": places})
    return Plan.from_note(batch.id, batch.note)


def _steps(
    engine: Engine, spec: SyncSpec, stream: Stream, writes: list[Write], progress: Progress
) -> tuple[list[_Step], list[tuple[Write, str]]]:
    """What takes each write back, and the writes that must stand because the record is not as they left it."""
    types = pa.schema([(name, pa.string()) for name in spec.match])
    batch = see(engine, spec, stream, sorted({write.key for write in writes}), progress=progress)
    shown = observation(engine.staging, spec, stream, batch, types)
    steps: list[_Step] = []
    conflicts: list[tuple[Write, str]] = []
    for chunk in chunked(writes, CHUNK):
        hits = find(shown, [write.key for write in chunk], spec.match, types)
        single_hits = np.flatnonzero(hits.counts == 1)
        ids = dict(zip(single_hits.tolist(), ids_at(engine.staging, shown, stream, hits.positions[single_hits]), strict=True))
        own = [number for number, write in enumerate(chunk) if write.op != "delete" and ids.get(number) == write.sink_id]
        held = engine.staging.take(shown.batch, hits.positions[own])
        changed = dict(zip(own, _changed([chunk[number] for number in own], held, stream), strict=True))
        for number, write in enumerate(chunk):
            why = _why_not(write, int(hits.counts[number]), changed.get(number))
            if not why and write.op == "update" and not _object(write.before):
                why = "only fields that cannot be read back were written, and what they held before is not known"
            if why:
                conflicts.append((write, why))
            else:
                before = {name: value for name, value in _object(write.before).items() if name not in stream.read_only}
                before.pop(stream.id_field, None)
                steps.append(_Step(_INVERSE[write.op], write, ids.get(number), _object(write.after), before))
    return steps, conflicts


def _rekeyed(steps: list[_Step], match: Sequence[str]) -> list[_Step]:
    """The same under the match keys that the records have afterwards: an update may have changed them."""
    moved = [step for step in steps if step.op == "update" and not step.after.keys().isdisjoint(match)]
    if not moved:
        return steps
    restored = pa.Table.from_batches([_desired([(step.write, {**key_values(step.write.key, match), **step.after}) for step in moved])])
    types = pa.schema([field for field in restored.schema if not field.name.startswith("__")])
    keys = dict(zip(map(id, moved), changes.key_texts(restored, match, types).to_pylist(), strict=True))
    return [replace(step, write=replace(step.write, key=keys[id(step)])) if keys.get(id(step)) else step for step in steps]


def _why_not(write: Write, count: int, changed: str | None) -> str:
    """Why a write cannot be taken back; empty where it can. `changed`: the fields others changed, None where it is not there."""
    if write.op == "delete":
        return "a record with this match key is in the sink again" if count else ""
    if changed is None:
        return "another record has this match key now" if count else "the record is not in the sink any more"
    if changed and write.reason.startswith(READ_BACK_OTHERWISE):
        return f"{changed} is not as it was written, and was not when it was read back: the sink rewrites it, or others changed it"
    return f"{changed} was changed in the sink since" if changed else ""


def _changed(writes: Sequence[Write], held: pa.Table, stream: Stream) -> list[str]:
    """For each write the fields that the sink does not hold any more as they were written."""
    if not writes:
        return []
    written = _desired([(write, _object(write.after)) for write in writes])
    types = pa.schema([column for column in written.schema if not column.name.startswith("__")])
    found = changes.update_rows(
        pa.Table.from_batches([written]), held, None, match=(), types=types, id_field=stream.id_field, write_only=stream.write_only
    )
    names = [""] * len(writes)
    for place, fields in zip(found.positions.tolist(), found.rows.column("fields").to_pylist(), strict=True):
        names[place] = ", ".join(fields)
    return names


def _desired(records: Sequence[tuple[Write, Record]]) -> pa.RecordBatch:
    """Records as desired rows; a field that one of them does not have is one to leave alone."""
    batch = records_to_batch([record for _, record in records], None)
    names = [name for name in batch.schema.names if not name.startswith("__")]
    omitted = pa.array([[name for name in names if name not in record] or None for _, record in records], pa.list_(pa.string()))
    own = [texts([write.source_id or "" for write, _ in records]), texts([write.key for write, _ in records]), omitted]
    fields = [pa.field("__source_id", pa.string()), pa.field("__key", pa.string()), pa.field("__omitted", pa.list_(pa.string()))]
    columns = [batch.column(name) for name in names]
    return pa.RecordBatch.from_arrays([*own, *columns], schema=pa.schema([*fields, *(batch.schema.field(name) for name in names)]))


def _row(number: int, step: _Step, spec: SyncSpec) -> dict[str, Any]:
    return {
        "seq": number,
        "op": step.op,
        "key": jsontext.dumps(key_values(step.write.key, spec.match)).decode(),
        "source_id": step.write.source_id,
        "sink_id": step.sink_id,
        "fields": sorted(step.after),
        "before": jsontext.dumps(step.before).decode(),
        "after": None if step.op == "delete" else jsontext.dumps(step.after).decode(),
        "fingerprint": None,
    }


def _refused(outcome: str, refused: Sequence[tuple[Write, str]]) -> pa.RecordBatch:
    writes = [write for write, _ in refused]
    columns = [
        texts([write.source_id or "" for write in writes]),
        texts([write.key for write in writes]),
        texts([outcome] * len(writes)),
        texts([""] * len(writes)),
        texts([why for _, why in refused]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=REFUSED_SCHEMA)


def _object(text: str | None) -> Record:
    value = jsontext.loads(text) if text is not None else {}
    return value if isinstance(value, dict) else {}
