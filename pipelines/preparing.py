"""Preparing: what comes before a split run's writes, done by its workers too: reading the sink, and making the rows of the plan.

Whoever runs the sync offers it and joins what comes back; a worker that dies is done without. Nothing here writes to a sink, and what
is guarded is the whole plan, by the run itself.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from connectors.errors import ConnectorError, RetryableError
from pipelines.beating import beating
from pipelines.engine import Engine, Progress
from pipelines.fence import target_of
from pipelines.ledger_shards import CLOSING, Kind, Shards, Split, lost
from pipelines.logs import event
from pipelines.observe import see
from pipelines.plan_parts import make_part
from pipelines.shards import Work, claims
from pipelines.spec import SyncSpec

__all__ = ["Offered", "offered", "place_of", "prepare"]

_LEASE = timedelta(seconds=60)
_PAUSE_S = 0.2


@dataclass(frozen=True)
class Offered:
    """What was offered to workers, while the block that offers it lasts."""

    engine: Engine
    spec: SyncSpec
    split: Split

    def taken(self) -> Mapping[str, Any] | None:
        """What came of the only part, waited for where a worker has it; None where none took it, or gave it up."""
        shards, split = Shards(self.engine.ledger), self.split
        while not (found := shards.found(split.run_id, split.kind).get(0)):
            if shards.free(split.run_id, self.engine.clock.now(), split.kind):
                return None
            self.engine.clock.sleep(_PAUSE_S)
        return None if "error" in found else {**found, **shards.found(split.run_id, split.kind)[CLOSING]}

    def all_made(self, progress: Progress) -> list[Mapping[str, Any]]:
        """What came of every part, of which this process makes as many as it gets. Raises what making one raises."""
        shards, split = Shards(self.engine.ledger), self.split
        while True:
            prepare(self.engine, self.spec, split, progress)
            found = shards.found(split.run_id, split.kind)
            if all(number in found for number in range(split.count)):
                return [found[number] for number in range(split.count)]
            self.engine.clock.sleep(_PAUSE_S)


def place_of(engine: Engine, spec: SyncSpec) -> str:
    """What one run of a sync at a time has the right to while it prepares, beside the target it is going to write to."""
    return f"{target_of(engine, spec)}, before {spec.name}"


@contextmanager
def offered(engine: Engine, spec: SyncSpec, run_id: str, kind: Kind, count: int, given: Mapping[str, Any]) -> Iterator[Offered | None]:
    """Offer so many parts to whoever works for this sync, while the block lasts. None where another run of it does so already."""
    ledger, place = engine.ledger, place_of(engine, spec)
    split = Split(run_id, spec.name, place, ledger.epoch(place) + 1, engine.rng.token(), count, kind)
    until = engine.clock.now() + _LEASE
    if not ledger.claim(place, split.epoch - 1, split.writer, until, dead=False):
        yield None
        return

    def renew() -> None:
        ledger.renew(place, split.epoch, split.writer, engine.clock.now() + _LEASE, late=True)

    try:
        Shards(ledger).open(split, given)
        with beating(_LEASE.total_seconds() / 4, renew):
            yield Offered(engine, spec, split)
    finally:
        Shards(ledger).forget(run_id, kind)
        ledger.release(place, split.epoch, split.writer)


def prepare(engine: Engine, spec: SyncSpec, split: Split, progress: Progress) -> int:
    """Make the parts that are free of what a run offered before its writes. Gives how many."""
    made = 0
    try:
        with closing(claims(engine, spec, split, wait=False)) as parts:
            for work in parts:
                _do(work, progress)
                made += 1
    except RetryableError as error:  # another has the part, or the run went on without it
        event("shard_lost", reason=str(error))
    return made


def _do(work: Work, progress: Progress) -> None:
    if work.split.kind == "plan":
        given = work.shards.found(work.split.run_id, "plan").get(CLOSING)
        if given is None:
            raise lost(work.claim)
        work.done(found=make_part(work.engine, work.spec, given, work.claim.shard, work.split.count, progress=progress))
        return
    stream = work.engine.sink(work.spec.target_connection).stream(work.spec.target_stream)
    try:
        batch = see(work.engine, work.spec, stream, None, progress=progress)
    except ConnectorError as error:
        work.done(found={"error": str(error)})  # the run asks for itself, and says so
    else:
        work.done(found={"batch": batch.id})
