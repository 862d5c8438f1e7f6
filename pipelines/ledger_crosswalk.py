"""The crosswalk in the ledger: which record of the sink is which of the source, and what was written last."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pipelines import ledger_statements as asking
from pipelines import ledger_tables as tables
from pipelines.chunked import chunked
from pipelines.ledger_database import Database
from pipelines.ledger_records import Match


class Crosswalk(Database):
    """Matches, by sync and key."""

    def put_matches(self, sync: str, run_id: str, matches: Iterable[Match]) -> None:
        """Remember who is who, replacing what was known of the same keys."""
        now = self._now()
        for chunk in chunked(matches, 5000):
            rows = [{"sync": sync, "run_id": run_id, "updated_at": now, **vars(match)} for match in chunk]
            with self._begin() as connection:
                self._upsert(connection, tables.crosswalk, rows)
            self._grew(tables.crosswalk, len(rows))

    def drop_matches(self, sync: str, keys: Iterable[str]) -> None:
        """Forget records that are no longer in the sink."""
        for chunk in chunked(keys, 500):
            with self._begin() as connection:
                connection.execute(asking.DROP_MATCHES, {"this_sync": sync, "these": chunk})

    def drop_moved(self, sync: str, matches: Iterable[Match]) -> None:
        """Forget these keys of records that have another one now, but for those that are another source record's meanwhile."""
        columns = tables.crosswalk.c
        for chunk in chunked(((match.key, match.source_id) for match in matches), 500):
            with self._begin() as connection:
                moved = sa.tuple_(columns.key, columns.source_id).in_(chunk)
                connection.execute(sa.delete(tables.crosswalk).where(columns.sync == sync, moved))

    def matches(self, sync: str, keys: Sequence[str] | None = None) -> Iterator[Match]:
        """Crosswalk rows of these keys, or of all, in bounded memory."""
        if keys is not None:
            yield from self._matches_with(sync, "key", keys)
            return
        last = ""
        while True:
            with self._begin() as connection:
                rows = connection.execute(asking.MATCHES, {"this_sync": sync, "this_key": last, "most": 20000}).all()
            if not rows:
                return
            yield from (Match(*row) for row in rows)
            last = rows[-1][0]

    def matches_of_sources(self, sync: str, source_ids: Sequence[str]) -> Iterator[Match]:
        """Crosswalk rows of these source records."""
        return self._matches_with(sync, "source_id", source_ids)

    def matches_of_hashes(self, sync: str, key_hashes: Sequence[int]) -> Iterator[Match]:
        """Crosswalk rows whose keys have these hashes."""
        return self._matches_with(sync, "key_hash", key_hashes)

    def _matches_with(self, sync: str, column: str, values: Sequence[Any]) -> Iterator[Match]:
        for chunk in chunked(values, 500):
            with self._begin() as connection:
                rows = connection.execute(asking.matches_with(column), {"this_sync": sync, "these": chunk}).all()
            yield from (Match(*row) for row in rows)

    def match_count(self, sync: str) -> int:
        """How many records this sync knows on both sides."""
        query = sa.select(sa.func.count()).select_from(tables.crosswalk).where(tables.crosswalk.c.sync == sync)
        with self._begin() as connection:
            return int(connection.execute(query).scalar_one())

    def knows_any(self, sync: str) -> bool:
        """Whether this sync knows any record on both sides."""
        with self._begin() as connection:
            return connection.execute(asking.ANY_MATCH, {"this_sync": sync}).first() is not None

    def match_hashes(self, sync: str, *, repeats: int | None = None) -> npt.NDArray[np.int64]:
        """The key hashes of every crosswalk row of the sync (with these `repeats`), sorted: what this sync owns."""
        query, given = (asking.MATCH_HASHES, {}) if repeats is None else (asking.MATCH_HASHES_REPEATED, {"these_repeats": repeats})
        with self._begin() as connection:
            hashes = np.fromiter((row[0] for row in connection.execute(query, {**given, "this_sync": sync})), dtype=np.int64)
        hashes.sort()
        return hashes
