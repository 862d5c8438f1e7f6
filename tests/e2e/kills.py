"""Trials of killed runs: two platforms with a known history, a sync killed at chosen points, run again until clean, and audited.

The audit looks at the sink's own store and at the ledger's tables with nothing of the engine's; what the sink must hold
is worked out here from what was put into the source.
"""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.e2e import kills_driver
from tests.e2e.kills_platforms import CONNECTIONS, Platforms, Record, platforms
from tests.e2e.kills_points import Death

__all__ = ["SCENARIOS", "Bench", "Platforms", "Scenario", "Trial", "moments", "platforms", "run_once"]

RUN_S = 300.0  # then a run hangs, however busy the machine is
RUNS_UNTIL_CLEAN = 4

Held = dict[str, Record]


Ledger = sqlite3.Connection


@dataclass(frozen=True)
class Scenario:
    """What is synced, and from which state: `settled` begins after a clean first run, followed by edits, additions and removals.

    `before` changes the ledger's file then. `shown`: the fields that the sink can hold. A sync whose `retention` names the ledger is
    compacted after every run.
    """

    name: str
    attributes: dict[str, Any]
    settled: bool = False
    held_back: bool = False  # a create without an answer waits for a person
    before: Callable[[Ledger], None] | None = None
    shown: tuple[str, ...] = ("email", "name", "score", "note")

    def side(self, end: str) -> str:
        """The platform at this end: `from` or `to`."""
        return str(self.attributes[end].split(".")[0])


_FIELDS = {"email": "email", "name": "name", "score": "cast(score as integer)"}
_TO_AI = {"name": "email", "provider_id": "'notion'", "connection_type_id": "'api_key'"}
_MIRROR = {"mode": "mirror", "deletes": {"max_count": 10, "max_share": 0.5}}
_KEPT = {"reads": 1, "runs": 1, "ledger": "1d", "history": "365d"}


def _sync(
    name: str, *, settled: bool = False, held_back: bool = False, before: Callable[[Ledger], None] | None = None, **changed: Any
) -> Scenario:
    ends = {"from": "stacker.contacts", "to": "robostack.people", "match": ["email"], "fields": _FIELDS}
    writes = {"batch": 3, "on_unknown": "quarantine" if held_back else "retry"}
    return Scenario(name, {**ends, "writes": writes, "limits": {"update_share": 1.0}, **changed}, settled, held_back, before)


def _turned_back(ledger: Ledger) -> None:
    """A ledger as Crossdock left it before there were steps from version to version."""
    ledger.executescript("DROP TABLE crossdock_told; DROP TABLE crossdock_paces; DROP TABLE crossdock_parts")
    ledger.execute("UPDATE crossdock_meta SET value = '1' WHERE name = 'schema_version'")


OLD_RUNS, NEWEST_RUNS = 25, 20


def _aged(ledger: Ledger) -> None:
    """A ledger with many runs of long ago."""
    runs = [(f"old{n}", "compacted", "ok", f"2025-01-01T00:00:{n:02}+00:00", f"2025-01-01T00:01:{n:02}+00:00") for n in range(OLD_RUNS)]
    ledger.executemany("INSERT INTO crossdock_runs (run_id, sync, status, started_at, finished_at) VALUES (?, ?, ?, ?, ?)", runs)
    columns = "run_id, seq, sync, key, op, state, attempt, epoch, intent_at"
    writes = [(run[0], seq, "compacted", f'["x{seq}"]', "update", "confirmed", 1, 0, run[3]) for run in runs for seq in range(50)]
    ledger.executemany(f"INSERT INTO crossdock_writes ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", writes)


SCENARIOS = {
    one.name: one
    for one in (
        _sync("first"),
        _sync("careful", held_back=True),
        _sync("mirror", settled=True, **_MIRROR),
        _sync("increment", read={"mode": "incremental", "cursor": "updated_at"}, settled=True),
        _sync("back", settled=True, **_MIRROR, **{"from": "robostack.people", "to": "stacker.contacts"}),
        replace(
            _sync("login", settled=True, **_MIRROR, to="stack_ai.connections", match=["name"], fields=_TO_AI),
            shown=("email",),
        ),
        _sync("compacted", settled=True, before=_aged, history="scd2", retention=_KEPT),
        _sync("upgraded", settled=True, before=_turned_back, **_MIRROR),
    )
}


def contact(number: int, **changed: Any) -> Record:
    """A record of the source."""
    moment = f"2026-01-01T00:00:{number:02}Z"
    return {"email": f"c{number}@example.com", "name": f"Zoë {number} 🚲", "score": number, "updated_at": moment, **changed}


class Bench:
    """A scenario, prepared once: trials begin from copies of it."""

    def __init__(self, world: Platforms, scenario: Scenario, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.world, self.scenario, self.folder, self.environ = world, scenario, folder, environ or {}
        self.source, self.sink = scenario.side("from"), scenario.side("to")
        self._trials = 0
        self.wanted: Held = {}
        self.owned: set[str] = set()
        self.versions: list[str | None] = []  # the names that the source's records ever had; None for one that was removed
        template = folder / "template"
        self._write_project(template)
        self._begin()
        if scenario.settled:
            told = run_once(template, scenario.name, "baseline", environ=self.environ)
            assert told["summary"]["status"] == "ok", told
            self._change()
        if scenario.before is not None:
            with closing(sqlite3.connect(template / ".crossdock" / "ledger.db")) as ledger, ledger:
                scenario.before(ledger)
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
        self.versions += [contact(n)["name"] for n in range(14)]
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
            self.versions.append(f"Renamed {n}")
        for n in (20, 21, 22, 23, 24):
            self.world.add(self.source, contact(n, updated_at=f"2026-01-03T00:00:{n}Z"))
            self._want(n)
            self.versions.append(contact(n)["name"])
        for n in (1, 3, 9):
            self.world.edit(self.sink, f"c{n}@example.com", note=f"note {n}")
            self._want(n, note=f"note {n}")
        for n in (10, 11):
            self.world.remove(self.source, f"c{n}@example.com")
            self.versions.append(None)
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
        shown = [{name: row.get(name) for name in self.bench.scenario.shown} for _, row in rows]
        emails = [row["email"] for row in shown]
        wanted = self.bench.wanted
        checks: list[tuple[str, Any]] = [
            ("doubled", sorted(email for email in set(emails) if emails.count(email) > 1)),
            ("lost", sorted(set(wanted) - set(emails))),
            ("not deleted, or made from nothing", sorted(set(emails) - set(wanted))),
            ("wrong or clobbered", [row for row in shown if str(row["email"]) in wanted and not _same(row, wanted[str(row["email"])])]),
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
            orphans = _all(ledger, "SELECT run_id, seq FROM crossdock_writes WHERE run_id NOT IN (SELECT run_id FROM crossdock_runs)")
            ((runs,),) = _all(ledger, "SELECT count(*) FROM crossdock_runs")
        wanted = {email: ids.get(email) for email in self.bench.owned}
        wrong = {
            email: (crosswalk.get(email), wanted.get(email)) for email in crosswalk | wanted if crosswalk.get(email) != wanted.get(email)
        }
        checks = [("crosswalk", wrong), ("open writes", open_states), ("pending", pending), ("still called running", running)]
        checks.append(("writes of no run", orphans))
        if "retention" in self.bench.scenario.attributes:
            checks.append((f"{runs} runs are kept", runs if runs != NEWEST_RUNS else ""))
            checks.append(("the history", self._misremembered()))
        self.found.findings += [f"{what}: {found}" for what, found in checks if found]

    def _misremembered(self) -> Any:
        """What the history of the source should not hold, and what it lacks. A record that is gone counts as None."""
        batches = [path.parent for path in (self.project / ".crossdock" / "staging" / "history").rglob("manifest.json")]
        rows = [row for batch in batches for path in batch.glob("*.parquet") for row in pq.read_table(path, partitioning=None).to_pylist()]
        found = Counter(json.loads(row["record"])["name"] if row["record"] else None for row in rows)
        wanted = Counter(self.bench.versions)
        return "" if found == wanted and len(batches) == 1 else (len(batches), found - wanted, wanted - found)


def _wrote(told: Any) -> bool:
    return bool(told["summary"]["requests"]["sink"]["write"])


def _same(shown: Record, wanted: Record) -> bool:
    return all((shown[name] or None) == (wanted[name] or None) if name == "note" else shown[name] == wanted[name] for name in shown)


def _all(ledger: sqlite3.Connection, query: str) -> list[Any]:
    return ledger.execute(query).fetchall()


def moments(passed: dict[str, int]) -> list[Death]:
    """The points of a run that went through undisturbed: of each the first passing, the middle one and the last."""
    return [Death(point, nth) for point, count in sorted(passed.items()) for nth in sorted({1, (count + 1) // 2, count})]
