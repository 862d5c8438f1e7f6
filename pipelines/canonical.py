"""When two values are the same under one desired type, said as canonical text in SQL. Pure.

Equal values have equal text, different values different text, null stays null. Numbers are equal by
value (1 = 1.0 = 1.00, exact for decimals and integers of any size), texts that both are full ISO
date-times with an offset are equal as instants (microseconds), JSON is equal with its keys sorted.
Every other text is itself: no trimming, no case folding, no Unicode normalisation.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from pipelines.arrays import texts
from pipelines.staging import TYPE

Kind: TypeAlias = Literal["text", "integer", "float", "decimal", "bool", "timestamp", "date", "json", "null"]

_ODD = "chr(2)"  # begins what is not plain text; a text that begins with it is marked itself, so nothing collides
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)"
_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"
_PLAIN_EXPONENTS = range(-20, 38)  # magnitudes written out in digits; outside of it as 1.5e-25
_TOUCHY = re.compile(r"[{\\\s]|[0-9][.eE]|-0|[0-9]{39}")  # JSON without any of these is canonical as it stands
_LONG_INTEGER = re.compile(r"[0-9]{39}")
_HELD = "\ud800"  # a lone surrogate cannot occur in UTF-8, so it can mark a number inside JSON strings
_HELD_NUMBER = re.compile(f'"{_HELD}([^"]*)"')


def kind(field: pa.Field) -> Kind:
    """What a staged column holds. Raises ValueError for types that staging never gives."""
    declared = (field.metadata or {}).get(TYPE)
    if declared is not None:
        held: dict[bytes, Kind] = {b"json": "json", b"timestamp": "timestamp", b"date": "date"}
        return held[declared]
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type) or pa.types.is_string_view(field.type):
        return "text"
    if pa.types.is_boolean(field.type):
        return "bool"
    if pa.types.is_integer(field.type):
        return "integer"
    if pa.types.is_floating(field.type):
        return "float"
    if pa.types.is_decimal(field.type):
        return "decimal"
    if pa.types.is_null(field.type):
        return "null"
    raise ValueError(f"column {field.name} has type {field.type}, which is no type of staged records")


def text(value: str, held: Kind, wanted: Kind) -> str:
    """SQL for the canonical text of SQL `value` (a column of kind `held`) compared as `wanted`; null for null.

    JSON columns must have been through `normalise`. A value that the wanted type cannot hold without
    loss becomes text that no value of that type has.
    """
    if held == "null":
        return "CAST(NULL AS VARCHAR)"
    if wanted in ("integer", "float", "decimal"):
        return _as_number(value, held)
    if wanted == "bool":
        return _as_bool(value, held)
    if wanted == "json":
        return _as_json(value, held)
    return _as_text(value, held)


def literal(value: str, held: Kind) -> str:
    """SQL for the JSON literal of a value, exact: decimals and integers digit by digit, JSON as JSON, null as `null`."""
    return f"coalesce({_exact_json(value, held)}, 'null')"


def normalise(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with every JSON column in canonical JSON."""
    for position, field in enumerate(rows.schema):
        if kind_or_none(field) == "json":
            rows = rows.set_column(position, field, texts([_or_none(item) for item in rows.column(position).to_pylist()]))
    return rows


def members(document: str | None, names: Sequence[str]) -> list[str | None]:
    """The canonical JSON of these members of a JSON object; None for a member it does not have (`null` is `null`)."""
    if document is None:
        return [None] * len(names)
    value = _value(document)
    return [_text(value[name]) if name in value else None for name in names]


def kind_or_none(field: pa.Field) -> Kind | None:
    """Like `kind`, with None for the engine's own columns of other types."""
    try:
        return kind(field)
    except ValueError:
        return None


def json_text(document: str) -> str:
    """JSON with sorted keys, no spaces and numbers in one form each. What is no JSON is given back as it is."""
    if not _TOUCHY.search(document):
        return document
    try:
        result = _text(_value(document))
        result.encode()
    except (ValueError, RecursionError):
        return document
    return result


def _text(value: Any) -> str:
    return _HELD_NUMBER.sub(r"\1", json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def _or_none(document: str | None) -> str | None:
    if document is None:
        return None
    canonical = json_text(document)
    return None if canonical == "null" else canonical


def _value(document: str) -> Any:
    if _LONG_INTEGER.search(document):
        return json.loads(document, parse_float=_held_number, parse_int=_held_number)
    return json.loads(document, parse_float=_held_number)


def _held_number(digits: str) -> Any:
    number = Decimal(digits)
    if number == 0:
        return 0
    if number.adjusted() not in _PLAIN_EXPONENTS:
        return _HELD + _scientific(number)
    if number == number.to_integral_value():
        return int(number)
    plain = format(number, "f")
    return _HELD + plain.rstrip("0")


def _scientific(number: Decimal) -> str:
    """As DuckDB writes a double that far out: 1.5e-25, 1e+38."""
    sign, digits, _ = number.as_tuple()
    shown = "".join(map(str, digits)).rstrip("0")
    mantissa = shown[0] + ("." + shown[1:] if len(shown) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{number.adjusted():+03d}"


def _exact_json(value: str, held: Kind) -> str:
    if held == "json":
        return value
    if held in ("text", "timestamp", "date"):
        return f"CAST(to_json({value}) AS VARCHAR)"
    return f"CAST({value} AS VARCHAR)"


def _plain(digits: str) -> str:
    stripped = f"CASE WHEN contains({digits}, '.') THEN rtrim(rtrim({digits}, '0'), '.') ELSE {digits} END"
    return f"CASE WHEN {digits} ^@ '-0' AND regexp_full_match({digits}, '-0(\\.0+)?') THEN '0' ELSE {stripped} END"


def _number(value: str, held: Kind) -> str:
    """SQL for the normal form of a numeric column."""
    digits = f"CAST({value} AS VARCHAR)"
    if held == "integer":
        return digits
    if held == "decimal":
        return _plain(digits)
    written_out = (
        f"CASE WHEN abs({value}) >= 1 THEN coalesce(CAST(TRY_CAST({digits} AS DECIMAL(38, 0)) AS VARCHAR), {digits})"
        f" WHEN abs({value}) >= 1e-20 THEN {_plain(f'CAST(CAST({digits} AS DECIMAL(38, 37)) AS VARCHAR)')}"
        f" ELSE {digits} END"
    )
    return f"CASE WHEN contains({digits}, 'e') THEN {written_out} ELSE {_plain(digits)} END"


def _as_number(value: str, held: Kind) -> str:
    if held in ("integer", "float", "decimal"):
        return _number(value, held)
    if held == "bool":
        return f"{_ODD} || 'b' || CAST({value} AS VARCHAR)"
    if held == "json":  # a canonical JSON number is in the normal form already
        is_number = f"regexp_matches({value}, '^-?[0-9]')"
        return f"CASE WHEN {is_number} THEN {value} ELSE {_from_digits(_unquoted(value))} END"
    return _from_digits(value)


def _from_digits(value: str) -> str:
    return f"CASE WHEN regexp_full_match({value}, '{_NUMBER}') THEN {_plain(value)} ELSE {_ODD} || 's' || {value} END"


def _unquoted(value: str) -> str:
    return f"CASE WHEN {value} ^@ '\"' THEN json_extract_string({value}, '$') ELSE {_ODD} || 'j' || {value} END"


def _as_bool(value: str, held: Kind) -> str:
    if held == "bool":
        return f"CAST({value} AS VARCHAR)"
    if held in ("integer", "float", "decimal"):
        return f"{_ODD} || 'n' || {_number(value, held)}"
    given = f"CASE WHEN {value} IN ('true', 'false') THEN {value} ELSE {_unquoted(value)} END" if held == "json" else value
    return f"CASE WHEN {given} IN ('true', 'false') THEN {given} ELSE {_ODD} || 's' || {given} END"


def _as_json(value: str, held: Kind) -> str:
    return _number(value, held) if held in ("integer", "float", "decimal") else _exact_json(value, held)


def _as_text(value: str, held: Kind) -> str:
    if held == "bool":
        return f"{_ODD} || 'b' || CAST({value} AS VARCHAR)"
    if held in ("integer", "float", "decimal"):
        return f"{_ODD} || 'n' || {_number(value, held)}"
    if held == "json":
        unquoted = f"json_extract_string({value}, '$')"
        return f"CASE WHEN {value} ^@ '\"' THEN {_instant(unquoted)} ELSE {_ODD} || 'j' || {value} END"
    return _instant(value)


def _instant(value: str) -> str:
    microseconds = f"CAST(epoch_us(TRY_CAST({value} AS TIMESTAMPTZ)) AS VARCHAR)"
    return (
        f"CASE WHEN strlen({value}) BETWEEN 17 AND 40 AND substr({value}, 5, 1) = '-' AND regexp_full_match({value}, '{_ISO}')"
        f" THEN coalesce({_ODD} || 't' || {microseconds}, {value})"
        f" WHEN {value} ^@ {_ODD} THEN {_ODD} || 's' || {value} ELSE {value} END"
    )
