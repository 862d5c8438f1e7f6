"""A read that proves itself: keyset while every page shows it works, else offset with overlap, else again until two agree.

Pure but for the `ask` it is given: it sees ids and totals, never HTTP. What the platform shows decides,
page by page; nothing is taken from an earlier read.
"""

from collections.abc import Callable, Generator
from math import factorial
from typing import TypeAlias

import pyarrow as pa

from connectors.base import Completeness, JsonBody, Page
from connectors.errors import RefusedError
from connectors.paging import Id, Totals, comes_back, direction, follows, may_be_cap, new_positions, touches
from connectors.stacker.pages import Ask, Got, Pass, Resume

_SWEEPS = 4  # reads by offset before giving up on two that agree
_CHANCE = 1 / 500  # that ids lie in order although nobody ordered them: rarer than this, and the order is believed
_ENDS = {"": "the end was not reached", "told": "the total told the end", "seen": "nothing followed the last page"}

Pages: TypeAlias = Generator[Page, None, None]


class Reading:
    """One read of one list. `ask` fetches a page and raises RefusedError where the platform refuses how it was asked."""

    def __init__(
        self,
        ask: Callable[[Ask], Got],
        *,
        size: int,
        keyset: bool = True,
        believe_total: bool = True,
        proof: bool = False,
        max_pages: int = 100_000,
        resumable: bool = True,
    ) -> None:
        self._ask_platform = ask
        self._size = size
        self._keyset = keyset
        self._believe_total = believe_total
        self._proof = proof
        self._max_pages = max_pages
        self._resumable = resumable
        self._ordered = True
        self._requests = 0
        self._given: set[Id] | None = None  # what was yielded; made only where a second way through begins
        self._yielded = 0
        self._passes: list[Pass] = []

    def pages(self, resume: Resume | None = None) -> Generator[Page, None, Completeness]:
        """The pages, every record in at least one of them, and what they prove."""
        first = None
        if self._keyset or resume:
            one = self._begin("keyset")
            first = yield from self._by_keyset(one, resume)
            if resume is not None and one.trouble:
                one.trouble += "; a resumed read cannot go on another way: start it anew"
                return self._certificate(one)
            if self._settled(one):
                return self._certificate(one)
        for _ in range(_SWEEPS):
            before = self._passes[-1] if self._passes else None
            one = self._begin("offset with overlap")
            yield from self._by_offset(one, first)
            first = None
            if self._settled(one):
                return self._certificate(one)
            if before is not None and before.ended and one.ended and before.id_set() == one.id_set():
                return self._certificate(one, equal=True)
            if self._requests >= self._max_pages:
                break
        return self._certificate(self._passes[-1])

    def _begin(self, method: str) -> Pass:
        self._passes.append(Pass(method, Totals(positional=method != "keyset")))
        return self._passes[-1]

    def _settled(self, one: Pass) -> bool:
        """Whether another way through the list could add nothing that is worth its requests."""
        if self._missed(one):
            return False
        if one.proven:
            return True
        if one.trouble or not one.ended or self._proof:
            return False
        if one.told is not None:
            return one.count >= one.told
        return (one.pages < 2 and not one.cut) or one.chance < _CHANCE

    def _missed(self, one: Pass) -> bool:
        """Whether it did not meet all that earlier ways through met: gone meanwhile, or kept out of sight, with a total that fits."""
        return self._given is not None and len(self._given) > len(one.id_set())

    def _by_keyset(self, one: Pass, resume: Resume | None) -> Generator[Page, None, Got | None]:
        """Page after page of what lies beyond the last id. Where that fails, `trouble` says why; a page not yet used is returned."""
        last, way = (resume.after, resume.way) if resume else (None, None)
        one.count = resume.count if resume else 0
        longest, cut = 0, False
        while self._requests < self._max_pages:
            try:
                got = self._ask(Ask(after=last, way=way or "ascending"))
            except RefusedError as refusal:
                if last is None:
                    self._ordered = False
                one.trouble = f"the platform refuses to {'order by' if last is None else 'filter beyond'} an id (status {refusal.status})"
                return None
            longest = max(longest, len(got.ids))
            repeated = 0
            if last is None or way is None:
                way = direction(got.ids)
                if way is None:
                    one.trouble = "the platform does not order by id when asked to"
                    return got
            else:
                link = follows(got.ids, last, way)
                repeated = 1 if link == "repeats" else 0
                if link is None or (repeated and longest == 1):
                    one.trouble = "the platform does not continue strictly beyond the last id when asked to"
                    return None
            fresh = got.ids[repeated:]
            one.totals.see(got.total, len(got.ids), one.count - repeated)
            one.count += len(fresh)
            if len(fresh):
                one.cut = cut = len(got.ids) >= self._size or may_be_cap(len(got.ids))
                one.pages += 1
                one.chance /= factorial(min(len(fresh), 9))
                one.arrays.append(fresh)
                last = fresh[-1].as_py()
                self._yielded += len(fresh)
                token = Resume(last, way, one.count).token() if self._resumable else None
                yield Page(got.body, len(got.ids), token, tuple(sorted({*range(repeated), *got.unwanted})), got.server_date)
            if len(fresh) == 0 or self._told_the_end(one):
                self._end(one, seen=len(fresh) == 0)
                if not cut or one.told is not None or self._proof:
                    return None
                one.ended, cut = "", False  # more may follow a page that may have been cut: without a total one empty answer is not the end
        one.trouble = self._cap()
        return None

    def _by_offset(self, one: Pass, first: Got | None) -> Pages:
        """Records by position, each page beginning with the last record of the page before."""
        if self._given is None:
            self._given = {one_id for earlier in self._passes[:-1] for one_id in earlier.id_set()}
        before: list[Id] = []
        start, back, alone = 0, 0, False
        while first is not None or self._requests < self._max_pages:
            got = first or self._ask_position(start)
            first = None
            ids: list[Id] = got.ids.to_pylist()
            if before and not touches(before, ids):
                if start > 0 and back <= 4 * self._size:
                    back = 8 * back or 1
                    start = max(0, start - back)
                    continue
                one.trouble = one.trouble or "pages no longer touch: records move faster than they can be read"
            one.moved = one.moved or back > 0 or (bool(before) and ids[:1] != before[-1:])
            back = 0
            if alone and ids:
                one.trouble = one.trouble or "pages hold one record each, so that none overlaps the next"
            if comes_back(ids, before, one.ids):
                one.trouble = one.trouble or "records come back on later pages: the platform keeps no order"
            fresh = new_positions(ids, one.ids)
            one.totals.see(got.total, len(ids), start)
            one.ids.update(ids)
            one.count = len(one.ids)
            yield from self._news(got, ids)
            if self._told_the_end(one):
                return self._end(one, seen=False)
            if not fresh:
                if not ids or (len(before) > 1 and ids == before[-1:]):
                    return self._end(one)
                beyond = self._ask_position(start + len(ids), or_empty=True)
                if len(beyond.ids) == 0:
                    return self._end(one)
                if not new_positions(beyond.ids.to_pylist(), one.ids):
                    one.trouble = "the platform gives the same records whatever position is asked for"
                    return None
                one.trouble = one.trouble or "records arrived while the end was looked for"
                first, start, before, alone = beyond, start + len(ids), [], False
                continue
            alone = len(ids) == 1
            before = [] if alone else ids
            start += len(ids) - (0 if alone else 1)
        one.trouble = self._cap()
        return None

    def _news(self, got: Got, ids: list[Id]) -> Pages:
        """The page, without what was given before."""
        given = self._given if self._given is not None else set()
        news = new_positions(ids, given)
        given.update(ids)
        if news:
            self._yielded += len(news)
            drop = set(range(len(ids))).difference(news)
            yield Page(got.body, len(ids), None, tuple(sorted(drop.union(got.unwanted))), got.server_date)

    def _ask(self, wanted: Ask) -> Got:
        self._requests += 1
        return self._ask_platform(wanted)

    def _ask_position(self, start: int, *, or_empty: bool = False) -> Got:
        """The page from there. Where the platform refuses to order, in its own order; `or_empty`: a refusal means that nothing is there."""
        try:
            return self._ask(Ask(start=start, ordered=self._ordered))
        except RefusedError:
            if or_empty:
                return Got(pa.array([], pa.string()), None, JsonBody(b"[]", ()))
            if not self._ordered:
                raise
        self._ordered = False
        return self._ask(Ask(start=start, ordered=False))

    def _told_the_end(self, one: Pass) -> bool:
        """Whether the total makes the empty last page unnecessary. A proof wants to see that page."""
        return self._believe_total and not self._proof and one.totals.at_end(self._size)

    def _end(self, one: Pass, *, seen: bool = True) -> None:
        one.ended = "seen" if seen else "told"
        if self._believe_total and one.totals.told:
            one.told = one.totals.steady
            if one.told is None:  # it changed on the way, or counts the page: a page of one record tells which
                now = self._ask(Ask(ordered=self._ordered, count=1))
                one.told = None if now.total == len(now.ids) != one.count else now.total
                if one.told == one.count and one.totals.held_back(self._size):
                    one.told = None  # it may be right by chance: one record kept out of sight, another one gone

    def _cap(self) -> str:
        return f"the read was stopped after {self._max_pages} pages (max_pages)"

    def _certificate(self, one: Pass, *, equal: bool = False) -> Completeness:
        complete = one.proven and not self._missed(one)
        if equal:  # where pages do not join, both reads may have missed the same record; only the total rules that out
            joined = not one.trouble and not one.moved
            complete = one.told == one.count or (joined and (one.told is None or one.told < one.count))
        reasons = [earlier.trouble for earlier in self._passes if earlier.trouble]
        reasons.append(_ENDS[one.ended])
        if one.told == one.count:
            reasons.append(f"the platform's total matches: {one.told}")
        elif one.told is not None:
            reasons.append(f"the platform tells a total of {one.told}, but {one.count} records were there to be read")
        elif one.totals.false:
            reasons.append("the platform tells totals smaller than what it answers, so none was believed")
        else:
            reasons.append("no total was told that can be believed")
        if equal:
            if one.moved:
                reasons.append("pages did not begin where the ones before ended")
            reasons.append(f"two reads, by {self._passes[-2].method} and by {one.method}, met the same {one.count} records")
        elif not complete and one.ended and not self._proof:
            reasons.append("only a second read could prove this one: ask for proof")
        if self._yielded > one.count:
            reasons.append(f"{self._yielded - one.count} records vanished while reading")
        method = "two equal reads" if equal else one.method
        promised = one.told is not None and one.told > one.count
        short = promised or (not equal and (bool(one.trouble) or not one.ended))
        doubts = tuple(reasons) if short and not complete else ()
        return Completeness(complete, method, tuple(reasons), self._yielded, one.told, self._requests, doubts)
