"""Decoded records to Arrow, exactly: the reader that the fast one must equal. Pure.

A field's type is the narrowest that holds every value it has: a fraction is a float64 only if that
float's shortest spelling is the number that came, else a decimal; values of several types, objects
and lists are their canonical JSON text.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from connectors.arrow_lists import array
from connectors.arrow_types import ABSENT, EXACT_INTEGERS, json_field, text_kind, widest
from connectors.base import JsonValue, Record
from connectors.canonical_json import canonical
from connectors.errors import ContractError

_NO_SCHEMA = pa.schema([])
_NUMBERS: frozenset[type] = frozenset({int, float, Decimal})
_MAX_DIGITS = 38


def records_to_batch(records: Sequence[Record], schema: pa.Schema | None = None) -> pa.RecordBatch:
    """The records as rows, their fields as columns: those of `schema` first, then others as they first appear.

    The batch's schema is `schema`, widened where a value asks for it. Where some record lacks a field
    (absent, not null), the column `__absent` holds the JSON list of the names each record lacks, in
    column order, or null. Raises ContractError for NaN, Infinity or a field of that name.
    """
    known = _NO_SCHEMA if schema is None else schema
    names = dict.fromkeys(name for name in known.names if name != ABSENT)
    for record in records:
        if not names.keys() >= record.keys():
            names.update(dict.fromkeys(record))
    if ABSENT in names:
        raise ContractError(f"a record has a field named {ABSENT!r}, which staging uses itself; leave that field out of the read")
    fields, columns = [], []
    for name in names:
        values = [record.get(name) for record in records]
        held = known.field(name) if name in known.names else pa.field(name, pa.null())
        field, column = _column(held, values)
        fields.append(field)
        columns.append(column)
    absent = _absent(records, tuple(names))
    if absent is None and not columns:
        absent = pa.nulls(len(records), pa.string())  # a batch without columns could not say how many rows it has
    if absent is not None:
        fields.append(pa.field(ABSENT, pa.string()))
        columns.append(absent)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def exact_float(number: Decimal | int) -> float | None:
    """The float64 whose shortest spelling is this number, or None where there is none."""
    try:
        found = float(number)
        return found if Decimal(repr(found)) == number else None
    except (OverflowError, ArithmeticError):
        return None


def _column(held: pa.Field, values: list[Any]) -> tuple[pa.Field, pa.Array]:
    """The values as an array of the type that holds both them and what `held` says."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return held, pa.nulls(len(values), held.type)
    if text_kind(held) == "json":
        return held, _json(values)
    if kinds == {str}:
        field = widest(held, pa.field(held.name, pa.string())) if not pa.types.is_string(held.type) else held
        return field, _json(values) if text_kind(field) == "json" else array(values, pa.string())
    if kinds == {bool}:
        field = widest(held, pa.field(held.name, pa.bool_()))
        return field, _json(values) if text_kind(field) == "json" else array(values, pa.bool_())
    if kinds <= _NUMBERS:
        return _numbers(held, values, kinds)
    field = json_field(held.name)
    return field, _json(values)


def _numbers(held: pa.Field, values: list[Any], kinds: set[type]) -> tuple[pa.Field, pa.Array]:
    """Numbers in the first type of integer, float and decimal that holds each of them."""
    if kinds == {int}:
        try:
            integers = array(values, pa.int64())
        except OverflowError:
            pass
        else:
            largest = max(abs(value) for value in values if value is not None)
            field = widest(held, pa.field(held.name, pa.int64()), exact=largest <= EXACT_INTEGERS)
            if field.type == pa.int64():
                return field, integers
            if field.type == pa.float64():
                return field, integers.cast(pa.float64())
    if held.type in (pa.null(), pa.int64(), pa.float64()):
        floats = _floats(values)
        if floats is not None:
            return pa.field(held.name, pa.float64()), array(floats, pa.float64())
    decimals = _decimals(held, values)
    if decimals is not None:
        return decimals
    return json_field(held.name), _json(values)


def _floats(values: list[Any]) -> list[float | None] | None:
    """The numbers as floats, or None where one of them is no float exactly."""
    present = [value for value in values if value is not None]
    try:
        floats = list(map(float, present))
        exact = all(isinstance(v, float) or v == back for v, back in zip(present, map(Decimal, map(repr, floats)), strict=True))
    except (OverflowError, ArithmeticError):
        return None
    if not exact:
        return None
    remaining = iter(floats)
    return [None if value is None else next(remaining) for value in values]


def _decimals(held: pa.Field, values: list[Any]) -> tuple[pa.Field, pa.Array] | None:
    """The numbers as decimals of one scale of at most 38 digits, or None."""
    present = [Decimal(repr(value)) if isinstance(value, float) else Decimal(value) for value in values if value is not None]
    if not all(number.is_finite() for number in present):
        return None
    spelled = [number.as_tuple() for number in present]
    scale = max(0, *(-int(parts.exponent) for parts in spelled))
    whole = max(1, *(len(parts.digits) + int(parts.exponent) for parts in spelled))
    if whole + scale > _MAX_DIGITS:
        return None
    field = widest(held, pa.field(held.name, pa.decimal128(whole + scale, scale)))
    if not pa.types.is_decimal128(field.type):
        return None
    remaining = iter(present)
    return field, array([None if value is None else next(remaining) for value in values], field.type)


def _json(values: list[JsonValue]) -> pa.Array:
    return array([None if value is None else canonical(value) for value in values], pa.string())


def _absent(records: Sequence[Record], names: tuple[str, ...]) -> pa.Array | None:
    """What each record lacks, or None where no record lacks anything."""
    if all(len(record) == len(names) for record in records):
        return None
    lists = []
    for record in records:
        lacking = [] if len(record) == len(names) else [name for name in names if name not in record]
        lists.append(canonical(lacking) if lacking else None)
    return array(lists, pa.string())
