"""A simulated world: two platforms behind a wire, time, the ledger's file, and processes that run the real engine over them."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.errors import ConnectorError
from connectors.robostack import CONNECTOR as ROBOSTACK
from connectors.settings import Connector, Ports
from connectors.stacker import CONNECTOR as STACKER
from pipelines.engine import Engine
from pipelines.ledger_shards import Shards
from pipelines.run import SyncRun
from pipelines.staging import Dataset
from pipelines.staging.open import open_staging
from pipelines.summary import Summary
from tests.simulation.checker import Checker, RunView, Violation
from tests.simulation.ledgers import Ledgers
from tests.simulation.memory import MemoryStaging
from tests.simulation.moments import ProcessClock, VirtualTime
from tests.simulation.platforms import PLATFORMS, Platform
from tests.simulation.process import DyingLedger, DyingStaging, Locks, SimulatedCrash, SimulatedRng
from tests.simulation.scenario import Scenario
from tests.simulation.wire import Wire

CONNECTORS: dict[str, Connector] = {"stacker": STACKER, "robostack": ROBOSTACK}
SYNC = "simulated"
WORKER_PAUSE_S = 1.0  # between looks for work


class World:
    """Everything one schedule has. `home` is a folder of its own; `trace` is what happened, line by line."""

    def __init__(self, scenario: Scenario, home: Path, ledgers: Ledgers) -> None:
        self.scenario, self.home, self.ledgers = scenario, home, ledgers
        self.time = VirtualTime()
        outward = scenario.direction == "stacker to robostack"
        kinds = ("stacker", "robostack") if outward else ("robostack", "stacker")
        self.source: Platform = PLATFORMS[kinds[0]](self.time, scenario.source_switches)
        self.sink: Platform = PLATFORMS[kinds[1]](self.time, scenario.sink_switches, scenario.rewrites)
        ledgers.reset()
        self.staging: Any = open_staging(str(home / "staging")) if scenario.whole else MemoryStaging()
        self.locks = Locks()
        self.checker = Checker(scenario, self.source, self.sink, ledgers.outside)
        self.trace: list[str] = []
        self.faults: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.rng = random.Random(f"world {scenario.seed}")
        self.calm = True  # no faults, no others, no crashes
        self.requests = self.runs = 0
        self.lag_s = 0.0  # how long a write stays hidden from reads of the sink
        self.quarantined = self.written = 0
        self._settings: dict[str, Any] = {}
        self.views: dict[str, RunView] = {}  # by the id of the run, whichever processes work on it

    def tell(self, line: str) -> None:
        """Add to the trace."""
        self.trace.append(f"{self.time.elapsed_s:9.2f}  {line}")

    def settings(self, name: str) -> Any:
        """The settings of a connection: `left` is the source, `right` the sink."""
        if name not in self._settings:
            self._settings[name] = self._settings_of(name)
        return self._settings[name]

    def _settings_of(self, name: str) -> Any:
        platform, own = (self.source, self.scenario.source_settings) if name == "left" else (self.sink, self.scenario.sink_settings)
        common = {"connector": platform.kind, "base_url": f"http://{name}.localhost:1", "concurrency": 1, **own}
        if platform.kind == "stacker":
            return CONNECTORS["stacker"].settings(**common, integration_key="demo", account_id="acc_demo", stack_id="stk_demo")
        secrets = {"api_key": "demo", "api_secret": "demo", "app_uuid": platform.store.app_uuid}  # type: ignore[attr-defined]
        return CONNECTORS["robostack"].settings(**common, **secrets, find_all="selection", streams={"people": {"key": ["id"]}})

    def requests_of_last_run(self, process: "Process") -> int:
        """How many writes the last run of this process sent."""
        return process.view.writes

    def delivered(self) -> tuple[Any, ...]:
        """All of it, for another schedule of the same base to go on from."""
        held = (self.source.snapshot(), self.sink.snapshot(), self.ledgers.content(), self.staging.copy())
        return (*held, self.checker.knowledge(), self.time.elapsed_s, self.requests, self.runs, tuple(self.trace))

    def go_on_from(self, delivered: tuple[Any, ...]) -> None:
        """Be as that world was."""
        source, sink, ledger, staging, knowledge, self.time.elapsed_s, self.requests, self.runs, trace = delivered
        self.source.restore(source)
        self.sink.restore(sink)
        self.ledgers.reset(ledger)
        self.staging = staging.copy()
        self.checker.take_over(knowledge)
        self.trace[:] = trace

    def close(self) -> None:
        """Give back files."""
        self.staging.close()


class Process:
    """One process running the engine. Its ports call `step`, where it may die or let another process go on."""

    def __init__(self, world: World, name: str, crash_step: int | None = None, number: int = 0) -> None:
        self.world, self.name, self.dead = world, name, False
        self.view: RunView = world.checker.begin(0, None)
        self._left = crash_step
        self.turn: Callable[[str], None] | None = None
        clock = ProcessClock(world.time, self.step)
        self._ledger = world.ledgers.lend(number, clock, lambda point: self.step(point, turn=False), quick=not world.scenario.whole)
        rng = SimulatedRng(random.Random(f"rng {world.scenario.base if world.calm else world.scenario.seed} {name}"))
        self._sources = {
            side: CONNECTORS[platform.kind].open(world.settings(side), Ports(clock, rng, Wire(world, self, side, platform)))
            for side, platform in (("left", world.source), ("right", world.sink))
        }
        apart = world.scenario.shared or (world.scenario.apart and not world.calm)
        locks = Locks() if apart else world.locks
        self.engine = Engine(
            clock=clock,
            rng=rng,
            ledger=DyingLedger(self._ledger, self.step, shared=apart),  # type: ignore[arg-type]
            staging=DyingStaging(world.staging, self.step),  # type: ignore[arg-type]
            open=self._sources.__getitem__,
            settings=world.settings,
            lock=lambda name: locks.hold(name, self),
        )

    def step(self, point: str, *, turn: bool = True) -> None:
        """A port is called. Raises SimulatedCrash where the process ends, and for ever after."""
        if turn and self.turn is not None:
            self.turn(point)
        if self.dead or self.world.checker.violation is not None:
            raise SimulatedCrash(point)
        if self._left is not None and not self.world.calm:
            self._left -= 1
            if self._left <= 0:
                self.dead = True
                self.world.crashes[point] += 1
                self.world.tell(f"{self.name} is killed at: {point}")
                raise SimulatedCrash(point)

    def run(self, *, approve: str | None = None, approved: frozenset[Any] | None = None, full: bool = False) -> Summary | None:
        """One run; None where it was killed or failed. Raises Violation."""
        world = self.world
        world.runs += 1
        number = world.runs
        self.view = world.checker.begin(number, approved)
        world.tell(f"{self.name} run {number}{' approved' if approve else ''} begins")
        run = SyncRun(self.engine, world.scenario.spec, f"run{number:03d}")
        world.views[run.run_id] = self.view
        try:
            run.extract(full=full)
            summary = run.apply(run.plan(), approve=approve)
        except SimulatedCrash:
            if world.checker.violation is not None:
                raise Violation(world.checker.violation) from None
            world.checker.doubted(world.checker.in_flight_creates())
            world.checker.interrupted(self.view)
            return None
        except ConnectorError as error:
            world.checker.interrupted(self.view)
            world.tell(f"{self.name} run {number} failed: {type(error).__name__}: {error}")
            return None
        counts = {name: value for name, value in summary.as_json().items() if isinstance(value, int) and value}
        world.tell(f"{self.name} run {number} {summary.status} {counts} {'; '.join(summary.refusals)}")
        world.checker.ended(self.view, summary)
        return summary

    def work(self, goes_on: Callable[[], bool]) -> None:
        """Do parts of whatever run offers any, while the other process goes on and once more after it; or be killed."""
        world, shards = self.world, Shards(self.engine.ledger)
        try:
            while True:
                for split in shards.under_way(SYNC):
                    self.view = world.views[split.run_id]
                    try:
                        done = SyncRun(self.engine, world.scenario.spec, split.run_id).work_on(split)
                        world.tell(f"{self.name} worked on {done} records of {split.run_id}")
                    except ConnectorError as error:
                        world.tell(f"{self.name} stopped working: {type(error).__name__}: {error}")
                if not goes_on():
                    return
                self.engine.clock.sleep(WORKER_PAUSE_S)
        except SimulatedCrash:
            if world.checker.violation is not None:
                raise Violation(world.checker.violation) from None
            world.checker.doubted(world.checker.in_flight_creates())

    def planned(self) -> frozenset[Any]:
        """What the newest plan would do, as a person sees it before approving."""
        batch = self.world.staging.batches(Dataset(("plan", SYNC)))[-1]
        rows = self.world.staging.scan(batch).read_all().to_pylist()
        acts = []
        for row in rows:
            key = "[" + json.dumps(json.loads(row["key"])["email"]) + "]"
            fields = json.loads(row["after"]) if row["after"] else {}
            acts.append((row["op"], key, json.loads(row["sink_id"]) if row["sink_id"] else None, json.dumps(fields, sort_keys=True)))
        return frozenset(acts)

    def end(self) -> None:
        """The process is over: its connections close, and what was not committed is rolled back."""
        self.dead = True
        self._ledger.close()
        for source in self._sources.values():
            source.close()
