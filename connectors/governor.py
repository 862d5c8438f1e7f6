"""Pacing: one governor per (platform, credential), shared by all threads, and through a cell by all processes of the host.

`connectors.governor_bucket` is the arithmetic; here is the waiting. A token is stamped at the moment of sending,
so that time spent on preparing a request is not counted.
"""

import logging
import math
import re
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from connectors.base import Clock, Rng
from connectors.errors import ConfigError, RetryableError
from connectors.governor_breaker import Breaker
from connectors.governor_bucket import Bucket, Rate, decode, encode
from connectors.settings import Cell, Ports

__all__ = ["Breaker", "Bucket", "Governor", "Rate", "breaker_for", "governor_for", "parse_rate"]

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_REMEMBERED = 256  # governors kept for connections that closed: their pauses must outlive them
_REPEAT_SHARE, _REPEATS_SAVED = 0.1, 20.0  # repeats are at most a tenth of the requests, after the first twenty

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


def parse_rate(text: str | None, burst: int | None) -> Rate | None:
    """`10/s`, `600/m`, `1000/h` as a Rate; None where none is written. Raises ConfigError naming the forms."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*([smh])\s*", text)
    if match is None or not 0 < float(match[1]) < math.inf:
        raise ConfigError(f"rate_limit {text!r} is not a rate above zero; write it as 10/s, 600/m or 1000/h")
    per_s = float(match[1]) / _UNIT_S[match[2]]
    if burst is not None and burst < 1:
        raise ConfigError(f"burst {burst} lets no request through; it must be at least 1")
    return Rate(per_s, burst if burst is not None else max(1, math.floor(per_s)))


class Governor:
    """Lets requests of all threads through at the pace of one bucket, and few of them a second time.

    With a `cell` the bucket's numbers live there. Where it cannot be used, this process goes on with its own for a while.
    """

    def __init__(self, clock: Clock, cell: Cell | None = None) -> None:
        self._clock, self._cell = clock, cell
        self._bucket = Bucket()
        self._lock = Lock()
        self._turn = Lock()  # one thread at a time waits for the bucket, the others for their turn
        self._repeats = _REPEATS_SAVED
        self._alone_until_s = -math.inf
        self._taken = 0  # not yet told to the bucket: with the next token is early enough

    def limit(self, rate: Rate | None) -> None:
        """Respect this rate too; of several connections to one account the slowest setting counts."""
        with self._lock:
            self._bucket.limit(rate)

    def pause(self, duration_s: float) -> None:
        """Hold back everyone for `duration_s` from now: the platform asked one of them to wait."""
        self._step(lambda bucket, now_s: bucket.pause(now_s + duration_s))

    def too_fast(self, sent_s: float) -> None:
        """The request let through at `sent_s` was one too many: slow down, however fast the settings allow it."""
        self._step(lambda bucket, now_s: bucket.too_fast(now_s, sent_s))

    def wait(self, at_most_s: float) -> float:
        """Return when one request may go, having used its token; gives the time of that (monotonic seconds).

        Raises RetryableError when a pause lasts `at_most_s` or more.
        """
        with self._turn:
            while True:
                sent_s, wait_s, paused_s = self._step(_ask)
                if wait_s <= 0:
                    return sent_s
                if paused_s >= at_most_s:
                    kept = f" (if that was a mistake, delete {self._cell.where})" if self._cell else ""
                    raise RetryableError(
                        f"the platform asked to be left alone for another {paused_s:,.0f} s, more than the {at_most_s:,.0f} s waited "
                        f"here; run again later{kept}",
                        retry_after_s=paused_s,
                    )
                self._clock.sleep(wait_s)

    def taken(self) -> None:
        """The platform answered a request without complaining about the number of them."""
        with self._lock:
            self._taken += 1

    def sent(self) -> None:
        """A request went out: the budget of repeats grows by a tenth of one."""
        with self._lock:
            self._repeats = min(_REPEATS_SAVED, self._repeats + _REPEAT_SHARE)

    def may_repeat(self) -> bool:
        """Whether one more request may go out only because an earlier one failed. Uses up the permission."""
        with self._lock:
            if self._repeats < 1:
                return False
            self._repeats -= 1
            return True

    def _step(self, step: Callable[[Bucket, float], Result]) -> Result:
        """`step` with the bucket to itself."""

        def told(now_s: float) -> Result:
            self._bucket.taken(self._taken)
            self._taken = 0
            return step(self._bucket, now_s)

        def shared(kept: bytes) -> tuple[bytes, Result]:
            now_s, wall_s = self._clock.monotonic(), self._clock.now().timestamp()
            self._bucket.pace = decode(kept, now_s, wall_s)
            result = told(now_s)
            return encode(self._bucket.pace, now_s, wall_s), result

        with self._lock:
            if self._cell is not None and self._clock.monotonic() >= self._alone_until_s:
                try:
                    return self._cell.change(shared)
                except OSError as error:
                    _log.warning(
                        "the pace shared with other processes cannot be kept in %s (%s); this one goes on with its own for %.0f s",
                        self._cell.where,
                        error.strerror or error,
                        self._cell.alone_s,
                    )
                    self._alone_until_s = self._clock.monotonic() + self._cell.alone_s
            return told(self._clock.monotonic())


def _ask(bucket: Bucket, now_s: float) -> tuple[float, float, float]:
    """When it is, how long to wait, how much of that is a pause. A wait of 0 has taken the token."""
    wait_s = bucket.wait_s(now_s)
    if wait_s <= 0:
        bucket.take(now_s)
    return now_s, wait_s, bucket.paused_s(now_s)


def governor_for(origin: str, credential: str, ports: Ports) -> Governor:
    """The one governor of this process for an origin (`https://host:port`) and the digest of a credential.

    Ports whose clocks compare equal share one; a test's own clock gets a governor of its own.
    """

    def make() -> Governor:
        return Governor(ports.clock, ports.paces(credential) if ports.paces else None)

    return _shared((origin, credential, ports.clock, ports.paces), make)


def breaker_for(origin: str, clock: Clock, rng: Rng) -> Breaker:
    """The one breaker of this process for an origin."""
    return _shared((origin, clock), lambda: Breaker(clock, rng))


_kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
_kept_lock = Lock()


def _shared(key: tuple[Any, ...], make: Callable[[], Result]) -> Result:
    with _kept_lock:
        found: Result | None = _kept.get(key)
        if found is None:
            found = _kept[key] = make()
            while len(_kept) > 2 * _REMEMBERED:
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return found
