"""Answers of the pure columnar middle, computed once per row: what makes thousands of schedules a minute possible.

Mapping, comparing and hashing are DuckDB queries over the rows of one batch, each output row a function of
its input row alone. A schedule asks the same few hundred rows over and over, so each is answered by the real
query once per process. Nothing of the engine's decisions is replaced; `whole` schedules run without this.
"""

import functools
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from pipelines import desired, duck, mapping

Row = tuple[Any, ...]
_PLACE = "p"  # the column by which a query knows where in its batch a row stands

_real_query, _real_session = duck.query, duck.session
_real_bind, _real_compile = mapping.bind, desired.compile_mapping

_real_hash = hashlib.pbkdf2_hmac
_slow_hash = functools.cache(_real_hash)  # of a connection's credential, 3 ms

_rows: dict[Any, dict[Row, Row | None]] = {}
_schemas: dict[Any, pa.Schema] = {}
_whole: dict[Any, pa.Table] = {}
_programs: dict[Any, Any] = {}
_sessions: dict[bool, tuple[Any, duckdb.DuckDBPyConnection]] = {}


def query(connection: duckdb.DuckDBPyConnection, sql: str, **inputs: duck.Rows) -> pa.Table:
    """As `duck.query`; every row that was asked before is answered from memory, wherever in its batch it stood then."""
    tables = {name: _table(rows) for name, rows in inputs.items()}
    counts = {table.num_rows for table in tables.values()}
    if len(counts) != 1 or "GROUP BY" in sql:
        return _ask(connection, sql, tables)
    kind = (sql, tuple((name, *map(str, table.schema.types)) for name, table in tables.items()))
    words = _words(sql)
    used = [table.column(name) for table in tables.values() for name in table.column_names if name in words and name != _PLACE]
    places = next((table.column(_PLACE).to_pylist() for table in tables.values() if _PLACE in table.column_names), [0] * max(counts))
    asked: list[Row] = list(zip(*map(_values, used), strict=True)) if used else [()] * max(counts)
    together = (kind, tuple(asked), tuple(places))
    if together in _whole:
        return _whole[together]
    known = _rows.setdefault(kind, {})
    first: dict[Row, int] = {}
    named = [name for table in tables.values() for name in table.column_names if name in words and name != _PLACE]
    passing = {named.index(column): out for column, out in _passing(sql) if column in named}
    ids = [{out: row[place] for place, out in passing.items()} for row in asked]
    if passing:
        asked = [tuple(_token(value) if place in passing else value for place, value in enumerate(row)) for row in asked]
        tables = {name: _with_tokens(table, {named[place] for place in passing}) for name, table in tables.items()}
    for number, row in enumerate(asked):  # in the order of their places, as every answer is
        if row not in known:
            first.setdefault(row, number)
    if first or kind not in _schemas:
        part = {name: table.take(pa.array(first.values(), pa.int64())) for name, table in tables.items()}
        _learn(known, kind, list(first), [places[number] for number in first.values()], _ask(connection, sql, part))
    schema = _schemas[kind]
    moving = [name in (_PLACE, "seq") for name in schema.names]
    found = [
        tuple(
            value + place if moves else _passed(name, own[name]) if name in own else value
            for name, value, moves in zip(schema.names, answer, moving, strict=True)
        )
        for row, place, own in zip(asked, places, ids, strict=True)
        if (answer := known[row]) is not None
    ]
    columns = list(zip(*found, strict=True)) or [()] * len(schema)
    made = pa.Table.from_arrays([pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)
    _whole[together] = made
    return made


@functools.cache
def _passing(sql: str) -> tuple[tuple[str, str], ...]:
    """Columns that a query only hands on, as (column, as what): ids, of which every schedule has its own."""
    written = re.search(r"(?:CAST\(to_json\((g\d+)\) AS VARCHAR\)|CAST\((g\d+) AS VARCHAR\)), 'null'\) AS sink_id", sql)
    found = [("source_id", "source_id")] if len(re.findall(r"\bsource_id\b", sql)) == 1 else []
    if written is not None and len(re.findall(rf"\b{written[1] or written[2]}\b", sql)) == 1:
        found.append((written[1] or written[2], "sink_id"))
    return tuple(found)


def _token(value: Any) -> Any:
    """What stands for every id of a kind."""
    return value if value is None else "id" if isinstance(value, str) else 1


def _with_tokens(table: pa.Table, columns: set[str]) -> pa.Table:
    for name in columns.intersection(table.column_names):
        place = table.schema.get_field_index(name)
        table = table.set_column(
            place, table.schema.field(place), pa.array(map(_token, table.column(place).to_pylist()), table.schema.types[place])
        )
    return table


def _passed(name: str, value: Any) -> Any:
    """An id as the query hands it on: a source's as it is, a sink's as JSON."""
    return json.dumps(value) if name == "sink_id" else value


def _ask(connection: duckdb.DuckDBPyConnection, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """The real query. `execute` plans it once, `sql` twice, which is most of what a query of a few rows costs."""
    with duck.known_as(connection, tables), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the rows are copied once more
        return connection.execute(sql).to_arrow_table()


def _learn(known: dict[Row, Row | None], kind: Any, wanted: list[Row], places: list[int], answer: pa.Table) -> None:
    """Keep each answered row, what it says of its place counted from there; None: it was filtered out."""
    _schemas[kind] = answer.schema
    numbered = [name in (_PLACE, "seq") for name in answer.schema.names]
    given = list(zip(*[column.to_pylist() for column in answer.columns], strict=True))
    if len(given) != len(wanted):
        by_place = {row[numbered.index(True)]: row for row in given}
        given = [by_place.get(place) for place in places]  # type: ignore[misc]
    for row, place, found in zip(wanted, places, given, strict=True):
        known[row] = (
            None if found is None else tuple(value - place if moves else value for value, moves in zip(found, numbered, strict=True))
        )


@contextmanager
def session(*, separately: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `duck.session`; one database of each kind serves the whole process."""
    if separately not in _sessions:
        duck._LOCKED["threads"] = "1"
        opened = _real_session(separately=separately)
        _sessions[separately] = (opened, opened.__enter__())
        del duck._LOCKED["threads"]
    yield _sessions[separately][1]


def compile_mapping(spec: Any, source_schema: pa.Schema, id_field: str, **facts: Any) -> Any:
    """As `mapping_compile.compile_mapping`, once for each mapping and schema."""
    key = (spec.model_dump_json(), _spelt(source_schema), id_field, repr(sorted((name, sorted(v or ())) for name, v in facts.items())))
    if key not in _programs:
        _programs[key] = _real_compile(spec, source_schema, id_field, **facts)
    return replace(_programs[key])


def bind(connection: Any, compiled: Any, schema: pa.Schema, answers: Any) -> Any:
    """As `mapping_compile.bind`, once for each mapping and schema."""
    key = (compiled.spec.model_dump_json(), compiled.sink_fields, _spelt(schema), tuple(sorted(answers.items())))
    if key not in _programs:
        _programs[key] = _real_bind(connection, compiled, schema, answers)
    return _programs[key]


@contextmanager
def remembering() -> Iterator[None]:
    """The engine computes with memory while the block lasts."""
    duck.query, duck.session, mapping.bind, desired.compile_mapping = query, session, bind, compile_mapping  # type: ignore[assignment]
    hashlib.pbkdf2_hmac = _slow_hash
    try:
        yield
    finally:
        duck.query, duck.session, mapping.bind, desired.compile_mapping = _real_query, _real_session, _real_bind, _real_compile
        hashlib.pbkdf2_hmac = _real_hash


@functools.cache
def _words(sql: str) -> frozenset[str]:
    """The columns that a query may mean."""
    return frozenset(re.findall(r"\w+", sql))


def _table(rows: duck.Rows) -> pa.Table:
    if isinstance(rows, pa.RecordBatchReader):
        return rows.read_all()
    return pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows


def _values(column: pa.ChunkedArray) -> list[Any]:
    values = column.to_pylist()
    return [tuple(value) for value in values] if any(isinstance(value, list) for value in values) else values


def _spelt(schema: pa.Schema) -> tuple[Any, ...]:
    return tuple((field.name, str(field.type), repr(field.metadata)) for field in schema)
