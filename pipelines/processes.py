"""Background processes that are known by the lock they hold, never by a number in a file alone.

A process inherits the descriptor of its locked file, so the lock lasts exactly as long as it does, even if
whoever started it is killed. A process id is only ever signalled while that lock is held.
"""

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.base import Clock
from connectors.errors import ConfigError

__all__ = ["end", "exclusive", "is_alive", "last_words", "record", "start"]

STOP_S = 10.0
POLL_S = 0.05

_children: dict[int, "subprocess.Popen[bytes]"] = {}  # those this process started, to collect their exit status


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the lock at `path` and hold it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def start(folder: Path, name: str, command: Sequence[str], facts: Mapping[str, Any]) -> int:
    """Start `command` in a session of its own, so that Ctrl-C passes it by; its output goes to `folder/name.log`.

    Keeps `facts` and the process id for `record`. Gives the process id. Raises ConfigError if it runs already.
    """
    (folder / f"{name}.json").unlink(missing_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with (folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(  # noqa: S603
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(descriptor,), start_new_session=True
            )
    except BlockingIOError:
        raise ConfigError(f"{name} runs already, with its files in {folder}; stop it first") from None
    finally:
        os.close(descriptor)  # the child keeps its own, and with it the lock
    _children[child.pid] = child
    fresh = folder / f"{name}.json.new"
    fresh.write_text(json.dumps({**facts, "pid": child.pid}))
    fresh.replace(folder / f"{name}.json")
    return child.pid


def is_alive(folder: Path, name: str) -> bool:
    """Whether the process called `name` runs."""
    try:
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def record(folder: Path, name: str) -> dict[str, Any] | None:
    """The facts it was started with and its `pid`, or None if it does not run."""
    if not is_alive(folder, name):
        return None
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    except (OSError, ValueError):
        raise ConfigError(f"{name} runs, but the record of it in {folder} is lost; end it by hand and start again") from None
    return found


def end(folder: Path, name: str, clock: Clock) -> bool:
    """Ask it to end, and after ten seconds make it. Gives whether it ran."""
    found = record(folder, name)
    if found is None:
        return False
    pid = int(found["pid"])
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(pid, number)
        give_up = clock.monotonic() + STOP_S
        while is_alive(folder, name) and clock.monotonic() < give_up:
            clock.sleep(POLL_S)
        if not is_alive(folder, name):
            break
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()
    (folder / f"{name}.json").unlink(missing_ok=True)
    return True


def last_words(folder: Path, name: str) -> str:
    """The last line it wrote, shortened; what to say when it ended by itself."""
    try:
        lines = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:200] if lines else "it wrote nothing"


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
