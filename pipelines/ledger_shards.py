"""Shards in the ledger: the parts of one run's writes, each claimed by one worker at a time. Compare-and-swap under a lease.

Two parts come last: that of the deletes, which overtake nothing, and CLOSING, the closing of the run itself. Each can be claimed
when every part before it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from connectors.errors import RetryableError
from pipelines import ledger_tables as tables
from pipelines.ledger import Ledger

__all__ = ["CLOSING", "Claim", "LostShard", "Shards", "Split", "lost"]

CLOSING = -1
_columns = tables.shards.c
_stage = sa.case((_columns.shard == CLOSING, 2), (_columns.shard == _columns.count, 1), else_=0)


@dataclass(frozen=True)
class Split:
    """A run whose writes are split into `count` shards and one for its deletes (numbered `count`), with the right to write that
    all its workers share."""

    run_id: str
    sync: str
    target: str
    epoch: int
    writer: str
    count: int


@dataclass(frozen=True)
class Claim:
    """One shard, held by one worker. `again`: somebody had it before and did not finish."""

    run_id: str
    shard: int
    holder: str
    again: bool


@dataclass(frozen=True)
class Shards:
    """The shards of every run of a ledger."""

    ledger: Ledger

    def open(self, split: Split) -> None:
        """Offer the parts of a run. What is left of earlier runs to the same target is forgotten."""
        common = {"run_id": split.run_id, "sync": split.sync, "target": split.target, "epoch": split.epoch}
        offered = {**common, "writer": split.writer, "count": split.count, "state": "open"}
        rows = [{**offered, "shard": shard} for shard in range(CLOSING, split.count + 1)]
        with self.ledger.transaction() as connection:
            connection.execute(sa.delete(tables.shards).where(_columns.target == split.target))
            connection.execute(sa.insert(tables.shards), rows)

    def under_way(self, sync: str | None = None) -> list[Split]:
        """The split runs that may still be worked on: nobody else took their target."""
        targets = tables.targets.c
        query = (
            sa.select(_columns.run_id, _columns.sync, _columns.target, _columns.epoch, _columns.writer, _columns.count)
            .join(tables.targets, targets.target == _columns.target)
            .where(_columns.shard == CLOSING, targets.epoch == _columns.epoch, targets.holder == _columns.writer)
            .order_by(_columns.run_id)
        )
        if sync is not None:
            query = query.where(_columns.sync == sync)
        with self.ledger.transaction() as connection:
            return [Split(*row) for row in connection.execute(query)]

    def free(self, run_id: str, now: datetime) -> list[tuple[int, int]]:
        """The parts that a worker could take now, and how often each was taken before: fresh ones first. What must wait is not free."""
        unwritten = sa.select(sa.func.min(_stage)).where(_columns.run_id == run_id, _columns.state == "open")
        query = sa.select(_columns.shard, _columns.claims).where(*_free(run_id, now), _stage == unwritten.scalar_subquery())
        with self.ledger.transaction() as connection:
            return [(shard, claims) for shard, claims in connection.execute(query.order_by(_columns.claims, _columns.shard))]

    def claim(self, run_id: str, holder: str, now: datetime, until: datetime) -> Claim | None:
        """Take a shard that is free, or whose holder did not renew it in time; None where there is none now."""
        for shard, claims in self.free(run_id, now):
            take = sa.update(tables.shards).where(*_free(run_id, now), _columns.shard == shard, _columns.claims == claims)
            with self.ledger.transaction() as connection:
                taken = connection.execute(take.values(holder=holder, until=until.isoformat(), claims=claims + 1)).rowcount == 1
            if taken:
                return Claim(run_id, shard, holder, again=claims > 0)
        return None

    def renew(self, claim: Claim, until: datetime) -> bool:
        """Keep a shard for longer. False where another worker has taken it meanwhile."""
        with self.ledger.transaction() as connection:
            return connection.execute(_held(claim).values(until=until.isoformat())).rowcount == 1

    def give_back(self, claim: Claim) -> None:
        """Let another worker go on with a shard."""
        with self.ledger.transaction() as connection:
            connection.execute(_held(claim).values(holder=None, until=None))

    def written(self, claim: Claim, stopped: str = "") -> bool:
        """Every record of the shard was sent, or cannot be for the reason in `stopped`. False where another has taken it."""
        with self.ledger.transaction() as connection:
            return connection.execute(_held(claim).values(state="written", holder=None, until=None, stopped=stopped)).rowcount == 1

    def stopped(self, run_id: str) -> str:
        """Why a worker could not send the rest of its shard; empty where none had to stop."""
        query = sa.select(_columns.stopped).where(_columns.run_id == run_id, _columns.stopped != "").order_by(_columns.shard).limit(1)
        with self.ledger.transaction() as connection:
            return str(connection.execute(query).scalar() or "")

    def forget(self, run_id: str) -> None:
        """The run is closed."""
        with self.ledger.transaction() as connection:
            connection.execute(sa.delete(tables.shards).where(_columns.run_id == run_id))

    @staticmethod
    def guard(claim: Claim) -> Callable[[Connection], None]:
        """What to do first in a transaction that must not happen once the shard is another's. Raises LostShard."""

        def check(connection: Connection) -> None:
            if connection.execute(_held(claim).values(claims=_columns.claims)).rowcount != 1:
                raise lost(claim)

        return check


class LostShard(RetryableError):
    """Another worker has this shard now."""


def lost(claim: Claim) -> LostShard:
    """What to say where another worker has taken a shard."""
    part = "the closing" if claim.shard == CLOSING else f"shard {claim.shard}"
    return LostShard(f"another worker took over {part} of run {claim.run_id[:8]} while this one stood still; nothing is lost")


def _free(run_id: str, now: datetime) -> tuple["sa.ColumnElement[bool]", ...]:
    return _columns.run_id == run_id, _columns.state == "open", sa.or_(_columns.holder.is_(None), _columns.until < now.isoformat())


def _held(claim: Claim) -> sa.Update:
    return sa.update(tables.shards).where(
        _columns.run_id == claim.run_id, _columns.shard == claim.shard, _columns.holder == claim.holder, _columns.state == "open"
    )
