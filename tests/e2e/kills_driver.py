"""One run of one sync in a process of its own: the real runtime, ledger, staging and HTTP, with points at which it may be killed.

Processes are forked from one that has imported everything and run nothing, so that hundreds of them cost little.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from connectors.errors import ConnectorError
from connectors.settings import Ports
from pipelines.ports import SystemClock, SystemRng
from tests.e2e.kills_points import Death, Steps, at_the_ports, below_the_ports

_context = get_context("forkserver")
_context.set_forkserver_preload(
    [
        "tests.e2e.kills_driver",
        "connectors.robostack.sink",
        "connectors.stacker.sink",
        "pipelines.dataframes",
        "pipelines.run",
        "pipelines.runtime",
        "pipelines.staging.parquet",
        "pipelines.staging.postgres",
    ]
)


class ShiftedClock(SystemClock):
    """The machine's clock, whose wall time stands off by the seconds that a file says (no file: by none)."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        """The shifted wall clock."""
        try:
            shift_s = float(self._file.read_text())
        except (FileNotFoundError, ValueError):
            shift_s = 0.0
        return super().now() + timedelta(seconds=shift_s)


def start(
    project: Path,
    sync: str,
    run_id: str,
    death: Death | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> BaseProcess:
    """Start a run of the project's sync. How it ended stands in `<project>/<run_id>.json` unless it was killed.

    `before` (a function of a module) is called in the process first, to limit it.
    """
    process = _context.Process(target=_drive, args=(project, sync, run_id, death, dict(environ or {}), before))
    process.start()
    return process


def stand_still(
    project: Path, sync: str, run_id: str, point: str, environ: Mapping[str, str] | None = None, *, nth: int = 1
) -> BaseProcess:
    """A run that has stopped at the `nth` passing of that point."""
    process = start(project, sync, run_id, Death(point, nth, signal.SIGSTOP), environ=environ)
    state = Path(f"/proc/{process.pid}/stat")
    until_s = time.monotonic() + 60
    while state.read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert process.is_alive(), ending(project, run_id)
        assert time.monotonic() < until_s, "the run never came to that point"
        process.join(0.02)
    return process


def ending(project: Path, run_id: str) -> dict[str, Any] | None:
    """How a run ended: its `summary` or its `error` and the `kind` of it, and the points it `passed`. None: it was killed."""
    try:
        found: dict[str, Any] = json.loads((project / f"{run_id}.json").read_text())
    except FileNotFoundError:
        return None
    return found


def _drive(project: Path, sync: str, run_id: str, death: Death | None, environ: dict[str, str], before: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(project)
    if before is not None:
        before()
    step, doing = Steps(death), ["open"]
    below_the_ports(step, doing)
    told: dict[str, Any]
    try:
        told = {"summary": _run(project, sync, run_id, environ, step, doing)}
    except ConnectorError as error:
        told = {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        told = {"error": str(error), "kind": type(error).__name__, "unexpected": True}
        if os.environ.get("KILLS_DEBUG"):
            import traceback

            traceback.print_exc()
    fresh = project / f"{run_id}.new"
    fresh.write_text(json.dumps({**told, "passed": step.passed}))
    fresh.rename(project / f"{run_id}.json")
    sys.exit(0)


def _run(project: Path, sync: str, run_id: str, environ: dict[str, str], step: Steps, doing: list[str]) -> dict[str, Any]:
    from pipelines.run import run_sync
    from pipelines.runtime import open_runtime

    ports = Ports(ShiftedClock(project / "clock_shift"), SystemRng())
    with open_runtime(environ, project, ports=ports) as runtime, nullcontext(runtime.syncs.file(sync).spec) as spec:
        engine = at_the_ports(runtime.engine(), step, doing)
        doing.append("other")
        summary = dict(run_sync(engine, spec, run_id).as_json())
        if spec.retention.ledger is not None:
            _compact(engine, spec)
        return summary


def _compact(engine: Any, spec: Any) -> None:
    """As `crossdock compact` does for each sync."""
    from pipelines import retention

    retention.prune(engine.staging, spec)
    retention.forget(engine, spec)
    retention.compact(engine, spec)
    engine.ledger.compact()
