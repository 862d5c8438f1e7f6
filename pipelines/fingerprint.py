"""Rows as hashes: the index by which two batches are compared, and the fingerprint that the ledger keeps. Pure.

Both are MD5 over canonical text, so they are the same on every machine and with every version of the
engine. (DuckDB's own hash() is three times as fast, 0.07 against 0.2 s for 3 M keys, but changes with it.)
"""

# ruff: noqa: S608 - the SQL is made of our own column labels and quoted constants, in a database that reaches nothing

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import duck
from pipelines.arrays import integers, numbers, rebatch
from pipelines.canonical import kind, normalise, text

HASH_VERSION = "md5 1"  # of the canonical text and the hash over it; a stored index of another version is made again
OPAQUE = 0  # the row hash of rows that must be looked at by value: it equals nothing, not even itself
KEYLESS = np.uint64(2**64 - 1)  # both halves of the key hash of a row that lacks a part of its key; sorts last

_ROW_COUNT = 65_536
_LOW = "18446744073709551615::UHUGEINT"


@dataclass(frozen=True)
class Index:
    """A batch as four equally long arrays, sorted by the 128-bit key hash; equal keys stay in the batch's order.

    `row` is the hash of the compared fields, `position` the row number in the batch.
    """

    key_hi: npt.NDArray[np.uint64]
    key_lo: npt.NDArray[np.uint64]
    row: npt.NDArray[np.uint64]
    position: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.position)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name, as staging keeps them."""
        return {"key_hi": self.key_hi, "key_lo": self.key_lo, "row": self.row, "position": self.position}

    @staticmethod
    def of(arrays: Mapping[str, npt.NDArray[Any]]) -> "Index":
        """The index that `arrays` gave; memory-mapped arrays stay mapped."""
        return Index(arrays["key_hi"], arrays["key_lo"], arrays["row"], arrays["position"])

    def where(self, mask: npt.NDArray[np.bool_]) -> "Index":
        """Only the entries of the mask."""
        return Index(self.key_hi[mask], self.key_lo[mask], self.row[mask], self.position[mask])


def index(reader: pa.RecordBatchReader, key_fields: Sequence[str], fields: Sequence[str], types: pa.Schema) -> Index:
    """The index of a batch over its `key_fields` and compared `fields`, each value under its type in `types`.

    A field that the batch does not have counts as null. Rows with `__omitted` fields have the row hash OPAQUE.
    """
    width = len(set(key_fields) | set(fields))
    names = list(dict.fromkeys([*key_fields, *fields]))
    opaque = "__omitted" in reader.schema.names
    held = _held(reader.schema, names, types)
    key, row = _key_text([held[name] for name in key_fields]), row_text(fields, held)
    hashed = "md5_number(row)" if not opaque else f"CASE WHEN o IS NULL THEN md5_number(row) ELSE {OPAQUE}::UHUGEINT END"
    sql = (
        f"SELECT CAST(k >> 64 AS UBIGINT), CAST(k & {_LOW} AS UBIGINT), CAST(r & {_LOW} AS UBIGINT), p FROM ("
        f"SELECT coalesce(md5_number(key), ~(0::UHUGEINT)) AS k, {hashed} AS r, p FROM ("
        f"SELECT {key} AS key, {row} AS row, p{', o' if opaque else ''} FROM rows))"
    )
    columns = [f"c{number}" for number in range(width)]
    with duck.session() as connection:
        rows = _prepared(reader, names, columns, opaque)
        hi, lo, hashes, positions = duck.query(connection, sql, rows=rows).columns
    return _sorted(numbers(hi, np.uint64), numbers(lo, np.uint64), numbers(hashes, np.uint64), numbers(positions, np.int64))


def fingerprints(rows: pa.RecordBatch, types: pa.Schema) -> pa.Array:
    """For each row the fingerprint (int64) of its fields named in `types`; a field named in `__omitted` does not count.

    Stable: it lives in the ledger for as long as the sync does.
    """
    names = types.names
    opaque = "__omitted" in rows.schema.names
    sql = fingerprint_sql(names, _held(rows.schema, names, types), "o" if opaque else None)
    batches = _renamed(iter([rows]), names, [f"c{number}" for number in range(len(names))], opaque)
    with duck.session() as connection:
        found = duck.query(connection, f"SELECT {sql} AS f FROM rows ORDER BY p", rows=next(batches))
    return found.column("f").combine_chunks()


def fingerprint_sql(names: Sequence[str], held: Mapping[str, str], omitted: str | None) -> str:
    """SQL for the fingerprint, given the canonical text (SQL) of each field and the SQL of the list of omitted ones."""
    return f"CAST(CAST(md5_number({row_text(names, held, omitted)}) & 9223372036854775807::UHUGEINT AS UBIGINT) AS BIGINT)"


def row_text(names: Sequence[str], held: Mapping[str, str], omitted: str | None = None) -> str:
    """SQL for the text whose hash stands for a row: which fields, and each one's canonical text with its length."""
    ordered = sorted(names)
    mark = hashlib.md5("\0".join(ordered).encode(), usedforsecurity=False).hexdigest()[:8]
    parts = []
    for name in ordered:
        part = f"coalesce(strlen({held[name]}) || ':' || {held[name]}, '-')"
        if omitted is not None:
            part = f"CASE WHEN list_contains({omitted}, {duck.string(name)}) THEN '~' ELSE {part} END"
        parts.append(part)
    return " || ".join([f"'{mark}'", *parts])


def _held(schema: pa.Schema, names: Sequence[str], types: pa.Schema) -> dict[str, str]:
    """The canonical text (SQL) of each named field, over columns c0, c1, … in the order of `names`."""
    held = {}
    for number, name in enumerate(names):
        wanted = kind(types.field(name)) if name in types.names else "text"
        source = kind(schema.field(name)) if name in schema.names else "null"
        held[name] = text(f"c{number}", source, "text" if wanted == "null" else wanted)
    return held


def _key_text(parts: Sequence[str]) -> str:
    """SQL for the text of a key; null where a part is null or empty."""
    if len(parts) == 1:
        return f"nullif({parts[0]}, '')"
    return " || ".join(f"strlen(nullif({part}, '')) || ':' || {part}" for part in parts)


def _prepared(reader: pa.RecordBatchReader, names: Sequence[str], columns: Sequence[str], opaque: bool) -> pa.RecordBatchReader:
    batches = _renamed(rebatch(reader, _ROW_COUNT), names, columns, opaque)
    schema = pa.schema([pa.field(column, _type(reader.schema, name)) for name, column in zip(names, columns, strict=True)])
    schema = schema.append(pa.field("p", pa.int64()))
    if opaque:
        schema = schema.append(pa.field("o", reader.schema.field("__omitted").type))
    return pa.RecordBatchReader.from_batches(schema, batches)


def _renamed(batches: Iterator[pa.RecordBatch], names: Sequence[str], columns: Sequence[str], opaque: bool) -> Iterator[pa.RecordBatch]:
    """Only the named columns, under names that no record can have chosen, with the row number and the omitted fields."""
    start = 0
    for batch in batches:
        kept = normalise(batch.select([name for name in names if name in batch.schema.names]))
        arrays = [kept.column(name) if name in kept.schema.names else pa.nulls(batch.num_rows) for name in names]
        arrays.append(integers(np.arange(start, start + batch.num_rows, dtype=np.int64)))
        labels = [*columns, "p"]
        if opaque:
            arrays.append(batch.column("__omitted"))
            labels.append("o")
        yield pa.RecordBatch.from_arrays(arrays, names=labels)
        start += batch.num_rows


def _type(schema: pa.Schema, name: str) -> pa.DataType:
    return schema.field(name).type if name in schema.names else pa.null()


def _sorted(hi: npt.NDArray[np.uint64], lo: npt.NDArray[np.uint64], row: npt.NDArray[np.uint64], position: npt.NDArray[np.int64]) -> Index:
    order = np.lexsort((position, lo)) if len(hi) and hi.min() == hi.max() else np.argsort(hi, kind="stable")
    tied = np.zeros(len(hi), bool)
    same = hi[order][1:] == hi[order][:-1]
    tied[1:] |= same
    tied[:-1] |= same
    if tied.any():
        among = order[tied]
        order[tied] = among[np.lexsort((position[among], lo[among], hi[among]))]
    return Index(hi[order], lo[order], row[order], position[order])
