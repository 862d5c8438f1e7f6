"""Flat JSON pages to Arrow by pyarrow's reader, or not at all where that reader might lose something. Pure, hot.

pyarrow is strict about types, duplicate keys and bad JSON when it is told the schema, but silent about: a
number with more digits than a float64 has, underflow, NaN and Infinity, a field that is absent rather than
null, text that is not UTF-8, and a text where a decimal is declared. Each is looked for here, at 0.2 ms a
page of 1,000 records (the reader itself takes 1 ms, the exact parser 5).
"""

import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from connectors.arrow_exact import exact_float
from connectors.arrow_lists import array, to_numpy
from connectors.arrow_types import ABSENT, text_kind
from connectors.base import JsonBody
from connectors.canonical_json import canonical
from connectors.errors import ContractError
from connectors.jsontext import loads

_CHUNK = 1 << 17  # bytes looked at in one go, small enough for the processor's cache
_LONG = 16  # a number of fewer digits is always the float64 read from it
_TINY = float(np.finfo(np.float64).tiny)
_NUMBER = re.compile(rb"-?[0-9.]+(?:[eE][-+]?[0-9]+)?")
_SPACE = b" \t\r\n"
_OBJECT = re.compile(rb"[ \t\r\n]*\{")


def read_objects(body: bytes, schema: pa.Schema, unexpected: str) -> pa.Table:
    """The objects of a newline-joined body as rows, by pyarrow's reader, in one block on this thread. Raises pa.ArrowInvalid."""
    if _OBJECT.match(body) is None:  # a body that begins with null ends the process in pyarrow 26
        raise pa.ArrowInvalid("the text does not begin with an object")
    return pj.read_json(
        pa.BufferReader(body),
        pj.ReadOptions(use_threads=False, block_size=len(body) + 1),
        pj.ParseOptions(explicit_schema=schema, newlines_in_values=True, unexpected_field_behavior=unexpected),
    )


def read_flat(pages: Sequence[JsonBody], schema: pa.Schema) -> pa.RecordBatch | None:
    """All records of the pages in order, exactly as the exact reader gives them under this schema; None: only that one can tell.

    None is also the answer to bodies that are no JSON or hold no records where they should.
    """
    fields = [field for field in schema if field.name != ABSENT]
    if not fields or any(text_kind(field) == "json" or _is_odd(field.name) for field in fields):
        return None
    lists = [_between_brackets(page) for page in pages]
    if not pages or any(found is None for found in lists):
        return None
    body = b'{"r":[' + b']}\n{"r":['.join(found for found in lists if found is not None) + b"]}"
    try:
        table = read_objects(body, pa.schema([("r", pa.list_(pa.struct(fields)))]), "error")
        column = table.column(0).combine_chunks()
        if table.num_columns != 1 or len(column) != len(pages) or column.null_count:
            return None
        records = column.flatten()
        columns = records.flatten()
        _check_text(body, columns)
        if records.null_count or not _numbers_survived(body, fields, columns):
            return None
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    lacking = len(records) * len(fields) - (_count_keys(body) - len(pages))
    if lacking == 0:
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
    # No field is null by itself when there are just as many nulls as absent fields.
    if lacking < 0 or lacking != sum(column.null_count for column in columns):
        return None
    return pa.RecordBatch.from_arrays([*columns, _absent(columns, schema)], schema=pa.schema([*fields, pa.field(ABSENT, pa.string())]))


def _between_brackets(page: JsonBody) -> memoryview | None:
    """What stands between the brackets of the page's record list, or None if that cannot be told without parsing it all.

    The rest of the answer is parsed with an empty list in that place, which must be found at the page's path.
    """
    start, end = page.body.find(b"["), page.body.rfind(b"]")
    if start < 0 or end < start:
        return None
    try:
        found = loads(page.body[: start + 1] + page.body[end:])
    except ContractError:
        return None
    for key in page.path:
        found = found.get(key) if isinstance(found, dict) else None
    return memoryview(page.body)[start + 1 : end] if found == [] else None


def _is_odd(name: str) -> bool:
    """A name whose JSON spelling may have escapes: keys cannot be counted by their closing quote then."""
    return '"' in name or "\\" in name


def _count_keys(body: bytes) -> int:
    """How often a quote stands before a colon: the number of keys, for names without quotes and backslashes."""
    escapes = b"\\" in body
    count = 0
    codes = np.frombuffer(body, np.uint8)
    for start in range(0, len(codes), _CHUNK):
        part = codes[max(start - 1, 0) : start + _CHUNK + 1]
        # part begins one byte early for the look back, and ends one byte late for the look ahead
        quotes = part[:-1] == ord('"')
        quotes &= part[1:] == ord(":")
        if start:
            quotes[0] = False
        count += int(np.count_nonzero(quotes))
        if escapes:
            count -= int(np.count_nonzero(quotes[1:] & (part[:-2] == ord("\\"))))
    return count


def _check_text(body: bytes, columns: Sequence[pa.Array]) -> None:
    """Raises ArrowInvalid for text that is not UTF-8, which the reader passes on."""
    if not body.isascii():
        for column in columns:
            if pa.types.is_string(column.type):
                column.validate(full=True)


def _numbers_survived(body: bytes, fields: Sequence[pa.Field], columns: Sequence[pa.Array]) -> bool:
    """Whether every number is still the number that came."""
    floats = {field.name: to_numpy(column) for field, column in zip(fields, columns, strict=True) if pa.types.is_float64(field.type)}
    decimals = [field for field in fields if pa.types.is_decimal128(field.type)]
    if decimals:
        numbers_only = pa.struct([(field.name, pa.float64()) for field in decimals])
        read_objects(body, pa.schema([("r", pa.list_(numbers_only))]), "ignore")  # ArrowInvalid for a text
    if not floats:
        return True
    if not all(np.isfinite(values).all() for values in floats.values()):
        return False
    suspects = _long_runs(body)
    if any((np.abs(values) < _TINY).any() for values in floats.values()):
        suspects = np.concatenate([suspects, _small_exponents(body)])
    names = {name.encode() for name in floats}
    return all(_is_exact(body, int(position), names) for position in suspects)


def _long_runs(body: bytes) -> npt.NDArray[np.int64]:
    """Where 16 or more characters of `./0123456789` begin that may be a number's (nothing that a quote or letter stands before)."""
    codes = np.frombuffer(body, np.uint8)
    found = [np.empty(0, np.int64)]
    for start in range(0, len(codes), _CHUNK):
        part = codes[max(start - 1, 0) : start + _CHUNK + _LONG]
        if len(part) <= _LONG:
            break
        run = (part - np.uint8(ord("."))) < np.uint8(12)
        begins = run[1:] & ~run[:-1]
        for width in (1, 2, 4, 8):
            run = run[:-width] & run[width:]
        begins = begins[: len(run) - 1] & run[1:]
        if begins.any():
            at = np.flatnonzero(begins)
            before = part[at]
            at = at[(before <= ord(" ")) | (before == ord(":")) | (before == ord("-"))]
            found.append(at + 1 + max(start - 1, 0))
    return np.unique(np.concatenate(found))


def _small_exponents(body: bytes) -> npt.NDArray[np.int64]:
    """Where an `e-` or `E-` stands between digits."""
    codes = np.frombuffer(body, np.uint8)
    at = np.flatnonzero(codes == ord("-"))
    at = at[(at > 1) & (at < len(codes) - 1)]
    at = at[(codes[at - 1] | 0x20) == ord("e")]
    found: npt.NDArray[np.int64] = at[np.isin(codes[at - 2], _DIGITS) & np.isin(codes[at + 1], _DIGITS)]
    return found


_DIGITS = np.frombuffer(b"0123456789.", np.uint8)


def _is_exact(body: bytes, position: int, names: set[bytes]) -> bool:
    """Whether what stands at `position` is no number of these fields, or one that float64 holds."""
    start = position
    while start and body[start - 1] in b"0123456789.eE+-":
        start -= 1
    colon = _before_space(body, start)
    quote = _before_space(body, colon - 1)
    if colon < 1 or body[colon - 1] != ord(":") or quote < 2 or body[quote - 1] != ord('"') or body[quote - 2] == ord("\\"):
        return True  # inside a text
    key = body[body.rfind(b'"', 0, quote - 1) + 1 : quote - 1]
    if key not in names and b"\\" not in key:
        return True
    number = _NUMBER.match(body, start)
    return number is not None and exact_float(Decimal(number[0].decode())) is not None


def _before_space(body: bytes, end: int) -> int:
    while end > 0 and body[end - 1] in _SPACE:
        end -= 1
    return end


def _absent(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.Array:
    """For each row the JSON list of its null columns, or null."""
    names = [name for name in schema.names if name != ABSENT]
    rows = len(columns[0])
    masks = [(name, pc.is_null(column)) for name, column in zip(names, columns, strict=True) if column.null_count]
    flags = np.stack([np.unpackbits(_packed(mask), bitorder="little")[:rows] for _, mask in masks])
    patterns, which = np.unique(flags.T, axis=0, return_inverse=True)
    lists = [[name for (name, _), flag in zip(masks, pattern, strict=True) if flag] for pattern in patterns]
    texts = array([canonical(list(lacking)) if lacking else None for lacking in lists], pa.string())
    return texts.take(array(which.reshape(-1).tolist(), pa.int64()))


def _packed(mask: pa.BooleanArray) -> npt.NDArray[np.uint8]:
    return np.frombuffer(mask.buffers()[1], np.uint8)
