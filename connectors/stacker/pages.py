"""What one page of a search is asked for and found to hold, and what one pass over all pages came to. Pure values."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import pyarrow as pa

from connectors.base import JsonBody
from connectors.errors import ConfigError
from connectors.paging import Direction, Id, Totals


@dataclass(frozen=True)
class Ask:
    """One page wanted: from position `start`, or beyond the id `after`. `ordered`: by id. `count`: fewer than a page."""

    start: int = 0
    after: Id | None = None
    way: Direction = "ascending"
    ordered: bool = True
    count: int | None = None


@dataclass(frozen=True)
class Got:
    """One answer: the ids of its records in order, the total it told, its bytes, and positions not wanted for other reasons."""

    ids: pa.Array
    total: int | None
    body: JsonBody
    server_date: datetime | None = None
    unwanted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Resume:
    """Where an earlier keyset read stopped: after which id, in which direction, with how many records behind it."""

    after: Id
    way: Direction
    count: int

    def token(self) -> str:
        """As page token text."""
        return json.dumps([self.after, self.way, self.count])

    @classmethod
    def parse(cls, token: str) -> "Resume":
        """The other way round. Raises ConfigError for what was never a token."""
        try:
            after, way, count = json.loads(token)
        except ValueError:
            after, way, count = None, None, None
        if not isinstance(after, str | int) or not isinstance(count, int) or way not in ("ascending", "descending"):
            raise ConfigError("this page token is not one of a Stacker read; start the read anew")
        return cls(after, way, count)


@dataclass
class Pass:
    """One way through the whole list. `told`: its size as told at the end, where that can be believed."""

    method: str
    totals: Totals
    ids: set[Id] = field(default_factory=set)
    arrays: list[pa.Array] = field(default_factory=list)  # what a keyset pass keeps instead: a fifth of the memory
    count: int = 0
    ended: Literal["", "told", "seen"] = ""  # how the end showed
    moved: bool = False  # some page did not begin where the one before ended: rows came or went, or there is no order
    trouble: str = ""
    told: int | None = None
    pages: int = 0  # with records, of a keyset pass
    chance: float = 1.0  # of each of these being in order by luck
    cut: bool = False  # whether the last of them may hold less than the platform had

    def id_set(self) -> set[Id]:
        """The ids it met."""
        if not self.ids:
            self.ids = {one for array in self.arrays for one in array.to_pylist()}
        return self.ids

    @property
    def proven(self) -> bool:
        """Whether the pages and the total together leave no doubt."""
        return bool(self.ended) and not self.trouble and self.told == self.count
