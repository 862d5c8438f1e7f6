"""The bucket never lets more through than it may; a pause holds for everyone; the governor waits exactly as long as needed."""

import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ConfigError, RetryableError
from connectors.governor import Bucket, Governor, Rate, breaker_for, governor_for, parse_rate
from connectors.governor_file import FilePaces
from connectors.settings import Ports
from pipelines.ports import SystemRng
from tests.clock import FakeClock

rates = st.builds(Rate, st.floats(0.05, 500), st.integers(1, 200))


@given(rates, st.lists(st.floats(0, 30), min_size=1, max_size=200), st.floats(0, 1e7))
def test_no_interval_lets_more_through_than_its_burst_and_rate(rate: Rate, gaps: list[float], start_s: float) -> None:
    bucket = Bucket(rate)
    now_s = start_s
    taken: list[float] = []
    for gap_s in gaps:  # somebody asks again after each gap, and takes whenever it may
        now_s += gap_s
        while bucket.wait_s(now_s) <= 0:
            bucket.take(now_s)
            taken.append(now_s)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = rate.burst + rate.per_s * (taken[last] - taken[first])
            assert last - first + 1 <= allowed + 1e-3


@given(rates, st.integers(1, 50))
def test_waiting_as_told_is_enough_and_not_more(rate: Rate, count: int) -> None:
    bucket = Bucket(rate)
    now_s = 1_000_000.0
    for _ in range(count):
        wait_s = bucket.wait_s(now_s)
        if wait_s > 1e-3:
            assert bucket.wait_s(now_s + wait_s * 0.99) > 0
        now_s += wait_s
        assert bucket.wait_s(now_s) <= 1e-6
        bucket.take(now_s)
    usable = max(1, int(rate.burst * 0.8))
    assert now_s - 1_000_000.0 == pytest.approx(max(0, count - usable) / rate.per_s, abs=1e-3)


@given(rates, st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1))
def test_nothing_goes_before_the_latest_pause_ends(rate: Rate, pauses: list[tuple[float, float]]) -> None:
    bucket = Bucket(rate)
    until_s = 0.0
    for _, pause_until_s in pauses:
        bucket.pause(pause_until_s)
        until_s = max(until_s, pause_until_s)
    for now_s, _ in pauses:
        assert now_s + bucket.wait_s(now_s) >= until_s - 1e-9


def test_time_that_goes_back_gives_no_tokens() -> None:
    bucket = Bucket(Rate(1.0, 1))
    bucket.take(100.0)
    assert bucket.wait_s(50.0) == pytest.approx(1.0)
    bucket.take(101.0)
    assert bucket.wait_s(101.0) == pytest.approx(1.0)


def test_of_two_limits_the_slower_counts() -> None:
    bucket = Bucket(Rate(10.0, 10))
    bucket.limit(Rate(2.0, 1))
    bucket.limit(Rate(50.0, 50))
    bucket.take(0.0)
    assert bucket.wait_s(0.0) == pytest.approx(0.5)


def test_the_governor_spaces_requests_by_the_rate(clock: FakeClock) -> None:
    governor = Governor(clock)
    governor.limit(Rate(4.0, 1))
    sent = []
    for _ in range(5):
        governor.wait(300)
        sent.append(clock.monotonic())
    assert [later - earlier for earlier, later in pairwise(sent)] == pytest.approx([0.25] * 4, abs=1e-5)


def test_a_pause_holds_threads_that_did_not_cause_it(clock: FakeClock) -> None:
    governor = Governor(clock)
    governor.pause(7.5)
    sent: list[float] = []

    def send() -> None:
        governor.wait(300)
        sent.append(clock.monotonic())

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 4
    assert min(sent) >= 7.5


def test_a_pause_beyond_the_patience_is_an_error_that_tells_how_long(clock: FakeClock) -> None:
    governor = Governor(clock)
    governor.pause(4_000)
    with pytest.raises(RetryableError, match="4,000 s") as caught:
        governor.wait(300)
    assert caught.value.retry_after_s == pytest.approx(4_000)
    assert clock.slept == []


def test_connections_with_the_same_credential_share_a_governor_and_those_of_one_host_a_breaker(clock: FakeClock, tmp_path: Path) -> None:
    ports = Ports(clock, SystemRng())
    shared = governor_for("https://host:443", "digest", ports)
    assert governor_for("https://host:443", "digest", Ports(clock, SystemRng())) is shared
    assert governor_for("https://host:443", "other", ports) is not shared
    assert governor_for("https://elsewhere:443", "digest", ports) is not shared
    assert governor_for("https://host:443", "digest", Ports(FakeClock(), SystemRng())) is not shared
    assert governor_for("https://host:443", "digest", Ports(clock, SystemRng(), paces=FilePaces(tmp_path))) is not shared
    assert breaker_for("https://host:443", clock, SystemRng()) is breaker_for("https://host:443", clock, SystemRng())
    assert breaker_for("https://elsewhere:443", clock, SystemRng()) is not breaker_for("https://host:443", clock, SystemRng())


def test_repeats_are_at_most_a_tenth_after_the_first_twenty(clock: FakeClock) -> None:
    governor = Governor(clock)
    allowed = 0
    for _ in range(1_000):
        governor.sent()
        allowed += governor.may_repeat()
    assert 100 <= allowed <= 120


@pytest.mark.parametrize(
    ("text", "burst", "rate"),
    [
        (None, None, None),
        ("10/s", None, Rate(10.0, 10)),
        ("600/m", 5, Rate(10.0, 5)),
        (" 36 / h ", None, Rate(0.01, 1)),
        ("0.5/s", None, Rate(0.5, 1)),
    ],
)
def test_a_rate_is_read_as_written(text: str | None, burst: int | None, rate: Rate | None) -> None:
    assert parse_rate(text, burst) == rate


@pytest.mark.parametrize(
    ("text", "burst"), [("10", None), ("0/s", None), ("-1/s", None), ("fast", None), ("10/d", None), ("10/s", 0), ("9" * 400 + "/s", None)]
)
def test_a_rate_that_cannot_be_is_refused(text: str, burst: int | None) -> None:
    with pytest.raises(ConfigError, match=r"rate_limit|burst"):
        parse_rate(text, burst)
