"""Trials of killed runs: two platforms with a known history, a sync killed at chosen points, run again until clean, and audited.

The audit looks at the sink's own store and at the ledger's tables with nothing of the engine's; what the sink must hold
is worked out here from what was put into the source.
"""

import copy
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from tests.e2e import kills_driver
from tests.e2e.kills_points import Death
from tests.loopback import serving

RUN_S = 300.0  # then a run hangs, however busy the machine is
RUNS_UNTIL_CLEAN = 4

CONNECTIONS = """\
connections:
  stacker:
    connector: stacker
    base_url: {stacker}
    integration_key: demo
    stack_id: stk_demo
    page_size: 7
    concurrency: 1
    timeout_s: 10
    T_server_max_s: 0.1
  robostack:
    connector: robostack
    base_url: {robostack}
    api_key: demo
    api_secret: demo
    app_uuid: 00000000-0000-4000-8000-000000000001
    concurrency: 1
    timeout_s: 10
    T_server_max_s: 0.1
    streams:
      people: {{key: [id], natural_key: [email]}}
"""

Record = dict[str, Any]
Held = dict[str, Record]


@dataclass(frozen=True)
class Scenario:
    """What is synced, and from which state: `settled` begins after a clean first run, followed by edits, additions and removals."""

    name: str
    attributes: dict[str, Any]
    settled: bool = False
    back: bool = False  # from Robostack to Stacker
    held_back: bool = False  # a create without an answer waits for a person


def _sync(name: str, *, settled: bool = False, back: bool = False, held_back: bool = False, **changed: Any) -> Scenario:
    sides = ("robostack.people", "stacker.contacts") if back else ("stacker.contacts", "robostack.people")
    writes = {"batch": 3, "on_unknown": "quarantine" if held_back else "retry"}
    fields = {"email": "email", "name": "name", "score": "cast(score as integer)"}
    common = {"from": sides[0], "to": sides[1], "match": ["email"], "fields": fields, "writes": writes, "limits": {"update_share": 1.0}}
    return Scenario(name, {**common, **changed}, settled, back, held_back)


_DELETES = {"max_count": 10, "max_share": 0.5}
SCENARIOS = {
    one.name: one
    for one in (
        _sync("first"),
        _sync("careful", held_back=True),
        _sync("mirror", mode="mirror", deletes=_DELETES, settled=True),
        _sync("increment", read={"mode": "incremental", "cursor": "updated_at"}, settled=True),
        _sync("back", mode="mirror", deletes=_DELETES, settled=True, back=True),
    )
}


class Platforms:
    """Both platforms, seen from behind. `source` and `sink` of a trial are named by its scenario."""

    def __init__(self, stacker: StackerStore, robostack: RobostackStore) -> None:
        self.stacker, self.robostack = stacker, robostack
        self.urls: dict[str, str] = {}

    def put(self, side: str, records: Sequence[Record]) -> None:
        """The platform holds exactly these."""
        if side == "stacker":
            self.stacker.add_object("contacts", records)
        else:
            self.robostack.add_resource("people", records)

    def rows(self, side: str) -> list[tuple[Any, Record]]:
        """Every record with its id, unshown by any reading permission or switch."""
        held = self.stacker.objects["contacts"] if side == "stacker" else self.robostack.resources["people"]
        return list(held.records.items())

    def edit(self, side: str, email: str, **changes: Any) -> None:
        """Somebody else edits a record."""
        key, record = next((key, record) for key, record in self.rows(side) if record["email"] == email)
        if side == "stacker":
            self.stacker.edit(self.stacker.objects["contacts"], key, changes)
        else:
            self.robostack.put(self.robostack.resources["people"], [{**record, **changes}])

    def add(self, side: str, record: Record) -> None:
        """Somebody else makes a record."""
        if side == "stacker":
            self.stacker.create(self.stacker.objects["contacts"], dict(record), quiet=True)
        else:
            people = self.robostack.resources["people"]
            self.robostack.put(people, [{"id": self.robostack.next_id(people), **record}])

    def remove(self, side: str, email: str) -> None:
        """Somebody else removes a record."""
        key = next(key for key, record in self.rows(side) if record["email"] == email)
        if side == "stacker":
            self.stacker.delete(self.stacker.objects["contacts"], key)
        else:
            self.robostack.remove(self.robostack.resources["people"], [key])

    def made(self, side: str) -> int:
        """How many records were ever made there."""
        return self.stacker.objects["contacts"].made if side == "stacker" else self.robostack.resources["people"].made

    def snapshot(self) -> Any:
        """All that is held now."""
        return copy.deepcopy((self.stacker.objects["contacts"], self.robostack.resources["people"]))

    def restore(self, held: Any) -> None:
        """Hold that again."""
        self.stacker.objects["contacts"], self.robostack.resources["people"] = copy.deepcopy(held)


@contextmanager
def platforms() -> Iterator[Platforms]:
    """Both platforms on loopback, empty."""
    made = Platforms(StackerStore(contacts=0, companies=0, orders=0), RobostackStore(people=0, orgs=0, invoices=0))
    with ExitStack() as stack:
        made.urls["stacker"] = stack.enter_context(serving(stacker_app(made.stacker)))
        made.urls["robostack"] = stack.enter_context(serving(robostack_app(made.robostack)))
        yield made


def contact(number: int, **changed: Any) -> Record:
    """A record of the source."""
    moment = f"2026-01-01T00:00:{number:02}Z"
    return {"email": f"c{number}@example.com", "name": f"Zoë {number} 🚲", "score": number, "updated_at": moment, **changed}


class Bench:
    """A scenario, prepared once: trials begin from copies of it."""

    def __init__(self, world: Platforms, scenario: Scenario, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.world, self.scenario, self.folder, self.environ = world, scenario, folder, environ or {}
        self.source, self.sink = ("robostack", "stacker") if scenario.back else ("stacker", "robostack")
        self._trials = 0
        self.wanted: Held = {}
        self.owned: set[str] = set()
        template = folder / "template"
        self._write_project(template)
        self._begin()
        if scenario.settled:
            run_once(template, scenario.name, "baseline", environ=self.environ)
            self._change()
        self._held = world.snapshot()
        self.creates = sum(1 for email in self.wanted if email not in {row["email"] for _, row in world.rows(self.sink)})

    def _write_project(self, project: Path) -> None:
        syncs = project / "pipelines" / "defs" / self.scenario.name
        syncs.mkdir(parents=True)
        (project / "connections.yaml").write_text(CONNECTIONS.format(**self.world.urls))
        text = {"type": "pipelines.components.SyncComponent", "attributes": self.scenario.attributes}
        (syncs / "defs.yaml").write_text(json.dumps(text))

    def _begin(self) -> None:
        """Fourteen contacts at the source; in the sink two of them in another form, and three strangers."""
        self.world.put(self.source, [contact(n) for n in range(14)])
        strangers = [{"email": f"s{n}@example.com", "name": "not ours", "score": n, "note": "theirs"} for n in range(3)]
        older = [{"email": f"c{n}@example.com", "name": "older", "score": None, "note": f"note {n}"} for n in (2, 5)]
        self.world.put(self.sink, [*strangers, *older])
        self.wanted = {row["email"]: {**row} for row in strangers}
        for n in range(14):
            self._want(n, note=f"note {n}" if n in (2, 5) else None)

    def _want(self, n: int, **changed: Any) -> None:
        record = {**contact(n), "note": None, **self.wanted.get(f"c{n}@example.com", {}), **changed}
        self.wanted[record["email"]] = {name: record[name] for name in ("email", "name", "score", "note")}
        self.owned.add(record["email"])

    def _change(self) -> None:
        """Others edit, add and remove at the source, and write notes in the sink that no sync may touch."""
        for n in (1, 4, 7, 8):
            self.world.edit(self.source, f"c{n}@example.com", name=f"Renamed {n}", updated_at=f"2026-01-02T00:00:0{n}Z")
            self._want(n, name=f"Renamed {n}")
        for n in (20, 21, 22, 23, 24):
            self.world.add(self.source, contact(n, updated_at=f"2026-01-03T00:00:{n}Z"))
            self._want(n)
        for n in (1, 3, 9):
            self.world.edit(self.sink, f"c{n}@example.com", note=f"note {n}")
            self._want(n, note=f"note {n}")
        for n in (10, 11):
            self.world.remove(self.source, f"c{n}@example.com")
            if self.scenario.attributes.get("mode") == "mirror":
                del self.wanted[f"c{n}@example.com"]
                self.owned.discard(f"c{n}@example.com")

    def trial(self, *deaths: "Death | float") -> "Trial":
        """Begin again, let runs die one after another, run until clean, and audit. A number kills after so many seconds."""
        self._trials += 1
        project = self.folder / f"trial{self._trials}"
        shutil.copytree(self.folder / "template", project)
        self.world.restore(self._held)
        try:
            return _Trying(self, project).carry_out(deaths)
        finally:
            shutil.rmtree(project, ignore_errors=True)


@dataclass
class Trial:
    """What came of a trial: how many runs died where they should, and every finding against the engine (none: all is well)."""

    killed: int = 0
    findings: list[str] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=dict)
    held_back: int = 0
    runs: int = 0


def run_once(
    project: Path,
    sync: str,
    run_id: str,
    death: "Death | float | None" = None,
    environ: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Any:
    """One run to its end; how it ended, or None where it was killed. `before` is called in its process first."""
    process = kills_driver.start(project, sync, run_id, death if isinstance(death, Death) else None, environ=environ, before=before)
    if isinstance(death, float):
        process.join(death)
        process.kill()
    process.join(RUN_S)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"a run did not end within {RUN_S:.0f} s")
    return kills_driver.ending(project, run_id)


class _Trying:
    def __init__(self, bench: Bench, project: Path) -> None:
        self.bench, self.project, self.found = bench, project, Trial()

    def carry_out(self, deaths: Sequence["Death | float"]) -> Trial:
        bench, made = self.bench, self.bench.world.made(self.bench.sink)
        for number, death in enumerate(deaths):
            if self._run(f"killed{number}", death) is None:
                self.found.killed += 1
        last = self._until_clean()
        if last is not None:
            self._audit(last, bench.world.made(bench.sink) - made)
        return self.found

    def _run(self, run_id: str, death: "Death | float | None" = None) -> Any:
        self.found.runs += 1
        return run_once(self.project, self.bench.scenario.name, run_id, death, self.bench.environ)

    def _until_clean(self) -> Any:
        told = None
        for number in range(RUNS_UNTIL_CLEAN):
            told = self._run(f"again{number}")
            if told is None or "summary" not in told:
                self.found.findings.append(f"the run after the kill did not end well: {told and told['error']}")
                return None
            self.found.passed = self.found.passed or told["passed"]
            if told["summary"]["quarantined"] and self.bench.scenario.held_back:
                self.found.held_back += told["summary"]["quarantined"]
                self._release()
            elif told["summary"]["status"] == "ok" and not _wrote(told):
                return told
        self.found.findings.append(f"still not at rest after {RUNS_UNTIL_CLEAN} runs: {told['summary'] if told else None}")
        return None

    def _release(self) -> None:
        with closing(sqlite3.connect(self.project / ".crossdock" / "ledger.db")) as ledger, ledger:
            ledger.execute("UPDATE crossdock_failures SET released = 1")

    def _audit(self, last: Any, made: int) -> None:
        rows = self.bench.world.rows(self.bench.sink)
        shown = [{name: row.get(name) for name in ("email", "name", "score", "note")} for _, row in rows]
        emails = [row["email"] for row in shown]
        wanted = self.bench.wanted
        checks: list[tuple[str, Any]] = [
            ("doubled", sorted(email for email in set(emails) if emails.count(email) > 1)),
            ("lost", sorted(set(wanted) - set(emails))),
            ("not deleted, or made from nothing", sorted(set(emails) - set(wanted))),
            ("wrong or clobbered", [row for row in shown if row["email"] in wanted and not _same(row, wanted[row["email"]])]),
            (f"{made} records were made, wanted", made if made != self.bench.creates else ""),
            ("not at rest", last["summary"] if _wrote(last) else ""),
            ("unexpected counts", last["summary"] if last["summary"]["unchanged"] != last["summary"]["desired"] else ""),
        ]
        self.found.findings += [f"{what}: {found}" for what, found in checks if found]
        if "CROSSDOCK_LEDGER" not in self.bench.environ:
            self._audit_ledger({str(row["email"]): key for key, row in rows})

    def _audit_ledger(self, ids: dict[str, Any]) -> None:
        with closing(sqlite3.connect(self.project / ".crossdock" / "ledger.db")) as ledger:
            crosswalk = {
                json.loads(key)[0]: json.loads(sink_id) for key, sink_id in _all(ledger, "SELECT key, sink_id FROM crossdock_crosswalk")
            }
            open_states = _all(
                ledger, "SELECT run_id, seq, op, state FROM crossdock_writes WHERE state IN ('in_flight', 'unknown', 'accepted', 'refused')"
            )
            pending = _all(ledger, "SELECT key, outcome, reason FROM crossdock_failures")
            running = _all(ledger, "SELECT run_id FROM crossdock_runs WHERE status = 'running'")
        wanted = {email: ids.get(email) for email in self.bench.owned}
        wrong = {
            email: (crosswalk.get(email), wanted.get(email)) for email in crosswalk | wanted if crosswalk.get(email) != wanted.get(email)
        }
        for what, found in (("crosswalk", wrong), ("open writes", open_states), ("pending", pending), ("still called running", running)):
            if found:
                self.found.findings.append(f"{what}: {found}")


def _wrote(told: Any) -> bool:
    return bool(told["summary"]["requests"]["sink"]["write"])


def _same(shown: Record, wanted: Record) -> bool:
    return all((shown[name] or None) == (wanted[name] or None) if name == "note" else shown[name] == wanted[name] for name in wanted)


def _all(ledger: sqlite3.Connection, query: str) -> list[Any]:
    return ledger.execute(query).fetchall()


def moments(passed: dict[str, int]) -> list[Death]:
    """The points of a run that went through undisturbed: of each the first passing, the middle one and the last."""
    return [Death(point, nth) for point, count in sorted(passed.items()) for nth in sorted({1, (count + 1) // 2, count})]
