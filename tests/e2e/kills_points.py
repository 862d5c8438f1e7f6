"""Named points in a real run at which its process may end: before, inside and after everything it makes durable or sends.

Only the driver of the kill tests uses this. The ports are wrapped where the engine is given them; what lies below a
port (a commit, a rename, a socket) is wrapped where the library is entered.
"""

import functools
import os
import select
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa

from connectors import http_login, http_wire
from pipelines import ledger_schema
from pipelines.engine import Engine
from pipelines.staging import parquet

LEDGER = [
    "begin_run",
    "note_run",
    "finish_run",
    "intend",
    "settle",
    "put_matches",
    "drop_matches",
    "put_failures",
    "hold_failures",
    "drop_failures_before",
    "move_position",
    "forget_runs",
    "compact",
    "claim",
    "renew",
    "release",
]


@dataclass(frozen=True)
class Death:
    """Where the process is to end: at the `nth` passing of `point`, by this signal (SIGSTOP only stands still)."""

    point: str
    nth: int = 1
    signal: int = signal.SIGKILL


class Steps:
    """Counts the points a process passes, and ends it at the one that is meant."""

    def __init__(self, death: Death | None) -> None:
        self.death, self.passed, self._lock = death, Counter[str](), Lock()

    def __call__(self, point: str) -> None:
        """Pass a point, or end there."""
        with self._lock:
            self.passed[point] += 1
            meant = self.death is not None and self.death.point == point and self.death.nth == self.passed[point]
        if meant and self.death is not None:
            os.kill(os.getpid(), self.death.signal)

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        """Pass before and after the block."""
        self(f"before {what}")
        yield
        self(f"after {what}")


def below_the_ports(step: Steps, doing: list[str]) -> None:
    """Wrap commits, steps of the ledger's version, renames, removals, log-ins and sockets of this process."""

    @sa.event.listens_for(sa.engine.Engine, "commit")
    def committing(connection: Any) -> None:
        step(f"inside ledger {doing[-1]}")

    @sa.event.listens_for(sa.engine.Engine, "after_cursor_execute")
    def executed(connection: Any, cursor: Any, statement: str, *given: Any) -> None:
        if statement == "VACUUM":
            step("ledger compacted, its log still long")

    def taking(number: int, upward: Callable[[Any], None], connection: Any) -> None:
        with step.around(f"ledger step {number}"):
            upward(connection)

    ledger_schema.STEPS = tuple(functools.partial(taking, number, one) for number, one in enumerate(ledger_schema.STEPS, 1))
    _dying_login(step)
    rename, remove = os.replace, shutil.rmtree

    def replaced(source: Any, target: Any, **given: Any) -> None:
        what = _staged(Path(target))
        if what is None:
            return rename(source, target, **given)
        with step.around(f"rename of {what}"):
            rename(source, target, **given)

    def removed(path: Any, *given: Any, **named: Any) -> None:
        step("batch half dropped")
        remove(path, *given, **named)

    os.replace = replaced
    parquet.shutil.rmtree = removed
    http_wire._Stream = functools.partial(_DyingStream, step, http_wire._Stream)  # type: ignore[misc, assignment]


def _dying_login(step: Steps) -> None:
    """Wrap what is told when somebody logs in, and that it is kept."""
    begin, renew = http_login.Login.__init__, http_login.Login.renew

    def begun(self: Any, account: str, log_in: Callable[[], Any], **more: Any) -> None:
        def logged_in() -> Any:
            headers = log_in()
            step("token told, not kept")
            return headers

        begin(self, account, logged_in, **more)

    def renewed(self: Any, number: int) -> None:
        step("before a log-in")
        renew(self, number)
        step("token kept, not used")

    http_login.Login.__init__, http_login.Login.renew = begun, renewed  # type: ignore[method-assign]


def _staged(path: Path) -> str | None:
    """What a file of staging is: the kind of its dataset and its name."""
    if "staging" not in path.parts:
        return None
    return f"{path.parts[path.parts.index('staging') + 1]} {path.name}"


class _DyingStream:
    """A connection on which requests are cut in two and answers are read in two."""

    def __init__(self, step: Steps, kind: Callable[..., Any], *given: Any) -> None:
        self._step, self._inner, self._verb, self._reads = step, kind(*given), "", 0

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        verb = buffer[:8].split(b" ")[0].decode("latin-1")
        if verb in ("POST", "PUT", "PATCH", "DELETE", "GET"):
            self._verb, self._reads = "log-in" if buffer.startswith(b"POST /token ") else verb, 0
            self._step(f"before {self._verb}")
            self._inner.write(buffer, timeout)
            return self._step(f"headers of {self._verb} sent")
        if not buffer:
            return self._inner.write(buffer, timeout)  # type: ignore[no-any-return]
        half = len(buffer) // 2
        self._inner.write(buffer[:half], timeout)
        self._step(f"half of {self._verb} sent")
        self._inner.write(buffer[half:], timeout)
        self._step(f"{self._verb} sent")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._reads += 1
        if self._reads > 1:
            return self._inner.read(max_bytes, timeout)  # type: ignore[no-any-return]
        select.select([self._inner.get_extra_info("socket")], [], [], timeout)
        self._step(f"{self._verb} answered, nothing read")
        start: bytes = self._inner.read(16, timeout)
        self._step(f"answer to {self._verb} partly read")
        return start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def at_the_ports(engine: Engine, step: Steps, doing: list[str]) -> Engine:
    """The engine over ports that pass every point."""
    return replace(
        engine,
        ledger=_DyingLedger(engine.ledger, step, doing),  # type: ignore[arg-type]
        staging=_DyingStaging(engine.staging, step),
        lock=lambda name: _lock(engine.lock, name, step),
        clock=_DyingClock(engine.clock, step),
    )


@contextmanager
def _lock(lock: Callable[[str], AbstractContextManager[None]], name: str, step: Steps) -> Iterator[None]:
    step("before the lock")
    with lock(name):
        step("locked")
        yield
        step("before the unlock")
    step("unlocked")


class _DyingLedger:
    def __init__(self, ledger: Any, step: Steps, doing: list[str]) -> None:
        self._ledger, self._step, self._doing = ledger, step, doing

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if name not in LEDGER:
            return method

        @functools.wraps(method)
        def passed(*given: Any, **named: Any) -> Any:
            with self._step.around(f"ledger {name}"):
                self._doing.append(name)
                try:
                    return method(*given, **named)
                finally:
                    self._doing.pop()

        return passed


class _DyingStaging:
    def __init__(self, staging: Any, step: Steps) -> None:
        self._staging, self._step = staging, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._staging, name)

    def begin(self, dataset: Any) -> Any:
        self._step(f"before staging {dataset.parts[0]}")
        return _DyingWriter(self._staging.begin(dataset), dataset.parts[0], self._step)

    def put_index(self, batch: Any, name: str, arrays: Any) -> None:
        with self._step.around(f"index {name}"):
            self._staging.put_index(batch, name, arrays)

    def drop(self, batch: Any) -> None:
        with self._step.around("drop"):
            self._staging.drop(batch)


class _DyingWriter:
    def __init__(self, writer: Any, kind: str, step: Steps) -> None:
        self._writer, self._kind, self._step = writer, kind, step

    def __enter__(self) -> "_DyingWriter":
        self._writer.__enter__()
        return self

    def __exit__(self, *given: Any) -> None:
        self._writer.__exit__(*given)

    def write(self, records: Any) -> None:
        self._step(f"before a write of {self._kind}")
        self._writer.write(records)

    def commit(self, note: Any) -> Any:
        with self._step.around(f"commit of {self._kind}"):
            return self._writer.commit(note)


class _DyingClock:
    def __init__(self, clock: Any, step: Steps) -> None:
        self._clock, self._step, self.now, self.monotonic = clock, step, clock.now, clock.monotonic

    def sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            self._step("before a wait")
        self._clock.sleep(duration_s)
