"""Diff against a model made of dictionaries, over keys small enough to collide in every way."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import diff as module
from pipelines.diff import Diff, diff, unchanged
from pipelines.fingerprint import KEYLESS, Index
from pipelines.mapping import duplicate_keys

Row = tuple[int, int, int]  # high word, low word, row hash

rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 3)), max_size=40)
unique_rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 3)), max_size=40, unique_by=lambda row: (row[0], row[1])
)


def index_of(given_rows: list[Row], positions: list[int] | None = None) -> Index:
    numbered = sorted((*row, number if positions is None else positions[number]) for number, row in enumerate(given_rows))
    numbered.sort(key=lambda row: (row[0], row[1], row[3]))
    columns: Any = list(zip(*numbered, strict=True)) if numbered else [(), (), (), ()]
    return Index(*(np.array(column, dtype) for column, dtype in zip(columns, ("u8", "u8", "u8", "i8"), strict=True)))


def as_sets(found: Diff) -> dict[str, Any]:
    return {name: sorted(getattr(found, name).tolist()) for name in Diff.__dataclass_fields__ if name != "same_count"}


def model(desired: list[Row], existing: list[Row]) -> dict[str, Any]:
    ours, theirs = Counter(row[:2] for row in desired), Counter(row[:2] for row in existing)
    at = {row[:2]: (number, row[2]) for number, row in enumerate(existing)}
    found: dict[str, Any] = {name: [] for name in Diff.__dataclass_fields__ if name != "same_count"}
    for number, (*key_parts, content) in enumerate(desired):
        key = tuple(key_parts)
        if ours[key] > 1:
            found["desired_duplicates"].append(number)
        elif theirs[key] > 1:
            found["conflict"].append(number)
        elif theirs[key] == 0:
            found["create"].append(number)
        elif at[key][1] != content:
            found["differ"].append(number)
            found["differ_existing"].append(at[key][0])
    for number, row in enumerate(existing):
        if theirs[row[:2]] > 1:
            found["existing_duplicates"].append(number)
        elif ours[row[:2]] == 0:
            found["missing"].append(number)
    return {name: sorted(places) for name, places in found.items()}


@given(rows, rows)
def test_diff_agrees_with_comparing_dictionaries_whatever_collides(desired: list[Row], existing: list[Row]) -> None:
    assert as_sets(diff(index_of(desired), index_of(existing))) == model(desired, existing)


@given(rows, rows, st.integers(1, 5))
def test_diff_does_not_depend_on_the_size_of_its_chunks(desired: list[Row], existing: list[Row], size: int) -> None:
    whole = diff(index_of(desired), index_of(existing))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", size)
        parts = diff(index_of(desired), index_of(existing))
    assert as_sets(parts) == as_sets(whole)
    assert parts.same_count == whole.same_count


@given(unique_rows)
def test_a_batch_does_not_differ_from_itself(given_rows: list[Row]) -> None:
    found = diff(index_of(given_rows), index_of(given_rows))
    assert found.same_count == len(given_rows)
    assert not any(as_sets(found).values())


@given(unique_rows, unique_rows)
def test_applying_the_diff_to_the_existing_rows_gives_the_desired_ones(desired: list[Row], existing: list[Row]) -> None:
    found = diff(index_of(desired), index_of(existing))
    held = {number: row for number, row in enumerate(existing) if number not in set(found.missing.tolist())}
    for at, existing_at in zip(found.differ.tolist(), found.differ_existing.tolist(), strict=True):
        assert held[existing_at][:2] == desired[at][:2]
        held[existing_at] = desired[at]
    result = [*held.values(), *(desired[at] for at in found.create.tolist())]
    assert sorted(result) == sorted(desired)


@given(unique_rows, unique_rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(desired: list[Row], existing: list[Row], random: Any) -> None:
    order = list(range(len(desired)))
    random.shuffle(order)
    shuffled = index_of([desired[place] for place in order], order)
    assert as_sets(diff(shuffled, index_of(existing))) == as_sets(diff(index_of(desired), index_of(existing)))


@given(unique_rows, unique_rows)
def test_the_same_rows_are_given_on_demand_with_their_positions_aligned(desired: list[Row], existing: list[Row]) -> None:
    ours, theirs = unchanged(index_of(desired), index_of(existing))
    assert len(ours) == diff(index_of(desired), index_of(existing)).same_count
    assert [desired[at] for at in ours.tolist()] == [existing[at] for at in theirs.tolist()]


@given(rows)
def test_duplicates_are_taken_out_together_and_only_they(given_rows: list[Row]) -> None:
    counts = Counter(row[:2] for row in given_rows)
    single, shared = duplicate_keys(index_of(given_rows))
    assert sorted(shared.tolist()) == [number for number, row in enumerate(given_rows) if counts[row[:2]] > 1]
    assert sorted([*single.position.tolist(), *shared.tolist()]) == list(range(len(given_rows)))


def test_keys_that_share_only_the_high_word_are_different_records() -> None:
    found = diff(index_of([(1, 1, 9), (1, 2, 9)]), index_of([(1, 2, 9), (1, 3, 9)]))
    assert as_sets(found)["create"] == [0]
    assert as_sets(found)["missing"] == [1]
    assert found.same_count == 1


def test_a_row_hash_that_is_opaque_is_never_the_same() -> None:
    assert diff(index_of([(1, 1, 0)]), index_of([(1, 1, 0)])).differ.tolist() == [0]


def test_sink_rows_without_a_key_are_never_missing() -> None:
    keyless = index_of([(int(KEYLESS), int(KEYLESS), 5), (int(KEYLESS), int(KEYLESS), 5), (3, 3, 5)])
    assert as_sets(diff(index_of([]), keyless)) == {**model([], []), "missing": [2]}


def test_desired_rows_without_a_key_are_refused_instead_of_lost() -> None:
    with pytest.raises(ValueError, match="1 of 2 desired rows have no key"):
        diff(index_of([(int(KEYLESS), int(KEYLESS), 5), (1, 1, 1)]), index_of([]))
