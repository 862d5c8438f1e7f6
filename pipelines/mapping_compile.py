"""A sync's mapping, made ready: every expression checked against the source's fields before a record is read. Pure."""

# ruff: noqa: S608 - the SQL is made of our own column labels and quoted constants, in a database that reaches nothing

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from connectors.errors import ConfigError
from pipelines import dataframes, duck
from pipelines.canonical import kind_or_none, text
from pipelines.expressions import Column, Expression, Parser, nearest, words
from pipelines.outputs import output
from pipelines.spec import SyncSpec

ABSENT = "__absent"


@dataclass(frozen=True)
class Program:
    """The expressions of a mapping over records of one schema, and what each sink field becomes.

    `outputs` are the SQL of each sink field, `types` their staged fields. `keys` are the SQL texts
    that the look-ups are asked with, in the order of their numbers.
    """

    schema: pa.Schema
    fields: tuple[Expression, ...]
    where: Expression | None
    outputs: tuple[str, ...]
    types: pa.Schema
    keys: tuple[str, ...]


@dataclass
class CompiledMapping:
    """A checked mapping. `lookups` names the syncs whose crosswalks `map_records` must be given."""

    spec: SyncSpec
    id_field: str
    schema: pa.Schema
    lookups: tuple[str, ...]
    sink_fields: frozenset[str] | None
    read_only: frozenset[str]
    _types: pa.Schema | None = field(default=None, repr=False)

    @property
    def types(self) -> pa.Schema:
        """The sink fields and their types; with look-ups or `python` known only once the first records are mapped."""
        if self._types is None:
            raise RuntimeError("the types of this mapping are known once its first records are mapped")
        return self._types

    @types.setter
    def types(self, types: pa.Schema) -> None:
        self._types = types


def compile_mapping(
    spec: SyncSpec,
    source_schema: pa.Schema,
    id_field: str,
    *,
    sink_fields: Collection[str] | None = None,
    read_only: Collection[str] = (),
) -> CompiledMapping:
    """The mapping of `spec` over records of `source_schema`.

    Without `fields` every source field is mapped to the sink field of the same name: those the sink is
    known to have (`sink_fields`; None: all) and the match fields, never the source's id or what the sink
    says is its own (`read_only`). Raises ConfigError naming the sink field, the problem and the nearest right name.
    """
    if id_field not in source_schema.names:
        raise ConfigError(
            f"{spec.source} has no field {id_field}, the id that tells its records apart{nearest(id_field, source_schema.names)}"
        )
    known = None if sink_fields is None else frozenset(sink_fields)
    mapping = CompiledMapping(spec, id_field, source_schema, (), known, frozenset(read_only))
    with duck.session() as connection:
        if spec.python is not None:
            dataframes.load(spec.python)
            parser = Parser(connection, None)
            written = [("where", spec.where)] if spec.where else []
            parsed = [parser.parse(name, text) for name, text in [*(spec.fields or {}).items(), *written]]
            mapping.lookups = _syncs(parsed)
            return mapping
        columns = _columns(source_schema)
        fields, where = _parse(connection, mapping, source_schema, columns)
        mapping.lookups = _syncs([*fields, *([where] if where else [])])
        problems: list[ConfigError] = []
        for guess in ("BIGINT", "VARCHAR", "JSON") if mapping.lookups else ("VARCHAR",):  # what the ids of other syncs are, only they know
            try:
                program = bind(connection, mapping, source_schema, dict.fromkeys(mapping.lookups, guess))
            except ConfigError as problem:
                problems.append(problem)
                continue
            if not mapping.lookups:
                mapping.types = program.types
            return mapping
        raise problems[0]


def bind(connection: duckdb.DuckDBPyConnection, mapping: CompiledMapping, schema: pa.Schema, answers: Mapping[str, str]) -> Program:
    """The program over records of `schema`, given the DuckDB type of each sync's ids. Raises ConfigError."""
    columns = _columns(schema)
    fields, where = _parse(connection, mapping, schema, columns)
    empty = pa.RecordBatch.from_arrays(
        [pa.nulls(0, f.type) for f in schema], schema=pa.schema([pa.field(label(n), f.type) for n, f in enumerate(schema)])
    )
    connection.register("empty", empty)
    try:
        expressions = [*fields, *([where] if where else [])]
        source, keys = "empty", []
        for expression in expressions:
            for lookup in expression.lookups:
                (given,) = _types(connection, source, [(expression, lookup.argument)])
                keys.append(_key_text(lookup.argument, given))
                asked = f"CAST(NULL AS VARCHAR) AS {lookup.key}, CAST(NULL AS {answers[lookup.sync]}) AS {lookup.answer}"
                source = f"(SELECT *, {asked} FROM {source})"
        found = _types(connection, source, [(expression, expression.sql) for expression in expressions])
    finally:
        connection.unregister("empty")
    if where is not None and found[-1] not in ("BOOLEAN", '"NULL"'):
        raise ConfigError(f"the condition under where, `{where.written}`, gives {found[-1]}, not true or false")
    made = [output(e.name, f"({e.sql})", given) for e, given in zip(fields, found, strict=False)]
    return Program(schema, tuple(fields), where, tuple(sql for sql, _ in made), pa.schema([f for _, f in made]), tuple(keys))


def label(number: int) -> str:
    """Our name for the source's column of that number: what a record calls its fields can collide with nothing."""
    return f"c{number}"


def _columns(schema: pa.Schema) -> dict[str, Column]:
    columns = {}
    for number, source_field in enumerate(schema):
        ours, held = label(number), kind_or_none(source_field)
        typed = {
            "json": f"CAST({ours} AS JSON)",
            "timestamp": f"CAST({ours} AS TIMESTAMPTZ)",
            "date": f"CAST({ours} AS DATE)",
            "null": f"CAST({ours} AS VARCHAR)",
        }.get(held or "", ours)
        if source_field.name != ABSENT:
            columns[source_field.name] = Column(ours, typed, held == "json")
    return columns


def _parse(
    connection: duckdb.DuckDBPyConnection, mapping: CompiledMapping, schema: pa.Schema, columns: Mapping[str, Column]
) -> tuple[list[Expression], Expression | None]:
    parser = Parser(connection, columns)
    fields = [parser.parse(name, written) for name, written in _written(mapping, list(columns)).items()]
    where = parser.parse("where", mapping.spec.where) if mapping.spec.where else None
    return fields, where


def _written(mapping: CompiledMapping, known: Sequence[str]) -> dict[str, str]:
    """What each sink field is computed by, as a person wrote it or as the same name says it."""
    spec = mapping.spec
    if spec.fields is not None:
        return spec.fields
    for name in spec.match:
        if name not in known:
            raise ConfigError(f"match names {name}, but {spec.source} has no such field{nearest(name, known)} (or map it under fields)")
    refused = {mapping.id_field, *mapping.read_only}
    taken = [n for n in known if n not in refused and (mapping.sink_fields is None or n in mapping.sink_fields)]
    return {name: duck.name(name) for name in known if name in spec.match or name in taken}


def _types(connection: duckdb.DuckDBPyConnection, source: str, asked: Sequence[tuple[Expression, str]]) -> list[str]:
    """The DuckDB types of these SQL expressions. Raises ConfigError naming the first one that does not fit."""
    if not asked:
        return []
    try:
        relation = connection.sql(f"SELECT {', '.join(f'({sql})' for _, sql in asked)} FROM {source}")
        return [str(given) for given in relation.types]
    except duckdb.Error as problem:
        if len(asked) > 1:
            return [given for one in asked for given in _types(connection, source, [one])]
        expression = asked[0][0]
        subject = "the condition under where" if expression.name == "where" else f"the expression for {expression.name}"
        raise ConfigError(f"{subject}, `{expression.written}`, does not work: {words(problem)}") from problem


def _key_text(argument: str, given: str) -> str:
    if given == "JSON":
        return f"json_extract_string({argument}, '$')"
    if given in ("DOUBLE", "FLOAT"):
        return text(f"CAST({argument} AS DOUBLE)", "float", "float")
    if given.startswith("DECIMAL"):
        return text(f"({argument})", "decimal", "decimal")
    return f"CAST({argument} AS VARCHAR)"


def _syncs(expressions: Sequence[Expression]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lookup.sync for expression in expressions for lookup in expression.lookups))
