"""Failures in the ledger: records that are still to be delivered, or wait for a person."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from pipelines import ledger_statements as asking
from pipelines import ledger_tables as tables
from pipelines.chunked import chunked
from pipelines.ledger_database import Database
from pipelines.ledger_records import Failure


class Failures(Database):
    """Failures, by sync and key."""

    def put_failures(self, sync: str, run_id: str, failures: Iterable[Failure]) -> None:
        """Keep records pending; a record already pending counts one attempt more."""
        now = self._now()
        for chunk in chunked(failures, 1000):
            rows = [
                {
                    **vars(failure),
                    "sync": sync,
                    "run_id": run_id,
                    "first_seen": now,
                    "last_seen": now,
                    "attempts": 1,
                    "released": False,
                    "dismissed": False,
                }
                for failure in {(failure.key, failure.source_id): failure for failure in chunk}.values()
            ]
            with self._begin() as connection:
                connection.execute(asking.upsert_failures(self._dialect), rows)

    def hold_failures(self, sync: str, run_id: str, keys: Iterable[str]) -> None:
        """These records still wait for a person: this run saw them and tried nothing."""
        now = self._now()
        for chunk in chunked(keys, 500):
            condition = (tables.failures.c.sync == sync, tables.failures.c.key.in_(chunk))
            with self._begin() as connection:
                connection.execute(sa.update(tables.failures).where(*condition).values(run_id=run_id, last_seen=now))

    def dismiss_failures(self, sync: str, pairs: Iterable[tuple[str, str]]) -> int:
        """A person settled these failures, by (key, source id). Gives how many there were.

        One that was sent is kept out of sight, so that the same write is not planned again; others are forgotten.
        """
        columns, count = tables.failures.c, 0
        for chunk in chunked(pairs, 300):
            chosen = (columns.sync == sync, ~columns.dismissed, sa.tuple_(columns.key, columns.source_id).in_(chunk))
            with self._begin() as connection:
                count += connection.execute(sa.delete(tables.failures).where(*chosen, columns.request.is_(None))).rowcount
                count += connection.execute(sa.update(tables.failures).where(*chosen).values(dismissed=True)).rowcount
        return count

    def drop_failures_before(self, sync: str, run_id: str, *, only: Iterable[str] | None = None) -> int:
        """Forget failures that this run did not see again: what it looked at was delivered, is gone, or never was. Gives how many.

        With `only`, those of these source records.
        """
        given = {"this_sync": sync, "this_run": run_id}
        by_source = tables.failures.c.source_id.in_
        chosen = [asking.DROP_FAILURES] if only is None else [asking.DROP_FAILURES.where(by_source(chunk)) for chunk in chunked(only, 500)]
        with self._begin() as connection:
            return sum(connection.execute(one, given).rowcount for one in chosen)

    def release_failures(self, sync: str, keys: Sequence[str] | None = None) -> int:
        """Allow pending records to be tried again, quarantined ones too. Gives how many."""
        columns = tables.failures.c
        statement = sa.update(tables.failures).where(columns.sync == sync, ~columns.dismissed).values(released=True)
        if keys is not None:
            statement = statement.where(tables.failures.c.key.in_(keys))
        with self._begin() as connection:
            return connection.execute(statement).rowcount

    def failures(self, sync: str, limit: int | None = None, *, dismissed: bool = False) -> list[Failure]:
        """Pending records (or those a person dismissed), the longest pending first."""
        query = asking.FAILURES if limit is None else asking.FAILURES.limit(limit)
        with self._begin() as connection:
            return [Failure(*row) for row in connection.execute(query, {"this_sync": sync, "is_dismissed": dismissed})]

    def failure_counts(self, sync: str) -> dict[str, int]:
        """How many records are pending, by outcome."""
        columns = tables.failures.c
        query = sa.select(columns.outcome, sa.func.count()).where(columns.sync == sync, ~columns.dismissed).group_by(columns.outcome)
        with self._begin() as connection:
            return {str(outcome): int(count) for outcome, count in connection.execute(query)}

    def failure_count(self, sync: str) -> int:
        """How many records are pending."""
        columns = tables.failures.c
        query = sa.select(sa.func.count()).select_from(tables.failures).where(columns.sync == sync, ~columns.dismissed)
        with self._begin() as connection:
            return int(connection.execute(query).scalar_one())
