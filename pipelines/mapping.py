"""Mapping: what the sink should hold for each source record, computed in chunks, bad records told from good. Pure."""

# ruff: noqa: S608 - the SQL is made of our own column labels and quoted constants, in a database that reaches nothing

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.arrow_lists import from_numpy
from connectors.errors import ConfigError
from pipelines import dataframes, duck, mapping_sql, masks
from pipelines.arrays import integers, no_rows, numbers, rebatch, single, texts
from pipelines.expressions import words
from pipelines.fingerprint import KEYLESS, Index
from pipelines.lookups import Answers, answers
from pipelines.mapping_compile import ABSENT, CompiledMapping, Program, bind, compile_mapping, label

__all__ = ["CompiledMapping", "Mapped", "compile_mapping", "duplicate_keys", "map_records"]

INVALID_SCHEMA = pa.schema(
    [
        ("__position", pa.int64()),
        ("__source_id", pa.string()),
        ("__key", pa.string()),
        ("field", pa.string()),
        ("reason", pa.string()),
    ]
)

_CHUNK = 65_536
_LONGEST_WORDS = 160
_EXPLAINED = 20  # bad records of a chunk for which DuckDB is asked for its own words


@dataclass(frozen=True)
class Mapped:
    """A chunk of records, mapped. Rows of `desired` + `invalid` + `skipped` are the records read.

    `desired` has `__position` (row number in the source batch), `__source_id`, `__key` (JSON list of the match
    values), `__omitted` (sink fields to leave alone, or null), then the sink fields. `invalid` says which
    field of a record is wrong and why; `skipped` counts what `where` left out.
    """

    desired: pa.RecordBatch
    invalid: pa.RecordBatch
    skipped: int


def map_records(mapping: CompiledMapping, reader: pa.RecordBatchReader, lookups: Mapping[str, pa.Table]) -> Iterator[Mapped]:
    """Every record mapped, in order; at least one `Mapped`, so that the fields and types are known of no records too.

    `lookups` gives, for each of `mapping.lookups`, a table of source_id, key and sink_id (all text). Raises
    ConfigError where the mapping does not fit the records at all, ContractError for a `python` function
    that loses records.
    """
    with duck.session() as connection:
        known = {sync: answers(connection, lookups[sync]) for sync in mapping.lookups}
        program: Program | None = None
        position = 0
        for records in _chunks(reader):
            count = records.num_rows
            if mapping.spec.python is not None:
                records = _through_function(mapping, records, None if program is None else program.schema)
            if program is None:
                program = bind(connection, mapping, records.schema, {sync: found.given for sync, found in known.items()})
                mapping.types = program.types
            yield _map(connection, mapping, program, records, position, known)
            position += count


def duplicate_keys(index: Index) -> tuple[Index, npt.NDArray[np.int64]]:
    """The index without the rows whose key another row has too, and the positions of those, rows of one key together.

    Several versions of one source record must be reduced to the last one before.
    """
    same = (index.key_hi[1:] == index.key_hi[:-1]) & (index.key_lo[1:] == index.key_lo[:-1])
    same &= ~((index.key_hi[1:] == KEYLESS) & (index.key_lo[1:] == KEYLESS))
    shared = np.zeros(len(index), bool)
    shared[1:] |= same
    shared[:-1] |= same
    if not shared.any():
        return index, np.empty(0, np.int64)
    return index.where(~shared), index.position[shared]


def _chunks(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Chunks of one size, however the rows lie, so that the same records always give the same bytes."""
    empty = True
    for chunk in rebatch(reader, _CHUNK):
        empty = False
        yield chunk
    if empty:
        yield no_rows(reader.schema)


def _through_function(mapping: CompiledMapping, records: pa.RecordBatch, schema: pa.Schema | None) -> pa.RecordBatch:
    path = str(mapping.spec.python)
    absent = records.column(ABSENT) if ABSENT in records.schema.names else None
    given = records.select([name for name in records.schema.names if name != ABSENT])
    result = dataframes.apply(path, given, mapping.id_field)
    if absent is not None:
        result = result.append_column(ABSENT, absent)
    if schema is None or result.schema.equals(schema):
        return result
    if result.schema.names != schema.names:
        raise ConfigError(f"python: {path} gave other columns for later records: {result.schema.names}, first {schema.names}")
    try:
        return single(pa.Table.from_batches([result]).cast(schema))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as problem:
        raise ConfigError(
            f"python: {path} gave other types for later records ({problem}); give each column one type, with astype"
        ) from problem


def _map(
    connection: duckdb.DuckDBPyConnection,
    mapping: CompiledMapping,
    program: Program,
    records: pa.RecordBatch,
    start: int,
    known: Mapping[str, Answers],
) -> Mapped:
    match, id_field = mapping.spec.match, mapping.id_field
    inputs: dict[str, duck.Rows] = {"chunk": _labelled(records, start)}
    for number, lookup in enumerate(mapping_sql.lookups(program)):
        inputs[f"answers{number}"] = known[lookup.sync].rows
    try:
        found = duck.query(connection, mapping_sql.fast(program, match, id_field), **inputs)
    except duckdb.Error:
        with duck.session(separately=True) as careful, duck.known_as(careful, inputs):
            found = _carefully(careful, mapping, program)
    skipped = records.num_rows - found.num_rows
    rows = single(found)
    bad = rows.column("bad")
    if bad.null_count == rows.num_rows:
        return _without_masks(_desired(rows, program.types), _no_invalid(), skipped)
    return _without_masks(_desired(rows.filter(bad.is_null()), program.types), _invalid(rows.filter(bad.is_valid()), id_field), skipped)


def _without_masks(desired: pa.RecordBatch, invalid: pa.RecordBatch, skipped: int) -> Mapped:
    """The records whose every value is one: those that would write a mask are invalid."""
    hidden = masks.masked(desired)
    if not hidden:
        return Mapped(desired, invalid, skipped)
    which = np.zeros(desired.num_rows, bool)
    which[list(hidden)] = True
    refused = desired.filter(from_numpy(which))
    own = [refused.column(name) for name in ("__position", "__source_id", "__key")]
    fields = [hidden[row] for row in sorted(hidden)]
    rows = pa.RecordBatch.from_arrays([*own, texts(fields), texts([f"{field} {masks.REASON}" for field in fields])], schema=INVALID_SCHEMA)
    return Mapped(desired.filter(from_numpy(~which)), single(pa.Table.from_batches([invalid, rows])), skipped)


def _labelled(records: pa.RecordBatch, start: int) -> pa.RecordBatch:
    positions = integers(np.arange(start, start + records.num_rows, dtype=np.int64))
    names = records.schema.names
    absent = records.column(ABSENT) if ABSENT in names else pa.nulls(records.num_rows, pa.string())
    labels = [label(number) for number in range(len(names))]
    return pa.RecordBatch.from_arrays([*records.columns, positions, absent], names=[*labels, "p", "absent"])


def _carefully(connection: duckdb.DuckDBPyConnection, mapping: CompiledMapping, program: Program) -> pa.Table:
    """The chunk again, each expression by itself, and DuckDB's own words for the first bad records."""
    try:
        found = connection.sql(mapping_sql.careful(program, mapping.spec.match, mapping.id_field)).to_arrow_table()
    except duckdb.Error as problem:
        raise ConfigError(f"the mapping of {mapping.spec.source} does not work: {_said(program, problem)}") from problem
    reasons = found.column("reason").to_pylist()
    also = found.column("also").to_pylist()
    positions = numbers(found.column("p"), np.int64)
    fields = found.column("bad").to_pylist()
    explained = 0
    for number, reason in enumerate(reasons):
        if reason is None:
            continue
        if explained < _EXPLAINED and reason.startswith("cannot"):
            explained += 1
            reason += _explanation(connection, program, fields[number], int(positions[number]))
        if also[number] > 1:
            reason += f" (and {also[number] - 1} more of its fields)"
        reasons[number] = reason
    return found.drop_columns(["reason", "also"]).append_column("reason", texts(reasons))


def _explanation(connection: duckdb.DuckDBPyConnection, program: Program, name: str, position: int) -> str:
    if name == "where" and program.where is not None and name not in program.types.names:
        sql = program.where.sql
    else:
        sql = program.outputs[program.types.names.index(name)]
    try:
        connection.sql(f"SELECT {sql} FROM {mapping_sql.source(program)} WHERE p = {position}").fetchall()
    except duckdb.Error as problem:
        return f": {_said(program, problem)}"
    return ""


def _said(program: Program, problem: duckdb.Error) -> str:
    """DuckDB's words with the person's field names in place of ours."""
    names = {label(number): name for number, name in enumerate(program.schema.names)}
    said = re.sub(r"\bc\d+\b", lambda found: names.get(found[0], found[0]), words(problem))
    return said if len(said) <= _LONGEST_WORDS else said[:_LONGEST_WORDS] + "…"


def _desired(rows: pa.RecordBatch, types: pa.Schema) -> pa.RecordBatch:
    own = [("__position", pa.int64()), ("__source_id", pa.string()), ("__key", pa.string()), ("__omitted", pa.list_(pa.string()))]
    schema = pa.schema([*(pa.field(name, kind) for name, kind in own), *types])
    columns = [rows.column(name) for name in ("p", "i", "k", "o", *(f"f{number}" for number in range(len(types))))]
    return pa.RecordBatch.from_arrays([column.cast(f.type) for column, f in zip(columns, schema, strict=True)], schema=schema)


def _invalid(rows: pa.RecordBatch, id_field: str) -> pa.RecordBatch:
    fields = rows.column("bad").to_pylist()
    given = rows.column("reason").to_pylist() if "reason" in rows.schema.names else [None] * len(fields)
    lost = rows.column("i").is_null().to_pylist()
    reasons = [
        reason or (f"the record has no {id_field}, its id" if gone and field == id_field else f"match field {field} is empty")
        for field, reason, gone in zip(fields, given, lost, strict=True)
    ]
    columns = [*(rows.column(name) for name in ("p", "i", "k", "bad")), texts(reasons)]
    return pa.RecordBatch.from_arrays(columns, schema=INVALID_SCHEMA)


def _no_invalid() -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in INVALID_SCHEMA], schema=INVALID_SCHEMA)
