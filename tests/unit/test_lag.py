"""A cursor moved back keeps the spelling that its platform compares."""

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lag import lagged


def test_a_number_is_moved_back_where_it_is_said_what_it_counts() -> None:
    moved = [lagged(cursor, "1.5s", unit) for cursor, unit in ((1_700_000_000, "seconds"), (1_700_000_000_000, "milliseconds"))]
    assert moved == [1_699_999_998, 1_699_999_998_500]
    assert lagged("2025-03-01T00:00:05Z", "10s", "seconds") == "2025-02-28T23:59:55Z"


@pytest.mark.parametrize(
    ("cursor", "lag", "moved"),
    [
        ("2025-03-01T00:00:05Z", "10s", "2025-02-28T23:59:55Z"),
        ("2025-03-01 00:00:05", "10s", "2025-02-28 23:59:55"),
        ("2025-03-01T00:00:05.120+02:00", "5m", "2025-02-28T23:55:05.120+02:00"),
        ("2025-03-01T00:00:05.1234567Z", "1.5s", "2025-03-01T00:00:03.1234567Z"),
        ("2025-03-01 00:00:05+0200", "1s", "2025-03-01 00:00:04+0200"),
        ("2025-03-01T12:30", "1s", "2025-03-01T12:29"),
        ("2025-03-01", "1s", "2025-02-28"),
        ("2025-03-01", "2d", "2025-02-27"),
        ("0001-01-01T00:00:00Z", "1s", "0001-01-01T00:00:00Z"),
        ("2025-02-30T00:00:00Z", "1s", "2025-02-30T00:00:00Z"),
        ("v17", "5m", "v17"),
        (1_700_000_000, "5m", 1_700_000_000),
        ("2025-03-01T00:00:05Z", "0s", "2025-03-01T00:00:05Z"),
    ],
)
def test_a_lag_moves_a_time_back_in_its_own_spelling(cursor: str | int, lag: str, moved: str | int) -> None:
    assert lagged(cursor, lag) == moved


@given(
    st.datetimes(min_value=datetime.fromisoformat("1900-01-01"), max_value=datetime.fromisoformat("2100-01-01")),
    st.sampled_from(["T", " "]),
    st.sampled_from(["", ".1", ".123", ".123456"]),
    st.sampled_from(["", "Z", "+02:00", "-0330"]),
    st.integers(1, 100_000),
)
def test_a_lagged_cursor_is_earlier_by_the_lag_and_shaped_alike(moment: datetime, gap: str, fraction: str, zone: str, lag_s: int) -> None:
    cursor = f"{moment:%Y-%m-%d}{gap}{moment:%H:%M:%S}{fraction}{zone}"
    moved = lagged(cursor, f"{lag_s}s")
    assert isinstance(moved, str)
    assert re.sub(r"\d", "0", moved) == re.sub(r"\d", "0", cursor)
    assert datetime.fromisoformat(cursor) - datetime.fromisoformat(moved) == timedelta(seconds=lag_s)
