"""The window of an incremental read: bounds asked a little wider than wanted, records outside told apart where that is certain. Pure.

A window is [value, until). The platform only documents `gt` and `lt`, of unknown precision, so the
bounds asked lie two seconds (or one unit) outside, in the text form of the cursor itself.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from connectors.base import JsonValue, Record, Since

Cursor: TypeAlias = str | int | float | Decimal

_MARGIN = timedelta(seconds=2)  # more than rounding to a second can move a bound
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def shifted(value: Cursor, steps: int) -> Cursor | None:
    """A value in the same form that is surely before (`steps` -1) or after (+1) every value equal to this one; None: unknown form."""
    if isinstance(value, int | float | Decimal):
        return None if isinstance(value, bool) else value + steps
    try:
        if _DATE.fullmatch(value):
            return (datetime.fromisoformat(value) + timedelta(days=steps)).date().isoformat()
        time = _TIME.fullmatch(value)
        if time is None:
            return None
        day, gap, clock, fraction, zone = time.groups()
        moved = datetime.fromisoformat(f"{day}T{clock}") + steps * _MARGIN
    except (ValueError, OverflowError):
        return None
    return f"{moved:%Y-%m-%d}".rjust(10, "0") + gap + f"{moved:%H:%M:%S}" + (fraction or "") + (zone or "")


def outside(value: JsonValue, since: Since) -> bool:
    """Whether a cursor value is certainly not in the window. Null, another type or another form: not certain."""
    before = since.value is not None and _less(value, since.value)
    return before or (since.until is not None and _less(value, since.until) is False)


def unwanted(records: Sequence[Record], since: Since) -> tuple[int, ...]:
    """The positions of records that are certainly outside the window."""
    return tuple(position for position, record in enumerate(records) if outside(record.get(since.field), since))


def _less(one: JsonValue, other: JsonValue) -> bool | None:
    """`one < other`, or None where that cannot be said with certainty."""
    if isinstance(one, bool) or isinstance(other, bool):
        return None
    if isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal):
        return one < other
    if not (isinstance(one, str) and isinstance(other, str)):
        return None
    a, b = _TIME.fullmatch(one), _TIME.fullmatch(other)
    if a and b and a[5] and b[5]:
        earlier, later = _instant(a), _instant(b)
        return None if earlier is None or later is None else earlier < later
    if (a and b and a[5] is b[5] is None and a[2] == b[2] and len(one) == len(other)) or (_DATE.fullmatch(one) and _DATE.fullmatch(other)):
        return one < other
    return None


def _instant(time: re.Match[str]) -> tuple[datetime, str] | None:
    """The whole seconds, and the digits after them without trailing zeros: comparable, never rounded."""
    try:
        return datetime.fromisoformat(f"{time[1]}T{time[3]}{time[5]}"), (time[4] or "").rstrip("0")
    except (ValueError, OverflowError):
        return None
