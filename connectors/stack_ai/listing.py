"""The connections read by position until every page joins the one before, and again until two reads agree. Pure but for `ask`.

No order is promised and no snapshot: a page begins with the last record of the one before, or the read goes back.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from connectors.base import Completeness, Page, Record
from connectors.paging import Totals, comes_back, may_be_cap, touches

__all__ = ["Ask", "Listing"]

_SWEEPS = 5
_STEPS_BACK = 8  # in one sweep, and one more for every four pages: a list that moves faster is not chased for ever

Ask = Callable[[int, int], tuple[list[Record], int | None]]
"""(offset, limit) → the records of that page, each with its `id`, and the total it told."""


@dataclass
class _Sweep:
    """One way through the list. `ended`: nothing followed. `trouble`: why it proves nothing."""

    ids: set[str] = field(default_factory=set)
    totals: Totals = field(default_factory=lambda: Totals(positional=True))
    pages: int = 0
    moved: bool = False
    ended: bool = False
    trouble: str = ""


class Listing:
    """One read of the list. `records` are those it met, by id, as they were first seen."""

    def __init__(self, ask: Ask, size: int, *, proof: bool, believe_total: bool, max_pages: int) -> None:
        self._ask, self._size, self._proof = ask, size, proof
        self._believe_total, self._max_pages = believe_total, max_pages
        self.records: dict[str, Record] = {}
        self._sweeps: list[_Sweep] = []

    def pages(self) -> Generator[Page, None, Completeness]:
        """The pages, every record in exactly one of them, and what they prove."""
        while True:
            one = _Sweep()
            self._sweeps.append(one)
            yield from self._sweep(one)
            if self._told(one):
                return self._certificate(one, True, "the total told agrees with what came")
            if not self._proof and one.ended:
                return self._certificate(one, False, "one read alone does not prove that it met every connection")
            before = self._sweeps[-2] if len(self._sweeps) > 1 else None
            if before and before.ended and one.ended and not (before.trouble or one.trouble) and before.ids == one.ids:
                return self._certificate(one, True, "two reads in a row were equal")
            if len(self._sweeps) == _SWEEPS or self._requests >= self._max_pages:
                return self._certificate(one, False, f"{len(self._sweeps)} reads in a row did not agree")

    def _sweep(self, one: _Sweep) -> Generator[Page, None, None]:
        offset, back, steps = 0, 0, 0
        previous: list[str] = []
        while self._requests < self._max_pages:
            records, total = self._ask(offset, self._size)
            one.pages += 1
            ids = [str(record["id"]) for record in records]
            one.totals.see(total, len(ids), offset)
            if not previous:
                joined = True
                one.trouble = "a page holds a record twice" if len(set(ids)) < len(ids) else ""
            elif ids == previous and len(ids) > 1:
                self._not_by_position(one, len(ids))
                return
            else:
                joined = touches(previous, ids)
                if joined and comes_back(ids, previous, one.ids):
                    one.trouble = one.trouble or "records came back after the place where two pages join: the list keeps no order"
            if not joined and offset > 0 and steps < _STEPS_BACK + one.pages // 4:  # it comes again, joined to what lies before it
                steps += 1
                offset, back, one.moved = max(0, offset - max(1, self._size // 2) * 2**back), back + 1, True
                continue
            yield self._page(one, records, ids)
            if not joined:
                one.trouble = one.trouble or "the list changed too fast to be followed"
                return
            back = 0
            if len(ids) <= 1:
                one.ended = offset > 0 or not ids or self._is_alone(one, ids)
                return
            offset, previous = offset + len(ids) - 1, ids
        one.trouble = one.trouble or f"the read stopped after {self._max_pages:,} pages; raise max_pages"

    def _is_alone(self, one: _Sweep, ids: list[str]) -> bool:
        """Whether the one record that came first is the only one."""
        records, _ = self._ask(1, self._size)
        one.pages += 1
        if any(str(record["id"]) not in ids for record in records):
            one.trouble = "pages of one record cannot be joined; raise page_size, or read the other list (listing)"
        return not one.trouble

    def _not_by_position(self, one: _Sweep, count: int) -> None:
        """The same page came again for another offset: there are no pages, and it holds everything or cannot show the rest."""
        one.ended = True
        if count >= self._size or may_be_cap(count):
            one.trouble = f"offset is ignored, and {count:,} records may be the most that one answer holds; set listing to the other list"

    def _page(self, one: _Sweep, records: list[Record], ids: list[str]) -> Page:
        fresh = [record for record, key in zip(records, ids, strict=True) if key not in self.records]
        fresh = list({str(record["id"]): record for record in fresh}.values())
        self.records.update({str(record["id"]): record for record in fresh})
        one.ids.update(ids)
        return Page(list[Record](fresh), len(fresh))

    def _told(self, one: _Sweep) -> bool:
        return self._believe_total and one.ended and not one.trouble and not one.moved and one.totals.steady == len(one.ids)

    @property
    def _requests(self) -> int:
        return sum(one.pages for one in self._sweeps)

    def _certificate(self, one: _Sweep, complete: bool, verdict: str) -> Completeness:
        moved = ("rows came or went between pages",) if any(sweep.moved for sweep in self._sweeps) else ()
        trouble = (one.trouble,) if one.trouble else ()
        complete = complete and one.ended and not one.trouble
        return Completeness(
            complete=complete,
            method="two equal reads" if len(self._sweeps) > 1 else "offset with overlap",
            reasons=(f"{len(self.records):,} connections came in {self._requests:,} pages", *moved, *trouble, verdict),
            count=len(self.records),
            total=one.totals.steady if self._believe_total else None,
            requests=self._requests,
            doubts=() if complete else trouble,
        )
