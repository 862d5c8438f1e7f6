"""Structured logs: one JSON object a line, each with the sync, run, stream and step it is about.

`about` binds these for a block and whatever it starts in copied contexts; `open_log` sends what is logged to a file or to
standard error. Nothing is written unless CROSSDOCK_LOG asks for it.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.errors import ConfigError

__all__ = ["about", "event", "open_log"]

_LOGGERS = ("connectors", "pipelines")
_bound: ContextVar[Mapping[str, Any] | None] = ContextVar("what is logged is about", default=None)
_log = logging.getLogger("pipelines.run")


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Whatever is logged inside the block carries these facts, beside those of the blocks around it."""
    token = _bound.set({**(_bound.get() or {}), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


def event(name: str, **facts: Any) -> None:
    """Log that something happened, with numbers; the sentence is made of them."""
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, "", ()))
    _log.info("%s%s", name.replace("_", " "), f": {said}" if said else "", extra={"crossdock": {"event": name, **facts}})


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One line; an exception is its type only, since its text may hold a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **(_bound.get() or {}),
            **getattr(record, "crossdock", {}),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str)


def open_log(written: str | None, start: Path) -> None:
    """Send what is logged to the file `written` (relative to `start`; `-`: standard error), once per process. None: nowhere.

    Several processes may append to one file: each line is one write. Raises ConfigError where it cannot be written.
    """
    if not written:
        return
    named = f"crossdock {written}"
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    if any(handler.name == named for handler in loggers[0].handlers):
        return
    try:
        handler = logging.StreamHandler(sys.stderr) if written == "-" else logging.FileHandler(start / written, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"CROSSDOCK_LOG names {written}, which cannot be written ({error.strerror}); correct the path") from None
    handler.name = named
    handler.setFormatter(_JsonLines())
    for logger in loggers:
        for other in [one for one in logger.handlers if (one.name or "").startswith("crossdock ")]:
            logger.removeHandler(other)
        logger.addHandler(handler)
        logger.setLevel(min(logging.INFO, logger.level or logging.INFO))
