"""Arrow columns in the form PostgreSQL can hold, and back. Pure.

PostgreSQL text cannot hold NUL. Here ESC (U+001B) followed by `0` stands for NUL and ESC followed by `1` for ESC
itself, so every text has exactly one spelling and comes back as it was. Texts with neither, which is nearly
all there are, lie there verbatim.
"""

import pyarrow as pa
import pyarrow.compute as pc

_NUL, _ESC = "\x00", "\x1b"


def encoded(column: pa.Array) -> pa.Array:
    """The column without NUL in its texts; a column that never had a value becomes text."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_list(column.type):
        return _in_lists(column, encoded(column.values))
    if not pa.types.is_string(column.type) or not (_holds(column, b"\x00") or _holds(column, b"\x1b")):
        return column
    return pc.replace_substring(pc.replace_substring(column, _ESC, _ESC + "1"), _NUL, _ESC + "0")


def decoded(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column of that type again."""
    if pa.types.is_null(kind):
        return pa.nulls(len(column))
    if pa.types.is_list(kind):
        return _in_lists(column, decoded(column.values, kind.value_type)).cast(kind)
    if not pa.types.is_string(kind):
        return column.cast(kind)
    text = column.cast(pa.string())
    return pc.replace_substring(pc.replace_substring(text, _ESC + "0", _NUL), _ESC + "1", _ESC) if _holds(text, b"\x1b") else text


def encoded_text(text: str) -> str:
    """One text in that spelling."""
    return text.replace(_ESC, _ESC + "1").replace(_NUL, _ESC + "0")


def decoded_text(text: str) -> str:
    """One text again."""
    return text.replace(_ESC + "0", _NUL).replace(_ESC + "1", _ESC)


def _holds(column: pa.Array, code: bytes) -> bool:
    """Whether the memory of the texts holds this byte: a look at far more speed than at each text."""
    memory = column.buffers()[2]
    return memory is not None and code in memoryview(memory).tobytes()


def _in_lists(lists: pa.Array, values: pa.Array) -> pa.Array:
    """The same lists around other values."""
    return pa.Array.from_buffers(pa.list_(values.type), len(lists), lists.buffers()[:2], offset=lists.offset, children=[values])
