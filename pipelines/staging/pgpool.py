"""Connections to PostgreSQL that are kept and used again: opening one takes longer than most of what is asked over it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, TypeAlias

import adbc_driver_postgresql.dbapi as adbc

from pipelines.staging.pgtables import Cursor, reached

Connection: TypeAlias = Any  # adbc_driver_manager.dbapi.Connection, which has no types

KEPT = 4  # idle ones; more are open only while they are in use


class Pool:
    """Threads share it. A connection that broke while it lay idle is replaced; a process that was forked opens its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._idle: list[Connection] = []
        self._mutex, self._process = Lock(), os.getpid()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor whose work is committed at the end, or undone when the block raises.

        Raises RetryableError where the database goes away.
        """
        with reached(self.url):
            connection = self._taken()
            try:
                with connection.cursor() as cursor:
                    yield cursor
                connection.commit()
            except BaseException:
                with suppress(adbc.Error, OSError):
                    connection.close()
                raise
            self._give_back(connection)

    def close(self) -> None:
        """Close what lies idle. Safe to call twice."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(adbc.Error, OSError):
                connection.close()

    def _taken(self) -> Connection:
        while (connection := self._next()) is not None:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    cursor.fetchall()
                return connection
            except (adbc.Error, OSError):
                with suppress(adbc.Error, OSError):
                    connection.close()
        return adbc.connect(self.url)

    def _next(self) -> Connection | None:
        with self._mutex:
            if self._process != os.getpid():  # they belong to the process that forked us
                self._idle, self._process = [], os.getpid()
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: Connection) -> None:
        with self._mutex:
            if len(self._idle) < KEPT and self._process == os.getpid():
                self._idle.append(connection)
                return
        connection.close()
