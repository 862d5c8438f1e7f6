"""Shards: one run's writes, and their settling, spread over workers on any host. The plan and its guards are the whole run's.

Every worker holds the right that the run has to its target, and one shard at a time. A worker that dies, or stands still, loses
its shard when its lease ends: the next one sends what was never intended, and what was is settled with the rest of the shard, by the
one look at the sink that follows all writes. A shard that is taken over while it is settled is looked at afresh.
"""

import os
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from connectors.errors import ConfigError, RetryableError
from pipelines.beating import beating
from pipelines.delivery import Delivered, Delivery, Look, ReadBack
from pipelines.engine import Engine, Progress, is_full
from pipelines.fence import Fence, lease_of
from pipelines.fingerprint import HASH_VERSION, Index
from pipelines.ledger import Ledger, Write
from pipelines.ledger_bulk import Settled
from pipelines.ledger_shards import Claim, Shards, Split, Stage, lost
from pipelines.logs import about, event
from pipelines.observe import Observation, seen_dataset
from pipelines.plan import Plan
from pipelines.spec import SyncSpec
from pipelines.staging import batch_of

__all__ = ["Work", "check_shared", "claims", "close_claimed", "do_claimed", "end", "offer"]

_BEATS = 4  # renewals in the time of one lease
_INDEX = f"look {HASH_VERSION}"
_PAUSE_S = 0.5  # between looks for a part that is free


@dataclass
class ShardFence(Fence):
    """The run's right to its target and one worker's to a shard: lost as soon as either is."""

    claim: Claim | None = None
    target_lease: timedelta = timedelta()

    def confirm(self) -> None:
        """Renew both. Raises RetryableError where another run, or another worker, took over, or could have."""
        now = self.engine.clock.now()
        if not self.engine.ledger.renew(self.target, self.epoch, self.holder, now + self.target_lease, late=False):
            raise RetryableError(f"another run took over {self.target}, or could have, while this one stood still; run again")
        if self.claim is not None and not Shards(self.engine.ledger).renew(self.claim, now + self.lease):
            raise lost(self.claim)
        self.until = now + self.lease


@dataclass(frozen=True)
class HeldLedger:
    """The ledger as one worker may change it: nothing is kept once its shard is another's (`pipelines.apply.Journal`)."""

    ledger: Ledger
    claim: Claim

    def intend(self, writes: Sequence[Write], settled: Sequence[Settled] = ()) -> None:
        """Make intents durable, and with them what came of earlier writes. Raises RetryableError where the shard was lost."""
        self.ledger.intend(writes, settled, Shards.guard(self.claim))

    def settle(self, run_id: str, settled: Sequence[Settled]) -> None:
        """Record what came of writes. Raises RetryableError where the shard was lost."""
        if settled:
            self.ledger.settle(run_id, settled, Shards.guard(self.claim))


@dataclass(frozen=True)
class Work:
    """One claimed part of a split run."""

    engine: Engine
    spec: SyncSpec
    split: Split
    claim: Claim
    held: ShardFence
    ledger: HeldLedger

    @property
    def stage(self) -> Stage:
        """What is to be done."""
        return self.split.stage(self.claim.shard)

    @property
    def shards(self) -> Shards:
        """All shards of this ledger."""
        return Shards(self.engine.ledger)

    def delivery(self, plan: Plan, progress: Progress) -> Delivery:
        """The delivery of this part, or of the whole plan where the work is about all of it."""
        among = None if self.stage in (Stage.LOOK, Stage.CLOSE) else _rows_of(plan, self.split, self.claim.shard)
        return Delivery(self.engine, self.spec, self.split.run_id, plan, self.held, self.ledger, progress, among, self.claim.again)

    def done(self, *, stopped: str = "", found: Mapping[str, Any] | None = None) -> None:
        """Leave the part as done. Raises LostShard where another worker has taken it."""
        if not self.shards.done(self.claim, stopped=stopped, found=found):
            raise lost(self.claim)


def offer(engine: Engine, spec: SyncSpec, run_id: str, held: Fence) -> Split:
    """Split the writes of a run that holds its target. Raises ConfigError where no other process could see them."""
    split = Split(run_id, spec.name, held.target, held.epoch, held.holder, spec.writes.shards)
    Shards(engine.ledger).open(split)
    return split


def check_shared(engine: Engine, spec: SyncSpec) -> None:
    """Refuse shards where hosts share no ledger. Raises ConfigError."""
    if not engine.ledger.shared:
        raise ConfigError(
            f"{spec.name} has writes.shards: {spec.writes.shards}, but its ledger is a file of this host, which workers cannot share; "
            "set CROSSDOCK_LEDGER to postgresql://…, or take shards out"
        )


def claims(engine: Engine, spec: SyncSpec, split: Split, *, wait: bool) -> Generator[Work]:
    """The parts of a run that this worker gets, one after the other, each held while the caller works on it.

    Ends when nothing can be claimed; with `wait` only when the run is closed, by whichever worker, or taken over. A part that
    its worker did not finish is given back. Raises RetryableError where another run took the target over meanwhile.
    """
    shards, clock = Shards(engine.ledger), engine.clock
    holder = f"{socket.gethostname()}:{os.getpid()}:{engine.rng.token()[:12]}"
    lease = timedelta(seconds=2 * engine.settings(spec.target_connection).timeout_s + 5)
    while True:
        claim = shards.claim(split.run_id, holder, clock.now(), clock.now() + lease, split.kind)
        if claim is not None:
            held = ShardFence(engine, split.target, split.epoch, split.writer, lease, clock.now() + lease, claim, lease_of(engine, spec))
            with about(sync=spec.name, run=split.run_id, shard=claim.shard), _kept(shards, held):
                held.confirm()
                event("shard_claimed", holder=holder, stage=split.stage(claim.shard).name.lower(), again=claim.again)
                yield Work(engine, spec, split, claim, held, HeldLedger(engine.ledger, claim))
            continue
        if not wait or not any(one.run_id == split.run_id for one in shards.under_way(split.sync)):
            return
        clock.sleep(_PAUSE_S)


def do_claimed(work: Work, plan: Plan, progress: Progress) -> int:
    """Do one part of a run, whichever it is but the closing. Gives how many records were accounted for. Raises LostShard."""
    delivery = work.delivery(plan, progress)
    if work.stage in (Stage.WRITE, Stage.DELETE):
        return _write(work, delivery)
    if work.stage is Stage.LOOK:
        work.done(found=_kept_look(work, delivery))
        return 0
    look = None if work.claim.again else _look(work, delivery)  # what another sent again meanwhile, the look of then cannot show
    read_back = delivery.settle(look, may_send=not work.shards.stopped(work.split.run_id))
    work.done(found=None if read_back is None else {**vars(read_back), "fields": sorted(read_back.fields)})
    return 0


def close_claimed(work: Work, plan: Plan, progress: Progress) -> Delivered:
    """Keep what follows from all parts of the run, whoever did them."""
    stopped = work.shards.stopped(work.split.run_id)
    found = work.shards.found(work.split.run_id)
    parts = [ReadBack(**{**one, "fields": frozenset(one["fields"])}) for one in found.values() if "differences" in one]
    read_back = sum(parts, start=ReadBack()) if parts else None
    return work.delivery(plan, progress).close(read_back, RetryableError(stopped) if stopped else None)


def _write(work: Work, delivery: Delivery) -> int:
    """Send a part's records, those without an intent so far."""
    among = delivery.among or range(0)
    intended = work.engine.ledger.intended(work.split.run_id, among) if work.claim.again else None
    applied = delivery.send(intended)
    work.done(stopped=str(applied.stopped_by or ""))
    return applied.record_count


def _kept_look(work: Work, delivery: Delivery) -> dict[str, Any]:
    """Look at what was written, and leave what is seen where every worker finds it."""
    look = delivery.look()
    if look is None:
        return {}
    work.engine.staging.put_index(look.observed.batch, _INDEX, look.observed.index.arrays())
    return {"batch": look.observed.batch.id, "proven": look.proven}


def _look(work: Work, delivery: Delivery) -> Look | None:
    """What was seen when all was written; None where it is not there any more."""
    found, staging = work.shards.found(work.split.run_id).get(work.split.count + 1, {}), work.engine.staging
    batch = batch_of(staging, seen_dataset(work.spec), found.get("batch"))
    arrays = staging.get_index(batch, _INDEX) if batch is not None else None
    if batch is None or arrays is None:
        return None
    return Look(Observation(batch, Index.of(arrays), is_full(batch)), bool(found["proven"]))


def _rows_of(plan: Plan, split: Split, shard: int) -> range:
    """The numbers of a part's rows: what is created and updated, each in the order of its key's hash, cut evenly; or the deletes."""
    counts, part = plan.counts, split.part(shard)
    others = counts.create + counts.update
    if part == split.count:
        return range(others, others + counts.delete)
    return range(others * part // split.count, others * (part + 1) // split.count)


def end(work: Work) -> None:
    """The run is closed: give the target back."""
    work.engine.ledger.release(work.split.target, work.split.epoch, work.split.writer)
    Shards(work.engine.ledger).forget(work.split.run_id)


@contextmanager
def _kept(shards: Shards, held: ShardFence) -> Iterator[None]:
    """Renew the claim while the block lasts, and give it back however that ends (which changes nothing where it was finished)."""
    try:
        with beating(held.lease.total_seconds() / _BEATS, held.confirm):
            yield
    finally:
        if held.claim is not None:
            shards.give_back(held.claim)
