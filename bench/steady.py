"""Many syncs on a schedule under Dagster's own daemon: none skipped, no connection over its limit, memory flat.

`python -m bench.steady [--syncs 50] [--every-s 300] [--for-s 1800] [--rate 20] [--folder PLACE]`. The daemon and a code server run as
on one machine (`deploy/README.md`), each run in a process of its own. Counted from the first tick on, round by round: the runs of the
ledger, the requests as the platforms saw them, resident memory of the servers and of the runs, processor time. It fails where a run is
missing or went wrong, and shows the end of the servers' logs, which stay in `--folder` where that is given.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from pipelines.runtime import open_runtime
from tests.loopback import serving

ROOT = Path(__file__).resolve().parents[1]
DAGSTER = [sys.executable, "-m", "dagster"]
LOOK_S = 2.0


def main() -> None:
    """Let it run and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syncs", type=int, default=50)
    parser.add_argument("--every-s", type=int, default=300, help="whole minutes that divide an hour")
    parser.add_argument("--for-s", type=int, default=1800)
    parser.add_argument("--rate", type=int, default=20, help="requests a second that each platform's account allows")
    parser.add_argument("--at-once", type=int, default=4, help="runs at once")
    parser.add_argument("--folder", type=Path, help="an empty or new folder that is left as it is at the end")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        stacker, robostack = StackerStore(contacts=200, companies=0, orders=0), RobostackStore(invoices=0)
        seen = {"stacker": _Seen(stacker_app(stacker)), "robostack": _Seen(robostack_app(robostack))}
        urls = {name: stack.enter_context(serving(app)) for name, app in seen.items()}
        for number in range(given.syncs):
            robostack.add_resource(f"people{number}")
        environ = _project(folder, given, urls)
        began_s = given.every_s * (1 + (time.time() + 90) // given.every_s)  # Dagster's daemon first looks at a minute's start
        with _servers(folder, environ) as servers:
            rounds = _watched(servers, began_s, given.every_s, given.for_s // given.every_s)
            fine = all(server.poll() is None for server in servers)
        with open_runtime(environ, folder) as runtime:
            runs = [run for run in runtime.ledger.runs(limit=1_000_000) if datetime.fromisoformat(run.started_at).timestamp() >= began_s]
        if not _report(given, runs, seen, rounds) or not fine:
            for log in sorted(folder.glob("*.log")):
                print(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-4000:]}", file=sys.stderr)
            sys.exit(1)


@dataclass
class _Round:
    """What was seen from one tick to the next. Bytes resident; `busy_s`: from the tick to the last moment at which a run was seen."""

    began_s: float
    servers: list[int] = field(default_factory=list)
    run: int = 0
    runs: int = 0
    busy_s: float = 0.0


def _report(given: argparse.Namespace, runs: list[Any], seen: dict[str, "_Seen"], rounds: list[_Round]) -> bool:
    by_sync = Counter(run.sync for run in runs)
    counts = sorted(by_sync.get(f"sync{number:02}", 0) for number in range(given.syncs))
    wrong = Counter(run.status for run in runs if run.status not in ("ok", "partial"))
    print(f"{len(runs)} runs of {given.syncs} syncs, {counts[0]} to {counts[-1]} each; {len(rounds)} ticks each were due")
    print(f"not well: {dict(wrong) or 'none'}")
    for name, one in seen.items():
        print(f"{name}: {len(one.arrived_s)} requests; at most {one.beyond(given.rate):.1f} at once beyond {given.rate}/s")
    print("round  busy s  servers mean, peak MB  a run's peak MB  all runs' peak MB")
    for number, one in enumerate(rounds, 1):
        mean, peak = sum(one.servers) / max(1, len(one.servers)), max(one.servers, default=0)
        print(f"{number:5}  {one.busy_s:6.0f}  {mean / 1e6:12.0f}, {peak / 1e6:4.0f}     {one.run / 1e6:15.0f}  {one.runs / 1e6:17.0f}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"processor: {(used.ru_utime + used.ru_stime) / max(1, len(runs)):.1f} s a run, servers included")
    return counts[0] == counts[-1] == len(rounds) and not wrong


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


def _project(folder: Path, given: argparse.Namespace, urls: dict[str, str]) -> dict[str, str]:
    """Write the project, and give the variables that its processes see."""
    for name in ("pipelines", "connectors"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "defs"))
    defs = folder / "pipelines" / "defs"
    defs.mkdir()
    (defs / "__init__.py").write_text('"""Syncs."""\n')
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    served = {"grpc_server": {"socket": str(folder / "code.sock"), "location_name": "crossdock"}}
    (folder / "workspace.yaml").write_text(json.dumps({"load_from": [served]}))
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
    home = folder / "home" / "dagster"
    home.mkdir(parents=True)
    text = (ROOT / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(text.replace("max_concurrent_runs: 4", f"max_concurrent_runs: {given.at_once}"))
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # compiled once, as when installed
    ours = {"DAGSTER_HOME": str(home), "CROSSDOCK_HOME": str(home.parent), "CROSSDOCK_SCHEDULES": "running"}
    return {**environ, **ours, "PYTHONPATH": str(folder)}


@contextmanager
def _servers(folder: Path, environ: dict[str, str]) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """The code server and the daemon. A run is a process that the code server starts."""
    commands = {
        "code": ["api", "grpc", "-m", "pipelines.definitions", "--socket", str(folder / "code.sock"), "--location-name", "crossdock"],
        "daemon": [],
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        for name, words in commands.items():
            command = [*DAGSTER, *words] if words else [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
            with (folder / f"{name}.log").open("wb") as log:
                started.append(subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True))
        yield started
    finally:
        for process in reversed(started):
            with process:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def _watched(servers: list["subprocess.Popen[bytes]"], began_s: float, every_s: int, count: int) -> list[_Round]:
    """So many rounds, the first of which begins at `began_s`; fewer where a server ends."""
    rounds = [_Round(began_s + number * every_s) for number in range(count)]
    over = threading.Event()
    while (now_s := time.time()) < began_s + every_s * count - 2 * LOOK_S and all(server.poll() is None for server in servers):
        if now_s >= began_s:
            _look({server.pid for server in servers}, rounds[int((now_s - began_s) // every_s)])
        over.wait(LOOK_S)
    return rounds


def _look(leaders: set[int], here: _Round) -> None:
    """Note how much memory the processes of these sessions hold: the servers, and the runs that they started."""
    servers, runs = 0, []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            words = (stat.parent / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) in leaders:
            size = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            if b"spawn_main" in words:
                runs.append(size)
            else:
                servers += size
    here.servers.append(servers)
    here.run, here.runs = max([here.run, *runs]), max(here.runs, sum(runs))
    if runs:
        here.busy_s = time.time() - here.began_s


if __name__ == "__main__":
    main()
