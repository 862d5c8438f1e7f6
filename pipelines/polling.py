"""A look at a source: does it hold anything that a sync has not taken yet? It asks what the next read would ask, and keeps nothing."""

import hashlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from connectors import jsontext
from connectors.arrow import records_of
from connectors.arrow_types import text_kind
from connectors.base import JsonBody, ReadRequest, Since, Stream
from pipelines.checkpoint import finished
from pipelines.engine import Engine, is_full, newest_with_cursor, raw_dataset, spec_hash, unbroken
from pipelines.lag import lagged
from pipelines.spec import SyncSpec
from pipelines.staging import Batch

__all__ = ["news"]

Seen = tuple[str, str]  # a record's id and the value of its cursor field


def news(engine: Engine, spec: SyncSpec) -> str | None:
    """A digest of what an incremental sync has not taken, the same as long as that is the same; None: there is nothing.

    Raises ConnectorError. A record that was deleted, or changed without its cursor, is no news.
    """
    staged = finished(engine.staging, raw_dataset(spec))
    last = newest_with_cursor(staged, spec.read.cursor) if unbroken(staged) else None
    position = engine.ledger.position(spec.name, spec_hash(spec))
    taken = [batch for batch in staged if position is not None and batch.id <= position]
    others = staged[len(taken) :]  # read by other syncs of the stream, or by a run of this one that ended early
    if last is None or not taken or any(is_full(batch) for batch in others):
        return f"everything since {position}"
    stream = engine.open(spec.source_connection).stream(spec.source_stream)
    since = Since(str(spec.read.cursor), lagged(last.note["cursor"], spec.read.lag, spec.cursor_epoch))
    unseen = set(_shown(engine, spec, stream, since))
    for batch in others:
        unseen.update(_held(engine, batch, stream.id_field, since.field))
    for batch in reversed(taken):
        if unseen:
            unseen -= set(_held(engine, batch, stream.id_field, since.field, sorted({one for one, _ in unseen})))
    return hashlib.sha256(repr(sorted(unseen)).encode()).hexdigest()[:16] if unseen else None


def _shown(engine: Engine, spec: SyncSpec, stream: Stream, since: Since) -> Iterator[Seen]:
    for page in engine.open(spec.source_connection).read(stream, ReadRequest(since=since, fields=(stream.id_field, since.field))):
        records = records_of(page.records) if isinstance(page.records, JsonBody) else page.records
        for record in records:
            yield str(record.get(stream.id_field)), str(record.get(since.field))


def _held(engine: Engine, batch: Batch, id_field: str, cursor: str, wanted: list[str] | None = None) -> Iterator[Seen]:
    """The records that the batch holds, of those with the wanted ids."""
    if not {id_field, cursor} <= set(batch.schema.names):
        return
    for part in engine.staging.scan(batch, [id_field, cursor]):
        ids, values = _texts(part, id_field), _texts(part, cursor)
        if wanted is not None:
            found = pc.is_in(ids, value_set=pa.array(wanted, pa.string()))
            ids, values = ids.filter(found), values.filter(found)
        yield from zip(ids.to_pylist(), values.to_pylist(), strict=True)


def _texts(part: pa.RecordBatch, name: str) -> pa.Array:
    """The values of a column as `str` spells what JSON holds."""
    values = part.column(part.schema.get_field_index(name))
    if text_kind(part.schema.field(name)) == "json":
        return pa.array([str(None if text is None else jsontext.loads(text)) for text in values.to_pylist()], pa.string())
    if pa.types.is_string(values.type):
        return pc.fill_null(values, "None")
    return pa.array([str(value) for value in values.to_pylist()], pa.string())
