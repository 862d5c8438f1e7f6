"""What the pace learns from being told "too fast", and that it says the same after being written down."""

import math
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.governor_bucket import PACE_BYTES, Bucket, Pace, Rate, decode, encode

times = st.floats(-1e9, 1e9)
counts = st.floats(0, 1e6)
paces = st.builds(
    Pace,
    tokens=counts | st.just(math.inf),
    stamp_s=times | st.just(-math.inf),
    not_before_s=times | st.just(-math.inf),
    sent_s=times | st.just(-math.inf),
    recent=counts,
    learnt_per_s=st.floats(1, 1e6) | st.just(math.inf),
    too_fast_per_s=st.floats(1, 1e6) | st.just(math.inf),
    slowed_s=times | st.just(-math.inf),
    since=counts,
)


class Platform:
    """A server's own bucket of `per_s` and `burst`: says whether it takes a request."""

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s, self.burst, self.tokens, self.at_s = per_s, burst, burst, 0.0

    def takes(self, now_s: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def drive(
    bucket: Bucket, platform: Platform, for_s: float, *, answer_s: float = 0.005, retry_after_s: float = 1.0
) -> list[tuple[float, bool]]:
    """One client that always has something to send: when it sent, and whether it was taken."""
    sent: list[tuple[float, bool]] = []
    now_s = 0.0
    while now_s < for_s:
        now_s += bucket.wait_s(now_s) + 1e-9
        bucket.take(now_s)
        taken = platform.takes(now_s)
        sent.append((now_s, taken))
        if taken:
            bucket.taken(1)
        else:
            bucket.pause(now_s + retry_after_s)
            bucket.too_fast(now_s, now_s)
        now_s += answer_s
    return sent


@pytest.mark.parametrize(("per_s", "burst", "used"), [(10, 10, 0.95), (10, 1, 0.5), (2, 5, 0.95), (50, 100, 0.95), (5, 60, 0.95)])
def test_without_a_setting_the_limit_of_a_platform_is_learnt_and_nearly_used(per_s: float, burst: float, used: float) -> None:
    sent = drive(Bucket(), Platform(per_s, burst), 300)
    late = [taken for at_s, taken in sent if at_s > 60]
    assert late.count(False) / len(late) <= 0.06
    assert late.count(True) / 240 >= used * per_s


def test_full_speed_goes_on_for_ever_where_nobody_complains() -> None:
    sent = drive(Bucket(), Platform(1e6, 1e6), 10)
    assert len(sent) >= 10 / 0.005 * 0.99


@pytest.mark.parametrize("every", [5, 20])
def test_complaints_that_do_not_depend_on_the_pace_do_not_bring_it_to_a_halt(every: int) -> None:
    bucket, now_s = Bucket(), 0.0
    for number in range(1, 2_001):
        now_s += bucket.wait_s(now_s) + 0.005
        bucket.take(now_s)
        if number % every == 0:
            bucket.too_fast(now_s, now_s)
        else:
            bucket.taken(1)
    assert now_s <= 2_000


def test_requests_under_way_together_slow_us_down_once() -> None:
    bucket = Bucket()
    for number in range(8):
        bucket.take(number / 100)
    bucket.taken(6)
    bucket.too_fast(1.0, 0.0)
    once = bucket.pace.learnt_per_s
    for number in range(1, 8):
        bucket.too_fast(1.0, number / 100)
    assert bucket.pace.learnt_per_s == once
    bucket.take(2.0)
    bucket.taken(1)
    bucket.too_fast(2.1, 2.0)
    assert bucket.pace.learnt_per_s < once


@pytest.mark.parametrize("complaints", [1, 2, 10])
def test_complaints_before_anything_was_taken_only_pause(complaints: int) -> None:
    bucket = Bucket()
    for number in range(complaints):
        bucket.take(number * 2.0)
        bucket.too_fast(number * 2.0 + 0.1, number * 2.0)
    assert bucket.pace.learnt_per_s == math.inf


def test_one_complaint_about_a_few_requests_is_not_about_the_pace_and_two_are() -> None:
    bucket = Bucket()
    for sent_s in (0.0, 1.0, 2.0):
        bucket.take(sent_s)
        bucket.taken(1)
    bucket.too_fast(2.1, 2.0)
    assert bucket.pace.learnt_per_s == math.inf
    bucket.take(4.0)
    bucket.taken(1)
    bucket.take(5.0)
    bucket.too_fast(5.1, 5.0)
    assert bucket.pace.learnt_per_s < math.inf


def test_what_was_learnt_is_forgotten_after_an_hour_of_peace() -> None:
    bucket = Bucket()
    for _ in range(8):
        bucket.take(0.0)
    bucket.taken(7)
    bucket.too_fast(0.1, 0.0)
    bucket.take(3_000.0)
    assert bucket.pace.learnt_per_s < math.inf
    bucket.take(3_700.0)
    assert bucket.pace.learnt_per_s == math.inf


@given(st.builds(Rate, st.floats(0.05, 500), st.integers(1, 200)), st.lists(st.floats(0, 10), min_size=1, max_size=100), st.data())
def test_what_is_learnt_never_allows_more_than_the_setting(rate: Rate, gaps: list[float], data: st.DataObject) -> None:
    bucket, now_s = Bucket(rate), 0.0
    taken: list[float] = []
    for gap_s in gaps:
        now_s += gap_s
        while bucket.wait_s(now_s) <= 0:
            bucket.take(now_s)
            taken.append(now_s)
        bucket.taken(1)
        if taken and data.draw(st.booleans()):
            bucket.too_fast(now_s, taken[-1])
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= rate.burst + rate.per_s * (taken[last] - taken[first]) + 1e-3


@given(paces, times, st.floats(0, 4e9), st.floats(0, 1e6), st.floats(-1e6, 1e6))
def test_a_pace_written_down_reads_back_the_same_whatever_the_wall_clock_says(
    pace: Pace, now_s: float, wall_s: float, later_s: float, jump_s: float
) -> None:
    kept = encode(pace, now_s, wall_s)
    assert len(kept) == PACE_BYTES
    assert decode(kept, now_s + later_s, wall_s + later_s + jump_s) == pace


@given(st.floats(0, 1e7), st.floats(1, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_after_a_reboot_a_pause_still_ends_no_earlier(uptime_s: float, pause_s: float, away_s: float, new_uptime_s: float) -> None:
    wall_s = 1.8e9
    new_uptime_s = min(new_uptime_s, away_s)  # it booted while nobody looked
    kept = encode(Pace(not_before_s=uptime_s + pause_s), uptime_s, wall_s)
    pace = decode(kept, new_uptime_s, wall_s + away_s)
    left_s = pace.not_before_s - new_uptime_s
    assert left_s >= pause_s - away_s - 1e-3
    assert left_s <= pause_s + 1.0 + 1e-3


@given(st.binary(max_size=2 * PACE_BYTES), st.floats(0, 1e9))
def test_bytes_that_are_no_pace_give_an_empty_bucket(kept: bytes, now_s: float) -> None:
    pace = decode(kept, now_s, 0.0)
    assert pace == (Pace(tokens=0.0, stamp_s=now_s) if kept else Pace())


@given(paces, st.integers(0, PACE_BYTES - 1), st.integers(1, 255))
def test_a_torn_pace_is_noticed(pace: Pace, position: int, flip: int) -> None:
    kept = bytearray(encode(pace, 5.0, 5.0))
    kept[position] ^= flip
    assert astuple(decode(bytes(kept), 5.0, 5.0)) == astuple(Pace(tokens=0.0, stamp_s=5.0))
