"""A read of a list that misbehaves in every documented-silent way: right, or declared incomplete; never silently wrong."""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Completeness, JsonBody, Page
from connectors.errors import ConfigError, RefusedError
from connectors.stacker.pages import Ask, Got, Resume
from connectors.stacker.reading import Reading

BODY = JsonBody(b"[]", ())


@dataclass
class Listing:
    """A list of ids served page by page. `between` changes it before each answer; the rest says how it misbehaves."""

    ids: list[Any]
    order: str = "ascending"  # descending | ignored | shuffled | by_position | refused
    beyond: str = "works"  # ignored | refused | inclusive | loses
    total: str = "true"  # none | page | whole | more | fewer | capped
    cap: int = 10**9
    start: str = "works"  # ignored
    between: Callable[["Listing"], None] = lambda _: None
    asked: list[Ask] = field(default_factory=list)
    served: list[list[Any]] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def __call__(self, size: int) -> Callable[[Ask], Got]:
        def ask(wanted: Ask) -> Got:
            if self.asked:
                self.between(self)
            self.asked.append(wanted)
            ids = self._ordered(wanted)
            if wanted.after is not None:
                ids = self._after(ids, wanted)
            start = 0 if self.start == "ignored" else wanted.start
            page = ids[start : start + min(wanted.count or size, self.cap)]
            self.served.append(page)
            kind = pa.int64() if page and isinstance(page[0], int) else pa.string()
            return Got(pa.array(page, kind), self._told(len(ids), len(page)), BODY)

        return ask

    def _ordered(self, wanted: Ask) -> list[Any]:
        if not wanted.ordered or self.order == "ignored":
            return list(self.ids)
        if self.order == "refused":
            raise RefusedError("no", status=400)
        if self.order == "by_position":  # ties broken differently on every page, but the same way each time
            return random.Random(wanted.start).sample(self.ids, len(self.ids))
        if self.order == "shuffled":
            return self.rng.sample(self.ids, len(self.ids))
        return sorted(self.ids, reverse=self.order == "descending")

    def _after(self, ids: list[Any], wanted: Ask) -> list[Any]:
        if self.beyond == "refused":
            raise RefusedError("no", status=400)
        if self.beyond == "ignored":
            return ids
        up = wanted.way == "ascending"
        left = [
            one for one in ids if (one > wanted.after if up else one < wanted.after) or (self.beyond == "inclusive" and one == wanted.after)
        ]
        return left[len(left) // 5 :] if self.beyond == "loses" else left

    def _told(self, matched: int, page: int) -> int | None:
        told = {
            "none": None,
            "page": page,
            "whole": len(self.ids),
            "more": matched + 3,
            "fewer": max(0, matched - 3),
            "capped": min(matched, 20),
        }
        return told.get(self.total, matched)


def read(listing: Listing, size: int = 10, **how: Any) -> tuple[list[Any], Completeness]:
    """The ids a reading gives, without what it says to drop, and its certificate."""
    return drained(Reading(listing(size), size=size, **how).pages(), listing)


def drained(pages: Generator[Page, None, Completeness], listing: Listing) -> tuple[list[Any], Completeness]:
    given: list[Any] = []
    while True:
        try:
            page = next(pages)
        except StopIteration as end:
            return given, end.value
        given += [one for position, one in enumerate(listing.served[-1]) if position not in page.drop]


def names(count: int) -> list[str]:
    return [f"r{n:05d}" for n in random.Random(count).sample(range(100_000), count)]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20, 21, 250])
def test_a_well_behaved_list_is_read_once_in_as_few_requests_as_its_total_allows(count: int) -> None:
    listing = Listing(names(count))
    given, proof = read(listing)
    assert given == sorted(listing.ids)
    assert (proof.complete, proof.method, proof.count, proof.total) == (True, "keyset", count, count)
    pages = max(1, -(-count // 10))
    assert len(listing.asked) == (pages + 2 if count == 10 else pages)  # 10 alone may be a cut page whose total counts itself


def test_fifty_thousand_records_are_fifty_requests() -> None:
    listing = Listing(names(50_000))
    given, proof = read(listing, size=1000)
    assert len(given) == 50_000
    assert proof.complete
    assert len(listing.asked) == 50


def test_a_proof_wants_to_see_the_empty_page() -> None:
    listing = Listing(names(30))
    _, proof = read(listing, proof=True)
    assert proof.complete
    assert listing.served[-1] == []


def test_whole_numbers_are_ordered_by_value() -> None:
    given, proof = read(Listing([5, 100, 20, 3, *range(1000, 1030)]))
    assert given == [3, 5, 20, 100, *range(1000, 1030)]
    assert proof.method == "keyset"


@pytest.mark.parametrize("beyond", ["works", "ignored", "refused", "inclusive", "loses"])
@pytest.mark.parametrize("order", ["ascending", "descending", "ignored", "shuffled", "by_position", "refused"])
@pytest.mark.parametrize("total", ["true", "none", "page", "whole", "more", "fewer", "capped"])
@pytest.mark.parametrize("proof", [False, True])
@pytest.mark.parametrize("cap", [50, 10**9])
def test_no_misbehaviour_gives_a_silently_wrong_read(beyond: str, order: str, total: str, proof: bool, cap: int) -> None:
    for count in (1, 50, 99, 100, 230):
        listing = Listing(names(count), order=order, beyond=beyond, total=total, cap=cap)
        given, certificate = read(listing, size=100, proof=proof)
        assert len(given) == len(set(given))
        assert set(given) <= set(listing.ids)
        if certificate.complete or order not in ("shuffled", "by_position"):
            missing = set(listing.ids) - set(given)
            assert not missing or (beyond == "loses" and not certificate.complete), certificate
        assert len(listing.asked) < 200


@pytest.mark.parametrize("order", ["ascending", "descending", "ignored"])
@pytest.mark.parametrize("beyond", ["works", "inclusive", "ignored"])
@pytest.mark.parametrize("total", ["true", "whole"])
def test_a_truthful_list_is_proven_complete_however_it_orders(order: str, beyond: str, total: str) -> None:
    for proof in (False, True):
        given, certificate = read(Listing(names(60), order=order, beyond=beyond, total=total), proof=proof)
        assert len(given) == 60
        assert certificate.complete, certificate


def test_without_a_total_a_proof_reads_twice_and_says_so() -> None:
    _, once = read(Listing(names(60), total="none"))
    given, twice = read(Listing(names(60), total="none"), proof=True)
    assert not once.complete
    assert (len(given), twice.complete, twice.method) == (60, True, "two equal reads")


def test_two_equal_reads_of_a_list_without_order_prove_nothing() -> None:
    for count in range(40, 60):
        listing = Listing(names(count), order="by_position", total="none")
        given, certificate = read(listing, proof=True)
        assert not certificate.complete
        assert set(given) <= set(listing.ids)


def test_a_list_without_order_is_said_to_be_one_and_read_again_for_what_was_missed() -> None:
    listing = Listing(names(60), order="shuffled", total="none")
    given, certificate = read(listing)
    assert "records come back on later pages: the platform keeps no order" in certificate.reasons
    assert sum(ask.start == 0 for ask in listing.asked) > 1
    assert len(given) > 30


def test_a_read_by_position_costs_one_record_of_overlap_a_page() -> None:
    for total, requests in (("true", 4), ("none", 5)):
        listing = Listing(names(37), total=total)  # 10 + 3 × 9
        given, certificate = read(listing, keyset=False)
        assert given == sorted(listing.ids)
        assert (certificate.method, len(listing.asked)) == ("offset with overlap", requests)


def test_a_total_that_counts_the_page_is_told_apart_from_a_true_one() -> None:
    for total, reason in (("page", "no total was told that can be believed"), ("true", "the platform's total matches: 10")):
        _, certificate = read(Listing(names(10), total=total))
        assert certificate.complete is (total == "true")
        assert reason in certificate.reasons


def test_a_total_above_what_can_be_read_is_never_complete() -> None:
    for proof in (False, True):
        given, certificate = read(Listing(names(60), total="more"), proof=proof)
        assert len(given) == 60
        assert not certificate.complete


def test_a_total_short_by_the_same_amount_at_every_page_end_is_found_out_by_a_proof_only() -> None:
    given, certificate = read(Listing(names(23), total="fewer"))  # 20 told, then 10 with a page of 10: nothing contradicts it
    assert (len(given), certificate.total) == (20, 20)
    given, certificate = read(Listing(names(23), total="fewer"), proof=True)
    assert (len(given), certificate.complete) == (23, True)


def test_a_start_that_is_ignored_is_noticed() -> None:
    for total in ("true", "none"):
        given, certificate = read(Listing(names(60), order="ignored", start="ignored", total=total), proof=True)
        assert len(given) == 10
        assert not certificate.complete


@given(
    st.integers(0, 2**32),
    st.integers(0, 60),
    st.sampled_from(["ascending", "descending", "ignored"]),
    st.sampled_from(["works", "inclusive", "ignored", "refused"]),
    st.sampled_from(["true", "none", "whole"]),
    st.booleans(),
)
def test_no_surviving_record_is_lost_while_rows_come_and_go(
    seed: int, count: int, order: str, beyond: str, total: str, proof: bool
) -> None:
    rng = random.Random(seed)
    born = iter(range(100_000, 200_000))

    def churn(listing: Listing) -> None:
        if len(listing.asked) > 40:
            return
        for _ in range(rng.randrange(0, 3)):
            if listing.ids:
                listing.ids.remove(rng.choice(listing.ids))
        for _ in range(rng.randrange(0, 3)):
            one = f"r{rng.randrange(100_000):05d}{next(born)}"
            listing.ids.insert(rng.randrange(len(listing.ids) + 1) if order != "ignored" else len(listing.ids), one)

    listing = Listing(names(count), order=order, beyond=beyond, total=total, between=churn)
    start = set(listing.ids)
    given, certificate = read(listing, proof=proof)
    survivors = start & set(listing.ids)
    assert survivors <= set(given), certificate


def test_a_read_stops_at_its_cap_of_pages_and_says_so() -> None:
    given, certificate = read(Listing(names(60)), max_pages=2)
    assert len(given) == 20
    assert not certificate.complete
    assert "max_pages" in " ".join(certificate.reasons)


def test_a_keyset_read_goes_on_after_its_token() -> None:
    listing = Listing(names(60))
    pages = Reading(listing(10), size=10).pages()
    tokens = [next(pages).token for _ in range(3)]
    rest = Reading(listing(10), size=10).pages(Resume.parse(tokens[-1] or ""))
    given, proof = drained(rest, listing)
    assert given == sorted(listing.ids)[30:]
    assert proof.complete


def test_a_token_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="start the read anew"):
        Resume.parse("page-2")


@pytest.mark.parametrize("ids", [["a", "d", "b", "e"], ["a", "d", "c", "e", "b"], ["b", "c", "a", "d", "e"]])
def test_short_pages_that_lie_in_order_by_luck_hide_no_record(ids: list[str]) -> None:
    given, _ = read(Listing(ids, order="ignored", total="none"), size=2)
    assert sorted(given) == sorted(ids)


@pytest.mark.parametrize("answer", [5, 6, 7])
def test_a_second_way_that_is_answered_once_as_if_all_were_gone_proves_nothing(answer: int) -> None:
    ids = ["a", "d", "b", "e"]

    def gone_once(listing: Listing) -> None:
        listing.ids = [] if len(listing.asked) == answer - 1 else list(ids)

    given, proof = read(Listing(list(ids), order="ignored", between=gone_once), size=2)
    assert sorted(given) == sorted(ids) or not proof.complete


def test_many_short_pages_in_order_are_no_luck_and_are_read_once() -> None:
    listing = Listing(names(40), total="none")
    given, proof = read(listing, size=2)
    assert (given, proof.method, proof.requests) == (sorted(listing.ids), "keyset", 22)  # the empty answer is asked for twice
