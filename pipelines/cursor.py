"""The largest value of a cursor field over the batches of a read, never rounded. Pure.

Values are compared as instants when all are ISO times with an offset, as wall times when all are ISO
times or dates without one, as numbers when all are numbers, and as text when all are text of one length.
Over anything else there is no order to trust, and so no cursor.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from connectors import jsontext
from connectors.arrow_types import text_kind

Value: TypeAlias = str | int | float | Decimal

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s?([Zz]|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?",
    re.ASCII,
)


class HighWater:
    """The largest value seen. `value` is None before the first one, and for good once values had no common order."""

    def __init__(self) -> None:
        self._best: Value | None = None
        self._key: tuple[str, Any] | None = None
        self._mixed = False

    @property
    def value(self) -> Value | None:
        """The largest value as the platform spelled it."""
        return None if self._mixed else self._best

    @property
    def mixed(self) -> bool:
        """Whether values had no common order."""
        return self._mixed

    def see(self, batch: pa.RecordBatch, field: str) -> None:
        """Take a batch of records into account; null and absent do not count."""
        position = batch.schema.get_field_index(field)
        if position < 0 or self._mixed:
            return
        values = batch.column(position)
        found: list[Value | None]
        if text_kind(batch.schema.field(position)) == "json":
            found = [_scalar(jsontext.loads(text)) for text in values.unique().to_pylist() if text is not None]
        elif pa.types.is_string(values.type):
            found = [*_largest_instant(values)] or [text for text in values.unique().to_pylist() if text is not None]
        elif pa.types.is_boolean(values.type):
            found = [None] if values.null_count < len(values) else []
        else:
            largest = pc.max(values).as_py() if not pa.types.is_null(values.type) else None
            found = [] if largest is None else [largest]
        for value in found:
            self._add(value)

    def _add(self, value: Value | None) -> None:
        key = None if value is None else _key(value)
        if key is None or (self._key is not None and key[0] != self._key[0]):
            self._mixed = True
        elif self._key is None or key[1] > self._key[1]:
            self._best, self._key = value, key


def instant(text: str) -> tuple[int, Decimal] | None:
    """Whole seconds from the day before year 1, and the fraction, of an ISO time or date (UTC without an offset); None: it is none."""
    found = _ISO.fullmatch(text)
    return None if found is None else _place(found)


def _largest_instant(texts: pa.Array) -> list[str]:
    """The text of the latest instant, by Arrow where it takes all texts for ISO times with an offset; else nothing."""
    present = texts.drop_null()
    if not len(present):
        return []
    try:
        instants = present.cast(pa.timestamp("ns", "UTC"))
    except pa.ArrowInvalid:
        return []
    return [present[pc.index(instants, pc.max(instants)).as_py()].as_py()]


def _key(value: Value) -> tuple[str, Any]:
    """What to compare by: the kind of order, then the place in it."""
    if not isinstance(value, str):
        return "number", value
    found = _ISO.fullmatch(value)
    place = None if found is None else _place(found)
    if place is None:
        return f"text of {len(value)}", value
    return ("time", place) if found is not None and found[8] is None else ("instant", place)


def _place(found: re.Match[str]) -> tuple[int, Decimal] | None:
    """Seconds since the first day of year 1 (in UTC where there is an offset), and the fraction; any number of digits."""
    try:
        days = date(int(found[1]), int(found[2]), int(found[3])).toordinal()
    except ValueError:
        return None
    hours, minutes, seconds = (int(found[number] or 0) for number in (4, 5, 6))
    offset = found[8] or "Z"
    digits = [int(pair) for pair in re.findall(r"\d\d", offset)]
    ahead = sum(number * unit for number, unit in zip(digits, (3600, 60, 1), strict=False))
    whole = days * 86_400 + hours * 3_600 + minutes * 60 + seconds - (-ahead if offset[0] == "-" else ahead)
    return whole, Decimal("0." + (found[7] or "0"))


def _scalar(value: Any) -> Value | None:
    return value if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool) else None
