"""What the pages of one list prove about each other: order, overlap, and whether a told total can be believed. Pure.

No list of any platform promises its order or a snapshot, so every page is checked against the one
before it, and a read says it is complete only for reasons that stand in the pages themselves.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

Direction: TypeAlias = Literal["ascending", "descending"]
Id: TypeAlias = str | int


def direction(ids: pa.Array) -> Direction | None:
    """How the ids run, each strictly beyond the one before: text by code point, integers by value. None: neither way.

    Fewer than two ids run ascending, as everything does that nothing contradicts.
    """
    if len(ids) < 2:
        return "ascending"
    before, after = ids[:-1], ids[1:]
    if pc.all(pc.less(before, after)).as_py():
        return "ascending"
    return "descending" if pc.all(pc.greater(before, after)).as_py() else None


def follows(ids: pa.Array, last: Id, way: Direction) -> Literal["beyond", "repeats"] | None:
    """Whether a page goes on strictly beyond `last`, or does so after repeating `last` itself first. None: it does not."""
    if len(ids) == 0:
        return "beyond"
    first: Any = ids[0].as_py()
    anchor: Any = last
    if type(first) is not type(anchor) or direction(ids) not in (way, "ascending" if len(ids) < 2 else None):
        return None
    if first == anchor:
        return "repeats"
    return "beyond" if (first > anchor) is (way == "ascending") else None


def comes_back(page: Sequence[Id], previous: Sequence[Id], seen: Collection[Id]) -> bool:
    """Whether a page read by position holds seen records after the place where it joins the previous page: no order is kept."""
    if len(set(page)) < len(page):
        return True
    last = set(previous[-1:]).intersection(page) or set(previous)
    joint = max((position for position, one in enumerate(page) if one in last), default=-1)
    return any(one in seen for one in page[joint + 1 :])


def touches(previous: Sequence[Id], page: Sequence[Id]) -> bool:
    """Whether a page read by position overlaps the one before it, so that nothing can lie between them.

    True where it holds the last id of the previous page, or, that one being gone, an earlier one of it.
    """
    return not set(page).isdisjoint(previous)


def may_be_cap(count: int) -> bool:
    """Whether a page of so many records may have been cut off at the server's own limit: 10, 25, 100 …, 64, 128 …."""
    return count > 0 and (count % 5 == 0 or (count >= 16 and count & (count - 1) == 0))


@dataclass
class Totals:
    """What the totals told along one read are worth. Feed every answer in order.

    A total may count what a filtered request matches (it shrinks as a keyset read goes on), the whole
    list each time, or only the page; it may lie, and rows may come and go meanwhile. `positional`
    reads ask by position and filter nothing, so that only the whole list can be meant.
    """

    positional: bool = False
    _told: list[tuple[int, int, int]] = field(default_factory=list)  # total, rows in the answer, rows before it
    _silent: bool = False

    def see(self, total: int | None, rows: int, before: int) -> None:
        """One answer: the total it told, its records, and how many records of the list lie before its first one."""
        if total is None:
            self._silent = True
        else:
            self._told.append((total, rows, before))

    @property
    def told(self) -> bool:
        """Whether every answer so far told a total, and none that its own records contradict."""
        return bool(self._told) and not self._silent and not self.false

    @property
    def false(self) -> bool:
        """Whether some answer held more records than its total allows."""
        return any(rows + (before if self.positional else 0) > total for total, rows, before in self._told)

    @property
    def steady(self) -> int | None:
        """The size of the whole list where all answers agree on one; None where they tell none, disagree, or may count the page."""
        if not self.told or (len(self._told) > 1 and all(total == rows for total, rows, _ in self._told)):
            return None
        remaining = {total + before for total, _, before in self._told}
        if len(remaining) == 1 and not self.positional:
            return remaining.pop()
        whole = {total for total, _, _ in self._told}
        return whole.pop() if len(whole) == 1 else None

    def held_back(self, asked: int) -> bool:
        """Whether some answer held fewer records than it told of, though it was asked for more, and no limit of the platform explains that.

        A limit cuts all answers alike, and something follows the last one it cut.
        """
        pages = [(rows, total - before if self.positional else total) for total, rows, before in self._told if rows]
        longest = max((rows for rows, _ in pages), default=0)
        return any(rows < min(left, asked, longest) for rows, left in pages) or any(rows < min(left, asked) for rows, left in pages[-1:])

    def at_end(self, asked: int) -> bool:
        """Whether the last answer by itself shows that nothing follows, so that no further request is needed.

        Its total must have been told as of that very answer: all that a filtered request matched, or all up to
        the last position. A total that may be a cap, or count the page (on a first page that may be cut), is not believed.
        """
        if self.steady is None:
            return False
        total, rows, before = self._told[-1]
        if total != (before + rows if self.positional else rows):
            return False
        first_and_cut = len(self._told) == 1 and (rows >= asked or may_be_cap(rows))
        return not first_and_cut and not (self.positional and may_be_cap(total))


def new_positions(ids: Sequence[Id], seen: Collection[Id]) -> list[int]:
    """Where in a page the ids stand that are not yet seen; a second one of the same page is not new."""
    here: set[Id] = set()
    positions = []
    for position, one in enumerate(ids):
        if one not in seen and one not in here:
            positions.append(position)
        here.add(one)
    return positions
