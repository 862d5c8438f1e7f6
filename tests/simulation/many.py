"""Many schedules, one after the other or in several processes, and what they met counted together."""

import functools
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

from tests.simulation.ablations import without
from tests.simulation.schedule import Verdict, play, simulating

PIECE = 200  # schedules that a process takes at a time


@dataclass
class Tally:
    """What schedules met together. `failed` keeps whole verdicts, by seed; `cpu_s` is what they cost."""

    schedules: int = 0
    failed: dict[int, Verdict] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    written: int = 0
    quarantined: int = 0
    cpu_s: float = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count one schedule."""
        self.schedules += 1
        if verdict.violation is not None:
            self.failed[verdict.scenario.seed] = verdict
        self.faults += verdict.faults
        self.crashes += verdict.crashes
        self.pairs += verdict.scenario.workers == 2
        self.written += verdict.written
        self.quarantined += verdict.quarantined

    def join(self, other: "Tally") -> None:
        """Count what another tally counted."""
        self.schedules += other.schedules
        self.failed |= other.failed
        self.faults += other.faults
        self.crashes += other.crashes
        self.pairs += other.pairs
        self.written += other.written
        self.quarantined += other.quarantined
        self.cpu_s += other.cpu_s


def run_range(seeds: range, ablated: str | None = None, *, stop_at_first: bool = False) -> Tally:
    """Play these seeds in this process; `ablated` names a guard that is taken out of the engine meanwhile."""
    tally, began_s = Tally(), time.process_time()
    with simulating() as ledgers, without(ablated) if ablated else nullcontext():
        for seed in seeds:
            tally.add(play(seed, ledgers))
            if stop_at_first and tally.failed:
                break
    tally.cpu_s = time.process_time() - began_s
    return tally


def run_many(first: int, count: int, jobs: int, ablated: str | None = None) -> Iterator[Tally]:
    """Play `count` seeds in `jobs` processes. Gives a tally for each piece, in the order of the seeds."""
    pieces = [range(start, min(start + PIECE, first + count)) for start in range(first, first + count, PIECE)]
    play_piece = functools.partial(run_range, ablated=ablated)
    if jobs == 1:
        yield from map(play_piece, pieces)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(play_piece, pieces)
