"""One SQL expression of a person: parsed by DuckDB, checked, and rewritten over columns of our own naming. Pure.

An expression computes one value from one record. Whatever else SQL can say (subqueries, table
functions, aggregates, clocks, chance) is refused here, by what the parser saw and not by its text.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import duckdb

from connectors.errors import ConfigError
from pipelines import duck

_Node: TypeAlias = dict[str, Any]

_LOOKUPS = {"lookup": True, "lookup_or_null": False}  # and whether a missing record makes the record invalid
_CLAUSES = ("where_clause", "having", "qualify", "sample", "group_expressions", "modifiers")
_FORBIDDEN_CLASSES = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "*",
    "PARAMETER": "a parameter",
    "DEFAULT": "DEFAULT",
    "POSITIONAL_REFERENCE": "a column by number",
}


_UNKNOWN_TYPE = re.compile(r"Type with name (\S+) does not exist")

_MOST_ANSWERS = 1000
_answers: dict[tuple[str, str], str] = {}  # (question, text) → the parser's answer


@dataclass(frozen=True)
class Column:
    """A source field as expressions see it: our name for it, its kind, and the SQL that gives it its type."""

    label: str
    typed: str
    is_json: bool


@dataclass(frozen=True)
class Lookup:
    """One call of lookup: the sync whose crosswalk is asked, the SQL of what is looked up, our names for key and answer."""

    sync: str
    argument: str
    required: bool
    key: str
    answer: str


@dataclass(frozen=True)
class Expression:
    """A checked expression. `name` is the sink field (or "where"), `inputs` the source fields it reads."""

    name: str
    written: str
    sql: str
    inputs: tuple[str, ...]
    lookups: tuple[Lookup, ...]


class Parser:
    """Turns what a person wrote into expressions over the given columns, numbering the look-ups of all of them.

    `columns` None: which columns there are is not known yet, so their names are taken as they are.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: Mapping[str, Column] | None) -> None:
        self._connection = connection
        self._columns = columns
        self._typed = {} if columns is None else dict(zip(columns, self._parsed([c.typed for c in columns.values()]), strict=True))
        self._lookup_count = 0

    def parse(self, name: str, written: str) -> Expression:
        """The expression, checked. Raises ConfigError naming the field, the problem and the nearest right name."""
        where = f"the condition under where, `{written}`," if name == "where" else f"the expression for {name}, `{written}`,"
        node = self._single(where, written)
        inputs: dict[str, None] = {}
        lookups: list[Lookup] = []
        rewritten = self._rewrite(where, node, frozenset(), inputs, lookups)
        return Expression(name, written, self._sql(rewritten), tuple(inputs), tuple(lookups))

    def _single(self, where: str, written: str) -> _Node:
        """The parser's tree of exactly one expression."""
        found = json.loads(self._ask("SELECT json_serialize_sql(?)", f"SELECT {written}\n"))
        if found["error"]:
            raise ConfigError(f"{where} is not SQL: {found['error_message']}")
        statements = found["statements"]
        node = statements[0]["node"] if len(statements) == 1 else {}
        plain = (
            node.get("type") == "SELECT_NODE"
            and len(node["select_list"]) == 1
            and node["from_table"]["type"] == "EMPTY"
            and not node["cte_map"]["map"]
            and not any(node.get(clause) for clause in _CLAUSES)
        )
        if not plain:
            raise ConfigError(f"{where} must be one expression over the fields of one record, not a query or several statements")
        only: _Node = node["select_list"][0]
        return {**only, "alias": ""}

    def _rewrite(self, where: str, node: Any, bound: frozenset[str], inputs: dict[str, None], lookups: list[Lookup]) -> Any:
        if isinstance(node, list):
            return [self._rewrite(where, item, bound, inputs, lookups) for item in node]
        if not isinstance(node, dict):
            return node
        kind = node.get("class")
        if kind in _FORBIDDEN_CLASSES:
            raise ConfigError(f"{where} uses {_FORBIDDEN_CLASSES[kind]}; a field is computed from one record alone")
        if kind == "COLUMN_REF":
            return self._column(where, node, bound, inputs)
        if kind == "FUNCTION":
            function = _checked_function(where, node)
            if function in _LOOKUPS:
                return self._lookup(where, function, node, bound, inputs, lookups)
        if kind == "LAMBDA" and node["syntax_type"] == "LAMBDA_KEYWORD":
            inner = bound | {parts[0].lower() for parts in _references(node["lhs"])}
            return {**node, "expr": self._rewrite(where, node["expr"], inner, inputs, lookups)}
        return {key: self._rewrite(where, value, bound, inputs, lookups) for key, value in node.items()}

    def _column(self, where: str, node: _Node, bound: frozenset[str], inputs: dict[str, None]) -> _Node:
        field, *path = node["column_names"]
        if field.lower() in bound:
            return node
        if self._columns is None:
            inputs[field] = None
            return node
        name = _resolve(where, field, list(self._columns))
        inputs[name] = None
        column = self._columns[name]
        if not path:
            return self._typed[name]
        if not column.is_json:
            raise ConfigError(f"{where} reads {'.'.join([field, *path])}, but the source field {name} holds no nested values")
        steps = "$" + "".join("." + json.dumps(step, ensure_ascii=False) for step in path)
        (nested,) = self._parsed([f"json_extract({column.typed}, {duck.string(steps)})"])
        return nested

    def _lookup(
        self, where: str, function: str, node: _Node, bound: frozenset[str], inputs: dict[str, None], lookups: list[Lookup]
    ) -> _Node:
        arguments = [argument["expression"] for argument in node["arguments"]]
        named = len(arguments) == 2 and arguments[0]["class"] == "CONSTANT" and arguments[0].get("literal", {}).get("kind") == "STRING"
        if not named:
            raise ConfigError(f"{where} must call {function} as {function}('name of a sync', value)")
        if bound:
            raise ConfigError(f"{where} calls {function} inside a lambda; look up one value of the record at a time")
        argument = self._rewrite(where, arguments[1], bound, inputs, lookups)
        number = self._lookup_count
        self._lookup_count += 1
        found = Lookup(arguments[0]["literal"]["text"], self._sql(argument), _LOOKUPS[function], f"k{number}", f"r{number}")
        lookups.append(found)
        # a text that is no number, cast to one: the way to fail that TRY can catch (error() is volatile)
        missing = (
            f"CASE WHEN CAST(concat('no ', {found.key}) AS BIGINT) IS NULL THEN {found.answer} END" if found.required else found.answer
        )
        sql = f"CASE WHEN ({found.argument}) IS NULL THEN NULL WHEN {found.answer} IS NOT NULL THEN {found.answer} ELSE {missing} END"
        (answer,) = self._parsed([sql])
        return answer

    def _parsed(self, expressions: Sequence[str]) -> list[_Node]:
        if not expressions:
            return []
        found = json.loads(self._ask("SELECT json_serialize_sql(?)", f"SELECT {', '.join(expressions)}"))
        nodes: list[_Node] = found["statements"][0]["node"]["select_list"]
        return nodes

    def _sql(self, node: _Node) -> str:
        frame = json.loads(self._ask("SELECT json_serialize_sql(?)", "SELECT 1"))
        frame["statements"][0]["node"]["select_list"] = [node]
        return self._ask("SELECT json_deserialize_sql(CAST(? AS JSON))", json.dumps(frame)).removeprefix("SELECT ")

    def _ask(self, sql: str, given: str) -> str:
        """What DuckDB's parser says of this text, whatever database it is asked in; every run of a sync asks the same again."""
        answer = _answers.get((sql, given))
        if answer is None:
            if len(_answers) >= _MOST_ANSWERS:
                _answers.clear()
            answer = _answers[sql, given] = str(self._connection.sql(sql, params=[given]).fetchall()[0][0])
        return answer


def nearest(name: str, known: Sequence[str]) -> str:
    """` (did you mean x?)`, or what there is, or nothing."""
    close = difflib.get_close_matches(name, known, n=1) or [k for k in known if k.lower() == name.lower()]
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(sorted(known)[:20])}" if known else ""


def _resolve(where: str, field: str, known: Sequence[str]) -> str:
    if field in known:
        return field
    alike = [name for name in known if name.lower() == field.lower()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise ConfigError(f"{where} reads {field}, which could be {' or '.join(sorted(alike))}; write it exactly, in double quotes")
    raise ConfigError(f"{where} reads {field}, but the source has no such field{nearest(field, known)}")


def _checked_function(where: str, node: _Node) -> str:
    function = str(node["function_name"]).lower()
    path = node.get("qualified_name", {}).get("path", [function])
    if len(path) > 1:
        raise ConfigError(f"{where} calls {'.'.join(path)}(); write the function first: {function}({'.'.join(path[:-1])}, …)")
    refusal = _refused_functions().get(function)
    if refusal:
        raise ConfigError(f"{where} uses {function}(), which {refusal}")
    return function


def _references(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


@lru_cache(maxsize=1)
def _refused_functions() -> dict[str, str]:
    """Functions that see more than the record, and why they are refused."""
    sql = """SELECT function_name, bool_and(function_type IN ('aggregate', 'window')), bool_or(stability NOT IN ('CONSISTENT'))
             FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'window', 'macro') GROUP BY 1"""
    refused = {}
    with duck.session() as connection:
        for function, aggregate, unstable in connection.sql(sql).fetchall():
            if aggregate:
                refused[function] = "looks at many records; a field is computed from one record alone"
            elif unstable:
                refused[function] = "gives another value each time; a plan must be the same for the same input"
    refused["unnest"] = "makes several rows of one record"
    refused["error"] = "ends the whole query; leave records out with where, or give NULL for them"
    return refused


def words(problem: duckdb.Error) -> str:
    """What DuckDB said, in one line without its position marks and candidate lists."""
    text = str(problem).split("\n\nLINE ")[0].split("\n\tCandidate functions")[0]
    kind, colon, rest = text.partition(": ")
    said = rest if colon and kind.endswith("Error") else text
    if unknown := _UNKNOWN_TYPE.match(said):  # DuckDB suggests by upper and lower case
        return f"there is no type {unknown[1]}{nearest(unknown[1].lower(), _type_names())}"
    said = said.split(" when casting from source column")[0].replace(" You might need to add explicit type casts.", "")
    return "; ".join(line.strip() for line in said.splitlines() if line.strip())


@lru_cache(maxsize=1)
def _type_names() -> list[str]:
    with duck.session() as connection:
        return [str(row[0]) for row in connection.sql("SELECT DISTINCT lower(type_name) FROM duckdb_types() ORDER BY 1").fetchall()]
