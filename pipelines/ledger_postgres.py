"""What Postgres takes faster than a statement with the values of many rows: new writes by COPY, outcomes as arrays. I/O as it is given."""

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipelines.chunked import chunked
from pipelines.ledger_bulk import Settled
from pipelines.ledger_records import State, Write

LEAST = 50  # writes; below, the savepoint costs more than COPY saves
_AT_ONCE = 5_000  # outcomes
_SHARED = ("run_id", "sync", "op", "attempt", "epoch", "intent_at", "reason")  # what the writes of one call have in common
_OWN = ("seq", "key", "source_id", "sink_id", "before", "after", "fingerprint")
_COPY = 'COPY crossdock_writes ("' + '", "'.join((*_SHARED, "state", *_OWN)) + '") FROM STDIN'
_SETTLE = """
    UPDATE crossdock_writes SET settled_at = %s, state = settled.state, sink_id = coalesce(settled.sink_id, crossdock_writes.sink_id),
        reason = settled.reason
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS settled (seq, state, sink_id, reason)
    WHERE crossdock_writes.run_id = %s AND crossdock_writes.seq = settled.seq AND crossdock_writes.seq BETWEEN %s AND %s"""
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_shared, _own = attrgetter(*_SHARED), attrgetter(*_OWN)


def copy_new(connection: Connection, writes: Sequence[Write]) -> bool:
    """Put these writes in flight, within the transaction that is open. False, and nothing done, where one of them is known already."""
    dbapi: Any = connection.dialect.loaded_dbapi
    driver: Any = connection.connection
    try:
        with connection.begin_nested(), driver.cursor() as cursor:
            cursor.copy_expert(_COPY, StringIO("".join(_lines(writes))))
    except dbapi.IntegrityError:
        return False
    except dbapi.Error as error:
        raise sa.exc.DBAPIError.instance("COPY crossdock_writes", None, error, dbapi.Error) from error
    return True


def settle(connection: Connection, run_id: str, settled: Iterable[Settled], now: str) -> None:
    """Record what came of writes of one run; of two outcomes of one write the last counts.

    They are named with the range they lie in: Postgres reads every write of the run otherwise.
    """
    for part in chunked({outcome[0]: outcome for outcome in settled}.values(), _AT_ONCE):
        columns = [_array(column) for column in zip(*part, strict=True)]
        connection.exec_driver_sql(_SETTLE, (now, *columns, run_id, min(part)[0], max(part)[0]))


def _array(values: Iterable[int | str | None]) -> str:
    """An array as Postgres spells it, in one text."""
    return "{" + ",".join("NULL" if value is None else _quoted(str(value)) for value in values) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(writes: Sequence[Write]) -> Iterator[str]:
    for shared, alike in groupby(writes, _shared):
        given = (value.isoformat() if name == "intent_at" else value for name, value in zip(_SHARED, shared, strict=True))
        common = "\t".join(map(_text, (*given, State.IN_FLIGHT)))
        for write in alike:
            yield "\t".join((common, *map(_text, _own(write)))) + "\n"


def _text(value: str | int | None) -> str:
    """A value as COPY's text format has it."""
    if value is None:
        return "\\N"
    text = str(value)
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)
