"""The resources behind connections: trees walked breadth-first, a page of one level at a time, several parents at once.

Pure but for the `ask` it is given and the threads it asks in. Page tokens are opaque and may repeat, folders may hold
themselves, rows come and go: a walk that met nothing odd and equals the one before it proves that it met everything.
"""

import json
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from connectors.base import Completeness, JsonValue, Page, Record
from connectors.errors import ConfigError, RefusedError

__all__ = ["Level", "Spot", "Walking"]

_WALKS = 4
_RESUMABLE = 2_000  # open places of a walk that still fit into a page token


@dataclass(frozen=True)
class Spot:
    """One page to ask for: of what is one level below `parent` (None: at the root) behind a connection."""

    connection: str
    parent: str | None = None
    token: str | None = None
    depth: int = 0


@dataclass(frozen=True)
class Level:
    """One page of one level. `items`: id, whether anything may be below it, and the record. `doubt`: why it may not be all."""

    items: Sequence[tuple[str, bool, Mapping[str, JsonValue]]]
    next: str | None = None
    doubt: str = ""


@dataclass
class _Walk:
    """One way through all trees: the parent of every resource met, what stands against it, pages asked for."""

    parents: dict[tuple[str, str], str | None] = field(default_factory=dict)
    troubles: dict[str, None] = field(default_factory=dict)
    pages: int = 0
    repeated: int = 0


class Walking:
    """One read of the trees behind some connections."""

    def __init__(self, ask: Callable[[Spot], Level], *, fan_out: int, max_depth: int, max_pages: int, proof: bool) -> None:
        self._ask, self._fan_out, self._max_depth, self._max_pages, self._proof = ask, fan_out, max_depth, max_pages, proof
        self._given: set[tuple[str, str]] = set()
        self._pages = 0

    def pages(self, connections: Sequence[str], resume: str | None = None) -> Generator[Page, None, Completeness]:
        """The pages, every resource in exactly one of them, and what they prove about the trees."""
        begin = [Spot(key) for key in connections]
        walks = [_Walk()]
        yield from self._walk(walks[0], begin if resume is None else _spots(resume), resumable=True)
        if resume is not None:
            return self._certificate(walks, False, "the read went on where another one stopped; start it anew for a proof")
        if not self._proof:
            return self._certificate(walks, False, "one walk alone does not prove that it met every resource")
        while len(walks) < _WALKS and self._pages < self._max_pages:
            walks.append(_Walk())
            yield from self._walk(walks[-1], begin, resumable=False)
            former, last = walks[-2:]
            if not former.troubles and not last.troubles and former.parents == last.parents:
                return self._certificate(walks, True, "two walks in a row were equal")
        return self._certificate(walks, False, f"{len(walks)} walks in a row did not agree")

    def _walk(self, walk: _Walk, begin: Sequence[Spot], *, resumable: bool) -> Generator[Page, None, None]:
        open_spots = deque(begin)
        asked: set[tuple[str, str | None, str | None]] = set()
        with ThreadPoolExecutor(self._fan_out, "stack-ai-tree") as pool:
            while open_spots:
                if self._pages >= self._max_pages:
                    walk.troubles[f"the read stopped after {self._max_pages:,} pages; raise max_pages"] = None
                    return
                batch = [open_spots.popleft() for _ in range(min(self._fan_out, len(open_spots)))]
                for number, (spot, level) in enumerate(zip(batch, pool.map(self._level, batch), strict=True)):
                    asked.add((spot.connection, spot.parent, spot.token))
                    if isinstance(level, str):
                        walk.troubles[level] = None
                        continue
                    page = self._taken(walk, spot, level, open_spots, asked)
                    token = self._token([*batch[number + 1 :], *open_spots]) if resumable else None
                    yield Page(page, len(page), token)

    def _level(self, spot: Spot) -> Level | str:
        """The page, or why there is none."""
        try:
            return self._ask(spot)
        except RefusedError as error:
            what = "the root" if spot.parent is None else "a folder"
            if error.status == 404:
                return f"{what} of connection {spot.connection} vanished while it was read"
            said = f" ({error.words})" if error.words else ""
            refused = f"{what} of connection {spot.connection} was refused with status {error.status}{said}"
            return refused + "; repair it, or name the others in connection_ids"

    def _taken(
        self, walk: _Walk, spot: Spot, level: Level, open_spots: deque[Spot], asked: set[tuple[str, str | None, str | None]]
    ) -> list[Record]:
        """The records of a page that are new to the read; what is to be asked next is put into `open_spots`."""
        walk.pages += 1
        self._pages += 1
        if level.doubt:
            walk.troubles[level.doubt] = None
        if level.next is not None:
            if (spot.connection, spot.parent, level.next) in asked:
                walk.troubles[f"a page token of connection {spot.connection} came back: its pages go round in a circle"] = None
            else:
                asked.add((spot.connection, spot.parent, level.next))
                open_spots.appendleft(Spot(spot.connection, spot.parent, level.next, spot.depth))
        records: list[Record] = []
        here: set[str] = set()
        for key, may_have_children, record in level.items:
            place = (spot.connection, key)
            if place in walk.parents:
                walk.repeated += 1  # a folder inside itself, a second link, or a row that shifted onto the next page
                if walk.parents[place] == spot.parent and spot.token is not None and key not in here:
                    why = "its pages moved while they were read, or keep no order"
                    walk.troubles[f"resources of connection {spot.connection} came back on a later page: {why}"] = None
                continue
            here.add(key)
            walk.parents[place] = spot.parent
            if may_have_children and spot.depth + 1 >= self._max_depth:
                walk.troubles[f"connection {spot.connection} is deeper than {self._max_depth} levels; raise max_depth"] = None
            elif may_have_children:
                open_spots.append(Spot(spot.connection, key, None, spot.depth + 1))
            if place not in self._given:
                self._given.add(place)
                own: Record = {"key": f"{spot.connection}/{key}", "connection_id": spot.connection, "resource_id": key}
                records.append({**record, **own, "parent_id": spot.parent, "depth": spot.depth})
        return records

    def _token(self, rest: Sequence[Spot]) -> str | None:
        if len(rest) > _RESUMABLE:
            return None
        return json.dumps([[spot.connection, spot.parent, spot.token, spot.depth] for spot in rest], separators=(",", ":"))

    def _certificate(self, walks: Sequence[_Walk], complete: bool, verdict: str) -> Completeness:
        last = walks[-1]
        again = f"{last.repeated:,} came a second time, by another way or on a later page, and count once"
        return Completeness(
            complete=complete,
            method="two equal walks" if len(walks) > 1 else "walk",
            reasons=(
                f"{len(self._given):,} resources came in {self._pages:,} pages",
                *([again] if last.repeated else []),
                *list(last.troubles)[:10],
                verdict,
            ),
            count=len(self._given),
            requests=self._pages,
            doubts=() if complete else tuple(last.troubles)[:10],
        )


def _spots(token: str) -> list[Spot]:
    """The open places that a page token names. Raises ConfigError."""
    try:
        return [Spot(str(connection), parent, page, int(depth)) for connection, parent, page, depth in json.loads(token)]
    except (ValueError, TypeError):
        raise ConfigError("this page token is not one of a Stack AI read; start the read anew") from None
