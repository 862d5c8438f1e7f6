"""Two processes at once: threads of which exactly one runs, the seed deciding at every port call who goes on."""

import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

SWITCH_SHARE = 0.15  # of the port calls after which the other one goes on
STILL_SHARE, STILL_S = 0.03, 100.0  # of those of two hosts: one stands still for longer than its lease
SHARD_STILL_S = (30.0, 30.0, 30.0, STILL_S)  # of those that share a run: mostly its shard's lease alone is over then
ON_THE_WIRE = ("request", "sending", "answered", "answer in memory")  # a request that has left cannot be called back by any lease


class Baton:
    """Held by one thread at a time. `turn` may hand it on; a thread that ends gives it back for good."""

    def __init__(self, rng: object) -> None:
        self._rng = rng
        self._changed = threading.Condition()
        self._holder: int | None = None
        self._alive: list[int] = []

    @property
    def alive(self) -> frozenset[int]:
        """Who still takes part."""
        return frozenset(self._alive)

    def join(self, names: list[int]) -> None:
        """These will take part; the first begins."""
        self._alive, self._holder = list(names), names[0]

    def begin(self, name: int) -> None:
        """Wait for the first turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._holder == name)

    def turn(self, name: int) -> None:
        """A port call of this one: perhaps another goes on first."""
        with self._changed:
            others = [one for one in self._alive if one != name]
            if others and self._rng.random() < SWITCH_SHARE:  # type: ignore[attr-defined]
                self._holder = others[0]
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._holder == name)

    def end(self, name: int) -> None:
        """This one is over."""
        with self._changed:
            self._alive.remove(name)
            self._holder = self._alive[0] if self._alive else None
            self._changed.notify_all()


def together(world: "World") -> None:
    """Two runs of one sync at the same time, or one run and who works for it; either may be killed. Raises what the first one raised."""
    from tests.simulation.world import Process

    baton = Baton(world.rng)

    def turn(name: int, point: str) -> None:
        if not world.scenario.apart:
            baton.turn(name)
        elif point not in ON_THE_WIRE:
            if world.rng.random() < STILL_SHARE:
                world.time.advance(world.rng.choice(SHARD_STILL_S) if world.scenario.shared else STILL_S)
            baton.turn(name)

    names = [0, 1]
    baton.join(names)
    failures: list[BaseException] = []
    last = world.rng.randrange(2) if world.scenario.shared else 0  # who may be killed
    crash = [world.scenario.crash_step if name == last else None for name in names]
    processes = [Process(world, f"w{name}", crash[name], name) for name in names]
    for name, process in zip(names, processes, strict=True):
        process.turn = partial(turn, name)

    def work(name: int) -> None:
        baton.begin(name)
        try:
            if name and world.scenario.shared:
                processes[name].work(lambda: 0 in baton.alive)
                return
            for _ in range(world.scenario.faulty_runs):
                processes[name].run()
        except BaseException as error:
            failures.append(error)
        finally:
            baton.end(name)

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.end()
    if failures:
        raise failures[0]
