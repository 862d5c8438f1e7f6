"""Desired: what the sink should hold, made from the staged source by the mapping, each source record once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow_lists import array, from_numpy
from connectors.arrow_types import conform, widest_schema
from connectors.base import Filling, Sink, Stream
from connectors.errors import ConfigError
from pipelines.arrays import no_rows, numbers, texts
from pipelines.engine import Engine, Progress, is_full, silent
from pipelines.fingerprint import Index, index
from pipelines.inorder import InOrder
from pipelines.keys import shown
from pipelines.ledger import Ledger
from pipelines.mapping import CompiledMapping, compile_mapping, duplicate_keys, map_records
from pipelines.observe import compared
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging
from pipelines.window import Window

_CROSSWALK = ["source_id", "key", "sink_id"]

INVALID_SCHEMA = pa.schema([("source_id", pa.string()), ("key", pa.string()), ("field", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Due:
    """A staged batch to be mapped: all of it, or only the records with these source ids, or within a window of the cursor field."""

    batch: Batch
    only: frozenset[str] | None = None
    within: Window | None = None

    @property
    def deciding(self) -> tuple[str, ...]:
        """The field, beside the id, that decides which of its records are wanted, where it has that field."""
        return () if self.within is None or self.within.field not in self.batch.schema.names else (self.within.field,)

    def wanted(self, ids: pa.Array, records: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Which of these records, having these ids, are to be mapped."""
        if self.only is not None:
            return np.array(pc.is_in(ids, value_set=array(sorted(self.only), pa.string())).to_pylist(), bool)
        return np.ones(len(ids), bool) if self.within is None else self.within.holds(records)


@dataclass(frozen=True)
class Desired:
    """Desired rows in staging, their index (records that share a key left out), and the records that have no desired row.

    `read` counts distinct source records: rows of the index + `invalid` + `skipped`.
    """

    batch: Batch
    index: Index
    types: pa.Schema
    invalid: pa.Table
    read: int
    skipped: int

    @cached_property
    def rows(self) -> InOrder:
        """Its rows, to be asked for in the order of their keys."""
        return InOrder(self.batch, self.index.position)

    @property
    def count(self) -> int:
        """Records that are wanted in the sink."""
        return len(self.index.position)


def due(staged: Sequence[Batch], newest: Batch, position: str | None, pending: frozenset[str]) -> list[Due]:
    """What a run must map, oldest first, given the newest batch and the last one whose records all have outcomes.

    A full batch says everything by itself. Otherwise: every increment since `position`, and the pending
    records from before it; without a position (first run, changed mapping) the newest full batch and all since.
    """
    if is_full(newest):
        return [Due(newest)]
    upto = [batch for batch in staged if batch.id <= newest.id]
    base = max((number for number, batch in enumerate(upto) if is_full(batch)), default=None)
    if base is None:
        raise ConfigError("staging holds increments but no full read of the source; run again with --full")
    state = upto[base:]
    if position is None or position < state[0].id:
        return [Due(batch) for batch in state]
    before = [Due(batch, pending) for batch in state if batch.id <= position] if pending else []
    return before + [Due(batch) for batch in state if batch.id > position]


def make_desired(
    engine: Engine,
    spec: SyncSpec,
    source: Stream,
    sink: Stream,
    taken: Sequence[Due],
    *,
    sink_fields: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Desired:
    """Map the newest version of every record in `taken` and stage the result. Raises ConfigError where the mapping does not fit."""
    schema = pa.schema([])
    for one in taken:
        schema = widest_schema(schema, one.batch.schema)
    if not any(one.batch.count for one in taken):
        return _nothing(engine, spec)  # which fields the source has is told by its records
    if source.id_field not in schema.names:
        raise ConfigError(f"{spec.source} has no field {source.id_field!r} to tell its records apart; declare its key under streams:")
    mapping = compile_mapping(spec, schema, source.id_field, sink_fields=sink_fields, read_only=sink.read_only)
    invalid: list[pa.Table] = []
    read = skipped = 0
    with engine.staging.begin(Dataset(("desired", spec.name))) as writer:
        rows = pa.RecordBatchReader.from_batches(schema, _rows(engine.staging, taken, schema, source.id_field))
        for mapped in map_records(mapping, rows, _lookups(engine.ledger, mapping)):
            writer.write(_marked(engine.sink(spec.target_connection), sink, mapped.desired))
            invalid.append(_invalid(mapped.invalid))
            read += mapped.desired.num_rows + mapped.invalid.num_rows + mapped.skipped
            skipped += mapped.skipped
            progress("map", mapped.desired.num_rows)
        batch = writer.commit({"raw": [one.batch.id for one in taken]})
    types = pa.schema([column for column in batch.schema if not column.name.startswith("__")])
    single, shared = duplicate_keys(index(engine.staging.scan(batch), spec.match, compared(sink, types), types))
    if len(shared):
        invalid.append(_sharing(engine.staging, batch, shared, spec))
    return Desired(batch, single, types, pa.concat_tables([pa.Table.from_batches([], INVALID_SCHEMA), *invalid]), read, skipped)


def mapped_keys(engine: Engine, spec: SyncSpec, source: Stream, rows: pa.RecordBatchReader) -> dict[str, str]:
    """The match keys of those of these source records that the sync wants, by their ids."""
    mapping = compile_mapping(spec, rows.schema, source.id_field)
    keys: dict[str, str] = {}
    for mapped in map_records(mapping, rows, _lookups(engine.ledger, mapping)):
        ids, of = (mapped.desired.column(mapped.desired.schema.names.index(name)).to_pylist() for name in ("__source_id", "__key"))
        keys.update(zip(ids, of, strict=True))
    return keys


def taken_ids(staging: Staging, taken: Sequence[Due], id_field: str) -> set[str]:
    """The ids of all source records that are to be mapped."""
    ids: set[str] = set()
    for one in taken:
        for part in staging.scan(one.batch, list(dict.fromkeys((id_field, *one.deciding)))):
            text = part.column(0).cast(pa.string())
            ids.update(text.filter(from_numpy(one.wanted(text, part))).to_pylist())
    return ids


def _marked(sink: Sink, stream: Stream, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Desired rows with the mark of the secrets that each would be written with, where the sink adds any."""
    filled = stream.filled
    if filled is None or not isinstance(sink, Filling):
        return rows
    deciding = [rows.column(name).to_pylist() if name in rows.schema.names else [None] * rows.num_rows for name in filled.by]
    marks = [sink.mark(stream, dict(zip(filled.by, values, strict=True))) for values in zip(*deciding, strict=True)]
    return rows.append_column(filled.field, texts(marks))


def _rows(staging: Staging, taken: Sequence[Due], schema: pa.Schema, id_field: str) -> Iterator[pa.RecordBatch]:
    """The newest row of every id, in the order staged."""
    keep = _newest(staging, taken, id_field)
    at = 0
    for one in taken:
        for part in staging.scan(one.batch):
            mask = None if keep is None else keep[at : at + part.num_rows]
            at += part.num_rows
            chosen = part if mask is None or mask.all() else part.filter(from_numpy(mask))
            if chosen.num_rows:
                yield conform(chosen, schema)


def _newest(staging: Staging, taken: Sequence[Due], id_field: str) -> npt.NDArray[np.bool_] | None:
    """Which rows of all batches laid end to end are wanted and the last of their id (None: all). A row without an id counts by itself."""
    ids: list[pa.Array] = []
    wanted: list[npt.NDArray[np.bool_]] = []
    for one in taken:
        for part in staging.scan(one.batch, list(dict.fromkeys((id_field, *one.deciding)))):
            text = part.column(0).cast(pa.string())
            ids.append(text)
            wanted.append(one.wanted(text, part))
    if not ids:
        return None
    codes = pa.chunked_array(ids).combine_chunks().dictionary_encode().indices
    keep = np.concatenate(wanted)
    places = numbers(codes if not codes.null_count else pc.fill_null(codes, -1), np.int32)
    last_first = places[::-1]
    _, first = np.unique(last_first, return_index=True)
    last = np.zeros(len(places), bool)
    last[len(places) - 1 - first] = True
    keep &= last | (places == -1)
    return None if keep.all() else keep


def _lookups(ledger: Ledger, mapping: CompiledMapping) -> dict[str, pa.Table]:
    """The crosswalk of every sync that the mapping looks something up in: source_id, key, sink_id."""
    tables = {}
    for sync in mapping.lookups:
        found = list(ledger.matches(sync))
        columns = [texts([getattr(match, name) for match in found]) for name in _CROSSWALK]
        tables[sync] = pa.Table.from_arrays(columns, names=_CROSSWALK)
    return tables


def _invalid(rows: pa.RecordBatch) -> pa.Table:
    table = pa.Table.from_batches([rows]).select(["__source_id", "__key", "field", "reason"])
    return table.rename_columns(INVALID_SCHEMA.names).cast(INVALID_SCHEMA)


def _sharing(staging: Staging, batch: Batch, shared: npt.NDArray[np.int64], spec: SyncSpec) -> pa.Table:
    """The records whose match key others have too: none of them can be told to be the right one."""
    rows = staging.take(batch, np.sort(shared), ["__source_id", "__key"]).combine_chunks()
    counts = {item["values"]: item["counts"] for item in pc.value_counts(rows["__key"]).to_pylist()}
    reasons = [f"{counts[key]} source records share the match key '{shown(key)}'" for key in rows["__key"].to_pylist()]
    fields = [", ".join(spec.match)] * len(reasons)
    columns = [rows["__source_id"], rows["__key"], texts(fields), texts(reasons)]
    return pa.Table.from_arrays(columns, schema=INVALID_SCHEMA)


def _nothing(engine: Engine, spec: SyncSpec) -> Desired:
    """What is desired when the source showed no record at all."""
    types = pa.schema([(name, pa.string()) for name in spec.fields or spec.match])
    own = [("__position", pa.int64()), ("__source_id", pa.string()), ("__key", pa.string()), ("__omitted", pa.list_(pa.string()))]
    schema = pa.schema([*(pa.field(name, kind) for name, kind in own), *types])
    with engine.staging.begin(Dataset(("desired", spec.name))) as writer:
        writer.write(no_rows(schema))
        batch = writer.commit({"raw": []})
    return Desired(
        batch, index(engine.staging.scan(batch), spec.match, types.names, types), types, pa.Table.from_batches([], INVALID_SCHEMA), 0, 0
    )
