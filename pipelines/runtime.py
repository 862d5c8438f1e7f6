"""Connections, ledger and staging of one process; the only module that reads the environment and opens concrete connectors."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any

from connectors.base import Clock, Source, Stream
from connectors.errors import ConfigError
from connectors.governor_file import FilePaces
from connectors.settings import ConnectionSettings, Connector, Ports
from pipelines.alerts import Channel, channels
from pipelines.complaints import listed, nearest
from pipelines.config import ConnectionsFile, SyncFile, SyncFiles, load_connections, load_syncs
from pipelines.ledger_paces import LedgerPaces
from pipelines.locks import file_lock
from pipelines.logs import open_log
from pipelines.offline import declared_stream
from pipelines.places import Places, find_places
from pipelines.ports import SystemClock, SystemRng
from pipelines.spec import SyncSpec
from pipelines.validation import problems, trigger_problems

if TYPE_CHECKING:  # SQLAlchemy takes 0.6 s to import: only who opens a ledger pays for it
    from pipelines.engine import Engine
    from pipelines.ledger import Ledger
    from pipelines.staging import Staging

__all__ = ["CONNECTORS", "Runtime", "connector", "dagster_home", "home", "open_runtime", "places"]

CONNECTORS: Mapping[str, str] = {
    "stacker": "connectors.stacker",
    "robostack": "connectors.robostack",
    "celigo": "connectors.celigo",
    "kragle": "connectors.kragle",
    "stack_ai": "connectors.stack_ai",
}
"""Every connector's name and its package, which exports CONNECTOR and is imported when first used.

Append new ones: the sandbox's ports count up in this order.
"""


def connector(name: str, *, wanted_by: str = "", known: Mapping[str, str] = CONNECTORS) -> Connector:
    """The connector of that name. Raises ConfigError with the nearest name; `wanted_by` is the `file:line` that names it."""
    if name not in known:
        meant = nearest(name, known)
        hint = f"did you mean {meant!r}?" if meant else f"there is {listed(sorted(known))}"
        raise ConfigError(f"{wanted_by + ': ' if wanted_by else ''}there is no connector {name!r}; {hint}")
    found: Connector = import_module(known[name]).CONNECTOR
    return found


def places(environ: Mapping[str, str] | None = None, start: Path | None = None) -> Places:
    """Where this project's files and state lie. `environ` and `start` default to the process's own."""
    return find_places(os.environ if environ is None else environ, start or Path.cwd())


def home() -> Path:
    """The folder of this project's state. It may not exist yet."""
    return places().home


def dagster_home(found: Places, environ: Mapping[str, str]) -> Path:
    """The folder Dagster keeps its own state in (absolute), made ready with the project's dagster.yaml.

    DAGSTER_HOME where it is set, and then left as it is; else `dagster` in the project's state.
    """
    if environ.get("DAGSTER_HOME"):
        return Path(environ["DAGSTER_HOME"]).absolute()
    folder, settings = found.home / "dagster", found.root / "dagster.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "dagster.yaml"
    if settings.is_file() and not (kept.is_file() and kept.read_bytes() == settings.read_bytes()):
        fresh = folder / f"dagster.yaml.{os.getpid()}"
        fresh.write_bytes(settings.read_bytes())
        fresh.replace(kept)
    return folder


def open_runtime(
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
    *,
    ports: Ports | None = None,
    connectors: Mapping[str, str] = CONNECTORS,
) -> "Runtime":
    """The runtime of the project around `start`. Nothing is opened before it is used; close it, or use it in a `with`."""
    variables = dict(os.environ if environ is None else environ)
    found = places(variables, start)
    open_log(variables.get("CROSSDOCK_LOG"), found.root)
    paces = LedgerPaces(found.ledger) if found.ledger.startswith("postgresql") else FilePaces(found.home / "pace")
    return Runtime(found, ports or Ports(SystemClock(), SystemRng(), paces=paces), variables, connectors)


@dataclass(frozen=True)
class Runtime:
    """What one process holds open. Threads may share it. Whatever is asked for twice is the same object."""

    places: Places
    ports: Ports
    environ: Mapping[str, str] = field(repr=False)
    connectors: Mapping[str, str] = field(default_factory=lambda: CONNECTORS)
    _declared: dict[str, Stream | None] = field(default_factory=dict, init=False, repr=False)
    _open: dict[str, Source] = field(default_factory=dict, init=False, repr=False)
    _mutex: Any = field(default_factory=RLock, init=False, repr=False)

    @cached_property
    def connections(self) -> ConnectionsFile:
        """The declared connections. Raises ConfigError with file and line."""
        return load_connections(self.places.connections, self.places.root)

    @cached_property
    def syncs(self) -> SyncFiles:
        """Every sync of the project, and the errors of those that cannot be read."""
        return load_syncs(self.places.syncs, self.places.root)

    @cached_property
    def staging(self) -> "Staging":
        """The staging store. Raises ConfigError where it cannot be opened."""
        from pipelines.staging.open import open_staging

        return open_staging(self.places.staging)

    @cached_property
    def ledger(self) -> "Ledger":
        """The ledger. Raises ConfigError where it cannot be opened."""
        from pipelines.ledger import open_ledger

        return open_ledger(self.places.ledger, self.clock)

    @cached_property
    def alerts(self) -> tuple[Channel, ...]:
        """Where people are told that something needs them. Raises ConfigError."""
        return channels(self.environ.get("CROSSDOCK_ALERTS"), self.places.root)

    @property
    def schedules_run(self) -> bool:
        """Whether schedules run from the start. Raises ConfigError for a value of CROSSDOCK_SCHEDULES that says neither."""
        said = self.environ.get("CROSSDOCK_SCHEDULES") or "stopped"
        if said not in ("running", "stopped"):
            raise ConfigError(
                f"CROSSDOCK_SCHEDULES is {said!r}; write running, or leave it out: schedules are stopped until someone starts them"
            )
        return said == "running"

    @property
    def clock(self) -> Clock:
        """The clock everything of this runtime goes by."""
        return self.ports.clock

    def connector_named(self, name: str, *, wanted_by: str = "") -> Connector:
        """The connector of that name, among those of this runtime. Raises ConfigError with the nearest name."""
        return connector(name, wanted_by=wanted_by, known=self.connectors)

    def connector_of(self, connection: str) -> Connector:
        """The connector that a connection names. Raises ConfigError."""
        entry = self.connections.entry(connection)
        return self.connector_named(entry.connector, wanted_by=entry.at("connector"))

    def settings(self, connection: str) -> ConnectionSettings:
        """The checked settings of a connection, secrets included. Raises ConfigError."""
        return self.connections.entry(connection).settings(self.connector_of(connection).settings, self.environ)

    def open_connection(self, connection: str) -> Source:
        """The connection, ready to read (and to write, where it is a Sink). It asks nothing of the platform yet. Raises ConfigError."""
        with self._mutex:
            if connection not in self._open:
                self._open[connection] = self.connector_of(connection).open(self.settings(connection), self.ports)
            return self._open[connection]

    def open_client(self, connection: str) -> Any:
        """An object whose methods are the platform's documented operations, by name; the caller closes it. Raises ConfigError."""
        return self.connector_of(connection).client(self.settings(connection), self.ports)

    def declared(self, address: str, *, wanted_by: str = "") -> Stream | None:
        """What is known of `connection.stream` without asking the platform and without secrets; None where only it can tell.

        Raises ConfigError for a connection, connector or stream that cannot exist.
        """
        connection, _, stream = address.partition(".")
        entry = self.connections.entry(connection, wanted_by=wanted_by)
        found = self.connector_named(entry.connector, wanted_by=entry.at("connector"))
        with self._mutex:
            if address not in self._declared:
                settings = entry.settings(found.settings, self.environ, placeholders=True)
                self._declared[address] = declared_stream(found, settings, stream, wanted_by=wanted_by)
            return self._declared[address]

    def validate(self, spec: SyncSpec, file: SyncFile | None = None) -> None:
        """Refuse what can never work or never be safe, asking no platform. Raises ConfigError with the first problem.

        `file` tells where the sync is written; without it messages name the sync.
        """

        def at(*keys: str | int) -> str:
            return file.at(*keys) if file is not None else f"sync {spec.name}"

        source = self.declared(spec.source, wanted_by=at("from"))
        sink = self.declared(spec.target, wanted_by=at("to"))
        found = [*problems(spec, at, source, sink), *trigger_problems(spec, at, self.syncs.specs, self.syncs.errors)]
        if found:
            raise ConfigError(found[0] + (f" (and {len(found) - 1} more to repair in it)" if len(found) > 1 else ""))

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Exclusive use of `name` on this host. Raises RetryableError while another run has it."""
        return file_lock(self.places.locks, name)

    def engine(self) -> "Engine":
        """What the steps of a sync are given."""
        from pipelines.engine import Engine

        return Engine(
            clock=self.clock,
            rng=self.ports.rng,
            ledger=self.ledger,
            staging=self.staging,
            open=self.open_connection,
            settings=self.settings,
            lock=self.lock,
        )

    def close(self) -> None:
        """Give everything back. Safe to call twice."""
        with self._mutex:
            held: list[Callable[[], None]] = [source.close for source in self._open.values()]
            self._open.clear()
            held += [self.__dict__.pop(name).close for name in ("staging", "ledger") if name in self.__dict__]
        for close in held:
            close()

    def __enter__(self) -> "Runtime":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _before_fork() -> None:
    if (duck := sys.modules.get("pipelines.duck")) is not None:
        duck.close_idle()


os.register_at_fork(before=_before_fork)
