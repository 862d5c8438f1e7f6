"""Bounds of an incremental read lie outside the window, and only what is certainly outside is left out."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import JsonValue, Since
from connectors.stacker.window import Cursor, outside, shifted, unwanted

times = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
zones = st.sampled_from(["Z", "+02:00", "-0530", ""])


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [
        ("2025-01-01T00:00:00Z", "2024-12-31T23:59:58Z", "2025-01-01T00:00:02Z"),
        ("2025-01-01T00:00:00.123456789+02:00", "2024-12-31T23:59:58.123456789+02:00", "2025-01-01T00:00:02.123456789+02:00"),
        ("2025-01-01 00:00:05", "2025-01-01 00:00:03", "2025-01-01 00:00:07"),
        ("2025-03-01", "2025-02-28", "2025-03-02"),
        (17, 16, 18),
        ("0999-06-01T00:00:00Z", "0999-05-31T23:59:58Z", "0999-06-01T00:00:02Z"),
    ],
)
def test_a_bound_keeps_the_form_of_its_cursor(value: Cursor, before: Cursor, after: Cursor) -> None:
    assert (shifted(value, -1), shifted(value, 1)) == (before, after)


@pytest.mark.parametrize("value", ["v17", "", "2025-02-30T00:00:00Z", "12:00", "0001-01-01T00:00:01Z", "2016-12-31T23:59:60Z", True])
def test_a_cursor_of_no_known_form_has_no_bound(value: Cursor) -> None:
    assert shifted(value, -1) is None


@given(times, zones)
def test_a_bound_below_sorts_below_as_text_too(moment: datetime, zone: str) -> None:
    text = moment.isoformat(timespec="microseconds") + zone
    lower, upper = shifted(text, -1), shifted(text, 1)
    assert isinstance(lower, str)
    assert isinstance(upper, str)
    assert lower < text < upper
    assert len(lower) == len(text) == len(upper)


@given(times, times, zones.filter(bool), zones.filter(bool))
def test_times_with_an_offset_are_compared_as_instants(one: datetime, other: datetime, zone: str, other_zone: str) -> None:
    value, bound = one.isoformat() + zone, other.isoformat() + other_zone
    earlier = datetime.fromisoformat(value) < datetime.fromisoformat(bound)
    assert outside(value, Since("t", bound)) is earlier
    assert outside(value, Since("t", None, bound)) is not earlier


@given(times.filter(lambda moment: moment.year < 9998), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_whatever_is_in_the_window_is_kept(start: datetime, length: timedelta) -> None:
    value = start.isoformat() + "Z"
    assert not outside(value, Since("t", value))
    if length:
        assert not outside(value, Since("t", value, (start + length).isoformat() + "Z"))


@pytest.mark.parametrize(
    ("value", "bound"),
    [
        (None, "2025-01-01T00:00:00Z"),
        ("n/a", "2025-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00", "2025-01-01T00:00:00Z"),
        (3, "4"),
        ("3", 4),
        (False, 1),
    ],
)
def test_what_cannot_be_compared_with_certainty_is_kept(value: JsonValue, bound: str | int) -> None:
    assert not outside(value, Since("t", bound))
    assert not outside(value, Since("t", None, bound))


def test_fractions_of_a_second_are_not_rounded() -> None:
    since = Since("t", "2025-01-01T00:00:00.100000002Z")
    records: list[dict[str, JsonValue]] = [{"t": "2025-01-01T00:00:00.100000001Z"}, {"t": "2025-01-01T00:00:00.1000000020Z"}, {}]
    assert unwanted(records, since) == (0,)


def test_whole_numbers_beyond_a_float_are_compared_exactly() -> None:
    assert outside(2**60, Since("n", 2**60 + 1))
    assert not outside(2**60 + 1, Since("n", 2**60 + 1))
