"""Looks for secrets wherever a project keeps or shows anything: files, databases and their packed cells, Parquet, log lines, tracebacks."""

import base64
import io
import logging
import sqlite3
import traceback
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
from rich.console import Console
from rich.traceback import Traceback


def spellings(secret: str) -> set[bytes]:
    """How a secret may look where it was taken along: as it is, percent-encoded, in Base64 at any offset, backwards."""
    packed = {base64.b64encode(b"x" * shift + secret.encode())[4:-4] for shift in range(3)}
    return {secret.encode(), quote(secret, safe="").encode(), secret[::-1].encode(), secret.encode("utf-16-le"), *packed}


def found_in(text: str | bytes, secrets: Iterable[str]) -> list[str]:
    """The secrets that a text holds."""
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return [secret for secret in secrets if any(spelling in body for spelling in spellings(secret))]


def found_under(folder: Path, secrets: Iterable[str]) -> tuple[list[str], int]:
    """`file: secret` for every secret in a file's name, text or packed contents under a folder; and how many files there were."""
    secrets = list(secrets)
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = []
    for path in files:
        for body in (str(path.relative_to(folder)).encode(), *_contents(path)):
            found += [f"{path.relative_to(folder)}: {secret}" for secret in found_in(body, secrets)]
    return found, len(files)


def _contents(path: Path) -> Iterator[bytes]:
    body = path.read_bytes()
    yield body
    if body.startswith(b"SQLite format 3"):
        yield from _cells(path)
    if body.startswith(b"PAR1"):
        table = pq.read_table(path)
        yield str(table.schema.metadata).encode()
        for column in table.columns:
            yield "\n".join(map(str, column.to_pylist())).encode("utf-8", "surrogatepass")


def _cells(path: Path) -> Iterator[bytes]:
    """Every cell of every table, unpacked where it is packed."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    if isinstance(cell, str):
                        yield cell.encode("utf-8", "surrogatepass")
                    elif isinstance(cell, bytes):
                        yield cell
                        with suppress(zlib.error):
                            yield zlib.decompress(cell)
    finally:
        connection.close()


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """All loggers at DEBUG, whatever they were set to, with tracebacks, in one text. Loggers made meanwhile are loud too."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict))]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)
        for logger, level, disabled in before:
            logger.setLevel(level)
            logger.disabled = disabled


def shown(error: BaseException) -> str:
    """An error in every way a tool may print it: text, repr, traceback, traceback with all local variables (two tools' ways)."""
    console = Console(file=io.StringIO(), width=400)
    console.print(
        Traceback.from_exception(
            type(error), error, error.__traceback__, show_locals=True, locals_max_string=10_000, locals_max_length=1_000
        )
    )
    plain = traceback.TracebackException.from_exception(error, capture_locals=True)
    parts = [str(error), repr(error), repr(vars(error)), "".join(plain.format()), console.file.getvalue()]  # type: ignore[attr-defined]
    return "\n".join(parts)
