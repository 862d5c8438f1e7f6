"""The fence around a target: one writer at a time, and none that acts on what it saw before another wrote.

Every right to write moves the target's epoch on; a plan made at an earlier epoch is stale. On one host a
file lock that dies with its process decides; where hosts share a ledger, a lease in it that must be renewed in time:
one that ran out is over even where nobody took it, because others have planned since as if nobody wrote.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.errors import RetryableError
from pipelines.beating import beating
from pipelines.engine import Engine
from pipelines.spec import SyncSpec


def target_of(engine: Engine, spec: SyncSpec) -> str:
    """The account and stream that a sync writes to: the same for every connection and sync that reaches them."""
    return f"{engine.settings(spec.target_connection).account} {spec.target_stream}"


@dataclass
class Fence:
    """The right to write to a target, held. `epoch` stands in every intent."""

    engine: Engine
    target: str
    epoch: int
    holder: str
    lease: timedelta
    until: datetime

    def check(self) -> None:
        """Make sure, right before sending, that the right is still ours for as long as a request can take.

        Raises RetryableError where it was lost (this process stood still for longer than the lease); nothing may be sent then.
        """
        if self.engine.clock.now() >= self.until - self.lease / 2:
            self.confirm()

    def confirm(self) -> None:
        """Make sure, before what others rely on is changed, that nobody took over. Raises RetryableError where somebody did."""
        until = self.engine.clock.now() + self.lease
        if not self.engine.ledger.renew(self.target, self.epoch, self.holder, until, late=not self.engine.ledger.shared):
            raise RetryableError(f"another run took over {self.target}, or could have, while this one stood still; run again")
        self.until = until

    def holds(self) -> bool:
        """Whether the right is ours at this moment: nobody can take it before `until`, and then it must be renewed first."""
        with suppress(RetryableError):
            if self.engine.clock.now() >= self.until:
                self.confirm()
            return True
        return False


def taken(engine: Engine, target: str) -> RetryableError:
    """What to say where another host has, or had, the right to write."""
    until = engine.ledger.held_until(target)
    last = f" (if it was killed, the target is free at {until:%H:%M:%S} UTC)" if until is not None else ""
    return RetryableError(f"another run is writing to {target}, or did since this one was planned; run again when it is over{last}")


def take(engine: Engine, spec: SyncSpec, epoch: int) -> Fence:
    """The right to write to the sync's target, until it is given back or not renewed, if its epoch is still `epoch`.

    The caller holds the host's lock. Raises RetryableError where another host holds it, or took it since that epoch.
    """
    target, lease = target_of(engine, spec), lease_of(engine, spec)
    held = Fence(engine, target, epoch + 1, engine.rng.token(), lease, engine.clock.now() + lease)
    if not engine.ledger.claim(target, epoch, held.holder, held.until, dead=not engine.ledger.shared):
        raise taken(engine, target)
    return held


def lease_of(engine: Engine, spec: SyncSpec) -> timedelta:
    """How long the right to write lasts without being renewed: longer than any request takes."""
    return timedelta(seconds=2 * engine.settings(spec.target_connection).timeout_s + 60)


@contextmanager
def fence(engine: Engine, spec: SyncSpec, epoch: int) -> Iterator[Fence]:
    """Hold the right to write to the sync's target, if its epoch is still `epoch`. The caller holds the host's lock.

    Raises RetryableError where another host holds it, or took it since that epoch.
    """
    held = take(engine, spec, epoch)
    try:
        with beating(held.lease.total_seconds() / 4, held.confirm) if engine.ledger.shared else nullcontext():
            yield held
    finally:
        engine.ledger.release(held.target, held.epoch, held.holder)
