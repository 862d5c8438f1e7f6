"""The two statements that every write goes through, for hundreds of rows at once: intend and settle. Pure.

One statement of many rows runs inside the database without Python's lock from beginning to end, so that the threads which
wait for answers go on; a row at a time takes that lock twice per row, and on Postgres a round trip.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from pipelines.ledger_records import State, Write

Settled = tuple[int, State, str | None, str]
"""What came of a write: its seq, the state, the sink's id as JSON text (None: the known one stays), the reason."""

ROWS = 250  # in one statement: 3,500 parameters, of 32,766 that SQLite takes
_GIVEN = tuple(name for name in Write.__dataclass_fields__ if name not in ("state", "intent_at"))
_KEY = ("run_id", "seq")
_given = attrgetter(*_GIVEN)


def intents(writes: Iterable[Write], mark: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Statements with parameters that put these writes in flight, replacing what was known of them. `mark` is the driver's `?` or `%s`."""
    for part in _parts(writes):
        moments = {write.intent_at: write.intent_at.isoformat() for write in part}
        values = chain.from_iterable((moments[write.intent_at], *_given(write)) for write in part)
        yield _insert(len(part), mark), tuple(values)


def settlements(run_id: str, settled: Iterable[Settled], now: str, mark: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Statements with parameters that record what came of writes of one run; of two outcomes of one write the last counts."""
    for part in _parts({outcome[0]: outcome for outcome in settled}.values()):
        values = chain.from_iterable((seq, state.value, sink_id, reason) for seq, state, sink_id, reason in part)
        yield _update(len(part), mark), (*values, now, run_id)


@lru_cache(16)
def _insert(count: int, mark: str) -> str:
    names = ("intent_at", *_GIVEN, "state")
    row = f"({f'{mark}, ' * (len(names) - 1)}'{State.IN_FLIGHT}')"
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in _KEY)
    listed = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO crossdock_writes ({listed}) VALUES {', '.join([row] * count)} ON CONFLICT (run_id, seq) DO UPDATE SET {replaced}"  # noqa: S608


@lru_cache(16)
def _update(count: int, mark: str) -> str:
    typed = f"(CAST({mark} AS BIGINT), CAST({mark} AS TEXT), CAST({mark} AS TEXT), CAST({mark} AS TEXT))"
    rows = ", ".join([typed, *[f"({mark}, {mark}, {mark}, {mark})"] * (count - 1)])
    return (
        f"WITH settled (seq, state, sink_id, reason) AS (VALUES {rows}) UPDATE crossdock_writes SET state = settled.state, "  # noqa: S608
        f"sink_id = coalesce(settled.sink_id, crossdock_writes.sink_id), reason = settled.reason, settled_at = {mark} "
        f"FROM settled WHERE crossdock_writes.run_id = {mark} AND crossdock_writes.seq = settled.seq"
    )


def _parts(items: Iterable[Any]) -> Iterator[Sequence[Any]]:
    remaining = iter(items)
    while part := list(islice(remaining, ROWS)):
        yield part
