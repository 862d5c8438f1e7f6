"""What an expression gives, as a staged column: one of few types, times as ISO text, nested values as JSON. Pure."""

import re

import pyarrow as pa

from connectors.errors import ConfigError
from pipelines.staging import TYPE

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "INTEGER_LITERAL"}
_LARGE_INTEGERS = {"UBIGINT", "HUGEINT", "UHUGEINT", "BIGNUM"}
_TIMES = re.compile(r"TIMESTAMP.*")
_NESTED = re.compile(r"JSON|VARIANT|(STRUCT|MAP|UNION)\(.*|.*\[\d*\]", re.DOTALL)
_TEXTS = re.compile(r'VARCHAR|UUID|TIME.*|INTERVAL|ENUM\(.*|"NULL"|STRING_LITERAL', re.DOTALL)
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


def output(name: str, value: str, given: str) -> tuple[str, pa.Field]:
    """SQL and field of the staged column for SQL `value` of DuckDB type `given`.

    The SQL fails for what no staged value can say (infinite numbers, years before 1 or after 9999).
    Raises ConfigError for types that no platform takes, such as BLOB.
    """
    if given == "BOOLEAN":
        return value, pa.field(name, pa.bool_())
    if given in _INTEGERS:
        return f"CAST({value} AS BIGINT)", pa.field(name, pa.int64())
    if given in _LARGE_INTEGERS:
        return f"CAST({value} AS DECIMAL(38, 0))", pa.field(name, pa.decimal128(38, 0))
    if given in ("DOUBLE", "FLOAT"):
        return _finite(f"CAST({value} AS DOUBLE)"), pa.field(name, pa.float64())
    if decimal := _DECIMAL.fullmatch(given):
        return value, pa.field(name, pa.decimal128(int(decimal[1]), int(decimal[2])))
    if given == "DATE":
        return _within_years(value, f"CAST({value} AS VARCHAR)"), _marked(name, b"date")
    if _TIMES.fullmatch(given):
        instant = value if given == "TIMESTAMP WITH TIME ZONE" else f"CAST({value} AS TIMESTAMP)"
        shown = f"replace(CAST(make_timestamp(epoch_us({instant})) AS VARCHAR), ' ', 'T') || 'Z'"
        return _within_years(instant, shown), _marked(name, b"timestamp")
    if _NESTED.fullmatch(given):
        nested = value if given == "JSON" else f"to_json({value})"
        return f"nullif(CAST({nested} AS VARCHAR), 'null')", _marked(name, b"json")
    if _TEXTS.fullmatch(given):
        return f"CAST({value} AS VARCHAR)", pa.field(name, pa.string())
    raise ConfigError(f"the expression for {name} gives {given}, which no platform takes; convert it, for example with CAST(… AS VARCHAR)")


def _marked(name: str, held: bytes) -> pa.Field:
    return pa.field(name, pa.string(), metadata={TYPE: held})


def _finite(value: str) -> str:
    return f"CASE WHEN isfinite({value}) OR {value} IS NULL THEN {value} ELSE CAST(concat('not finite: ', {value}) AS DOUBLE) END"


def _within_years(value: str, shown: str) -> str:
    failing = f"CAST(CAST(concat('not within the years 1 to 9999: ', {value}) AS BIGINT) AS VARCHAR)"
    return f"CASE WHEN {value} IS NULL THEN NULL WHEN year({value}) BETWEEN 1 AND 9999 THEN {shown} ELSE {failing} END"
