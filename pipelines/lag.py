"""A cursor moved back by a lag, in the very spelling it has: a platform may compare it as text. Pure."""

import math
import re
from datetime import datetime, timedelta

from pipelines.spec import duration

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:([Tt ])(\d\d:\d\d)(:\d\d)?([.,]\d+)?(\s?(?:[Zz]|[+-]\d\d(?::?\d\d)?))?)?", re.ASCII)


def lagged(cursor: str | int | float, lag: str) -> str | int | float:
    """The cursor, at least `lag` earlier where it is a date or a time; anything else stays as it is.

    Separator, fraction and offset are kept, and what is written without seconds or as a date stays so.
    """
    back = duration(lag)
    spelled = _TIME.fullmatch(cursor) if isinstance(cursor, str) else None
    if not back or spelled is None:
        return cursor
    day, gap, minutes, seconds, fraction, zone = spelled.groups(default="")
    unit = timedelta(seconds=1) if seconds else timedelta(minutes=1) if gap else timedelta(days=1)
    try:
        moment = datetime.fromisoformat(f"{day}T{minutes or '00:00'}{seconds}") - math.ceil(back / unit) * unit
    except (ValueError, OverflowError):
        return cursor
    written = moment.isoformat()
    return written[:10] + (gap + written[11 : 19 if seconds else 16] + fraction + zone if gap else "")
