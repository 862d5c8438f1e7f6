"""The emulators as background processes on loopback: started once however many use them, stopped when the last one leaves.

Everyone who uses them holds a shared lock. An emulator that outlived a killed parent is found by the lock it
holds and used again. Their records lie in a journal each and outlive them.
"""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from types import FrameType
from urllib.parse import urlsplit

from connectors.base import Clock
from connectors.errors import ConfigError, UnreachableError
from pipelines.processes import end, exclusive, is_alive, last_words, record, start

__all__ = ["Emulator", "Running", "addresses", "environment", "keep", "run_command", "running", "sandbox", "stop"]

HOST = "127.0.0.1"
FIRST_PORT = 8701
START_S = 60.0
POLL_S = 0.05
SEED = 7


@dataclass(frozen=True)
class Emulator:
    """One emulator as it is to be started: `python -m module --host … --port … --state … --seed … arguments`."""

    name: str
    module: str
    port: int
    arguments: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True)
class Running:
    """One emulator that answers. `started`: by this call; else it was found running."""

    name: str
    url: str
    pid: int
    started: bool


def addresses(modules: Mapping[str, str], environ: Mapping[str, str], port_base: int | None = None) -> list[Emulator]:
    """The emulators to start: `modules` maps a connector's name to its emulator's module.

    Ports count up from `port_base` in that order; without it NAME_URL of the environment decides, else they count up
    from 8701. Raises ConfigError where NAME_URL is no loopback address: the sandbox never stands in for a real platform.
    """
    found = []
    for position, (name, module) in enumerate(modules.items()):
        variable = f"{name.upper()}_URL"
        given = environ.get(variable) if port_base is None else None
        port = (port_base or FIRST_PORT) + position
        if given:
            parts = urlsplit(given)
            if parts.hostname not in {HOST, "localhost"} or parts.port is None:
                raise ConfigError(f"{variable} names {parts.hostname or 'no host'}, but the sandbox serves {HOST} only; unset {variable}")
            port = parts.port
        found.append(Emulator(name, module, port))
    return found


def environment(emulators: Sequence[Running], environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with NAME_URL pointing to each emulator: what a command run in the sandbox is given."""
    return {**environ, **{f"{emulator.name.upper()}_URL": emulator.url for emulator in emulators}}


@contextmanager
def sandbox(emulators: Sequence[Emulator], folder: Path, clock: Clock, *, fresh: bool = False) -> Iterator[list[Running]]:
    """The emulators, up and answering inside the `with`. Their records, locks and logs lie in `folder`.

    `fresh` begins with the seeded demo records again. Raises ConfigError where a port is taken or an emulator ends at
    once, UnreachableError where it does not answer in time; those already started are stopped again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    users = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with exclusive(folder / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                if fresh:
                    _forget(emulators, folder)
                found = [_up(emulator, folder) for emulator in emulators]
                for emulator, one in zip(emulators, found, strict=True):  # they start side by side
                    _wait(emulator, one.pid, folder, clock)
            except BaseException:
                _leave(users, folder, clock)
                raise
        try:
            yield found
        finally:
            with exclusive(folder / "start.lock"):
                _leave(users, folder, clock)
    finally:
        os.close(users)


def keep(folder: Path) -> None:
    """Let the emulators run on when their last user leaves, until `stop`."""
    (folder / "keep").touch()


def stop(folder: Path, clock: Clock) -> list[str]:
    """Stop every emulator of this folder, whoever uses it. The names of those that ran."""
    if not folder.is_dir():
        return []
    with exclusive(folder / "start.lock"):
        (folder / "keep").unlink(missing_ok=True)
        return _stop_all(folder, clock)


def running(folder: Path) -> list[Running]:
    """The emulators of this folder that are alive."""
    facts = [record(folder, path.stem) for path in sorted(folder.glob("*.json"))]
    return [Running(fact["name"], fact["url"], fact["pid"], started=False) for fact in facts if fact is not None]


def run_command(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end and give its exit status (128 + n after signal n, as shells do). Main thread only.

    Ctrl-C reaches the command itself, which decides when to end; SIGTERM and SIGHUP are handed on to it.
    """
    started: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        for child in started:
            child.send_signal(number)

    # Before it starts: a program that is started where Ctrl-C is ignored, as behind `&` in a script, would inherit that, and Dagster
    # takes SIGTERM for the same as Ctrl-C.
    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        started.append(subprocess.Popen(list(command), env=dict(environ)))  # noqa: S603
        status = started[0].wait()
    except OSError as error:
        raise ConfigError(f"the command {command[0]!r} cannot be started ({error.strerror}); check its name and PATH") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _leave(users: int, folder: Path, clock: Clock) -> None:
    if (folder / "keep").exists():
        return
    with suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # succeeds when nobody else uses them
        _stop_all(folder, clock)


def _stop_all(folder: Path, clock: Clock) -> list[str]:
    return [path.stem for path in sorted(folder.glob("*.json")) if end(folder, path.stem, clock)]


def _forget(emulators: Sequence[Emulator], folder: Path) -> None:
    for emulator in emulators:
        if is_alive(folder, emulator.name):
            raise ConfigError(f"the {emulator.name} emulator is running and keeps its records; stop it before asking for fresh ones")
        for journal in folder.glob(f"{emulator.name}.journal*"):  # an emulator of several accounts has one for each
            journal.unlink()


def _up(emulator: Emulator, folder: Path) -> Running:
    """The emulator that runs, or one that was just started and may not answer yet."""
    found = record(folder, emulator.name)
    if found is not None and found["port"] != emulator.port:
        raise ConfigError(
            f"this project's {emulator.name} emulator already runs at {found['url']}, not at {emulator.url}; "
            f"stop it, or set {emulator.name.upper()}_URL={found['url']}"
        )
    if found is None:
        _require_free(emulator)
        command = [sys.executable, "-m", emulator.module, "--host", HOST, "--port", str(emulator.port)]
        command += ["--state", str(folder / f"{emulator.name}.journal"), "--seed", str(SEED), *emulator.arguments]
        pid = start(folder, emulator.name, command, {"name": emulator.name, "url": emulator.url, "port": emulator.port})
    else:
        pid = int(found["pid"])
    return Running(emulator.name, emulator.url, pid, started=found is None)


def _require_free(emulator: Emulator) -> None:
    with socket(AF_INET, SOCK_STREAM) as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, emulator.port))
        except OSError:
            raise ConfigError(
                f"port {emulator.port} of {HOST} is taken by a program that is not this project's {emulator.name} emulator; "
                f"stop that, or choose other ports with --port-base or {emulator.name.upper()}_URL"
            ) from None


def _wait(emulator: Emulator, pid: int, folder: Path, clock: Clock) -> None:
    """Until it answers anything at all."""
    give_up = clock.monotonic() + START_S
    while not _answers(emulator):
        if not is_alive(folder, emulator.name):
            raise ConfigError(
                f"the {emulator.name} emulator ended instead of serving ({last_words(folder, emulator.name)}); "
                f"its whole log is {folder / emulator.name}.log"
            )
        if clock.monotonic() > give_up:
            raise UnreachableError(f"the {emulator.name} emulator (process {pid}) does not answer at {emulator.url} after {START_S:.0f} s")
        clock.sleep(POLL_S)


def _answers(emulator: Emulator) -> bool:
    connection = HTTPConnection(HOST, emulator.port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True
