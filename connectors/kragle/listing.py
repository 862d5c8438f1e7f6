"""A list in pages of the server's size, in no promised order, read until it proves itself: twice the same, or not complete.

Pure but for the `ask` it is given. Nothing but a second read can tell that no stack slipped from a page
not yet read onto one already read: a deletion there and an insertion behind leave every count as it was.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from connectors.base import JsonValue, Record
from connectors.canonical_json import canonical
from connectors.errors import ContractError

__all__ = ["Listed", "Listing", "fingerprint", "read_list"]

_PASSES = 4  # ways through the list before giving up on two that agree
_IDLE_PAGES = 3  # pages in a row without a new stack that end a pass, whatever the count says


@dataclass(frozen=True)
class Listed:
    """One page: its stacks, how many there are of them in all and on a page as the platform tells, and its own date."""

    stacks: list[Record]
    count: int | None = None
    size: int | None = None
    date: datetime | None = None


Ask = Callable[[int], Listed | None]
"""The page of that number, counted from 1, or None where the platform says that there is no such page."""


@dataclass
class _Pass:
    stacks: dict[JsonValue, Record] = field(default_factory=dict)
    prints: dict[JsonValue, bytes] = field(default_factory=dict)
    counts: list[int | None] = field(default_factory=list)
    ended: str = ""
    trouble: str = ""

    @property
    def told(self) -> int | None:
        """The count that all pages agree on."""
        return self.counts[0] if self.counts and len(set(self.counts)) == 1 else None

    @property
    def sound(self) -> bool:
        """Whether this way through shows no doubt of its own."""
        return bool(self.ended) and not self.trouble


@dataclass(frozen=True)
class Listing:
    """What was read: every stack seen, and what it proves. `total` is the platform's count, where it told one for all pages.

    `doubts` are those of the reasons that make it likely that stacks are there which were not seen.
    """

    stacks: list[Record]
    complete: bool
    method: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    total: int | None
    date: datetime | None = None


def read_list(ask: Ask, *, proof: bool = False, believe_count: bool = True, max_pages: int = 10_000, page_size: int = 0) -> Listing:
    """Read once where nothing speaks against it, and with `proof` until two reads in a row are equal.

    `page_size`: how many stacks a full page has, where that is known (0: it is not).
    Raises what `ask` raises, and ContractError for a stack without an id.
    """
    reading = _Reading(ask, proof, believe_count, max_pages, page_size)
    passes: list[_Pass] = []
    while len(passes) < _PASSES and reading.requests < max_pages:
        passes.append(reading.go_through())
        if _agree(passes) or (not proof and passes[-1].sound and reading.counted(passes[-1])):
            break
    return reading.outcome(passes)


def fingerprint(stack: Record) -> bytes:
    """What a stack is, but for the state of its blocks, which is alive, and whatever order its members come in."""
    blocks = stack.get("blocks")
    if isinstance(blocks, list):
        still = [{name: value for name, value in one.items() if name != "state"} if isinstance(one, dict) else one for one in blocks]
        stack = {**stack, "blocks": still}
    return blake2b(canonical(stack).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class _Reading:
    def __init__(self, ask: Ask, proof: bool, believe_count: bool, max_pages: int, page_size: int) -> None:
        self._ask, self._proof, self._believe_count, self._max_pages, self._page_size = ask, proof, believe_count, max_pages, page_size
        self.requests = 0
        self._date: datetime | None = None

    def go_through(self) -> _Pass:
        """One way through all pages."""
        one = _Pass()
        before: list[JsonValue] = []
        page, size, idle = 1, self._page_size, 0
        while not one.ended:
            if self.requests >= self._max_pages:
                one.trouble = f"the read was stopped after {self._max_pages:,} pages (max_pages)"
                return one
            got = self._page(page)
            if got is None:
                one.ended = "the platform has no further page"
                break
            one.counts.append(got.count)
            ids = [_id(stack) for stack in got.stacks]
            fresh = [number for number, one_id in enumerate(ids) if one_id not in one.stacks]
            size = max(size, len(ids), got.size or 0)
            repeated = bool(ids) and ids == before
            wrapped = not fresh and self._believe_count and one.told == len(one.stacks)  # beyond the end it begins anew
            if len(set(ids)) < len(ids) or (len(fresh) < len(ids) and not repeated and not wrapped):
                one.trouble = one.trouble or "stacks come back on later pages: they move while they are read, or are in no order"
            for number in fresh:
                one.stacks[ids[number]] = got.stacks[number]
                one.prints[ids[number]] = fingerprint(got.stacks[number])
            idle = 0 if fresh else idle + 1
            self._end(one, page, size, len(ids), fresh=bool(fresh), repeated=repeated, idle=idle)
            before, page = ids, page + 1
        return one

    def _end(self, one: _Pass, page: int, size: int, rows: int, *, fresh: bool, repeated: bool, idle: int) -> None:
        """Whether this page ends the pass, and how."""
        told = one.told if self._believe_count else None
        if repeated:
            one.ended = "the last page came again"
            if rows >= size and (told != len(one.stacks) or page == 2):  # a count of what is on the page would agree, too
                one.trouble = one.trouble or (
                    "the platform gives the same page whatever page is asked for; if that is all it holds, set page_size to more than this"
                )
        elif not fresh and (idle >= _IDLE_PAGES or (idle > 1 if told is None else page * size >= told)):
            one.ended = "nothing new followed the last page"
        elif not self._proof and told == len(one.stacks) and rows < size:
            one.ended = "the count and a short page told the end"

    def counted(self, one: _Pass) -> bool:
        """Whether no count that was told speaks of more stacks than there were to be read, or wavers."""
        if not self._believe_count or all(count is None for count in one.counts):
            return True
        return one.told is not None and one.told <= len(one.stacks)

    def outcome(self, passes: list[_Pass]) -> Listing:
        """What the passes together come to. Where they do not agree, what any of them saw."""
        last = passes[-1]
        equal = _agree(passes)
        complete = equal and self.counted(last)
        stacks = dict(last.stacks)
        if not complete:
            for earlier in passes[:-1]:
                stacks = {**earlier.stacks, **stacks}
        doubts = [last.trouble] if last.trouble else []
        if not self.counted(last):
            doubts.append(self._about_count(last))
        reasons = [*dict.fromkeys(one.trouble for one in passes if one.trouble), last.ended or "the end was not reached"]
        reasons.append(self._about_count(last))
        if equal:
            reasons.append(f"two reads in a row met the same {len(last.stacks):,} stacks")
        elif len(passes) > 1:
            reasons.append(f"{len(passes)} reads in a row all differed: the stacks are changing")
        else:
            reasons.append("one read alone proves nothing where pages may shift: ask for proof")
        method = "two equal reads" if equal else "pages"
        return Listing(list(stacks.values()), complete, method, tuple(reasons), () if complete else tuple(doubts), last.told, self._date)

    def _about_count(self, one: _Pass) -> str:
        seen = len(one.stacks)
        if not self._believe_count:
            return "the platform's count was not looked at (count: ignore)"
        if all(count is None for count in one.counts):
            return "the platform told no count"
        if one.told is None:
            return "the platform's count changed from page to page; if its count is wrong, set count: ignore"
        if one.told > seen:
            return f"the platform counts {one.told:,} stacks and {seen:,} were there to be read; if its count is wrong, set count: ignore"
        return f"the platform counts {one.told:,} stacks" + (f", fewer than the {seen:,} it gave" if one.told < seen else "")

    def _page(self, number: int) -> Listed | None:
        self.requests += 1
        got = self._ask(number)
        if got is not None and self._date is None:
            self._date = got.date
        return got


def _agree(passes: list[_Pass]) -> bool:
    return len(passes) > 1 and all(one.sound for one in passes[-2:]) and passes[-1].prints == passes[-2].prints


def _id(stack: Record) -> JsonValue:
    found = stack.get("id")
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise ContractError("a stack of the list has no id; is base_url the address of Kragle's API?")
    return found
