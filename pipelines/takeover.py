"""Takeover: what an increment shows with the match key of a source record that it does not show, because that one did not change.

A whole read refuses both as sharing a key. An increment cannot see the other one: whoever came last would silently get its record in the
sink. So the source is asked for the one that the crosswalk knows under that key, and only for it: where it is gone, or has another
key by now, the new one takes its place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.arrow_types import conform, widest_schema
from connectors.base import ReadRequest, Stream
from pipelines.absence import can_look_up
from pipelines.arrays import texts
from pipelines.desired import INVALID_SCHEMA, Desired, Due, mapped_keys, taken_ids
from pipelines.engine import Engine
from pipelines.extract import extract
from pipelines.keys import shown
from pipelines.ledger import Match
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset

__all__ = ["refuse_takeovers"]

CHUNK = 20_000


def refuse_takeovers(engine: Engine, spec: SyncSpec, source: Stream, taken: Sequence[Due], desired: Desired) -> Desired:
    """The same without the records that would take over another's record in the sink; those are invalid. Raises ConnectorError."""
    before = {at: match for at, match in _owners(engine, spec, desired) if match.source_id}
    if before:
        there = taken_ids(engine.staging, taken, source.id_field)
        before = {at: match for at, match in before.items() if match.source_id not in there}
    if not before:
        return desired
    owners = sorted({str(match.source_id) for match in before.values()})
    keys = _keys_now(engine, spec, source, taken, owners) if can_look_up(source, len(owners)) else None
    refused = {at: match for at, match in before.items() if keys is None or keys.get(str(match.source_id)) == match.key}
    if not refused:
        return desired
    mask = np.isin(desired.index.position, np.fromiter(refused, np.int64))
    rows = engine.staging.take(desired.batch, np.sort(desired.index.position[mask]), ["__source_id", "__key"])
    names = [f"2 source records share the match key '{shown(key)}'" for key in rows["__key"].to_pylist()]
    why = "" if keys is not None else f"; {spec.source} cannot be asked for the other one: run again with --full to see if it is there"
    columns = [rows["__source_id"], rows["__key"], texts([", ".join(spec.match)] * len(names)), texts([name + why for name in names])]
    invalid = pa.concat_tables([desired.invalid, pa.Table.from_arrays(columns, schema=INVALID_SCHEMA)])
    return replace(desired, index=desired.index.where(~mask), invalid=invalid)


def _owners(engine: Engine, spec: SyncSpec, desired: Desired) -> Iterator[tuple[int, Match]]:
    """The desired records (positions) whose key the crosswalk knows as another source record's."""
    positions: npt.NDArray[np.int64] = np.sort(desired.index.position)
    for start in range(0, len(positions), CHUNK):
        chunk = positions[start : start + CHUNK]
        rows = engine.staging.take(desired.batch, chunk, ["__source_id", "__key"])
        own = dict(zip(rows["__key"].to_pylist(), zip(rows["__source_id"].to_pylist(), chunk.tolist(), strict=True), strict=True))
        for match in engine.ledger.matches(spec.name, list(own)):
            source_id, at = own[match.key]
            if match.source_id != source_id:
                yield at, match


def _keys_now(engine: Engine, spec: SyncSpec, source: Stream, taken: Sequence[Due], ids: Sequence[str]) -> dict[str, str]:
    """The match keys that these source records have now, by their ids, as the source answers when asked for them."""
    batch = _asked(engine, spec, source, taken[-1].batch, ids)
    schema = batch.schema
    for one in taken:
        schema = widest_schema(schema, one.batch.schema)
    parts = (conform(part, schema) for part in engine.staging.scan(batch))
    return mapped_keys(engine, spec, source, pa.RecordBatchReader.from_batches(schema, parts)) if batch.count else {}


def _asked(engine: Engine, spec: SyncSpec, source: Stream, like: Batch, ids: Sequence[str]) -> Batch:
    kind = like.schema.field(source.id_field).type if source.id_field in like.schema.names else pa.string()
    keys = tuple({source.id_field: value} for value in texts(ids).cast(kind).to_pylist())
    return extract(
        engine.open(spec.source_connection),
        source,
        ReadRequest(keys=keys),
        engine.staging,
        Dataset(("asked", spec.name)),
        clock=engine.clock,
        note={"mode": "keys"},
        known=like.schema,
    )
