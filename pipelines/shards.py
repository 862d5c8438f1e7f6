"""Shards: one run's writes spread over workers on any host. The plan and its guards are the whole run's; so is its closing.

Every worker holds the right that the run has to its target, and one shard at a time. A worker that dies, or stands still, loses
its shard when its lease ends: the next one sends what was never intended, and what was is looked up when the run is closed.
"""

import os
import socket
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from connectors.errors import ConfigError, ConnectorError, RetryableError
from pipelines.delivery import Delivered, Part, close_delivery, deliver_shard
from pipelines.engine import Engine, Progress
from pipelines.fence import Fence, lease_of
from pipelines.ledger import Ledger, Write
from pipelines.ledger_bulk import Settled
from pipelines.ledger_shards import CLOSING, Claim, Shards, Split, lost
from pipelines.logs import about, event
from pipelines.plan import Plan
from pipelines.spec import SyncSpec

__all__ = ["Work", "check_shared", "claims", "close_claimed", "end", "offer", "write_claimed"]

_BEATS = 4  # renewals in the time of one lease


@dataclass
class ShardFence(Fence):
    """The run's right to its target and one worker's to a shard: lost as soon as either is."""

    claim: Claim | None = None
    target_lease: timedelta = timedelta()

    def confirm(self) -> None:
        """Renew both. Raises RetryableError where another run, or another worker, took over."""
        now = self.engine.clock.now()
        if not self.engine.ledger.renew(self.target, self.epoch, self.holder, now + self.target_lease):
            raise RetryableError(f"another run took over {self.target} while this one stood still; run again")
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
    def closes(self) -> bool:
        """Whether this is the closing of the run."""
        return self.claim.shard == CLOSING


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
    pause_s = min(2.0, lease.total_seconds() / 10)
    while True:
        claim = shards.claim(split.run_id, holder, clock.now(), clock.now() + lease)
        if claim is not None:
            held = ShardFence(engine, split.target, split.epoch, split.writer, lease, clock.now() + lease, claim, lease_of(engine, spec))
            with about(sync=spec.name, run=split.run_id, shard=claim.shard), _kept(shards, held):
                held.confirm()
                event("shard_claimed", holder=holder, again=claim.again)
                yield Work(engine, spec, split, claim, held, HeldLedger(engine.ledger, claim))
            continue
        if not wait or not any(one.run_id == split.run_id for one in shards.under_way(split.sync)):
            return
        clock.sleep(pause_s)


def write_claimed(work: Work, plan: Plan, progress: Progress) -> int:
    """Send one shard's records, those without an intent so far. Gives how many it accounted for."""
    ledger = work.engine.ledger
    intended = ledger.intended(work.split.run_id) if work.claim.again else np.empty(0, np.int64)
    part = Part(work.claim.shard, work.split.count, intended)
    applied = deliver_shard(work.engine, work.spec, work.split.run_id, plan, work.held, work.ledger, part, progress=progress)
    if not Shards(ledger).written(work.claim, str(applied.stopped_by or "")):
        raise lost(work.claim)
    return applied.record_count


def close_claimed(work: Work, plan: Plan, progress: Progress) -> Delivered:
    """Settle every record of the run, whoever sent it."""
    stopped = Shards(work.engine.ledger).stopped(work.split.run_id)
    stopped_by = RetryableError(stopped) if stopped else None
    return close_delivery(work.engine, work.spec, work.split.run_id, plan, work.held, work.ledger, stopped_by, progress=progress)


def end(work: Work) -> None:
    """The run is closed: give the target back."""
    work.engine.ledger.release(work.split.target, work.split.epoch, work.split.writer)
    Shards(work.engine.ledger).forget(work.split.run_id)


@contextmanager
def _kept(shards: Shards, held: ShardFence) -> Iterator[None]:
    """Renew the claim while the block lasts, and give it back however that ends (which changes nothing where it was finished)."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(held.lease.total_seconds() / _BEATS):
            try:
                held.confirm()
            except ConnectorError:
                return  # whoever wants to write asks for itself, and is told

    thread = threading.Thread(target=beat, name="shard lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if held.claim is not None:
            shards.give_back(held.claim)
