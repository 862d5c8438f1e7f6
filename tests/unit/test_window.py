"""Windows of a cursor field: in which of them a record lies, and how a platform is asked for one."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.arrow import records_to_batch
from pipelines.window import Window, window_of

DAY = Window("at", datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC))
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1))  # noqa: DTZ001
ZONES = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


def held(*values: Any, window: Window = DAY) -> list[bool]:
    found: list[bool] = window.holds(records_to_batch([{"at": value} for value in values], None)).tolist()
    return found


@given(st.lists(st.tuples(MOMENTS, ZONES), min_size=1, max_size=20), st.booleans())
def test_every_record_with_a_time_lies_in_exactly_one_of_adjoining_windows(times: list[tuple[datetime, timezone]], digits: bool) -> None:
    moments = [moment.replace(tzinfo=zone) for moment, zone in times]
    edges = sorted({datetime(1980, 1, 1, tzinfo=UTC), *(moment.astimezone(UTC) for moment in moments), datetime(2070, 1, 1, tzinfo=UTC)})
    spelled = [moment.isoformat(timespec="microseconds") for moment in moments]
    records = records_to_batch([{"at": text.replace("+", "0+", 1) if digits and "+" in text else text} for text in spelled], None)
    counts = sum(Window("at", first, end).holds(records).astype(int) for first, end in pairwise(edges))
    assert np.array_equal(counts, np.ones(len(moments), int))


def test_the_first_moment_is_inside_and_the_last_is_not_whatever_the_offset() -> None:
    assert held("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z") == [True, False]
    assert held("2026-03-29T01:59:59.999999999+02:00", "2026-03-29T02:00:00+02:00") == [False, True]
    assert held("2026-03-29 23:59:59", "2026-03-29", "2026-03-30") == [True, True, False]


def test_what_is_no_time_lies_in_no_window_and_is_counted() -> None:
    values = ["2026-03-29T00:00:00Z", None, "soon", 1774742400, "2026-02-30"]
    records = records_to_batch([{"at": value} for value in values], None)
    assert DAY.holds(records).tolist() == [True, False, False, False, False]
    assert DAY.untimed_count(records) == 4
    assert Window("other", DAY.start, DAY.end).untimed_count(records) == 5


@pytest.mark.parametrize(
    ("sample", "start", "end"),
    [
        ("2026-01-05T10:11:12.345Z", "2026-03-29T00:00:00.000Z", "2026-03-30T00:00:00.000Z"),
        ("2026-01-05 10:11:12+0200", "2026-03-29 02:00:00+0200", "2026-03-30 02:00:00+0200"),
        ("2026-01-05 10:11", "2026-03-29 00:00", "2026-03-30 00:00"),
        ("2026-01-05", "2026-03-29", "2026-03-30"),
        (None, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        (17, "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
    ],
)
def test_a_platform_is_asked_in_its_own_spelling_and_for_a_day_more_where_that_is_unknown(sample: Any, start: str, end: str) -> None:
    since = DAY.since(sample)
    assert (since.field, since.value, since.until) == ("at", start, end)


def test_a_window_covers_what_lies_in_it_and_comes_back_from_a_note() -> None:
    hour = Window("at", DAY.start, DAY.start + timedelta(hours=1))
    assert (DAY.covers(hour), hour.covers(DAY), DAY.covers(DAY), Window("by", DAY.start, DAY.end).covers(hour)) == (
        True,
        False,
        True,
        False,
    )
    assert window_of(DAY.as_json()) == DAY
    assert (str(DAY), str(hour)) == ("at from 2026-03-29 to before 2026-03-30", "at from 2026-03-29 to before 2026-03-29 01:00")


@given(st.lists(MOMENTS, min_size=1, max_size=20), st.sampled_from(["seconds", "milliseconds"]), st.booleans())
def test_every_number_lies_in_exactly_one_of_adjoining_windows_where_its_unit_is_told(
    times: list[datetime], epoch: Any, mixed: bool
) -> None:
    numbers = [int(moment.replace(tzinfo=UTC).timestamp()) * (1000 if epoch == "milliseconds" else 1) for moment in times]
    records = records_to_batch([{"at": number} for number in numbers] + [{"at": "soon"}] * mixed, None)
    edges = sorted({datetime(1980, 1, 1, tzinfo=UTC), *(moment.replace(tzinfo=UTC) for moment in times), datetime(2070, 1, 1, tzinfo=UTC)})
    windows = [Window("at", first, end, epoch) for first, end in pairwise(edges)]
    assert sum(window.holds(records).astype(int) for window in windows).tolist() == [1] * len(times) + [0] * mixed
    assert windows[0].untimed_count(records) == mixed
    assert DAY.untimed_count(records) == len(records)  # a number alone says no time


def test_a_platform_is_asked_in_numbers_for_a_field_of_numbers() -> None:
    seconds = Window("at", DAY.start, DAY.end, "seconds")
    milliseconds = Window("at", DAY.start, DAY.end, "milliseconds")
    asked = [(since.value, since.until) for since in (seconds.since(None), milliseconds.since(1774742400123))]
    assert asked == [(1774742400, 1774828800), (1774742400000, 1774828800000)]
    assert held(1774742399.999, 1774742400, 1774828799.5, 1774828800, True, None, window=seconds) == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert window_of(seconds.as_json()) == seconds
