"""What pages prove about each other."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.paging import Totals, comes_back, direction, follows, may_be_cap, new_positions, touches

ids = st.lists(st.text(max_size=4), unique=True, max_size=12)


@given(ids)
def test_sorted_ids_run_ascending_and_reversed_ones_descending(some: list[str]) -> None:
    assert direction(pa.array(sorted(some), pa.string())) == "ascending"
    assert direction(pa.array(sorted(some, reverse=True), pa.string())) == ("descending" if len(some) > 1 else "ascending")


@given(ids, st.integers(0, 12))
def test_a_sorted_list_cut_anywhere_follows_itself(some: list[str], cut: int) -> None:
    whole = sorted(some)
    before, after = whole[:cut], whole[cut:]
    if before:
        assert follows(pa.array(after, pa.string()), before[-1], "ascending") == "beyond"
        assert follows(pa.array(before[-1:] + after, pa.string()), before[-1], "ascending") == "repeats"
        assert len(before) == 1 or follows(pa.array(before, pa.string()), before[-1], "ascending") is None


def test_equal_neighbours_and_another_type_are_no_order() -> None:
    assert direction(pa.array(["a", "a"])) is None
    assert follows(pa.array([3, 4]), "2", "ascending") is None


@given(ids, st.integers(1, 5), st.integers(1, 5))
def test_a_page_by_position_touches_the_one_before_exactly_where_they_share_an_id(some: list[str], start: int, size: int) -> None:
    previous, page = some[:size], some[start : start + size]
    assert touches(previous, page) is bool(set(previous) & set(page))
    assert not comes_back(page, previous, set(some[: max(size, start)]) & set(previous))


def test_a_seen_record_behind_the_joint_means_that_no_order_is_kept() -> None:
    assert comes_back(["c", "a"], ["b", "c"], {"a", "b", "c"})
    assert comes_back(["a", "a"], [], set())
    assert not comes_back(["new", "c", "d"], ["b", "c"], {"a", "b", "c"})


@given(st.lists(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_each_unseen_id_is_new_once(page: list[int], seen: set[int]) -> None:
    positions = new_positions(page, seen)
    assert [page[position] for position in positions] == [one for one in dict.fromkeys(page) if one not in seen]


@given(st.integers(0, 400), st.integers(1, 40))
def test_true_totals_are_steady_however_they_count(count: int, size: int) -> None:
    remaining, whole, positional = Totals(), Totals(), Totals(positional=True)
    for before in range(0, max(count, 1), size):
        rows = min(size, count - before)
        remaining.see(count - before, rows, before)
        whole.see(count, rows, before)
        positional.see(count, rows, before)
    for totals in (remaining, whole, positional):
        assert totals.steady == count
    assert not whole.at_end(size) or count <= size
    for totals in (remaining, positional):
        assert not totals.held_back(size)
        assert not totals.held_back(2 * size)  # the platform's own limit cut every page


@pytest.mark.parametrize("answers", [[(6, 3, 0), (3, 2, 3), (0, 0, 5)], [(6, 2, 0), (4, 3, 2), (1, 1, 5)], [(6, 5, 0), (0, 0, 5)]])
def test_a_page_with_fewer_records_than_it_tells_of_holds_some_back(answers: list[tuple[int, int, int]]) -> None:
    totals = Totals()
    for answer in answers:
        totals.see(*answer)
    assert totals.held_back(10)


def test_a_total_that_counts_the_page_is_no_total() -> None:
    totals = Totals()
    for before in (0, 10, 20):
        totals.see(10, 10, before)
    assert totals.steady is None
    assert not totals.at_end(10)


@pytest.mark.parametrize(("told", "positional"), [(9, False), (15, True)])
def test_a_total_smaller_than_what_is_there_is_false(told: int, positional: bool) -> None:
    totals = Totals(positional=positional)
    totals.see(told, 10, 10 if positional else 0)
    assert totals.false
    assert totals.steady is None


def test_a_missing_total_spoils_all() -> None:
    totals = Totals()
    totals.see(20, 10, 0)
    totals.see(None, 10, 10)
    assert (totals.told, totals.steady) == (False, None)


@pytest.mark.parametrize(
    ("count", "cut"), [(0, False), (3, False), (10, True), (25, True), (64, True), (100, True), (137, False), (1000, True)]
)
def test_round_counts_may_be_caps(count: int, cut: bool) -> None:
    assert may_be_cap(count) is cut
