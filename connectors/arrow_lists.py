"""Python lists and numpy arrays to Arrow and back without pandas. Pure.

`pa.array`, `pa.scalar` and `to_numpy` import pandas, which costs a second of every start; these do not.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_NUMPY = {pa.int64(): np.int64, pa.float64(): np.float64, pa.bool_(): np.bool_}


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as an array of `kind`: null, bool, int64, float64, decimal128 or text, None being null.

    The caller vouches for the values' types. Raises OverflowError for an integer beyond 64 bits and
    ArrowInvalid for a decimal that does not fit.
    """
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if pa.types.is_decimal128(kind):
        return array([None if value is None else _plain(value) for value in values], pa.string()).cast(kind)
    has_null = None in values if kind == pa.string() else any(value is None for value in values)
    validity = None
    if has_null:
        present = np.fromiter([value is not None for value in values], np.bool_, len(values))
        validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    if kind == pa.string():
        return _text([value or "" for value in values] if has_null else values, validity)
    numbers: npt.NDArray[Any] = np.fromiter([value or 0 for value in values] if has_null else values, _NUMPY[kind], len(values))
    return _numbers(numbers, validity)


def from_numpy(values: npt.NDArray[Any]) -> pa.Array:
    """An int64, float64 or bool array over the same memory (bools are packed)."""
    return _numbers(values, None)


def to_numpy(values: pa.Array) -> npt.NDArray[Any]:
    """The slots of an int64 or float64 array as numpy sees them, without a copy; what stands in null slots means nothing."""
    slots: npt.NDArray[Any] = np.frombuffer(values.buffers()[1] or b"", _NUMPY[values.type])
    return slots[values.offset : values.offset + len(values)]


def _numbers(values: npt.NDArray[Any], validity: pa.Buffer | None) -> pa.Array:
    if values.dtype == np.bool_:
        packed = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [validity, packed])
    kind = pa.int64() if values.dtype == np.int64 else pa.float64()
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))])


def _text(values: Sequence[str], validity: pa.Buffer | None) -> pa.Array:
    joined = "".join(values)
    encoded = joined.encode()
    if len(encoded) == len(joined):
        lengths = np.fromiter(map(len, values), np.int64, len(values))
    else:
        lengths = np.fromiter(map(len, map(str.encode, values)), np.int64, len(values))
    ends = np.cumsum(lengths)
    if len(ends) and ends[-1] > np.iinfo(np.int32).max:
        raise pa.ArrowInvalid(f"{len(values)} texts of {ends[-1]} bytes are more than one column chunk of 2 GiB can hold")
    offsets = np.zeros(len(values) + 1, np.int32)
    offsets[1:] = ends
    return pa.Array.from_buffers(pa.string(), len(values), [validity, pa.py_buffer(offsets), pa.py_buffer(encoded)])


def _plain(number: Decimal | int) -> str:
    return format(number, "f") if isinstance(number, Decimal) else str(number)
