"""Both platforms as the simulation holds them: the real emulators' stores, what truly happened to them, and what a lagging read shows."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from tests.simulation.moments import VirtualTime
from tests.simulation.rewriting import Rewrites, all_kept

Who = Literal["us", "other"]
Op = Literal["create", "update", "delete"]
Row = dict[str, Any]
Rows = dict[Any, Row]

FIELDS = ("email", "name", "score")


@dataclass(frozen=True)
class Event:
    """One record's true change. `before` and `after` are its values (None: it was not there)."""

    at_s: float
    who: Who
    op: Op
    id: Any
    before: Row | None
    after: Row | None
    request: int


class Platform:
    """One stream of one platform. `history` is all that ever truly happened to it; `rewrites` what it makes of what it is sent."""

    kind: str
    id_field: str
    stream: str
    store: Any

    def __init__(self, time: VirtualTime, switches: dict[str, str], rewrites: Rewrites = "") -> None:
        self._time, self.rewrites = time, rewrites
        self.history: list[Event] = []
        self.listeners: list[Any] = []
        self._make(switches)
        self.rows: Rows = {}
        self._moments: list[tuple[float, Rows]] = [(time.elapsed_s, {})]
        self.rev = 0

    def note(self, who: Who, request: int = 0) -> list[Event]:
        """Find out what changed since the last note, and keep it as done by `who`."""
        now = self._held()
        events = []
        for key in [*self.rows, *(key for key in now if key not in self.rows)]:
            before, after = self.rows.get(key), now.get(key)
            if before == after:
                continue
            op: Op = "create" if before is None else "delete" if after is None else "update"
            events.append(Event(self._time.elapsed_s, who, op, key, before, after, request))
        self.rows = now
        if events:
            self._moments.append((self._time.elapsed_s, now))
            self.history += events
            for listener in self.listeners:
                for event in events:
                    listener(self, event)
        return events

    def long_there(self) -> None:
        """What it holds was there before anything ran: no read is too early for it."""
        self._moments = [(float("-inf"), self.rows)]

    def as_of(self, moment_s: float) -> Rows:
        """What it held then."""
        return next((rows for at_s, rows in reversed(self._moments) if at_s <= moment_s), self._moments[0][1])

    def since(self, moment_s: float) -> list[Rows]:
        """What it held then, and after every change since."""
        return [self.as_of(moment_s), *(rows for at_s, rows in self._moments if at_s > moment_s)]

    @contextmanager
    def showing(self, rows: Rows) -> Iterator[None]:
        """Answer reads as if it held these."""
        if rows is self.rows or rows == self.rows:
            yield
            return
        kept = self._swap(rows)
        try:
            yield
        finally:
            self._restore(kept)

    def snapshot(self) -> Any:
        """Its content, to be restored into a fresh platform of the same kind and switches."""
        return copy.deepcopy((self._state(), self.rows, self.rev)), list(self.history), self.store.rng.getstate()

    def restore(self, snapshot: Any) -> None:
        """Be as the snapshot says."""
        (state, self.rows, self.rev), self.history = copy.deepcopy(snapshot[0]), list(snapshot[1])
        self._set_state(state)
        self.store.rng.setstate(snapshot[2])
        self._moments = [(float("-inf"), self.rows)]

    def selective(self, is_so: bool) -> None:
        """Whether a selection of records means anything to it."""

    # what others do

    def add(self, values: Row, key: Any = None) -> None:
        """Somebody else makes a record, under an id that another one had before or a new one."""
        raise NotImplementedError

    def edit(self, key: Any, values: Row) -> None:
        """Somebody else changes a record."""
        raise NotImplementedError

    def remove(self, key: Any) -> None:
        """Somebody else removes a record."""
        raise NotImplementedError

    def _next_rev(self) -> int:
        self.rev += 1
        return self.rev

    def _make(self, switches: dict[str, str]) -> None:
        raise NotImplementedError

    def _held(self) -> Rows:
        raise NotImplementedError

    def _swap(self, rows: Rows) -> Any:
        raise NotImplementedError

    def _restore(self, kept: Any) -> None:
        raise NotImplementedError

    def _state(self) -> Any:
        raise NotImplementedError

    def _set_state(self, state: Any) -> None:
        raise NotImplementedError


class _RewritingStacker(StackerStore):
    rewrites: Rewrites = ""

    def _accepted(self, *given: Any) -> Row:
        return all_kept(self.rewrites, super()._accepted(*given))


class _RewritingRobostack(RobostackStore):
    rewrites: Rewrites = ""

    def accepted(self, *given: Any, **named: Any) -> Row:
        return all_kept(self.rewrites, super().accepted(*given, **named))


class Stacker(Platform):
    """Stacker's `contacts`."""

    kind, id_field, stream = "stacker", "sid", "contacts"

    def _make(self, switches: dict[str, str]) -> None:
        self.store = _RewritingStacker(contacts=0, companies=0, orders=0, **switches)
        self.store.rewrites = self.rewrites
        self.app = stacker_app(self.store)
        self.store.add_object("contacts", []).fields.update(dict.fromkeys((*FIELDS, "rev")))

    @property
    def _object(self) -> Any:
        return self.store.objects["contacts"]

    def _held(self) -> Rows:
        return {sid: dict(values) for sid, values in self._object.records.items()}

    def add(self, values: Row, key: Any = None) -> None:
        self.store.create(self._object, {**values, "rev": self._next_rev()}, sid=key, quiet=True)
        self.note("other")

    def edit(self, key: Any, values: Row) -> None:
        self.store.edit(self._object, key, {**values, "rev": self._next_rev()})
        self.note("other")

    def remove(self, key: Any) -> None:
        self._object.remove(key)
        self.note("other")

    def _swap(self, rows: Rows) -> Any:
        held = self._object
        kept = (held.records, held.sids, held.encoded, held.indexes)
        held.records, held.sids, held.encoded, held.indexes = dict(rows), sorted(rows), {}, {}
        return kept

    def _restore(self, kept: Any) -> None:
        held = self._object
        held.records, held.sids, held.encoded, held.indexes = kept

    def _state(self) -> Any:
        held = self._object
        return held.records, held.fields, held.sids, held.made

    def _set_state(self, state: Any) -> None:
        held = self._object
        held.records, held.fields, held.sids, held.made = state
        held.encoded, held.indexes = {}, {}


class Robostack(Platform):
    """Robostack's `people`."""

    kind, id_field, stream = "robostack", "id", "people"

    def _make(self, switches: dict[str, str]) -> None:
        self.store = _RewritingRobostack(people=0, orgs=0, invoices=0, **switches)
        self.store.rewrites = self.rewrites
        self.app = robostack_app(self.store)
        self.store.add_resource("people").fields.update(dict.fromkeys(("id", *FIELDS)))

    def selective(self, is_so: bool) -> None:
        self.store.set_switch("match", "exact" if is_so else "ignored")

    @property
    def _resource(self) -> Any:
        return self.store.resources["people"]

    def _held(self) -> Rows:
        return {key: {name: value for name, value in record.items() if name != "id"} for key, record in self._resource.records.items()}

    def add(self, values: Row, key: Any = None) -> None:
        self.store.put(self._resource, [{"id": key or self.store.next_id(self._resource), **values}])
        self.note("other")

    def edit(self, key: Any, values: Row) -> None:
        self.store.put(self._resource, [{**self._resource.records[key], **values}])
        self.note("other")

    def remove(self, key: Any) -> None:
        self.store.remove(self._resource, [key])
        self.note("other")

    def _swap(self, rows: Rows) -> Any:
        held = self._resource
        kept = (held.records, held.encoded, held.indexes)
        held.records, held.encoded, held.indexes = {key: {"id": key, **values} for key, values in rows.items()}, {}, {}
        return kept

    def _restore(self, kept: Any) -> None:
        held = self._resource
        held.records, held.encoded, held.indexes = kept

    def _state(self) -> Any:
        held = self._resource
        return held.records, held.fields, held.made

    def _set_state(self, state: Any) -> None:
        held = self._resource
        held.records, held.fields, held.made = state
        held.encoded, held.indexes = {}, {}


PLATFORMS: dict[str, type[Platform]] = {"stacker": Stacker, "robostack": Robostack}
