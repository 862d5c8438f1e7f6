"""The queries of a mapping: the fast one over a whole chunk, and the careful one that tells bad records from good. Pure.

Both give columns p (position), i (source id), k (match key), bad (which sink field is wrong, or null),
o (omitted fields), then f0, f1, … for the sink fields. Inputs are `chunk` (p, absent, c0, c1, …) and one
table `answers<n>` per look-up.
"""

# ruff: noqa: S608 - the SQL is made of our own column labels and quoted constants, in a database that reaches nothing

from collections.abc import Sequence

import pyarrow as pa

from connectors.arrow_types import text_kind
from pipelines import duck
from pipelines.canonical import Kind, kind, literal, text
from pipelines.expressions import Expression, Lookup
from pipelines.mapping_compile import ABSENT, Program, label

_LONGEST_CELL = 40


def lookups(program: Program) -> list[Lookup]:
    """Every look-up of the program, in the order of their numbers."""
    expressions = [*program.fields, *([program.where] if program.where else [])]
    return [lookup for expression in expressions for lookup in expression.lookups]


def fast(program: Program, match: Sequence[str], id_field: str) -> str:
    """Everything at once; fails as a whole where one cell cannot be converted."""
    values = "".join(f", {sql} AS f{number}" for number, sql in enumerate(program.outputs))
    where = f" WHERE {program.where.sql}" if program.where else ""
    computed = f"SELECT p, {_id(program, id_field)} AS i, absent{values} FROM {source(program)}{where}"
    bad = _bad(program, match, id_field)
    return (
        f"SELECT p, i, {_key(program, match)} AS k, {bad} AS bad, {_omitted(program)} AS o{_fields(program)} FROM ({computed}) ORDER BY p"
    )


def careful(program: Program, match: Sequence[str], id_field: str) -> str:
    """As `fast`, each expression tried by itself; `reason` says what a failed one was computed from, `also` how many more failed."""
    columns = []
    for number, (expression, sql) in enumerate(zip(program.fields, program.outputs, strict=True)):
        columns.append(f"TRY({sql}) AS f{number}, TRY(({sql}) IS NULL) IS NULL AS b{number}, {_reason(program, expression)} AS e{number}")
    if program.where:
        sql = program.where.sql
        columns.append(f"TRY({sql}) AS w, TRY(({sql}) IS NULL) IS NULL AS bw, {_reason(program, program.where)} AS ew")
    else:
        columns.append("true AS w, false AS bw, NULL AS ew")
    failing = [("bw", "ew", "where"), *((f"b{n}", f"e{n}", e.name) for n, e in enumerate(program.fields))]
    whens = "".join(f" WHEN {flag} THEN {duck.string(name)}" for flag, _, name in failing)
    reasons = "".join(f" WHEN {flag} THEN {why}" for flag, why, _ in failing)
    also = " + ".join(f"CAST({flag} AS INTEGER)" for flag, _, _ in failing)
    computed = f"SELECT p, {_id(program, id_field)} AS i, absent, {', '.join(columns)} FROM {source(program)}"
    return (
        f"SELECT p, i, {_key(program, match)} AS k, "
        f"CASE{whens} ELSE {_bad(program, match, id_field)} END AS bad, {_omitted(program)} AS o{_fields(program)}, "
        f"CASE{reasons} END AS reason, {also} AS also FROM ({computed}) WHERE w OR bw ORDER BY p"
    )


def source(program: Program) -> str:
    """The chunk with the key and the answer of every look-up beside it."""
    joined = "chunk"
    for number, (lookup, key) in enumerate(zip(lookups(program), program.keys, strict=True)):
        keyed = f"SELECT *, TRY({key}) AS {lookup.key} FROM {joined}"
        joined = f"(SELECT l.*, a.sink_id AS {lookup.answer} FROM ({keyed}) l LEFT JOIN answers{number} a ON a.match = l.{lookup.key})"
    return joined


def _id(program: Program, id_field: str) -> str:
    number = program.schema.names.index(id_field)
    held = kind_of_id(program.schema.field(id_field))
    if held in ("integer", "float", "decimal"):
        return text(label(number), held, held)
    if held == "json":
        return f"CASE WHEN {label(number)} ^@ '\"' THEN json_extract_string({label(number)}, '$') ELSE {label(number)} END"
    return f"nullif(CAST({label(number)} AS VARCHAR), '')"


def kind_of_id(field: pa.Field) -> Kind:
    """What the id column holds; anything that staging does not give is taken as text."""
    try:
        return kind(field)
    except ValueError:
        return "text"


def _key(program: Program, match: Sequence[str]) -> str:
    places = [program.types.names.index(name) for name in match]
    parts = [key_part(f"f{place}", kind(program.types.field(place))) for place in places]
    empty = " OR ".join(_empty(program, name) for name in match)
    listed = " || ',' || ".join(parts)
    return f"CASE WHEN NOT ({empty}) THEN '[' || {listed} || ']' END"


def key_part(value: str, held: Kind) -> str:
    """SQL for one value of a match key as JSON: numbers in their one form, the rest as they are."""
    if held in ("integer", "float", "decimal"):
        return f"coalesce({text(value, held, held)}, 'null')"
    return literal(value, held)


def _bad(program: Program, match: Sequence[str], id_field: str) -> str:
    whens = [f"WHEN i IS NULL THEN {duck.string(id_field)}"]
    whens += [f"WHEN {_empty(program, name)} THEN {duck.string(name)}" for name in match]
    return f"CASE {' '.join(whens)} END"


def _empty(program: Program, name: str) -> str:
    place = program.types.names.index(name)
    is_text = pa.types.is_string(program.types.field(place).type)
    return f"f{place} IS NULL" + (f" OR f{place} IN ('', '\"\"')" if is_text else "")


def _omitted(program: Program) -> str:
    """The sink fields left alone: null because a field they are computed from is absent, which is not null."""
    none = "CAST(NULL AS VARCHAR[])"
    if ABSENT not in program.schema.names:
        return none
    cases = []
    for number, expression in enumerate(program.fields):
        inputs = ", ".join(duck.string(name) for name in expression.inputs)
        if inputs:
            cases.append(f"CASE WHEN f{number} IS NULL AND list_has_any(a, [{inputs}]) THEN {duck.string(expression.name)} END")
    if not cases:
        return none
    missing = (
        f"list_transform([from_json(absent, '[\"VARCHAR\"]')], lambda a: list_filter([{', '.join(cases)}], lambda n: n IS NOT NULL))[1]"
    )
    return f"CASE WHEN absent IS NULL THEN {none} WHEN len({missing}) = 0 THEN {none} ELSE {missing} END"


def _fields(program: Program) -> str:
    return "".join(f", f{number}" for number in range(len(program.outputs)))


def _reason(program: Program, expression: Expression) -> str:
    """SQL for why an expression failed: a look-up without a hit, else the cells it was computed from."""
    cells = []
    for name in expression.inputs:
        cell = f"CAST({label(program.schema.names.index(name))} AS VARCHAR)"
        shown = f"CASE WHEN length({cell}) > {_LONGEST_CELL} THEN {cell}[:{_LONGEST_CELL}] || '…' ELSE {cell} END"
        quoted = shown if text_kind(program.schema.field(name)) == "json" else f"'''' || {shown} || ''''"  # JSON has quotes of its own
        cells.append(f"{duck.string(name + ' = ')} || coalesce({quoted}, 'null')")
    computed = " || ".join(["'cannot be computed from '", " || ', ' || ".join(cells)]) if cells else "'cannot be computed'"
    whens = "".join(
        f" WHEN {lookup.key} IS NOT NULL AND {lookup.answer} IS NULL THEN "
        f"{duck.string(f'{lookup.sync} has written no record with the source id or key ')} || '''' || {lookup.key} || ''''"
        for lookup in expression.lookups
        if lookup.required
    )
    return f"CASE{whens} ELSE {computed} END" if whens else computed
