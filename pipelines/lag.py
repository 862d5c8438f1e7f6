"""Cursors in the very spelling that a platform uses, moved back by a lag or made for a moment: it may compare them as text. Pure."""

import math
import re
from datetime import UTC, datetime, timedelta, timezone

from pipelines.spec import Epoch, duration

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:([Tt ])(\d\d:\d\d)(:\d\d)?([.,]\d+)?(\s?(?:[Zz]|[+-]\d\d(?::?\d\d)?))?)?", re.ASCII)


def lagged(cursor: str | int | float, lag: str, epoch: Epoch | None = None) -> str | int | float:
    """The cursor, at least `lag` earlier where it is a date or a time, or a number that counts `epoch`; anything else stays as it is.

    Separator, fraction and offset are kept, and what is written without seconds or as a date stays so.
    """
    back = duration(lag)
    if epoch is not None and not isinstance(cursor, str):
        return cursor - math.ceil(back / timedelta(**{epoch: 1}))
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


def spelled_like(moment: datetime, sample: str | None) -> str:
    """An aware moment as the platform would spell it, going by a time or date it gave; whole seconds in UTC, ending in Z, without one."""
    spelled = None if sample is None else _TIME.fullmatch(sample)
    if spelled is None:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _, gap, _, seconds, fraction, zone = spelled.groups(default="")
    written = moment.astimezone(_offset(zone)).isoformat()
    digits = fraction[:1] + "0" * (len(fraction) - 1)
    return written[:10] + (gap + written[11 : 19 if seconds else 16] + digits + zone if gap else "")


def _offset(zone: str) -> timezone:
    """`Z`, nothing, or `+02:00` in any of its spellings."""
    digits = re.findall(r"\d\d", zone)
    if not digits:
        return UTC
    ahead = timedelta(hours=int(digits[0]), minutes=int(digits[1]) if digits[1:] else 0)
    return timezone(-ahead if "-" in zone else ahead)
