"""Trouble: what the refusal of a database means, as an error that says what to do."""

import sqlite3

import sqlalchemy as sa

from connectors.errors import ConfigError, ConnectorError, RetryableError

_LOST = "nothing was sent that is not in it; what was under way is looked up by the next run"
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")
_IN_USE = ("SQLITE_BUSY", "SQLITE_LOCKED")


def trouble(error: Exception, url: sa.URL) -> ConnectorError | None:
    """The error to raise for what the ledger's database said, or None where it is a defect of ours. No statement is quoted."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        name = str(getattr(cause, "sqlite_errorname", ""))
        words = f"{cause}" if name.startswith((*_DAMAGED, *_NO_ROOM, *_IN_USE)) else ""
        if name.startswith(_DAMAGED):
            return ConfigError(f"the ledger {url.database} is damaged ({words}); put its last backup in its place, then run again")
        if name.startswith(_NO_ROOM):
            return ConfigError(f"the ledger {url.database} cannot be used ({words}); make room or repair the disk, then run again: {_LOST}")
        if name.startswith(_IN_USE):
            return RetryableError(f"the ledger {url.database} is in use by another program ({words}); run again when it is free")
        return None
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) or getattr(error, "connection_invalidated", False):
        place = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"
        why = type(cause).__name__
        return RetryableError(f"the ledger's database at {place} is out of reach ({why}); run again when it is back: {_LOST}")
    return None
