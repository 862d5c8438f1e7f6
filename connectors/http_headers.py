"""What an answer's headers say about time: its date, when to come back, how much quota is left. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["advised_pause_s", "http_date", "retry_after_s"]

_ADVICE_CAP_S = 60.0  # headers of a successful answer are advice; a false one must not stop a sync for hours
_EPOCH_S = 1_000_000_000  # a reset above this is a point in time, not a duration


def http_date(text: str | None) -> datetime | None:
    """An HTTP date, aware, UTC; None for anything else."""
    if not text:
        return None
    try:
        found = parsedate_to_datetime(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError):
        return None


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the platform asks to be left alone (≥ 0), or None where it says nothing that can be understood.

    A date counts from the platform's own clock where it told it, so that two clocks need not agree.
    """
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None:
        return seconds if seconds >= 0 else None
    until = http_date(text)
    if until is None:
        return None
    return max(0.0, (until - (http_date(headers.get("date")) or now)).total_seconds())


def advised_pause_s(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds to hold back because RateLimit or X-RateLimit headers say that nothing is left; 0 otherwise. Never above 60."""
    remaining, reset = _draft(headers.get("ratelimit", ""))
    for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit"):
        remaining = _number(headers.get(f"{prefix}-remaining", "")) if remaining is None else remaining
        reset = _number(headers.get(f"{prefix}-reset", "")) if reset is None else reset
    if remaining is None or remaining > 0 or reset is None:
        return 0.0
    if reset > _EPOCH_S * 1000:
        reset /= 1000
    wait_s = reset - now.timestamp() if reset > _EPOCH_S else reset
    return min(max(0.0, wait_s), _ADVICE_CAP_S)


def _draft(text: str) -> tuple[float | None, float | None]:
    """Remaining and reset of `RateLimit: "default";r=50;t=30` or `limit=100, remaining=50, reset=30`."""
    found: dict[str, float | None] = {}
    for part in text.replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        found.setdefault(name, _number(value))
    return found.get("r", found.get("remaining")), found.get("t", found.get("reset"))


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if len(text) <= 20 and text.replace(".", "", 1).isdecimal() and text.isascii() else None
