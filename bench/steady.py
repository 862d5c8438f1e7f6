"""Many syncs on a schedule under Dagster's own daemon: none skipped, no connection over its limit, memory flat.

`python -m bench.steady [--syncs 50] [--every-s 300] [--for-s 1800] [--rate 20]`. A shortened try divides both times. Ticks are
made by cron where `--every-s` is whole minutes. Counted are the runs of the ledger, the requests as the platforms saw them, and
the resident memory of the daemon and its code server, sampled all along.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from pipelines.runtime import open_runtime
from tests.loopback import serving

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent


def main() -> None:
    """Let it run and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syncs", type=int, default=50)
    parser.add_argument("--every-s", type=int, default=300)
    parser.add_argument("--for-s", type=int, default=1800)
    parser.add_argument("--rate", type=int, default=20, help="requests a second that each platform's account allows")
    parser.add_argument("--at-once", type=int, default=4, help="runs at once")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stacker, robostack = StackerStore(contacts=200, companies=0, orders=0), RobostackStore(invoices=0)
        seen = {"stacker": _Seen(stacker_app(stacker)), "robostack": _Seen(robostack_app(robostack))}
        urls = {name: stack.enter_context(serving(app)) for name, app in seen.items()}
        for number in range(given.syncs):
            robostack.add_resource(f"people{number}")
        _project(folder, given, urls)
        home = folder / "home" / "dagster"
        home.mkdir(parents=True)
        text = (ROOT / "dagster.yaml").read_text()
        (home / "dagster.yaml").write_text(text.replace("max_concurrent_runs: 4", f"max_concurrent_runs: {given.at_once}"))
        environ = {**os.environ, "DAGSTER_HOME": str(home), "CROSSDOCK_HOME": str(home.parent), "CROSSDOCK_SCHEDULES": "running"}
        daemon = stack.enter_context(_daemon(folder, environ))
        memory = _watched(daemon, given.for_s)
        with open_runtime(environ, folder) as runtime:
            runs = runtime.ledger.runs(limit=1_000_000)
        _report(given, runs, seen, memory)


def _report(given: argparse.Namespace, runs: list[Any], seen: dict[str, "_Seen"], memory: list[int]) -> None:
    by_sync: dict[str, int] = {}
    for run in runs:
        by_sync[run.sync] = by_sync.get(run.sync, 0) + 1
    expected = given.for_s // given.every_s
    counts = sorted(by_sync.get(f"sync{number:02}", 0) for number in range(given.syncs))
    print(f"{len(runs)} runs of {given.syncs} syncs, {counts[0]} to {counts[-1]} each; {expected} ticks each were due")
    print(f"not ok: {sorted({run.status for run in runs} - {'ok', 'partial'}) or 'none'}")
    for name, one in seen.items():
        print(f"{name}: {len(one.arrived_s)} requests; at most {one.beyond(given.rate):.1f} at once beyond {given.rate}/s")
    if memory:
        third = max(1, len(memory) // 3)
        first, last = (sum(part) / len(part) / 1e6 for part in (memory[third : 2 * third] or memory, memory[-third:]))
        print(f"memory of the daemon and its servers, without runs: {first:.0f} MB in the second third, {last:.0f} MB in the last")


class _Seen:
    """A platform that notes when requests arrive."""

    def __init__(self, app: Any) -> None:
        self._app, self.arrived_s = app, []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.arrived_s.append(time.monotonic())
            await asyncio.sleep(0.02)
        await self._app(scope, receive, send)

    def beyond(self, rate: float) -> float:
        """The most requests that any span held beyond what the rate gives in it."""
        worst = filled = last = 0.0
        for at in self.arrived_s:
            filled = max(0.0, filled - rate * (at - last)) + 1
            worst, last = max(worst, filled), at
        return worst


def _project(folder: Path, given: argparse.Namespace, urls: dict[str, str]) -> None:
    for name in ("pipelines", "connectors"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "defs"))
    defs = folder / "pipelines" / "defs"
    defs.mkdir()
    (defs / "__init__.py").write_text('"""Syncs."""\n')
    for name in ("workspace.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    pace = {"rate_limit": f"{given.rate}/s", "burst": max(2, given.rate // 4)}
    here = {"connector": "stacker", "base_url": urls["stacker"], "integration_key": "demo", "stack_id": "stk_demo", **pace}
    keys = {"api_key": "demo", "api_secret": "demo", "app_uuid": "00000000-0000-4000-8000-000000000001"}
    streams = {f"people{number}": {"key": ["id"]} for number in range(given.syncs)}
    there = {"connector": "robostack", "base_url": urls["robostack"], **keys, "streams": streams, **pace}
    (folder / "connections.yaml").write_text(json.dumps({"connections": {"here": here, "there": there}}))
    for number in range(given.syncs):
        attributes = {
            "from": "here.contacts",
            "to": f"there.people{number}",
            "match": ["email"],
            "fields": {"email": "lower(trim(email))", "name": "first_name"},
            "schedule": f"*/{max(1, given.every_s // 60)} * * * *",
        }
        (defs / f"sync{number:02}").mkdir()
        whole = {"type": "pipelines.components.SyncComponent", "attributes": attributes}
        (defs / f"sync{number:02}" / "defs.yaml").write_text(json.dumps(whole))


@contextmanager
def _daemon(folder: Path, environ: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAMS / "dagster-daemon", "run", "-w", "workspace.yaml"],
            cwd=folder,
            env={**environ, "PYTHONPATH": str(folder)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _watched(daemon: "subprocess.Popen[bytes]", for_s: float) -> list[int]:
    """Resident bytes of the daemon and the servers it started, every five seconds for so long; runs come and go and are not counted."""
    found: list[int] = []
    over = threading.Event()
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s and daemon.poll() is None:
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
                words = (stat.parent / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == daemon.pid and b"execute_run" not in words:  # its session
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found.append(total)
        over.wait(5)
    return found


if __name__ == "__main__":
    main()
