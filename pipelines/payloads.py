"""Plan rows as writes, writes as changes for a connector, receipts as outcomes: a whole call at a time. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import pyarrow as pa

from connectors import jsontext
from connectors.base import Change, JsonValue, Op, Receipt, Result
from connectors.errors import ContractError
from pipelines.keys import key_of
from pipelines.ledger_bulk import Settled
from pipelines.ledger_records import State, Write

COLUMNS = ("seq", "op", "key", "source_id", "sink_id", "before", "after", "fingerprint")
Row: TypeAlias = tuple[Any, ...]  # one row of a plan: the values of COLUMNS

_ROWS = 1000  # turned into Python values at a time
_STATES = {
    Result.APPLIED: State.CONFIRMED,
    Result.ACCEPTED: State.ACCEPTED,
    Result.REJECTED: State.REJECTED,
    Result.NOT_SENT: State.NOT_APPLIED,
    Result.UNKNOWN: State.UNKNOWN,
}


def rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """The rows of a plan (PLAN_SCHEMA), in bounded memory."""
    for batch in batches:
        chosen = batch.select(COLUMNS)
        for at in range(0, chosen.num_rows, _ROWS):
            yield from zip(*(column.to_pylist() for column in chosen.slice(at, _ROWS).columns), strict=True)


def op_of(row: Row) -> Op:
    """What the row does: create, update or delete."""
    return row[1]  # type: ignore[no-any-return]


def write_of(row: Row, first: Write, intent_at: datetime) -> Write:
    """The intent to carry out a plan row, for the rest like `first`."""
    seq, op, key, source_id, sink_id, before, after, fingerprint = row
    return Write(
        first.run_id,
        seq,
        first.sync,
        key_of(key),
        source_id,
        op,
        sink_id,
        State.IN_FLIGHT,
        first.attempt,
        intent_at,
        before,
        after,
        fingerprint,
        first.epoch,
    )


def changes_of(writes: Sequence[Write], match: Sequence[str]) -> list[Change]:
    """What a connector is given for these writes. Raises TypeError where a row holds no JSON objects."""
    keys, ids = _values([write.key for write in writes]), _values([write.sink_id or "null" for write in writes])
    fields, before = _values([write.after or "{}" for write in writes]), _values([write.before or "{}" for write in writes])
    return [_change(write, match, *values) for write, *values in zip(writes, keys, fields, ids, before, strict=True)]


def settlement(write: Write, receipt: Receipt) -> Settled:
    """What a receipt says about a write."""
    sink_id = _text(receipt.sink_id) if receipt.sink_id is not None else None
    if receipt.result is Result.MISSING:
        if write.op == "delete":
            return (write.seq, State.CONFIRMED, sink_id, "already gone")
        return (write.seq, State.CONFLICT, sink_id, receipt.reason or "no such record in the sink any more")
    return (write.seq, _STATES[receipt.result], sink_id, receipt.reason)


def _change(write: Write, match: Sequence[str], key: JsonValue, fields: JsonValue, sink_id: JsonValue, before: JsonValue) -> Change:
    if not isinstance(key, list) or not isinstance(fields, dict) or not isinstance(before, dict):
        raise TypeError("a plan row holds a list of match values and JSON objects")
    return Change(write.seq, write.op, dict(zip(match, key, strict=True)), fields, sink_id, before)  # type: ignore[arg-type]


def _values(texts: Sequence[str]) -> Sequence[JsonValue]:
    """The values of JSON texts, read as one text, which takes a third of the time."""
    try:
        found = jsontext.loads(f"[{','.join(texts)}]")
    except ContractError:  # one may nest as deep as is allowed
        return [jsontext.loads(text) for text in texts]
    return found if isinstance(found, list) else []


def _text(sink_id: JsonValue) -> str:
    """An id as JSON text; writing a number with the encoder takes ten times as long."""
    short = type(sink_id) is int and sink_id.bit_length() < 64
    return str(sink_id) if short else jsontext.dumps(sink_id).decode()
