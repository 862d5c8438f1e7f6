"""Answers of the pure columnar middle, computed once per row: what makes thousands of schedules a minute possible.

Mapping, comparing and hashing are DuckDB queries over the rows of one batch, each output row a function of
its input row alone. A schedule asks the same few hundred rows over and over, so each is answered by the real
query once per process. Nothing of the engine's decisions is replaced; `whole` schedules run without this.
"""

import functools
import hashlib
import itertools
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from connectors import arrow, arrow_fast
from pipelines import desired, duck, mapping
from tests.simulation.scenario import KEYS, STRANGERS

Row = tuple[Any, ...]
_PLACE = "p"  # the column by which a query knows where in its batch a row stands
_KEY = re.compile(r"k\d+@")
_NO_ID = (None, "")
_NUMBER = 900_000_001  # stands for every number that is an id
_IN_LINE = ("<seq>", "<source_id>", "<sink_id>")
_MOST = 20_000  # whole answers kept

_real_query, _real_session = duck.query, duck.session
_real_bind, _real_compile = mapping.bind, desired.compile_mapping

_real_read = arrow_fast.read_objects

_real_hash = hashlib.pbkdf2_hmac
_slow_hash = functools.cache(_real_hash)  # of a connection's credential, 3 ms

_rows: dict[Any, dict[Row, Row | None]] = {}
_schemas: dict[Any, pa.Schema] = {}
_pools: dict[Any, list[dict[Row, None]]] = {}
_whole: dict[Any, pa.Table] = {}
_programs: dict[Any, Any] = {}
_pages: dict[Any, pa.Table] = {}
_sessions: dict[bool, tuple[Any, duckdb.DuckDBPyConnection]] = {}


def query(connection: duckdb.DuckDBPyConnection, sql: str, **inputs: duck.Rows) -> pa.Table:
    """As `duck.query`; every row that was asked before is answered from memory, wherever in its batch it stood then."""
    tables = {name: _table(rows) for name, rows in inputs.items()}
    counts = {table.num_rows for table in tables.values()}
    if len(counts) != 1 or "GROUP BY" in sql:
        return _ask(connection, sql, tables)
    kind = (sql, tuple((name, *table.schema.types) for name, table in tables.items()))
    used = [(name, column) for name, table in tables.items() for column in table.column_names if column in _words(sql) and column != _PLACE]
    places = next((table.column(_PLACE).to_pylist() for table in tables.values() if _PLACE in table.column_names), [0] * max(counts))
    asked: list[Row] = list(zip(*(_values(tables[name].column(column)) for name, column in used), strict=True))
    asked = asked or [()] * max(counts)
    together = (kind, tuple(asked), tuple(places))
    if together in _whole:
        return _whole[together]
    columns = [column for _, column in used]
    passing = {columns.index(column): out for column, out in _passing(sql) if column in columns}
    ids = [{out: row[place] for place, out in passing.items() if row[place] not in _NO_ID} for row in asked]
    rows = [tuple(_token(value, passing[n]) if n in passing else value for n, value in enumerate(row)) for row in asked]
    known = _rows.setdefault(kind, {})
    if not rows:
        _whole[together] = _ask(connection, sql, tables)
        return _whole[together]
    if any(row not in known for row in rows):
        groups = [0 if name == "wanted" else 1 if name == "last" else 2 for name, _ in used]
        new = [row for row in dict.fromkeys(_akin(kind, rows, groups)) if row not in known]
        try:
            _learn(known, kind, new, _ask(connection, sql, _tables_of(tables, used, new)))
        except duckdb.Error:  # about a record that cannot be mapped the query itself is asked
            return _ask(connection, sql, tables)
    schema = _schemas[kind]
    found = [
        tuple(_told(name, value, place, own) for name, value in zip(schema.names, answer, strict=True))
        for row, place, own in zip(rows, places, ids, strict=True)
        if (answer := known[row]) is not None
    ]
    answers = list(zip(*found, strict=True)) or [()] * len(schema)
    made = pa.Table.from_arrays([pa.array(list(column), field.type) for column, field in zip(answers, schema, strict=True)], schema=schema)
    if len(_whole) > _MOST:
        _whole.clear()
    _whole[together] = made
    return made


def _akin(kind: Any, asked: Iterable[Row], groups: Sequence[int]) -> Iterator[Row]:
    """The rows asked for, and those that schedules will ask for next: of every key, and with what was desired, found and last
    written of one record beside each other as they were of others. One query of a thousand rows takes as long as one of a single row.
    """
    pools = _pools.setdefault(kind, [dict[Row, None]() for _ in range(3)])
    for row in asked:
        yield row
        keys = {key for value in row if isinstance(value, str) for key in _KEY.findall(value)}
        if len(keys) == 1:
            (key,) = keys
            for group, pool in enumerate(pools):
                values = (value for value, own in zip(row, groups, strict=True) if own == group)
                pool[tuple(value.replace(key, "k#@") if isinstance(value, str) else value for value in values)] = None
    if not all(pools[group] for group in groups):
        return
    for parts in itertools.product(*(pool or {(): None} for pool in pools)):
        values = [iter(part) for part in parts]
        one = [next(values[group]) for group in groups]
        for number in range(KEYS + STRANGERS):
            yield tuple(value.replace("k#@", f"k{number}@") if isinstance(value, str) else value for value in one)


def _tables_of(tables: Mapping[str, pa.Table], used: Sequence[tuple[str, str]], rows: Sequence[Row]) -> dict[str, pa.Table]:
    """Input tables with these rows, numbered from 0; what the query does not mean stands as in the first row."""
    given = {place: list(values) for place, values in zip(used, zip(*rows, strict=True), strict=True)}
    made = {}
    for name, table in tables.items():
        columns = []
        for field in table.schema:
            if field.name == _PLACE:
                values = list(range(len(rows)))
            elif (name, field.name) in given:
                values = given[name, field.name]
            else:
                values = table.column(field.name)[:1].to_pylist() * len(rows)
            columns.append(pa.array(values, field.type))
        made[name] = pa.Table.from_arrays(columns, schema=table.schema)
    return made


@functools.cache
def _passing(sql: str) -> tuple[tuple[str, str], ...]:
    """Columns that a query only hands on, as (column, as what): ids and numbers, of which every schedule has its own."""
    if sql.endswith(" AS line FROM rows"):
        return tuple((name, f"<{name}>") for name in ("seq", "source_id", "sink_id"))
    found = [("source_id", "source_id")] if len(re.findall(r"\bsource_id\b", sql)) == 1 else []
    for pattern, out in _HANDED_ON:
        written = re.search(pattern, sql)
        column = next(filter(None, written.groups()), None) if written is not None else None
        if column is not None and len(re.findall(rf"\b{column}\b", sql)) == 1:
            found.append((column, out))
    return tuple(found)


_HANDED_ON = (
    (r"(?:CAST\(to_json\((g\d+)\) AS VARCHAR\)|CAST\((g\d+) AS VARCHAR\)), 'null'\) AS sink_id", "sink_id"),
    (r"nullif\(CAST\((c\d+) AS VARCHAR\), ''\) AS i\b", "i"),
)


def _token(value: Any, out: str) -> Any:
    """What stands for every id of a kind."""
    if value in _NO_ID:
        return value
    return _NUMBER if isinstance(value, int) else out if out in _IN_LINE else "id"


def _told(name: str, value: Any, place: int, own: Mapping[str, Any]) -> Any:
    """What a query says of a row, about its own place and ids: a sink's id as JSON, all of them spelt out in a line."""
    if name in (_PLACE, "seq"):
        return value + place
    if name == "line":
        for token, given in own.items():
            value = (
                value.replace(json.dumps(str(_NUMBER)), json.dumps(str(given)))
                if token == "<seq>"
                else value.replace(token, json.dumps(given)[1:-1])
            )
        return value
    if name not in own:
        return value
    return json.dumps(own[name]) if name == "sink_id" else str(own[name])


def _ask(connection: duckdb.DuckDBPyConnection, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """The real query. `execute` plans it once, `sql` twice, which is most of what a query of a few rows costs."""
    with duck.known_as(connection, tables), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the rows are copied once more
        return connection.execute(sql).to_arrow_table()


def _learn(known: dict[Row, Row | None], kind: Any, wanted: Sequence[Row], answer: pa.Table) -> None:
    """Keep each answered row, what it says of its place counted from there; None: it was filtered out."""
    _schemas[kind] = answer.schema
    numbered = [name in (_PLACE, "seq") for name in answer.schema.names]
    given = list(zip(*[column.to_pylist() for column in answer.columns], strict=True))
    by_place = dict(enumerate(given)) if len(given) == len(wanted) else {row[numbered.index(True)]: row for row in given}
    for place, row in enumerate(wanted):
        found = by_place.get(place)
        known[row] = (
            None if found is None else tuple(value - place if moves else value for value, moves in zip(found, numbered, strict=True))
        )


@contextmanager
def session(*, separately: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `duck.session`; one database of each kind serves the whole process."""
    if separately not in _sessions:
        duck.close_idle()
        duck._LOCKED["threads"] = "1"
        opened = _real_session(separately=separately)
        _sessions[separately] = (opened, opened.__enter__())
        del duck._LOCKED["threads"]
    yield _sessions[separately][1]


def compile_mapping(spec: Any, source_schema: pa.Schema, id_field: str, **facts: Any) -> Any:
    """As `mapping_compile.compile_mapping`, once for each mapping and schema."""
    key = (_mapped(spec), _spelt(source_schema), id_field, repr(sorted((name, sorted(v or ())) for name, v in facts.items())))
    if key not in _programs:
        _programs[key] = _real_compile(spec, source_schema, id_field, **facts)
    return replace(_programs[key], spec=spec)


def bind(connection: Any, compiled: Any, schema: pa.Schema, answers: Any) -> Any:
    """As `mapping_compile.bind`, once for each mapping and schema."""
    key = (_mapped(compiled.spec), compiled.sink_fields, _spelt(schema), tuple(sorted(answers.items())))
    if key not in _programs:
        _programs[key] = _real_bind(connection, compiled, schema, answers)
    return _programs[key]


def _mapped(spec: Any) -> tuple[Any, ...]:
    """All of a spec that a mapping is made from."""
    return spec.source, tuple(spec.match), tuple((spec.fields or {}).items()), spec.where, spec.python


def read_objects(body: bytes, schema: pa.Schema, unexpected: str) -> pa.Table:
    """As `arrow_fast.read_objects`: a page is read once for its ids and once for its records, and comes again in later reads."""
    key = (body, schema, unexpected)
    if key not in _pages:
        if len(_pages) > _MOST:
            _pages.clear()
        _pages[key] = _real_read(body, schema, unexpected)
    return _pages[key]


@contextmanager
def remembering() -> Iterator[None]:
    """The engine computes with memory while the block lasts."""
    duck.query, duck.session, mapping.bind, desired.compile_mapping = query, session, bind, compile_mapping  # type: ignore[assignment]
    arrow.read_objects = arrow_fast.read_objects = read_objects
    hashlib.pbkdf2_hmac = _slow_hash
    try:
        yield
    finally:
        duck.query, duck.session, mapping.bind, desired.compile_mapping = _real_query, _real_session, _real_bind, _real_compile
        arrow.read_objects = arrow_fast.read_objects = _real_read
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
