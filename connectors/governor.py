"""Pacing: one governor per (platform, credential) in this process, shared by all its threads.

`Bucket` is the arithmetic (pure: time comes in as a number); `Governor` waits, under a lock. A token
is stamped at the moment of sending, so that time spent on preparing a request is not counted.

Seam for several processes: `Governor` needs from its bucket only `wait_s`, `paused_s`, `take`, `pause`
and `limit`; a bucket whose numbers live in a shared store has the same five.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from connectors.base import Clock
from connectors.errors import ConfigError, RetryableError

__all__ = ["Bucket", "Governor", "Rate", "governor_for", "parse_rate"]

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_HELD_BACK = 0.2  # share of the burst never used: requests leave evenly and still arrive bunched
_ROUNDING = 1e-6  # tokens: sums of floating times must not make a thread wait for nothing
_REMEMBERED = 256  # governors kept for connections that closed: their pauses must outlive them


@dataclass(frozen=True)
class Rate:
    """`per_s` requests a second, at most `burst` (whole, ≥ 1) of them at once."""

    per_s: float
    burst: int


def parse_rate(text: str | None, burst: int | None) -> Rate | None:
    """`10/s`, `600/m`, `1000/h` as a Rate; None where none is written. Raises ConfigError naming the forms."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*([smh])\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"rate_limit {text!r} is not a rate above zero; write it as 10/s, 600/m or 1000/h")
    per_s = float(match[1]) / _UNIT_S[match[2]]
    if burst is not None and burst < 1:
        raise ConfigError(f"burst {burst} lets no request through; it must be at least 1")
    return Rate(per_s, burst if burst is not None else max(1, math.floor(per_s)))


class Bucket:
    """A token bucket with a shared not-before. In any `t` seconds it lets through at most `burst + per_s · t`.

    Times are seconds of one monotonic clock. Not thread-safe: its owner locks. Without a rate only pauses count.
    """

    def __init__(self, rate: Rate | None = None) -> None:
        self._rate = rate
        self._tokens = float(_usable(rate.burst)) if rate else 0.0
        self._stamp_s = -math.inf
        self._not_before_s = -math.inf

    def limit(self, rate: Rate | None) -> None:
        """Respect this rate too: of two, the slower and the smaller burst count."""
        if rate is None:
            return
        if self._rate is None:
            self._rate, self._tokens = rate, float(_usable(rate.burst))
            return
        self._rate = Rate(min(self._rate.per_s, rate.per_s), min(self._rate.burst, rate.burst))
        self._tokens = min(self._tokens, _usable(self._rate.burst))

    def pause(self, until_s: float) -> None:
        """Let nothing through before `until_s`. A pause is never shortened."""
        self._not_before_s = max(self._not_before_s, until_s)

    def paused_s(self, now_s: float) -> float:
        """Seconds that the pause still lasts; 0 when there is none."""
        return max(0.0, self._not_before_s - now_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds until one request may go; 0 when it may go now."""
        if self._rate is None:
            return self.paused_s(now_s)
        missing = 1.0 - self._filled(now_s)
        return max(self.paused_s(now_s), missing / self._rate.per_s if missing > _ROUNDING else 0.0)

    def take(self, now_s: float) -> None:
        """Use one token. Only right after `wait_s` gave 0 for the same time."""
        if self._rate is not None:
            self._tokens = max(0.0, self._filled(now_s) - 1.0)
            self._stamp_s = max(self._stamp_s, now_s)

    def _filled(self, now_s: float) -> float:
        assert self._rate is not None
        if self._stamp_s == -math.inf:
            return self._tokens
        return min(float(_usable(self._rate.burst)), self._tokens + max(0.0, now_s - self._stamp_s) * self._rate.per_s)


class Governor:
    """Lets requests of all threads through at the pace of one bucket."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bucket = Bucket()
        self._lock = Lock()

    def limit(self, rate: Rate | None) -> None:
        """Respect this rate too; of several connections to one account the slowest setting counts."""
        with self._lock:
            self._bucket.limit(rate)

    def pause(self, duration_s: float) -> None:
        """Hold back every thread for `duration_s` from now: the platform asked one of them to wait."""
        with self._lock:
            self._bucket.pause(self._clock.monotonic() + duration_s)

    def wait(self, at_most_s: float) -> None:
        """Return when one request may go, having used its token. Raises RetryableError when a pause lasts `at_most_s` or more."""
        while True:
            with self._lock:
                now_s = self._clock.monotonic()
                wait_s = self._bucket.wait_s(now_s)
                if wait_s <= 0:
                    self._bucket.take(now_s)
                    return
                paused_s = self._bucket.paused_s(now_s)
            if paused_s >= at_most_s:
                raise RetryableError(
                    f"the platform asked to be left alone for another {paused_s:,.0f} s, more than the {at_most_s:,.0f} s waited here; "
                    "run again later",
                    retry_after_s=paused_s,
                )
            self._clock.sleep(wait_s)


def governor_for(origin: str, credential: str, clock: Clock) -> Governor:
    """The one governor of this process for an origin (`https://host:port`) and the digest of a credential.

    Clocks that compare equal share one; a test's own clock gets a governor of its own.
    """
    return _shared((origin, credential, clock), lambda: Governor(clock))


_governors: OrderedDict[tuple[str, str, Clock], Governor] = OrderedDict()
_governors_lock = Lock()


def _shared(key: tuple[str, str, Clock], make: Callable[[], Governor]) -> Governor:
    with _governors_lock:
        found = _governors.get(key)
        if found is None:
            found = _governors[key] = make()
            while len(_governors) > _REMEMBERED:
                _governors.popitem(last=False)
        _governors.move_to_end(key)
        return found


def _usable(burst: int) -> int:
    return max(1, math.floor(burst * (1 - _HELD_BACK)))
