"""The ledger's own statements on the real SQLite without SQLAlchemy's ways to it, which cost most of a tiny run.

What the ledger asks, and in which transaction, is unchanged; `whole` schedules take the usual way.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from pipelines import ledger_statements

Row = tuple[Any, ...]
NOTHING: Mapping[str, Any] = {}
_LASTING = {id(statement) for statement in vars(ledger_statements).values() if isinstance(statement, sa.Executable)}
_LASTING |= {id(ledger_statements.matches_with(column)) for column in ("key", "source_id")}


class QuickEngine:
    """As much of `sqlalchemy.Engine` as the ledger uses. `committing` is called inside each transaction, before it ends well."""

    def __init__(self, engine: Engine, committing: Callable[[], None]) -> None:
        self.dialect, self.url = engine.dialect, engine.url
        self._committing = committing
        self._known: dict[Any, Any] = {}
        self._raw = sqlite3.connect(str(engine.url.database), check_same_thread=False, timeout=60)
        self._raw.execute("PRAGMA journal_mode=WAL")
        self._raw.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def begin(self) -> Iterator["_Connection"]:
        """One transaction."""
        try:
            yield _Connection(self._raw, self.dialect, self._known)
            self._committing()
        except BaseException:
            self._raw.rollback()
            raise
        self._raw.commit()

    def dispose(self) -> None:
        """What was not committed is gone."""
        self._raw.rollback()

    def close(self) -> None:
        """Give the file back."""
        self._raw.close()


class _Connection:
    def __init__(self, raw: sqlite3.Connection, dialect: Any, known: dict[Any, Any]) -> None:
        self._raw, self._dialect, self._known = raw, dialect, known

    def execute(self, statement: Any, given: Mapping[str, Any] | Sequence[Mapping[str, Any]] = NOTHING) -> "_Result":
        """As SQLAlchemy's, compiled once for each shape of a statement: one that asks for any of a list has a shape for each length."""
        if not isinstance(given, Mapping):
            compiled = statement.compile(dialect=self._dialect, column_keys=list(given[0]))
            rows = [{**compiled.params, **row} for row in given]
            self.exec_driver_sql(str(compiled), [tuple(row[name] for name in compiled.positiontup) for row in rows])
            return _Result(self._raw.cursor(), [])
        lists = {name: values for name, values in given.items() if isinstance(values, (list, tuple))}
        spread = {f"{name}_{n}": value for name, values in lists.items() for n, value in enumerate(values, 1)}
        shape = (id(statement), *map(len, lists.values()))
        known = self._known.get(shape)
        if known is not None:
            _, sql, order, constants, truths = known
            values = {**constants, **given, **spread}
            return _Result(self._raw.execute(sql, [values[name] for name in order]), truths)
        found = statement._compile_w_cache(self._dialect, compiled_cache=self._known, column_keys=sorted(given))
        compiled, extracted, replaced, _ = found
        values = compiled.construct_params(given, extracted_parameters=extracted, _collected_params=replaced)
        sql, order, expansion = compiled.string, compiled.positiontup, NOTHING
        if compiled.post_compile_params:
            expanded = compiled._process_parameters_for_postcompile(values)
            sql, order, values = expanded.statement, expanded.positiontup, {**values, **expanded.additional_parameters}
            expansion = expanded.parameter_expansion
        truths = [n for n, column in enumerate(compiled._result_columns) if isinstance(column.type, sa.Boolean)]
        if id(statement) in _LASTING and lists.keys() >= expansion.keys() & given.keys():
            constants = {name: value for name, value in values.items() if name not in given and name not in spread}
            self._known[shape] = (statement, sql, order, constants, truths)
        return _Result(self._raw.execute(sql, [values[name] for name in order]), truths)

    def exec_driver_sql(self, sql: str, rows: Any) -> None:
        """The driver's own way: a list of rows, or one row."""
        (self._raw.executemany if isinstance(rows, list) else self._raw.execute)(sql, rows)


class _Result:
    def __init__(self, cursor: sqlite3.Cursor, truths: list[int]) -> None:
        self._cursor, self._truths = cursor, truths

    def __iter__(self) -> Iterator[Row]:
        if not self._truths:
            return iter(self._cursor)
        return (tuple(bool(value) if n in self._truths else value for n, value in enumerate(row)) for row in self._cursor)

    def all(self) -> list[Row]:
        return list(self)

    def mappings(self) -> "_Mappings":
        return _Mappings(self, [column[0] for column in self._cursor.description])

    def first(self) -> Row | None:
        return next(iter(self), None)

    def scalar(self) -> Any:
        row = self.first()
        return None if row is None else row[0]

    def scalar_one(self) -> Any:
        ((value,),) = self
        return value

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount


class _Mappings:
    def __init__(self, result: _Result, names: list[str]) -> None:
        self._result, self._names = result, names

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self._names, row, strict=True)) for row in self._result)

    def first(self) -> dict[str, Any] | None:
        return next(iter(self), None)
