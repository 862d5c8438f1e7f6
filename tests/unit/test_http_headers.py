"""What headers say about time: understood in every usual spelling, never believed beyond reason."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.http_headers import advised_pause_s, http_date, retry_after_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_breaks_anything_or_asks_for_negative_time(one: str, other: str) -> None:
    headers = {"retry-after": one, "date": other, "ratelimit": one, "x-ratelimit-remaining": other, "x-ratelimit-reset": one}
    wish_s = retry_after_s(headers, NOW)
    assert wish_s is None or wish_s >= 0
    assert 0 <= advised_pause_s(headers, NOW) <= 60


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**12))
def test_a_quota_with_something_left_never_speeds_up_nor_stops_anything(left: int, limit: int, reset: int) -> None:
    for headers in (
        {"ratelimit": f'"default";r={left};t={reset}'},
        {"ratelimit": f"limit={limit}, remaining={left}, reset={reset}"},
        {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(left), "x-ratelimit-reset": str(reset)},
    ):
        assert advised_pause_s(headers, NOW) == 0


@given(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})?", fullmatch=True))
def test_seconds_are_taken_as_written(text: str) -> None:
    assert retry_after_s({"retry-after": f" {text} "}, NOW) == float(text)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(9000, 1, 1)))  # noqa: DTZ001
def test_a_date_is_never_taken_as_earlier_than_written(moment: datetime) -> None:
    written = moment.replace(microsecond=0, tzinfo=UTC)
    wish_s = retry_after_s({"retry-after": format_datetime(written, usegmt=True)}, NOW)
    assert wish_s is not None
    assert NOW + timedelta(seconds=wish_s) >= written


@given(st.integers(0, 10**6), st.integers(-(10**6), 10**6))
def test_a_date_and_a_number_of_seconds_mean_the_same(wish_s: int, skew_s: int) -> None:
    server_now = NOW + timedelta(seconds=skew_s)
    headers = {"date": format_datetime(server_now, usegmt=True)}
    date = format_datetime(server_now + timedelta(seconds=wish_s), usegmt=True)
    assert retry_after_s({**headers, "retry-after": date}, NOW) == retry_after_s({"retry-after": str(wish_s)}, NOW) == wish_s


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"ratelimit": '"default";r=0;t=30'}, 30),
        ({"ratelimit": '"default";r=5;t=30'}, 0),
        ({"ratelimit": "limit=100, remaining=0, reset=12"}, 12),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "8"}, 8),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 9)}, 9),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(NOW.timestamp() * 1000) + 9000)}, 9),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) - 9)}, 0),
        ({"x-ratelimit-remaining": "0"}, 0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999"}, 60),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "5"}, 0),
        ({}, 0),
    ],
)
def test_a_used_up_quota_is_understood_in_every_usual_spelling(headers: dict[str, str], pause_s: float) -> None:
    assert advised_pause_s(headers, NOW) == pytest.approx(pause_s)


@pytest.mark.parametrize("text", [None, "", "yesterday", "0", "Thu, 32 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert http_date(text) is None
