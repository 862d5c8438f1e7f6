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
    if type(first) is not type(last) or direction(ids) not in (way, "ascending" if len(ids) < 2 else None):
        return None
    if first == last:
        return "repeats"
    return "beyond" if (first > last) is (way == "ascending") else None


def touches(previous: Sequence[Id], page: Sequence[Id]) -> bool:
    """Whether a page read by position overlaps the one before it, so that nothing can lie between them.

    True where it holds the last id of the previous page, or, that one being gone, an earlier one of it.
    """
    return not set(page).isdisjoint(previous)


def may_be_cap(count: int) -> bool:
    """Whether a page of so many records looks like a page cut off at the server's own limit: 50, 100, 200 …, 64, 128 …."""
    return count > 0 and (count % 50 == 0 or (count >= 16 and count & (count - 1) == 0))


@dataclass
class Totals:
    """What the totals told along one read are worth. Feed every answer in order.

    A total may count what a filtered request matches ("remaining": it shrinks as a keyset read goes on),
    the whole list each time ("whole"), or only the page; rows may also come and go meanwhile.
    """

    _told: list[tuple[int | None, int, int]] = field(default_factory=list)  # total, rows in the answer, rows before it

    def see(self, total: int | None, rows: int, before: int) -> None:
        """One answer: the total it told, its records, and how many records of the list lie before its first one."""
        self._told.append((total, rows, before))

    @property
    def told(self) -> bool:
        """Whether every answer so far told a total."""
        return bool(self._told) and all(total is not None for total, _, _ in self._told)

    @property
    def steady(self) -> int | None:
        """The size of the whole list where all answers agree on one; None where they told none or changed their mind."""
        totals = [(total, rows, before) for total, rows, before in self._told if total is not None]
        if not self.told or any(rows > total for total, rows, _ in totals):
            return None
        if len(totals) > 1 and all(total == rows for total, rows, _ in totals):
            return None  # it counts the page
        remaining = {total + before for total, _, before in totals}
        whole = {total for total, _, _ in totals}
        return remaining.pop() if len(remaining) == 1 else whole.pop() if len(whole) == 1 else None

    def at_end(self, asked: int, *, positional: bool) -> bool:
        """Whether the last answer by itself shows that nothing follows, so that no further request is needed.

        True only where its total was told as of that very answer: all that a filtered request matched, or, with
        `positional`, all up to the last position. A first page that may be cut off at a cap whose total counts the page is not believed.
        """
        size = self.steady
        if size is None:
            return False
        total, rows, before = self._told[-1]
        if total != (before + rows if positional else rows):
            return False
        return len(self._told) > 1 or rows == 0 or (rows < asked and not may_be_cap(rows))


def new_positions(ids: Sequence[Id], seen: Collection[Id]) -> list[int]:
    """Where in a page the ids stand that are not yet seen; a second one of the same page is not new."""
    here: set[Id] = set()
    positions = []
    for position, one in enumerate(ids):
        if one not in seen and one not in here:
            positions.append(position)
        here.add(one)
    return positions
