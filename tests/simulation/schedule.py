"""One schedule from its seed to its verdict: a delivered state, trouble, and then clean runs until nothing is left to do."""

import gc
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.summary import Summary
from tests.simulation import extracting, others, remember, sending
from tests.simulation.checker import Violation
from tests.simulation.ledgers import Ledgers
from tests.simulation.pair import together
from tests.simulation.scenario import KEYS, STRANGERS, Scenario, scenario
from tests.simulation.world import Process, World

CLEAN_RUNS = 6  # in so many runs without trouble everything must be delivered
REST_S = 600.0  # between runs


@dataclass(frozen=True)
class Verdict:
    """How a schedule ended: `violation` is None where everything held."""

    scenario: Scenario
    violation: str | None
    trace: tuple[str, ...]
    faults: Counter[str]
    crashes: Counter[str]
    quarantined: int
    written: int
    ledger: tuple[str, ...] = ()  # what the ledger held of each write, where something did not hold


@contextmanager
def simulating() -> Iterator[Ledgers]:
    """What schedules share: a ledger's file, in memory where the machine has such a folder, and an engine on a single thread."""
    memory = Path("/dev/shm")
    cores = pa.cpu_count()
    pa.set_cpu_count(1)
    shared = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="crossdock-", dir=shared) as folder, extracting.inline(), sending.inline():
        ledgers = Ledgers(Path(folder))
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            yield ledgers
        finally:
            gc.enable()
            gc.unfreeze()
            pa.set_cpu_count(cores)
            ledgers.close()


def play(seed: int, ledgers: Ledgers, *, drawn: Scenario | None = None) -> Verdict:
    """Run the schedule of this seed. Never raises for what the engine does wrong."""
    plan = drawn or scenario(seed)
    with tempfile.TemporaryDirectory(dir=ledgers.path.parent) as home:
        world = World(plan, Path(home), ledgers)
        said: str | None = None
        try:
            if plan.whole:
                _play(world)
            else:
                with remember.remembering():
                    _play(world)
        except Violation as violation:
            said = str(violation)
        except Exception as error:
            said = f"the engine failed: {type(error).__name__}: {error}"
            world.trace += traceback.format_exc().splitlines()[-12:]
        finally:
            world.close()
            if seed % 50 == 0:
                gc.collect(1)
        said = world.checker.violation or said
        held = world.checker.states() if said else ()
        return Verdict(plan, said, tuple(world.trace), world.faults, world.crashes, world.quarantined, world.written, held)


def _play(world: World) -> None:
    plan = world.scenario
    if plan.delivered_before:
        _delivered(world)
        for _ in range(plan.source_changes):
            others.at_source(world)
    else:
        _found(world)
    world.calm, world.lag_s = False, plan.lag_s
    world.sink.selective(not plan.unselective)
    if plan.workers == 2:
        together(world)
        others.between_runs(world)
    else:
        for number in range(plan.faulty_runs):
            _trouble(world, f"p{number}")
            world.time.advance(world.rng.choice((0.0, 1.0, REST_S)))
            others.between_runs(world)
    world.calm = True
    world.sink.selective(True)
    _clean(world)
    world.written = sum(event.who == "us" for event in world.sink.history)


_last_delivered: dict[int, tuple[Any, ...]] = {}  # of the base that the last schedule began from


def forget() -> None:
    """Let no later schedule go on from what an engine did that is another now."""
    _last_delivered.clear()


def _delivered(world: World) -> None:
    """The state after one run without trouble. Schedules of one base share it."""
    base = world.scenario.base
    if base in _last_delivered and not world.scenario.whole:
        world.go_on_from(_last_delivered[base])
        return
    _found(world)
    world.time.advance(REST_S)
    process = Process(world, "before")
    try:
        _approving(world, process)
    finally:
        process.end()
    world.time.advance(REST_S)
    if not world.scenario.whole:
        _last_delivered.clear()
        _last_delivered[base] = world.delivered()


def _found(world: World) -> None:
    """What both platforms hold before anything runs."""
    rng = random.Random(f"found {world.scenario.base}")
    chosen = sorted(rng.sample(range(KEYS), rng.randrange(3, KEYS)))
    for number in chosen:
        world.source.add(others.record(rng, number))
    for number in rng.sample(range(KEYS), rng.randrange(0, 3)):
        world.sink.add(others.record(rng, number))
    for number in range(STRANGERS):
        world.sink.add(others.record(rng, KEYS + number))
    world.sink.long_there()


def _trouble(world: World, name: str) -> None:
    """One run in trouble, in a process that may be killed; a refused plan may be approved."""
    process = Process(world, name, world.scenario.crash_step)
    try:
        summary = process.run()
        if summary is not None and summary.status == "refused" and world.scenario.approve != "never":
            approved = process.planned()
            if world.scenario.approve == "after a change":
                others.act(world)
            process.run(approve=summary.digest, approved=approved)
    finally:
        process.end()


def _approving(world: World, process: Process) -> Summary | None:
    """One run; where a guard refuses the plan, a person looks at it and lets it through, if anybody may."""
    summary = process.run()
    if summary is not None and summary.status == "refused":
        return process.run(approve=summary.digest, approved=process.planned())
    return summary


def _clean(world: World) -> None:
    """Clean runs until all is as it should be; in one of four, and where records wait or are rewritten, until one sends nothing."""
    world.time.advance(REST_S)
    thorough = world.scenario.seed % 4 == 0 or world.scenario.rewrites != ""
    for number in range(CLEAN_RUNS):
        process = Process(world, f"after{number}")
        goes_on = world.checker.goes_on_reading  # what it read before, others may have changed since: the next run sees that
        try:
            summary = _approving(world, process)
        finally:
            process.end()
        world.time.advance(REST_S)
        if goes_on or summary is None or summary.status == "failed":
            continue
        if summary.status == "refused":
            return  # a guard that nobody may lift; the world is as it was
        if process.view.writes == 0 or not (thorough or summary.undelivered or summary.differences):
            world.checker.settled(summary)
            world.quarantined = summary.quarantined
            return
    raise world.checker.violated(f"I13 after {CLEAN_RUNS} runs without trouble there is still something to do")


__all__ = ["Verdict", "forget", "play", "simulating"]
