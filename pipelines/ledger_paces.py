"""The pace of an account in the ledger's database, so that all processes of all hosts keep it together.

Times are kept by the database's clock, and turned into this host's monotonic one for whoever computes with them. One
short transaction a request: the row is locked, read, and replaced; nothing waits for a disk. Who stands still while it holds
the row loses it; while the database restarts nobody sends, since each alone would send what all together may.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from connectors.governor_bucket import Pace, decode, encode

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = ["LedgerCell", "LedgerPaces"]

_TIMES = ("stamp_s", "not_before_s", "sent_s", "slowed_s")
_PATIENCE_MS = 10_000
_IDLE_MS = 3_000  # in the middle of a transaction, before the database takes the row back
_TRIES, _PAUSE_S = 40, 0.5  # of a database that answered before: as long as one takes to be restarted

Result = TypeVar("Result")


@dataclass(frozen=True)
class LedgerPaces:
    """Where the paces of several hosts lie. Calling it gives the cell of one account. Equal for equal databases."""

    url: str

    def __repr__(self) -> str:
        return "LedgerPaces([a database])"  # the address may hold a password

    def __call__(self, account: str) -> "LedgerCell":
        """The cell of an account, named by letters and digits. No database is asked before it is used."""
        return LedgerCell(self.url, account)


class LedgerCell:
    """A few bytes that one holder at a time reads and replaces (`connectors.settings.Cell`). Not for two threads at once."""

    where, alone_s = "the ledger's database", 5.0

    def __init__(self, url: str, account: str) -> None:
        self._url, self._account = url, account
        self._answered = False

    def change(self, step: Callable[[bytes], tuple[bytes, Result]]) -> Result:
        """Give `step` what is kept (empty: nothing yet), keep what it gives back, and give its result.

        Waits for a database that answered before, and gives what is kept to `step` again then. Raises OSError.
        """
        for left in range(_TRIES if self._answered else 1, 0, -1):
            try:
                result = self._changed(step)
                self._answered = True
                return result
            except OSError:
                if left == 1:
                    self._answered = False
                    raise
            time.sleep(_PAUSE_S)
        raise AssertionError("unreachable")

    def _changed(self, step: Callable[[bytes], tuple[bytes, Result]]) -> Result:
        import sqlalchemy as sa

        try:
            with _engine(self._url).begin() as connection:
                kept, now_s, here_s = self._taken(connection)
                moved = here_s - now_s
                new, result = step(_moved(kept, moved, here_s))
                pace = decode(new, here_s, 0.0)
                statement = sa.text("UPDATE crossdock_paces SET pace = :pace WHERE account = :account")
                connection.execute(statement, {"pace": _at(pace, -moved, now_s), "account": self._account})
                return result
        except sa.exc.SQLAlchemyError as error:
            raise OSError(type(error).__name__) from error

    def _taken(self, connection: "Connection") -> tuple[bytes, float, float]:
        """What is kept, locked; what time it is there, and here."""
        import sqlalchemy as sa

        settings = {"synchronous_commit": "off", "lock_timeout": _PATIENCE_MS, "idle_in_transaction_session_timeout": _IDLE_MS}
        connection.execute(sa.text("; ".join(f"SET LOCAL {name} = {value}" for name, value in settings.items())))
        query = sa.text("SELECT pace, extract(epoch FROM clock_timestamp()) FROM crossdock_paces WHERE account = :account FOR UPDATE")
        found: Any = connection.execute(query, {"account": self._account}).first()
        if found is None:
            made = sa.text("INSERT INTO crossdock_paces (account, pace) VALUES (:account, '') ON CONFLICT DO NOTHING")
            connection.execute(made, {"account": self._account})
            found = connection.execute(query, {"account": self._account}).first()
        return bytes(found[0]), float(found[1]), time.monotonic()


def _moved(kept: bytes, moved_s: float, now_s: float) -> bytes:
    """What is kept, with its times moved from the database's clock to this host's."""
    return _at(decode(kept, now_s - moved_s, 0.0), moved_s, now_s) if kept else kept


def _at(pace: Pace, moved_s: float, now_s: float) -> bytes:
    return encode(replace(pace, **{name: getattr(pace, name) + moved_s for name in _TIMES}), now_s, 0.0)


_engines: dict[str, "Engine"] = {}
_mutex = threading.Lock()


def _engine(url: str) -> "Engine":
    """One small pool of connections for each database and process, the ledger's tables made."""
    import sqlalchemy as sa

    from pipelines.ledger_schema import prepare

    with _mutex:
        if url not in _engines:
            spelt = url.replace("postgresql://", "postgresql+psycopg2://", 1)
            made = sa.create_engine(spelt, pool_pre_ping=True, pool_size=2, max_overflow=8, connect_args={"connect_timeout": 10})
            prepare(made.begin)
            _engines[url] = made
        return _engines[url]
