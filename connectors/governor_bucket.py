"""The arithmetic of pacing: a token bucket, a shared not-before, and a rate learnt from being told "too fast". Pure.

Times are seconds of one monotonic clock and come in as numbers. Everything that has to survive a process is
in `Pace`; `encode` and `decode` are its fixed-size form, which carries the wall clock along so that a pause
also survives a reboot (after which the monotonic clock starts anew).
"""

import math
import struct
import zlib
from dataclasses import astuple, dataclass

__all__ = ["PACE_BYTES", "Bucket", "Pace", "Rate", "decode", "encode"]

_HELD_BACK = 0.2  # share of the burst never used: requests leave evenly and still arrive bunched
_ROUNDING = 1e-6  # tokens: sums of floating times must not make a thread wait for nothing
_LESS = 0.7  # of the pace that was too fast
_SLOWEST_LEARNT = 0.5  # requests a second; below it the pauses that the platform asks for do the pacing
_FEW = 6  # requests since the last complaint; fewer say little about the pace, and the way back stays as far as it was
_SLOW, _AGAIN_S = 4.0, 60.0  # fewer requests in the last second: one complaint is not about the pace, two within a minute are
_NEARLY = 0.95  # of the pace that was too fast: up to there the way back is quick, beyond it a probe
_DOUBLING_S = 5.0  # of the quick way back
_PROBE_SHARE = 0.001  # of the pace that was too fast, a second, for every second since: slowly where the limit may be, then boldly
_IDLE_S = 5.0  # time without a request teaches nothing
_FORGOTTEN_S = 3_600.0  # without being told again, what was learnt is dropped
_SAME_BOOT_S = 1.0


@dataclass(frozen=True)
class Rate:
    """`per_s` requests a second, at most `burst` (whole, ≥ 1) of them at once."""

    per_s: float
    burst: int


@dataclass
class Pace:
    """What is known of the traffic with one account. `learnt_per_s` is infinite where nothing was learnt."""

    tokens: float = math.inf  # as of `stamp_s`; infinite: a full bucket
    stamp_s: float = -math.inf
    not_before_s: float = -math.inf
    sent_s: float = -math.inf  # the last request
    recent: float = 0.0  # requests of about the last second, fading
    learnt_per_s: float = math.inf
    too_fast_per_s: float = math.inf  # the pace at which the platform complained last
    slowed_s: float = -math.inf
    since: float = 0.0  # requests that were taken since then


_FORM = struct.Struct(f"<4s2d{len(astuple(Pace()))}dI")
_MARK = b"xdp1"
PACE_BYTES = _FORM.size


def encode(pace: Pace, now_s: float, wall_s: float) -> bytes:
    """The pace in PACE_BYTES bytes, stamped with both clocks."""
    body = _FORM.pack(_MARK, now_s, wall_s, *astuple(pace), 0)[:-4]
    return body + struct.pack("<I", zlib.crc32(body))


def decode(kept: bytes, now_s: float, wall_s: float) -> Pace:
    """The pace as of now. What is torn or foreign counts as nothing known, except that the bucket is then empty.

    Times of an earlier boot are moved by the wall clock. They are never read as earlier than they were: a
    monotonic clock that started anew and has passed the old stamp ran at most as long as the time since.
    """
    if not kept:
        return Pace()
    if len(kept) != PACE_BYTES or kept[:4] != _MARK or zlib.crc32(kept[:-4]) != struct.unpack("<I", kept[-4:])[0]:
        return Pace(tokens=0.0, stamp_s=now_s)
    _, written_s, written_wall_s, *numbers, _ = _FORM.unpack(kept)
    pace = Pace(*numbers)
    if written_s > now_s + _SAME_BOOT_S:
        moved_s = now_s - written_s - max(0.0, wall_s - written_wall_s)
        for name in ("stamp_s", "not_before_s", "sent_s", "slowed_s"):
            setattr(pace, name, getattr(pace, name) + moved_s)
    return pace


class Bucket:
    """In any `t` seconds at most `burst + per_s · t` requests get through, and none during a pause.

    Without a rate only pauses count, until the platform says "too fast" once. Not thread-safe: its owner locks.
    """

    def __init__(self, rate: Rate | None = None, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self._rate = rate

    def limit(self, rate: Rate | None) -> None:
        """Respect this rate too: of two, the slower and the smaller burst count."""
        if rate is None:
            return
        mine = self._rate or rate
        self._rate = Rate(min(mine.per_s, rate.per_s), min(mine.burst, rate.burst))

    def pause(self, until_s: float) -> None:
        """Let nothing through before `until_s`. A pause is never shortened."""
        self.pace.not_before_s = max(self.pace.not_before_s, until_s)

    def paused_s(self, now_s: float) -> float:
        """Seconds that the pause still lasts; 0 when there is none."""
        return max(0.0, self.pace.not_before_s - now_s)

    def wait_s(self, now_s: float) -> float:
        """Seconds until one request may go; 0 when it may go now."""
        per_s, _ = self._allowed()
        if per_s == math.inf:
            return self.paused_s(now_s)
        missing = 1.0 - self._filled(now_s)
        return max(self.paused_s(now_s), missing / per_s if missing > _ROUNDING else 0.0)

    def take(self, now_s: float) -> None:
        """Use one token. Only right after `wait_s` gave 0 for the same time."""
        pace = self.pace
        if self._allowed()[0] < math.inf:
            pace.tokens = max(0.0, self._filled(now_s) - 1.0)
            pace.stamp_s = max(pace.stamp_s, now_s)
        else:  # whoever shares this pace and has a rate is to notice the request
            pace.tokens = max(0.0, pace.tokens - 1.0)
        self._grow(now_s)
        pace.recent = pace.recent * math.exp(-max(0.0, now_s - pace.sent_s)) + 1.0
        pace.sent_s = max(pace.sent_s, now_s)

    def taken(self, count: int) -> None:
        """The platform took so many requests without complaining about their number."""
        self.pace.since += count

    def too_fast(self, now_s: float, sent_s: float) -> None:
        """The request sent at `sent_s` was refused as one too many: slow down, once for all that were under way together.

        A complaint after nothing was taken is about the pause that was too short, not about the pace.
        """
        pace = self.pace
        if sent_s <= pace.slowed_s:
            return
        alone = pace.learnt_per_s == math.inf and pace.recent < _SLOW and now_s - pace.slowed_s > _AGAIN_S
        if pace.since == 0 or alone:
            pace.slowed_s = now_s
            return
        was = max(_SLOWEST_LEARNT, min(pace.learnt_per_s, pace.recent))
        if pace.since >= _FEW or pace.too_fast_per_s == math.inf:
            pace.too_fast_per_s = was
        pace.learnt_per_s = max(_SLOWEST_LEARNT, was * _LESS)
        pace.slowed_s, pace.since = now_s, 0.0
        pace.tokens, pace.stamp_s = 0.0, now_s

    def _grow(self, now_s: float) -> None:
        """Back to nearly the pace that was too fast, then beyond it in small steps."""
        pace = self.pace
        if pace.learnt_per_s == math.inf:
            return
        if now_s - pace.slowed_s > _FORGOTTEN_S:
            pace.learnt_per_s = pace.too_fast_per_s = math.inf
            return
        since_s = min(_IDLE_S, max(0.0, now_s - max(pace.sent_s, pace.not_before_s, pace.slowed_s)))
        nearly = pace.too_fast_per_s * _NEARLY
        if pace.learnt_per_s < nearly:
            pace.learnt_per_s = min(nearly, pace.learnt_per_s * 2 ** (since_s / _DOUBLING_S))
        else:
            pace.learnt_per_s += pace.too_fast_per_s * _PROBE_SHARE * (now_s - pace.slowed_s) * since_s

    def _allowed(self) -> tuple[float, float]:
        """Requests a second, and tokens at most, that the setting and what was learnt allow together."""
        learnt = self.pace.learnt_per_s
        per_s, most = learnt, 1.0 + learnt / 50  # a fiftieth of a second late is not lost
        if self._rate is not None:
            per_s, most = min(per_s, self._rate.per_s), min(most, float(max(1, math.floor(self._rate.burst * (1 - _HELD_BACK)))))
        return per_s, most

    def _filled(self, now_s: float) -> float:
        per_s, most = self._allowed()
        return min(most, self.pace.tokens + max(0.0, now_s - self.pace.stamp_s) * per_s)
