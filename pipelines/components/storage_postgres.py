"""Dagster's storage in PostgreSQL, with a default limit of pools that several processes may meet first at the same moment."""

from dagster._core.storage.event_log.schema import ConcurrencyLimitsTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.storage import DagsterPostgresStorage
from sqlalchemy.dialects.postgresql import insert

__all__ = ["postgres_storage"]


def postgres_storage(url: str, inst_data: ConfigurableClassData | None) -> DagsterPostgresStorage:
    """The storage in the database at `url`."""
    made = DagsterPostgresStorage(url, inst_data=inst_data)
    made._event_log_storage.dispose()
    made._event_log_storage = _EventLog(url)
    return made


class _EventLog(PostgresEventLogStorage):
    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Make the pool with the default limit, or let one that was made so follow a new default.

        Dagster inserts the limit, and updates it in the same transaction where the insert fails: PostgreSQL refuses that, and a
        run ends by it.
        """
        limit = self._instance.global_op_concurrency_default_limit
        if limit is None or not self.has_default_pool_limit_col:
            return bool(super().initialize_concurrency_limit_to_default(concurrency_key))
        wanted = {"concurrency_key": concurrency_key, "limit": limit, "using_default_limit": True}
        column = ConcurrencyLimitsTable.c
        by_default = insert(ConcurrencyLimitsTable).values(**wanted)
        statement = by_default.on_conflict_do_update(
            index_elements=[column.concurrency_key], set_={"limit": limit}, where=column.using_default_limit
        )
        with self.index_transaction() as connection:  # the row stays locked until the slots are made
            if connection.execute(statement).rowcount:
                self._allocate_concurrency_slots(connection, concurrency_key, limit)
        return True
