"""Shards in the ledger: the parts of one run's work, each claimed by one worker at a time. Compare-and-swap under a lease.

They come in stages, of which each can be claimed when every part before it is done: writes, deletes (which overtake nothing), one
look at the sink, settling what was written and then what was deleted by what that look shows, and the closing of the run.
What comes before the writes may be shared too (`kind`): reading the sink, and making the rows of the plan.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from connectors.errors import RetryableError
from pipelines import ledger_tables as tables
from pipelines.ledger import Ledger

__all__ = ["CLOSING", "Claim", "Kind", "LostShard", "Shards", "Split", "Stage", "lost"]

CLOSING = -1
Kind = Literal["see", "plan", "write"]
_columns = tables.shards.c


class Stage(IntEnum):
    """What is done with a part; none begins before all parts of the one before it are done."""

    WRITE = 0
    DELETE = 1
    LOOK = 2
    SETTLE = 3
    SETTLE_DELETES = 4
    CLOSE = 5
    PREPARE = 6  # of a run that does not write yet


_stage = sa.case(
    (_columns.kind != "write", int(Stage.PREPARE)),
    (_columns.shard == CLOSING, int(Stage.CLOSE)),
    (_columns.shard < _columns.count, int(Stage.WRITE)),
    (_columns.shard == _columns.count, int(Stage.DELETE)),
    (_columns.shard == _columns.count + 1, int(Stage.LOOK)),
    (_columns.shard == 2 * _columns.count + 2, int(Stage.SETTLE_DELETES)),
    else_=int(Stage.SETTLE),
)


@dataclass(frozen=True)
class Split:
    """A run whose writes, or what comes before them, is split into `count` parts, with the right that all its workers share.

    Of writes the shards are numbered: the parts, the deletes (`count`), the look (`count` + 1), and parts and deletes once more, to be
    settled. Of what comes before they are the parts.
    """

    run_id: str
    sync: str
    target: str
    epoch: int
    writer: str
    count: int
    kind: Kind = "write"

    def stage(self, shard: int) -> Stage:
        """What a shard is for."""
        if self.kind != "write":
            return Stage.PREPARE
        if shard == CLOSING:
            return Stage.CLOSE
        if shard == self.count + 1:
            return Stage.LOOK
        part = self.part(shard)
        if shard == part:
            return Stage.DELETE if part == self.count else Stage.WRITE
        return Stage.SETTLE_DELETES if part == self.count else Stage.SETTLE

    def part(self, shard: int) -> int:
        """Which part of the writes (`count`: the deletes) a shard writes or settles."""
        return shard if shard <= self.count else shard - self.count - 2


@dataclass(frozen=True)
class Claim:
    """One shard, held by one worker. `again`: somebody had it before and did not finish."""

    run_id: str
    shard: int
    holder: str
    again: bool
    kind: Kind = "write"


@dataclass(frozen=True)
class Shards:
    """The shards of every run of a ledger."""

    ledger: Ledger

    def open(self, split: Split, given: Mapping[str, Any] | None = None) -> None:
        """Offer the parts of a run, with what is `given` to all who take one. What is left of earlier runs to the same target is forgotten.

        What comes before the writes is closed by nobody but who offers it.
        """
        writes = split.kind == "write"
        offered = {**vars(split), "state": "open", "found": "{}"}
        rows = [{**offered, "shard": shard} for shard in range(2 * split.count + 3 if writes else split.count)]
        rows.append({**offered, "shard": CLOSING, "state": "open" if writes else "kept", "found": json.dumps(given or {})})
        with self.ledger.transaction() as connection:
            connection.execute(sa.delete(tables.shards).where(_columns.target == split.target))
            connection.execute(sa.insert(tables.shards), rows)

    def under_way(self, sync: str | None = None) -> list[Split]:
        """The split runs that may still be worked on: nobody else took their target."""
        targets = tables.targets.c
        query = (
            sa.select(*(_columns[name] for name in Split.__dataclass_fields__))
            .join(tables.targets, targets.target == _columns.target)
            .where(_columns.shard == CLOSING, targets.epoch == _columns.epoch, targets.holder == _columns.writer)
            .order_by(_columns.run_id)
        )
        if sync is not None:
            query = query.where(_columns.sync == sync)
        with self.ledger.transaction() as connection:
            return [Split(*row) for row in connection.execute(query)]

    def free(self, run_id: str, now: datetime, kind: Kind = "write") -> list[tuple[int, int]]:
        """The parts that a worker could take now, and how often each was taken before: fresh ones first. What must wait is not free."""
        first = sa.select(sa.func.min(_stage)).where(_columns.run_id == run_id, _columns.kind == kind, _columns.state == "open")
        query = sa.select(_columns.shard, _columns.claims).where(*_free(run_id, now, kind), _stage == first.scalar_subquery())
        with self.ledger.transaction() as connection:
            return [(shard, claims) for shard, claims in connection.execute(query.order_by(_columns.claims, _columns.shard))]

    def claim(self, run_id: str, holder: str, now: datetime, until: datetime, kind: Kind = "write") -> Claim | None:
        """Take a shard that is free, or whose holder did not renew it in time; None where there is none now."""
        for shard, claims in self.free(run_id, now, kind):
            take = sa.update(tables.shards).where(*_free(run_id, now, kind), _columns.shard == shard, _columns.claims == claims)
            with self.ledger.transaction() as connection:
                taken = connection.execute(take.values(holder=holder, until=until.isoformat(), claims=claims + 1)).rowcount == 1
            if taken:
                return Claim(run_id, shard, holder, again=claims > 0, kind=kind)
        return None

    def renew(self, claim: Claim, until: datetime) -> bool:
        """Keep a shard for longer. False where another worker has taken it meanwhile."""
        with self.ledger.transaction() as connection:
            return connection.execute(_held(claim).values(until=until.isoformat())).rowcount == 1

    def give_back(self, claim: Claim) -> None:
        """Let another worker go on with a shard."""
        with self.ledger.transaction() as connection:
            connection.execute(_held(claim).values(holder=None, until=None))

    def done(self, claim: Claim, *, stopped: str = "", found: Mapping[str, Any] | None = None) -> bool:
        """A shard is done, or cannot be for the reason in `stopped`; `found` is what others must know of it (JSON).

        False where another worker has taken it.
        """
        finished = {"state": "done", "holder": None, "until": None, "stopped": stopped, "found": json.dumps(found or {})}
        with self.ledger.transaction() as connection:
            return connection.execute(_held(claim).values(finished)).rowcount == 1

    def found(self, run_id: str, kind: Kind = "write") -> dict[int, dict[str, Any]]:
        """What was found in each shard of a run that is done; under CLOSING what was given with what comes before the writes."""
        query = sa.select(_columns.shard, _columns.found).where(_columns.run_id == run_id, _columns.kind == kind, _columns.state != "open")
        with self.ledger.transaction() as connection:
            return {shard: json.loads(found) for shard, found in connection.execute(query)}

    def stopped(self, run_id: str) -> str:
        """Why a worker could not send the rest of its shard; empty where none had to stop."""
        query = sa.select(_columns.stopped).where(_columns.run_id == run_id, _columns.stopped != "").order_by(_columns.shard).limit(1)
        with self.ledger.transaction() as connection:
            return str(connection.execute(query).scalar() or "")

    def forget(self, run_id: str, kind: Kind = "write") -> None:
        """The run is closed, or what came before its writes is over."""
        with self.ledger.transaction() as connection:
            connection.execute(sa.delete(tables.shards).where(_columns.run_id == run_id, _columns.kind == kind))

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


def _free(run_id: str, now: datetime, kind: Kind) -> tuple["sa.ColumnElement[bool]", ...]:
    free = sa.or_(_columns.holder.is_(None), _columns.until < now.isoformat())
    return _columns.run_id == run_id, _columns.kind == kind, _columns.state == "open", free


def _held(claim: Claim) -> sa.Update:
    this = (_columns.run_id == claim.run_id, _columns.kind == claim.kind, _columns.shard == claim.shard)
    return sa.update(tables.shards).where(*this, _columns.holder == claim.holder, _columns.state == "open")
