"""The ledger: what was intended, what came of it, and who is who on both sides. SQLite or Postgres.

A write is recorded before it is sent (`intend`, durable) and settled after its answer (`settle`);
whatever is found unsettled later has an unknown outcome and is looked up, never resent blindly.
"""

import sqlite3

import sqlalchemy as sa

from connectors.base import Clock
from connectors.errors import ConfigError
from pipelines.ledger_crosswalk import Crosswalk
from pipelines.ledger_database import sqlite_engine
from pipelines.ledger_failures import Failures
from pipelines.ledger_records import NEVER_SHOWN, OPEN, Failure, Match, Run, State, Write
from pipelines.ledger_rights import Rights
from pipelines.ledger_runs import Runs
from pipelines.ledger_writes import Writes

__all__ = ["NEVER_SHOWN", "OPEN", "Failure", "Ledger", "Match", "Run", "State", "Write", "open_ledger"]


class Ledger(Runs, Writes, Crosswalk, Failures, Rights):
    """All of it, on one database. Threads may share it; every method is one transaction."""


def _why(error: Exception) -> str:
    """What a file system or SQLite says; of a server's words, which may quote anything, only their kind."""
    cause = getattr(error, "orig", None)
    words = str(cause) if isinstance(cause, sqlite3.Error) else (error.strerror or "") if isinstance(error, OSError) else ""
    return words or type(error).__name__


def open_ledger(url: str, clock: Clock) -> Ledger:
    """The ledger at `sqlite:///path` or `postgresql://…`. Raises ConfigError where it cannot be opened."""
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    try:
        parsed = sa.make_url(url)
        kind = parsed.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise ConfigError(f"the ledger cannot lie at an address of the kind {kind}://; give sqlite:///… or postgresql://…")
        sqlite_file = kind == "sqlite"
        return Ledger(sqlite_engine(parsed) if sqlite_file else sa.create_engine(parsed, pool_pre_ping=True), clock)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        place = url.split("@")[-1]
        named = "CROSSDOCK_LEDGER, or CROSSDOCK_DATABASE"
        raise ConfigError(f"the ledger at {place} cannot be opened ({_why(error)}); check {named}") from error
    except ImportError as error:
        raise ConfigError(f"the driver of {url.split('://')[0]}:// is not installed ({error}); install crossdock[postgres]") from error
