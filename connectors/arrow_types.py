"""Which Arrow type holds the values of two others exactly, and how an array gets there. Pure.

Types in a staged batch: null (no value seen), bool, int64, float64, decimal128 and text; text whose field metadata
names it may be a `timestamp`, a `date` or `json`. A wider type never changes a value: where none of the
number types can hold all of them, each value is kept as its JSON text.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow_lists import array
from connectors.canonical_json import canonical
from connectors.errors import ConfigError

TYPE = b"crossdock.type"
ABSENT = "__absent"  # nullable JSON list of the fields that a record does not have, as opposed to null
EXACT_INTEGERS = 2**53  # every integer up to here is a float64

_LONGEST_INT64 = 19
_LONGEST_DECIMAL = 38
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_DECLARED: dict[str, tuple[pa.DataType, bytes | None]] = {
    "string": (pa.string(), None),
    "integer": (pa.int64(), None),
    "number": (pa.float64(), None),
    "boolean": (pa.bool_(), None),
    "timestamp": (pa.string(), b"timestamp"),
    "date": (pa.string(), b"date"),
    "json": (pa.string(), b"json"),
}


def text_kind(field: pa.Field) -> str | None:
    """`json`, `timestamp` or `date` where a text column holds one, else None."""
    kind = (field.metadata or {}).get(TYPE)
    return None if kind is None else kind.decode()


def json_field(name: str) -> pa.Field:
    """A text column of JSON values."""
    return pa.field(name, pa.string(), metadata={TYPE: b"json"})


def staged(schema: pa.Schema) -> pa.Schema:
    """A declared schema in the types of a staged batch: times as text that says so, nested values as JSON text."""
    return pa.schema([_staged(field) for field in schema])


def declared(types: Mapping[str, str]) -> pa.Schema:
    """A schema from what a person writes: `string | integer | number | decimal(p,s) | boolean | timestamp | date | json`.

    Raises ConfigError naming the field and the types there are.
    """
    fields = []
    for name, text in types.items():
        decimal = _DECIMAL.fullmatch(text.strip())
        if decimal and int(decimal[2]) <= int(decimal[1]) <= _LONGEST_DECIMAL and int(decimal[1]) > 0:
            fields.append(pa.field(name, pa.decimal128(int(decimal[1]), int(decimal[2]))))
        elif text.strip() in _DECLARED:
            kind, special = _DECLARED[text.strip()]
            fields.append(pa.field(name, kind, metadata={TYPE: special} if special else None))
        else:
            raise ConfigError(
                f"the field {name!r} is declared as {text!r}; "
                f"write one of {', '.join(_DECLARED)} or decimal(p,s) with at most {_LONGEST_DECIMAL} digits"
            )
    return pa.schema(fields)


def widest(one: pa.Field, other: pa.Field, *, exact: bool = True) -> pa.Field:
    """The narrowest field that holds the values of both. `exact` says that the integers concerned are all float64s too.

    Raises TypeError for two different types that no record of a platform has.
    """
    a, b = one.type, other.type
    if pa.types.is_null(b):
        return one
    if pa.types.is_null(a):
        return other.with_name(one.name)
    if a == b:
        if text_kind(one) == text_kind(other):
            return one
        return json_field(one.name) if "json" in (text_kind(one), text_kind(other)) else pa.field(one.name, pa.string())
    if not (_is_scalar(a) and _is_scalar(b)):
        raise TypeError(f"the column {one.name!r} holds {a} in one part and {b} in another; only JSON scalars can be widened")
    if exact and {a, b} == {pa.int64(), pa.float64()}:
        return pa.field(one.name, pa.float64())
    if _is_exact_number(a) and _is_exact_number(b):
        scale = max(_scale(a), _scale(b))
        precision = max(_whole_digits(a), _whole_digits(b)) + scale
        if precision <= _LONGEST_DECIMAL:
            return pa.field(one.name, pa.decimal128(precision, scale))
    return json_field(one.name)


def widest_schema(one: pa.Schema, other: pa.Schema, *, inexact: Collection[str] = ()) -> pa.Schema:
    """The columns of both, each as wide as needed, in order of first appearance; `__absent` comes last.

    It is there as soon as one of them has it, or lacks a column of the other. `inexact` names the
    columns holding integers that are no float64.
    """
    fields: dict[str, pa.Field] = {field.name: field for field in one}
    for field in other:
        known = fields.get(field.name)
        fields[field.name] = field if known is None else widest(known, field, exact=field.name not in inexact)
    last = fields.pop(ABSENT, None)
    lacks = len(one) > 0 and len(other) > 0 and {*one.names, ABSENT} != {*other.names, ABSENT}
    if lacks or last is not None:
        fields[ABSENT] = pa.field(ABSENT, pa.string())
    return pa.schema(list(fields.values()))


def inexact_columns(batch: pa.RecordBatch) -> set[str]:
    """The int64 columns holding an integer that float64 might not hold."""
    found = set()
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.type == pa.int64():
            ends = pc.min_max(column).as_py()
            if ends["min"] is not None and max(-ends["min"], ends["max"]) > EXACT_INTEGERS:
                found.add(field.name)
    return found


def lacking(held: pa.Schema, schema: pa.Schema) -> list[str]:
    """The fields of `schema` that records held under the other schema do not have."""
    names = {*held.names, ABSENT}
    return [name for name in schema.names if name not in names]


def conform(batch: pa.RecordBatch, schema: pa.Schema, *, absent: list[str] | None = None) -> pa.RecordBatch:
    """The same rows in the columns of `schema`, each at least as wide as it was.

    A column that the batch lacks is null in its rows and named in their `__absent` (or the names in
    `absent` are, for a caller that deals with some of the columns only).
    """
    if batch.schema.equals(schema, check_metadata=True) and not absent:
        return batch
    columns = []
    absent = lacking(batch.schema, schema) if absent is None else absent
    for field in schema:
        position = batch.schema.get_field_index(field.name)
        if field.name == ABSENT:
            columns.append(_absent(batch, absent))
        elif position < 0:
            columns.append(pa.nulls(batch.num_rows, field.type))
        else:
            columns.append(widen(batch.column(position), batch.schema.field(position), field))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def widen(values: pa.Array, held: pa.Field, wanted: pa.Field) -> pa.Array:
    """The same values in the wider type. Raises ArrowInvalid where the wider type cannot hold one."""
    if held.type == wanted.type and (text_kind(held) == text_kind(wanted) or text_kind(wanted) != "json"):
        return values
    if text_kind(wanted) != "json":
        return values.cast(wanted.type)
    write: Callable[[Any], str] = canonical if held.type in (pa.string(), pa.bool_()) else _number_text
    return array([None if value is None else write(value) for value in values.to_pylist()], pa.string())


def _absent(batch: pa.RecordBatch, fields: list[str]) -> pa.Array:
    position = batch.schema.get_field_index(ABSENT)
    held = batch.column(position) if position >= 0 else pa.nulls(batch.num_rows, pa.string())
    if not fields:
        return held
    names = canonical(fields)
    texts = {text: names if text is None else text[:-1] + "," + names[1:] for text in held.unique().to_pylist()}
    return array([texts[text] for text in held.to_pylist()], pa.string())


def _staged(field: pa.Field) -> pa.Field:
    kind = field.type
    if _is_scalar(kind) or pa.types.is_null(kind):
        return field
    if pa.types.is_large_string(kind):
        return field.with_type(pa.string())
    if pa.types.is_integer(kind):
        return pa.field(field.name, pa.int64())
    if pa.types.is_floating(kind):
        return pa.field(field.name, pa.float64())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return pa.field(field.name, pa.string(), metadata={TYPE: b"timestamp" if pa.types.is_timestamp(kind) else b"date"})
    return json_field(field.name)


def _number_text(value: object) -> str:
    return repr(value) if isinstance(value, int | float) else str(value)


def _is_scalar(kind: pa.DataType) -> bool:
    return bool(kind in (pa.string(), pa.bool_(), pa.float64()) or _is_exact_number(kind))


def _is_exact_number(kind: pa.DataType) -> bool:
    return bool(kind == pa.int64() or pa.types.is_decimal128(kind))


def _scale(kind: pa.DataType) -> int:
    return kind.scale if pa.types.is_decimal128(kind) else 0


def _whole_digits(kind: pa.DataType) -> int:
    return kind.precision - kind.scale if pa.types.is_decimal128(kind) else _LONGEST_INT64
