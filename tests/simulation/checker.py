"""What must hold, judged at every request from outside: the platforms' true history, what reads showed, and the ledger's file.

Shares no code with the engine. It knows a sync only as: match by e-mail (trimmed, lower case), bring over
name and score.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulation.faults import Fault
from tests.simulation.moments import START
from tests.simulation.platforms import FIELDS, Event, Platform, Row
from tests.simulation.rewriting import kept
from tests.simulation.scenario import Scenario
from tests.simulation.sent import Sent

Key = str
MOST_SENDS = 3  # of one record's create in one run, where each may have taken effect
MOST_REQUESTS = 600  # of one run


class Violation(BaseException):
    """An invariant that did not hold. The message begins with its name. No part of the engine can catch and forget it."""


@dataclass
class RunView:
    """What one run has been shown and has done so far, seen from outside."""

    number: int
    approved: frozenset[Any] | None = None  # what a person approved; None: nothing
    source_rows: dict[Any, Row] = field(default_factory=dict)
    source_reads: int = 0
    quiet_lie: bool = False  # a read of the source was lied to in a way that its answer alone does not give away
    read_at_s: float | None = None  # when the source was first read
    sink_rows: dict[Any, tuple[float, Row]] = field(default_factory=dict)  # id → as of when, as last shown
    planned_on: dict[Any, tuple[float, Row]] = field(default_factory=dict)  # as first shown: what a plan is made from
    requests: int = 0
    writes: int = 0
    deleted: int = 0
    creates: dict[Key, int] = field(default_factory=dict)
    owned: frozenset[Any] = frozenset()
    first_write_s: float | None = None


def key_of(row: Row) -> Key | None:
    """The match key of a source record."""
    email = row.get("email")
    return email.strip().lower() or None if isinstance(email, str) else None


def held_key(row: Row | None) -> Key | None:
    """The match key under which the sink holds a record, in whatever form it keeps it."""
    email = (row or {}).get("email")
    return email.lower() if isinstance(email, str) else None


class Checker:
    """Raises Violation at the moment at which something that must hold does not."""

    def __init__(self, scenario: Scenario, source: Platform, sink: Platform, ledger: sqlite3.Connection) -> None:
        self.scenario, self.source, self.sink, self._ledger = scenario, source, sink, ledger
        self.ours: set[Any] = set()  # sink ids that we made
        self.adopted: set[Any] = set()  # sink ids of records that a run ended knowing as its own
        self.touched_by_others: set[Any] = set()
        self.writers: dict[tuple[Any, str], tuple[str, float]] = {}  # who last changed a field of a sink record, and when
        self.asked: dict[tuple[str, int, int], int] = {}  # sends of one intent that may have taken effect
        self.doubtful: set[Key] = set()  # keys of creates whose answer did not come or did not tell
        self.matched_then: dict[tuple[Any, str], Any] = {}  # what we last knew we had written: (id, field) → value
        self.made_of: dict[Any, Any] = {}  # by source record: the sink record that we made of it last
        self.theirs_since: dict[Any, float] = {}  # by sink id: when others made the record that has it
        self.raced: set[Any] = set()  # sink ids that became other people's while a run was at work, after it had looked
        self.goes_on_reading = False  # an interrupted read left pages, from which the next one goes on
        self.violation: str | None = None
        self.run_of: dict[int, RunView] = {}  # by the number of the request
        self._ever: set[Key | None] = set()  # keys that the source ever showed
        self._writing: RunView | None = None
        self._overtaken: set[int] = set()  # the numbers of runs after which another one wrote
        sink.listeners.append(self._happened)

    def knowledge(self) -> tuple[Any, ...]:
        """What it has seen so far, to be given to the checker of another schedule that goes on from here."""
        sets = (self.ours, self.adopted, self.touched_by_others, self.doubtful, self._ever)
        return (*map(set, sets), dict(self.writers), dict(self.asked), dict(self.matched_then), dict(self.made_of), dict(self.theirs_since))

    def take_over(self, knowledge: tuple[Any, ...]) -> None:
        """Go on from what another checker had seen."""
        sets = [set(one) for one in knowledge[:5]]
        self.ours, self.adopted, self.touched_by_others, self.doubtful, self._ever = sets
        self.writers, self.asked, self.matched_then, self.made_of, self.theirs_since = (dict(one) for one in knowledge[5:])

    def violated(self, what: str) -> Violation:
        """The violation to raise. The first one is kept, whatever becomes of it on its way up."""
        self.violation = self.violation or what
        return Violation(what)

    # requests

    def sending(self, run: RunView, changes: list[Sent], fault: Fault) -> None:
        """A write is leaving the process."""
        run.writes += 1
        if run.number in self._overtaken:
            raise self.violated(f"I4 run {run.number} wrote again after another one had written: both had the target")
        if self._writing is not None and self._writing.number != run.number:
            self._overtaken.add(self._writing.number)
        self._writing = run
        if run.first_write_s is None:
            run.first_write_s = self.sink._time.elapsed_s
        intents = self._intents()
        used: set[int] = set()
        for change in changes:
            place = next((n for n, intent in enumerate(intents) if n not in used and _meant(intent, change)), None)
            if place is None:
                raise self.violated(f"I4 a {change.op} of {change.id or change.fields} left without a durable intent")
            used.add(place)
            intent = intents[place]
            if run.approved is not None and _act(change, intent["key"]) not in run.approved:
                raise self.violated(f"I17 a {change.op} of {intent['key']} was sent that nobody approved")
            if change.op != "create":
                continue
            key = json.loads(intent["key"])[0]
            if not (fault.answered and fault.effect == "none"):
                mark = (intent["run_id"], intent["seq"], intent["attempt"])
                self.asked[mark] = self.asked.get(mark, 0) + 1
                if self.asked[mark] > 1:
                    raise self.violated(f"I3 the create of {key!r} was sent again under the same intent although it may have been taken")
                run.creates[key] = run.creates.get(key, 0) + 1
                if run.creates[key] > MOST_SENDS:
                    raise self.violated(f"I16 the create of {key!r} was sent {run.creates[key]} times in one run")
            self._not_waiting(key)
            if fault.name and not (fault.answered and len(changes) == 1):
                self.doubtful.add(key)  # of a refused call of several, some may have been made

    def _not_waiting(self, key: Key) -> None:
        """Nobody ever frees a quarantined create here, so none may be sent again, unless the record was there in between."""
        for row in self._rows("SELECT key, settled_at FROM crossdock_writes WHERE state = 'quarantined' AND op = 'create'"):
            if json.loads(row["key"])[0] != key:
                continue
            since_s = (datetime.fromisoformat(row["settled_at"]) - START).total_seconds()
            after = (event for event in self.sink.history if event.at_s >= since_s - 1e-3)
            there = any(held_key(held) == key for event in after for held in (event.before, event.after))
            if not there and not any(held_key(held) == key for held in self.sink.as_of(since_s).values()):
                raise self.violated(f"I3 the create of {key!r} waits for a person and was sent again")

    def doubted(self, keys: list[Key]) -> None:
        """These creates were meant or sent when the process ended."""
        self.doubtful.update(keys)

    def requested(self, run: RunView) -> None:
        """Any request left the process."""
        run.requests += 1
        if run.requests > MOST_REQUESTS:
            raise self.violated(f"I16 one run sent more than {MOST_REQUESTS} requests")

    def shown(self, run: RunView, platform: Platform, rows: list[Row], as_of_s: float, lie: bool) -> None:
        """A read was answered with these records."""
        if platform is self.source:
            if run.read_at_s is None:
                run.read_at_s = platform._time.elapsed_s
            run.source_reads += 1
            run.quiet_lie = run.quiet_lie or lie
            for row in rows:
                run.source_rows[row[platform.id_field]] = row
                self._ever.add(key_of(row))
        else:
            for row in rows:
                run.sink_rows[row[platform.id_field]] = (as_of_s, row)
                run.planned_on.setdefault(row[platform.id_field], (as_of_s, row))

    # what truly happened to the sink

    def _happened(self, platform: Platform, event: Event) -> None:
        if event.who == "other":
            self.touched_by_others.add(event.id)
            if event.op == "create":  # perhaps under the id of a record that was ours
                self.theirs_since[event.id] = event.at_s
                self.ours.discard(event.id)
                self.adopted.discard(event.id)
            for name in FIELDS:
                if (event.before or {}).get(name) != (event.after or {}).get(name):
                    self.writers[event.id, name] = ("other", event.at_s)
            return
        run = self.run_of[event.request]
        {"create": self._created, "update": self._updated, "delete": self._deleted}[event.op](run, event)

    def _created(self, run: RunView, event: Event) -> None:
        key = held_key(event.after) or ""
        twins = [other for other, held in self.sink.rows.items() if other != event.id and held_key(held) == key]
        if self.scenario.rewrites == "key" and self._touched(key):
            twins = []  # others made one of this key in the form that was sent: it is taken for ours
        if self.scenario.rewrites == "key":  # whose key moved is found by its id, and gets its new key after what is made in this run
            moves = {made for one, made in self.made_of.items() if key_of(self.source.rows.get(one, {})) not in (None, key)}
            twins = [other for other in twins if other not in moves]
        mine = [other for other in twins if other in self.ours and self.writers.get((other, "email"), ("us", 0.0))[0] == "us"]
        if mine:
            raise self.violated(f"I1 {key!r} was made a second time: {mine[0]} and {event.id}")
        known = [other for other in twins if other in run.sink_rows and held_key(run.sink_rows[other][1]) == key]
        first_look_s = min((as_of_s for as_of_s, _ in run.planned_on.values()), default=0.0)  # what others make later may be seen too late
        if known and self.writers.get((known[0], "email"), ("", -1.0))[1] <= min(run.sink_rows[known[0]][0], first_look_s):
            raise self.violated(f"I1 {key!r} was made although the sink had shown {known[0]} with this key")
        if self.scenario.spec.mode == "update":
            raise self.violated(f"a create of {key!r} in mode update")
        sources = self._sources_of(run, key)
        if len(sources) == 1:
            self._made_of(sources[0], event.id, run)
        self.ours.add(event.id)
        for name in FIELDS:
            self.writers[event.id, name] = ("us", event.at_s)

    def _sources_of(self, run: RunView, key: Key) -> list[Any]:
        """The source records that this run was shown with this key. Of two that share it all the time neither may be written.

        An increment maps only what changed, so that the newest of them counts there.
        """
        sources = [source_id for source_id, held in run.source_rows.items() if key_of(held) == key]
        judged = len(sources) > 1 and self.scenario.spec.read.mode == "full"
        since = self.source.since((run.read_at_s or 0.0) - 1e-6) if judged else []
        if since and all(sum(key_of(rows.get(one, {})) == key for one in sources) > 1 for rows in since):
            raise self.violated(f"I1 {key!r} was written although the source records {sources} share it")
        return sources

    def _made_of(self, source_id: Any, sink_id: Any, run: RunView) -> None:
        """A source record whose key moved is still one record, unless another one has its old key now."""
        before = self.made_of.get(source_id)
        self.made_of[source_id] = sink_id
        held = self.sink.rows.get(before)
        if held is None or (before in self.touched_by_others and not self._shown_rekeyed(before, run)):
            return
        keys = {key_of(row) for row in (*self.source.rows.values(), *run.source_rows.values())}
        if held_key(held) not in keys | (self._ever if before in self.touched_by_others else set()):
            raise self.violated(f"I1 {source_id} was made a second time, as {sink_id} beside {before}, when its key had moved")

    def _shown_rekeyed(self, sink_id: Any, run: RunView) -> bool:
        """Whether others gave our record another key and left the rest as it was, before the run looked and saw it."""
        theirs = [event for event in self.sink.history if event.id == sink_id and event.who == "other"]
        rekeyed = all(
            event.before and event.after and {**event.before, "email": 0, "rev": 0} == {**event.after, "email": 0, "rev": 0}
            for event in theirs
        )
        return rekeyed and sink_id in run.planned_on and run.planned_on[sink_id][0] >= theirs[-1].at_s

    def _is_not_ours(self, run: RunView, sink_id: Any) -> bool:
        """Whether a record is none of ours, and was none when the run looked: what changes hands later no call can tell."""
        since_s = self.theirs_since.get(sink_id)
        if since_s is not None and sink_id in run.planned_on and run.planned_on[sink_id][0] <= since_s:
            self.raced.add(sink_id)
        return sink_id not in self.ours | self.adopted | self.raced

    def _updated(self, run: RunView, event: Event) -> None:
        before, after = event.before or {}, event.after or {}
        key = held_key(before)
        if self.scenario.spec.mode == "insert":
            raise self.violated(f"an update of {event.id} in mode insert")
        desired = {key_of(row) for row in run.source_rows.values()} | self._ever
        seen_as = held_key(run.planned_on[event.id][1]) if event.id in run.planned_on else None  # others may change its key meanwhile
        if self._is_not_ours(run, event.id) and desired.isdisjoint({key, seen_as} - {None}):
            raise self.violated(f"I6 {event.id} ({key!r}) was updated and is not ours")
        if key in desired:
            self.adopted.add(event.id)
        if run.source_reads and not (run.source_rows or self.goes_on_reading) and self.scenario.spec.read.mode == "full":
            raise self.violated(f"I15 {event.id} was updated from an empty source")
        self._sources_of(run, held_key(after) or "")
        self._not_taken_over(run, event)
        for name in FIELDS:
            if before.get(name) == after.get(name):
                continue
            who, when_s = self.writers.get((event.id, name), ("", -1.0))
            seen = run.planned_on.get(event.id)
            drift = self.scenario.spec.drift
            visible = seen is not None and seen[0] >= when_s and seen[1].get(name) == before.get(name)
            known = (event.id, name) in self.matched_then and self.matched_then[event.id, name] != before.get(name)
            known = known and (
                name == "email" or self.writers.get((event.id, "email"), ("us", 0.0))[0] == "us"
            )  # else it is another record
            if who == "other" and visible and drift != "overwrite" and known:
                raise self.violated(
                    f"I8 the {name} of {event.id} that others set to {before.get(name)!r} was overwritten under drift: {drift}"
                )
            self.writers[event.id, name] = ("us", event.at_s)

    def _not_taken_over(self, run: RunView, event: Event) -> None:
        """In an increment, what was made of one source record is not given to another while both have its key."""
        key, held = held_key(event.after), self.source.since((run.read_at_s or 0.0) - 1e-6)
        for owner, sink_id in self.made_of.items():
            if sink_id != event.id or owner in run.source_rows or run.quiet_lie or self.scenario.spec.read.mode != "incremental":
                continue
            takers = [one for one, row in run.source_rows.items() if key_of(row) == key]
            if takers and all(key_of(rows.get(one, {})) == key for rows in held for one in (owner, *takers)):
                raise self.violated(f"I1 {event.id}, made of {owner}, was given to {takers[0]}, which has the key {key!r} too")

    def _deleted(self, run: RunView, event: Event) -> None:
        key = held_key(event.before)
        spec = self.scenario.spec
        if spec.mode != "mirror":
            raise self.violated(f"I5 {event.id} was deleted in mode {spec.mode}")
        if self._is_not_ours(run, event.id):
            raise self.violated(f"I6 {event.id} ({key!r}) was deleted and is not ours")
        if not run.source_rows and not self.goes_on_reading:
            raise self.violated(f"I15 {event.id} was deleted although the source showed nothing")
        start_s = run.read_at_s or 0.0
        held = self.source.since(start_s - 1e-6)  # what changes in the instant of an answer comes after it
        always = all(any(key_of(row) == key for row in rows.values()) for rows in held)
        if always and self.writers.get((event.id, "email"), ("us", 0.0))[0] == "us":
            raise self.violated(f"I5 {event.id} ({key!r}) was deleted although the source had it all the time")
        run.deleted += 1
        if run.approved is None:
            limit = spec.delete_settings
            owned = max(len(run.owned), len(self._owned()))  # what a killed run made is owned only once a later one knew it
            if run.deleted > limit.max_count or run.deleted / max(1, owned) > limit.max_share:
                raise self.violated(f"I5 {run.deleted} of {owned} owned records were deleted, beyond the limits")

    # runs

    def interrupted(self, run: RunView) -> None:
        """A run ended without a summary."""
        self.goes_on_reading = bool(run.source_rows) and not run.planned_on

    def begin(self, number: int, approved: frozenset[Any] | None) -> RunView:
        """A run begins."""
        view = RunView(number, approved, owned=self._owned())
        self.known(view)
        return view

    def ended(self, run: RunView, summary: Any) -> None:
        """A run gave its summary."""
        went_on, self.goes_on_reading = self.goes_on_reading, False
        if run.number in self._overtaken and self._writing is not None:
            raise self.violated(f"I4 run {run.number} ended well although run {self._writing.number} wrote while it had the target")
        parts = ("created", "updated", "deleted", "unchanged", "skipped", "invalid", "rejected", "conflicts", "unknown", "quarantined")
        total = sum(getattr(summary, name) for name in parts)
        if (
            summary.status in ("ok", "partial")
            and self.scenario.spec.read.mode == "full"
            and summary.complete
            and not (run.quiet_lie or went_on)
            and not self._moved_since(run)
        ):
            if summary.read != len(run.source_rows):
                raise self.violated(f"I11 {summary.read} records are said to be read, the source showed {len(run.source_rows)}")
            planned_deletes = total - summary.read
            if planned_deletes < summary.deleted:
                raise self.violated(
                    f"I11 the outcomes of {total} records do not add up to {summary.read} read and {summary.deleted} deleted"
                )
        self._observed(run)
        self.known(run)

    def _moved_since(self, run: RunView) -> bool:
        """Whether the source changed since the run read it first."""
        return any(event.at_s >= (run.read_at_s or 0.0) for event in self.source.history)

    def known(self, run: RunView) -> None:
        """Whatever the crosswalk holds now is known to be ours."""
        ids: set[Any] = set()
        for row in self._rows("SELECT key, sink_id, applied FROM crossdock_crosswalk WHERE sync = 'simulated'"):
            sink_id = json.loads(row["sink_id"])
            ids.add(sink_id)
            for name, value in json.loads(row["applied"] or "{}").items():
                self.matched_then[sink_id, name] = value
        for sink_id in ids:
            since_s = self.theirs_since.get(sink_id, 0.0)
            history = [event for event in self.sink.history if event.id == sink_id and event.at_s >= since_s]
            if any(event.after and held_key(event.after) in self._ever for event in history):
                self.adopted.add(sink_id)

    def _observed(self, run: RunView) -> None:
        """I2: what the ledger calls confirmed was at some time so in the sink."""
        for row in self._rows("SELECT * FROM crossdock_writes WHERE sync = 'simulated' AND state = 'confirmed'"):
            sink_id = json.loads(row["sink_id"]) if row["sink_id"] else None
            key = json.loads(row["key"])[0]
            events = [event for event in self.sink.history if event.id == sink_id]
            if row["op"] == "create" and not any(held_key(event.after) == key for event in events):
                raise self.violated(f"I2 the create of {key!r} is confirmed as {sink_id}, which never had this key")
            if row["op"] == "delete" and not any(event.after is None for event in events):
                raise self.violated(f"I2 the delete of {sink_id} ({key!r}) is confirmed, and it was never gone")
            if row["op"] == "update":
                wanted = json.loads(row["after"] or "{}")
                if not any(
                    event.after and all(self._holds(event.after, name, value) for name, value in wanted.items()) for event in events
                ):
                    raise self.violated(f"I2 the update of {sink_id} to {wanted} is confirmed, and it never was so")

    # at the end

    def settled(self, summary: Any) -> None:
        """After clean runs: nothing is lost, nothing stands twice, and what waits for a person says why."""
        spec = self.scenario.spec
        failures = {(row["key"], row["outcome"]): row for row in self._rows("SELECT * FROM crossdock_failures WHERE sync = 'simulated'")}
        waiting: dict[Key | None, str] = {}
        for (key, outcome), row in failures.items():
            name = json.loads(key)[0] if key else None
            if not row["reason"]:
                raise self.violated(f"{name!r} is {outcome} without a reason")
            if outcome == "quarantined":
                waiting[name] = outcome
                had = {
                    key_of(one)
                    for event in self.source.history
                    if str(event.id) == row["source_id"]
                    for one in (event.before, event.after)
                    if one
                }
                gone = any(event.op == "delete" and held_key(event.before) in {name, *had} for event in self.sink.history)
                twins = {event.id for event in self.sink.history if event.after and held_key(event.after) == name}
                elsewhere = self._rekeyed(name) or self.scenario.rewrites == "key"  # it does not show under its key
                stood_still = self.scenario.apart and name in self._intended()  # whoever meant to send it, another one took over
                if name not in self.doubtful and not (gone or elsewhere or stood_still) and len(twins) < 2:
                    raise self.violated(f"{name!r} is quarantined although no create of it was ever in doubt")
        waiting_sources = {row["source_id"] for (_, outcome), row in failures.items() if outcome == "quarantined"}
        keys = [key_of(row) for row in self.source.rows.values()]
        for source_id, row in self.source.rows.items():
            key = key_of(row)
            if key is None or keys.count(key) > 1 or key in waiting or str(source_id) in waiting_sources:
                continue
            if spec.mode == "insert" and len({key_of(row) for row in self._versions(source_id)}) > 1:
                continue  # its key changed: it is the record that was inserted before, and that is left as it is
            if self._waits_in_conflict(source_id, key, failures) or self._shares_with_one_gone(source_id, key, failures):
                continue
            if self._waits_with(source_id, failures):
                continue
            self._delivered(source_id, key, row)
        self._said_normalised(summary)
        keys += self._keys_of_invalid()
        if spec.mode == "mirror" and summary.status in ("ok", "partial"):
            for sink_id in self.ours & self.sink.rows.keys():
                key = held_key(self.sink.rows[sink_id])
                if self._has_twin(sink_id, key):
                    continue  # which of two records with its key is ours was for a person to tell
                if any(made == sink_id and self._waits_with(one, failures) for one, made in self.made_of.items()):
                    continue  # its key moved, and that waits for a person
                if self.scenario.rewrites == "key":
                    continue  # what stands under another key than was written is left alone
                if key not in keys and sink_id not in self.touched_by_others and key not in waiting:
                    raise self.violated(f"lost: {sink_id} ({key!r}) is not at the source any more and still in the sink")

    def _said_normalised(self, summary: Any) -> None:
        """What the sink keeps in a form of its own is said, where the runs would otherwise have changed it."""
        spec = self.scenario.spec
        if spec.mode == "insert" or spec.drift != "overwrite" or spec.read.mode != "full" or summary.status not in ("ok", "partial"):
            return
        wanted = {key_of(row): row for row in self.source.rows.values()}
        for sink_id in self.ours & self.sink.rows.keys() - self.touched_by_others:
            held = self.sink.rows[sink_id]
            if held_key(held) not in wanted:
                continue
            row = {**wanted[held_key(held)], "email": held_key(held)}
            other = [name for name in FIELDS if held.get(name) != row.get(name)]
            if other and not any("normalised by the sink" in warning for warning in summary.warnings) and not summary.undelivered:
                raise self.violated(f"{sink_id} is kept otherwise than it was written in {', '.join(other)}, and nothing says so")

    def _holds(self, held: Row, name: str, value: Any) -> bool:
        """Whether the sink holds this value, in whatever form it keeps it."""
        return held.get(name) in (value, kept(self.scenario.rewrites, name, value))

    def _has_twin(self, sink_id: Any, key: Key | None) -> bool:
        """Whether another record of the sink ever had this key."""
        return any(event.after is not None and held_key(event.after) == key for event in self.sink.history if event.id != sink_id)

    def _waits_with(self, source_id: Any, failures: Iterable[tuple[str, str]]) -> bool:
        """Whether a record at the source is listed as in conflict, and what it came to be in the sink is others' doing, or looks like it.

        A rounded number is no form of what was sent.
        """
        if source_id not in self.source.rows or (json.dumps([key_of(self.source.rows[source_id])]), "conflict") not in failures:
            return False
        rounded = self.scenario.rewrites == "values" and self.scenario.spec.drift == "conflict"
        keys = {key_of(row) for row in self._versions(source_id)} - {None}
        found_by_id = self.scenario.rewrites == "key"  # and believed to be ours only while most of it is as it was written
        return rounded or any(self._rekeyed(key) or (found_by_id and self._touched(key)) for key in keys if key)

    def _rekeyed(self, key: Key | None) -> bool:
        """Whether a record of the sink that had this key has another one by now that others gave it, or its id is another record's."""
        had = {event.id for event in self.sink.history for row in (event.before, event.after) if row and held_key(row) == key}
        return any(
            held_key(held) != key and one in had and self.writers[one, "email"][0] == "other" for one, held in self.sink.rows.items()
        )

    def _touched(self, key: Key) -> bool:
        """Whether others ever did something to a sink record with this key."""
        rows = [(event, row) for event in self.sink.history for row in (event.before, event.after) if row]
        return any(held_key(row) == key and event.who == "other" and event.at_s > 0 for event, row in rows)

    def _keys_of_invalid(self) -> list[Key | None]:
        """The keys that source records had which are now without one, or share theirs: still there, so never deleted."""
        keys = {source_id: key_of(row) for source_id, row in self.source.rows.items()}
        shared = Counter(keys.values())  # two records that share a key are both invalid, like one without
        invalid = [source_id for source_id, key in keys.items() if key is None or shared[key] > 1]
        return [key_of(row) for source_id in invalid for row in self._versions(source_id)]

    def _waits_in_conflict(self, source_id: Any, key: Key, failures: Iterable[tuple[str, str]]) -> bool:
        """Whether a record whose key moved waits for a person, because others changed what stands under its old key."""
        if self.scenario.spec.drift != "conflict" or (json.dumps([key]), "conflict") not in failures:
            return False
        before = {key_of(row) for row in self._versions(source_id)} - {key}
        return any(held_key(held) in before and sink_id in self.touched_by_others for sink_id, held in self.sink.rows.items())

    def _shares_with_one_gone(self, source_id: Any, key: Key, failures: Iterable[tuple[str, str]]) -> bool:
        """Whether a record is refused because another one had its key that went unseen: increments see no deletions."""
        if self.scenario.spec.read.mode != "incremental" or (json.dumps([key]), "invalid") not in failures:
            return False
        gone = {event.id for event in self.source.history if event.op == "delete"} - {source_id}
        return any(key_of(row) == key for one in gone for row in self._versions(one))

    def _versions(self, source_id: Any) -> list[Row]:
        return [row for event in self.source.history if event.id == source_id for row in (event.before, event.after) if row]

    def _delivered(self, source_id: Any, key: Key, row: Row) -> None:
        spec = self.scenario.spec
        if spec.read.mode == "incremental" and self._touched(key):
            return  # an increment does not look at what the source did not change
        found = {sink_id: held for sink_id, held in self.sink.rows.items() if held_key(held) == key}
        if len(found) > 1:
            return  # others made a twin: a conflict for a person (what we make twice is caught when it happens)
        if not found:
            stays = spec.mode == "insert" or spec.drift != "overwrite"
            if spec.mode != "update" and not (stays and any(self._rekeyed(key_of(one)) for one in self._versions(source_id))):
                raise self.violated(f"lost: {key!r} is at the source and not in the sink")
            return
        ((sink_id, held),) = found.items()
        if spec.mode == "insert":
            return
        for name in ("name", "score"):
            if self._holds(held, name, row.get(name)):
                continue
            who = self.writers.get((sink_id, name), ("", 0.0))[0]
            if spec.drift != "overwrite" and (who == "other" or sink_id in self.touched_by_others):
                continue
            raise self.violated(f"lost: {name} of {key!r} is {held.get(name)!r} in the sink and {row.get(name)!r} at the source")

    # the ledger's file, read as anybody could

    def states(self) -> tuple[str, ...]:
        """One line per write of the ledger, in the order of its intents."""
        rows = self._rows("SELECT * FROM crossdock_writes ORDER BY intent_at, run_id, seq")
        line = "{run_id} {seq} {op} {key} {sink_id}: {state} (attempt {attempt}) {reason}"
        return tuple(line.format(**row) for row in rows)

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        cursor = self._ledger.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _owned(self) -> frozenset[Any]:
        return frozenset(row["sink_id"] for row in self._rows("SELECT sink_id FROM crossdock_crosswalk WHERE sync = 'simulated'"))

    def _intended(self) -> set[Key]:
        """The keys of all creates that were ever to be sent."""
        return {json.loads(row["key"])[0] for row in self._rows("SELECT key FROM crossdock_writes WHERE op = 'create'")}

    def _intents(self) -> list[dict[str, Any]]:
        return self._rows("SELECT run_id, seq, attempt, op, key, sink_id, after FROM crossdock_writes WHERE state = 'in_flight'")

    def in_flight_creates(self) -> list[Key]:
        """The keys of creates that the ledger holds as under way."""
        return [json.loads(row["key"])[0] for row in self._intents() if row["op"] == "create"]


def _meant(intent: dict[str, Any], change: Sent) -> bool:
    if intent["op"] != change.op:
        return False
    if change.op == "create":
        return bool(json.loads(intent["after"]) == change.fields)
    same = json.loads(intent["sink_id"]) == change.id
    return same and (change.op == "delete" or json.loads(intent["after"]) == change.fields)


def _act(change: Sent, key: str) -> tuple[Any, ...]:
    return change.op, key, change.id, json.dumps(change.fields, sort_keys=True)
