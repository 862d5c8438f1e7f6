"""Many new writes into Postgres by COPY, which takes rows more than twice as fast as the values of a statement. I/O as it is given."""

from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipelines.ledger_records import State, Write

LEAST = 50  # writes; below, the savepoint costs more than COPY saves
_SHARED = ("run_id", "sync", "op", "attempt", "epoch", "intent_at", "reason")  # what the writes of one call have in common
_OWN = ("seq", "key", "source_id", "sink_id", "before", "after", "fingerprint")
_COPY = 'COPY crossdock_writes ("' + '", "'.join((*_SHARED, "state", *_OWN)) + '") FROM STDIN'
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
