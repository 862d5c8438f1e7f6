"""The statements that every write goes through, for hundreds of rows at once: intend, settle, and what follows from them. Pure.

One statement of many rows runs inside the database without Python's lock from beginning to end, so that the threads which
wait for answers go on; a row at a time takes that lock twice per row, and on Postgres a round trip. Both begin with the
verb itself: SQLite's driver opens no transaction for one that begins with WITH.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from pipelines.chunked import chunked
from pipelines.ledger_records import State, Write

Settled = tuple[int, State, str | None, str]
"""What came of a write: its seq, the state, the sink's id as JSON text (None: the known one stays), the reason."""

ROWS = 500  # in one statement: 3,507 parameters, of 32,766 that SQLite takes
_SHARED = ("run_id", "sync", "op", "attempt", "epoch", "intent_at", "reason")  # what the writes of one call have in common
_OWN = {"seq": "BIGINT", "key": "TEXT", "source_id": "TEXT", "sink_id": "TEXT", "before": "TEXT", "after": "TEXT", "fingerprint": "BIGINT"}
_SETTLED = {"seq": "BIGINT", "state": "TEXT", "sink_id": "TEXT", "reason": "TEXT"}
_shared, _own = attrgetter(*_SHARED), attrgetter(*_OWN)


def intents(writes: Iterable[Write], mark: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Statements with parameters that put these writes in flight, replacing what was known of them. `mark` is the driver's `?` or `%s`."""
    for shared, alike in groupby(writes, _shared):
        given = [value.isoformat() if name == "intent_at" else value for name, value in zip(_SHARED, shared, strict=True)]
        for part in chunked(alike, ROWS):
            yield _insert(len(part), mark), (*given, *chain.from_iterable(map(_own, part)))


def settlements(run_id: str, settled: Iterable[Settled], now: str, mark: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Statements with parameters that record what came of writes of one run; of two outcomes of one write the last counts."""
    for part in chunked({outcome[0]: outcome for outcome in settled}.values(), ROWS):
        yield _update(len(part), mark), (now, *chain.from_iterable(part), run_id)


def upserts(table: str, key: Sequence[str], rows: Sequence[Mapping[str, Any]], mark: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Statements with parameters that put these rows (same columns each) in place of those with the same keys; of two the last counts."""
    for part in chunked({tuple(row[name] for name in key): row for row in rows}.values(), ROWS):
        yield _upsert(table, tuple(part[0]), tuple(key), len(part), mark), tuple(chain.from_iterable(each.values() for each in part))


@lru_cache(16)
def _upsert(table: str, names: Sequence[str], key: Sequence[str], count: int, mark: str) -> str:
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in key)
    listed, row = ", ".join(f'"{name}"' for name in names), f"({', '.join([mark] * len(names))})"
    return f"INSERT INTO {table} ({listed}) VALUES {', '.join([row] * count)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {replaced}"  # noqa: S608


@lru_cache(16)
def _insert(count: int, mark: str) -> str:
    names = (*_SHARED, *_OWN, "state")
    shared = f"{mark}, " * len(_SHARED)
    own = ", ".join(f"column{number}" for number in range(1, len(_OWN) + 1))
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in ("run_id", "seq"))
    listed = ", ".join(f'"{name}"' for name in names)
    return (
        f"INSERT INTO crossdock_writes ({listed}) SELECT {shared}{own}, '{State.IN_FLIGHT}' FROM ({_values(_OWN, count, mark)}) AS own "  # noqa: S608
        f"WHERE true ON CONFLICT (run_id, seq) DO UPDATE SET {replaced}"
    )


@lru_cache(16)
def _update(count: int, mark: str) -> str:
    return (
        f"UPDATE crossdock_writes SET settled_at = {mark}, state = settled.column2, "  # noqa: S608
        f"sink_id = coalesce(settled.column3, crossdock_writes.sink_id), reason = settled.column4 "
        f"FROM ({_values(_SETTLED, count, mark)}) AS settled "
        f"WHERE crossdock_writes.run_id = {mark} AND crossdock_writes.seq = settled.column1"
    )


def _values(types: dict[str, str], count: int, mark: str) -> str:
    """Rows of these types; their columns are column1, column2 and so on, in SQLite and Postgres alike."""
    typed = ", ".join(f"CAST({mark} AS {kind})" for kind in types.values())
    plain = ", ".join([mark] * len(types))
    return f"VALUES ({typed})" + f", ({plain})" * (count - 1)
