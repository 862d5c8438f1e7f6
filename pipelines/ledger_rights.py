"""Who may write where: one holder of each target at a time, and how often that changed."""

from datetime import datetime

import sqlalchemy as sa

from pipelines import ledger_statements as asking
from pipelines import ledger_tables as tables
from pipelines.ledger_database import Database


class Rights(Database):
    """The right to write to a target, given until a time and renewed."""

    def epoch(self, target: str) -> int:
        """How often the right to write to this target was given so far. A plan made at one epoch is stale at the next."""
        with self._begin() as connection:
            return int(connection.execute(asking.EPOCH, {"this_target": target}).scalar() or 0)

    def held_until(self, target: str) -> datetime | None:
        """Until when somebody has the right to write to this target, unless it is renewed; None where it is free."""
        columns = tables.targets.c
        query = sa.select(columns.until).where(columns.target == target, columns.holder.is_not(None), columns.until >= self._now())
        with self._begin() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else datetime.fromisoformat(found)

    def claim(self, target: str, epoch: int, holder: str, until: datetime, *, dead: bool) -> bool:
        """Take the right to write, moving the epoch on from `epoch`, until then. False where the epoch is another or somebody holds it.

        `dead`: the caller knows that whoever held it is gone (it holds the host's lock and nobody else's host uses this ledger).
        """
        first = asking.insert_unless_there(self._dialect, tables.targets, "target", "epoch")
        given = {"this_target": target, "this_epoch": epoch, "now": self._now(), "is_dead": dead}
        with self._begin() as connection:
            connection.execute(first, {"new_target": target, "new_epoch": 0})
            taken = connection.execute(asking.CLAIM, {**given, "new_holder": holder, "new_until": until.isoformat()})
        return taken.rowcount == 1

    def renew(self, target: str, epoch: int, holder: str, until: datetime, *, late: bool) -> bool:
        """Keep the right for longer. False where another has taken it meanwhile.

        Unless `late`, False too where it ran out: whoever planned since took the target for free, and would not notice what came after.
        """
        given = {"this_target": target, "this_epoch": epoch, "this_holder": holder, "new_until": until.isoformat()}
        given |= {"now": self._now(), "is_late": late}
        with self._begin() as connection:
            return connection.execute(asking.RENEW, given).rowcount == 1

    def release(self, target: str, epoch: int, holder: str) -> None:
        """Give the right back, if it is still held."""
        with self._begin() as connection:
            connection.execute(asking.RELEASE, {"this_target": target, "this_epoch": epoch, "this_holder": holder})
