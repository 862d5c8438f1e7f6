"""One sync written by one process, and by several workers of several hosts, one of which is killed: same end, how much faster, which pace.

`python -m bench.shards [--contacts 1000000] [--workers 4] [--hosts 3] [--latency-ms 300] [--rate 100/s]`. Hosts are homes of their
own; they share a ledger in Postgres (`--ledger`, or one started for this) and a folder of staging. Needs PostgreSQL's programs.
"""

import argparse
import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg2

from tests.postgres import find_binaries, running_server

COMMAND = [sys.executable, "-c", "from pipelines.cli import main; main()"]
ROOT = Path(__file__).resolve().parents[1]
SOURCE, SINK = 18721, 18722

# "beyond": the most requests that any span held beyond what the rate gives in it, which is the burst that was used
COLUMNS = (
    *(("workers", 8), ("killed", 7), ("seconds", 8), ("extract", 8), ("plan", 6), ("write", 7), ("look", 6), ("settle", 7), ("close", 6)),
    *(("created", 9), ("pending", 8), ("requests", 9), ("beyond", 12), ("replan", 13)),
)
STEPS = {"extract": "extracted", "plan": "planned", "write": "written", "look": "looked", "settle": "settled", "close": "run_ended"}
STAGES = {"write": "written", "delete": "written", "look": "looked", "settle": "settled", "settle_deletes": "settled"}

CONNECTIONS = """\
connections:
  here: {{connector: stacker, base_url: "http://127.0.0.1:{source}", integration_key: demo, stack_id: stk_demo, timeout_s: 300}}
  there:
    connector: robostack
    base_url: http://127.0.0.1:{sink}
    api_key: demo
    api_secret: demo
    app_uuid: 00000000-0000-4000-8000-000000000001
    timeout_s: {timeout_s}
    max_response_bytes: 2000000000
    T_server_max_s: 1
    concurrency: {concurrency}
{rate}    streams: {{people: {{key: [id], natural_key: [email]}}}}
"""


def main() -> None:
    """Run it both ways and print what each took and left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4, help="processes that write, the run's own among them")
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--latency-ms", type=int, default=300, help="the sink's, of every request")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=2, help="requests under way at once, of each process")
    parser.add_argument("--timeout-s", type=float, default=20)
    parser.add_argument("--rate", default="", help="the connection's rate_limit")
    parser.add_argument("--ledger", default="")
    parser.add_argument("--platform", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.platform:
        _serve(given.platform, given.latency_ms)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(_process("-m", "connectors.stacker.emulator", "--port", str(SOURCE), "--contacts", str(given.contacts)))
        _answering(SOURCE)
        found = [_variant(stack, folder / str(count), given, count) for count in (1, given.workers)]
    print(" ".join(f"{name:>{width}}" for name, width in COLUMNS))
    for one in found:
        print(" ".join(f"{one[name]:>{width}}" for name, width in COLUMNS))
    same, faster = len({one["state"] for one in found}) == 1, [found[0][name] / found[1][name] for name in ("write", "settle", "seconds")]
    print(f"the same records at the end: {same}; the same plan to update them all: {len(found[1]['plans']) == 1}")
    print(f"writing was {faster[0]:.1f} x, settling {faster[1]:.1f} x, all {faster[2]:.1f} x as fast")


def _variant(stack: ExitStack, folder: Path, given: argparse.Namespace, workers: int) -> dict[str, Any]:
    """One sync from nothing, by so many processes; of several one is killed when a third is written."""
    with ExitStack() as own:
        own.enter_context(_process("-m", "bench.shards", "--platform", str(SINK), "--latency-ms", str(given.latency_ms)))
        _answering(SINK)
        ledger = given.ledger or own.enter_context(_postgres())
        _project(folder, given, shards=1 if workers == 1 else 4 * workers)
        environ = {"CROSSDOCK_LEDGER": ledger, "CROSSDOCK_STAGING": str(folder / "staging"), "CROSSDOCK_LOG": str(folder / "log")}
        homes = [_home(environ, folder, number % given.hosts) for number in range(1, workers)]
        helpers = [own.enter_context(_process(*COMMAND[1:], "work", "--wait", "1d", cwd=folder, environ=home)) for home in homes]
        began = time.monotonic()
        run = subprocess.Popen(
            [*COMMAND, "run", "all", "--json"], cwd=folder, env=_home(environ, folder, 0), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        killed = _kill_one(run, helpers, ledger, given) if helpers else 0
        out, _ = run.communicate()
        seconds = time.monotonic() - began
        summary, told = json.loads(out), httpx.get(f"http://127.0.0.1:{SINK}/_bench", timeout=600).json()
        steps = _steps(folder / "log")
        plans = []
        for shards in (1, 4 * workers) if helpers else (1,):
            _project(folder, given, shards=shards, name="last_name || ', ' || first_name")
            again = [own.enter_context(_process(*COMMAND[1:], "work", "--wait", "1d", cwd=folder, environ=home)) for home in homes]
            plans.append(_replanned(folder, _home(environ, folder, 0), waiting=shards > 1))
            for one in again:
                one.terminate()
    rate = float(given.rate.partition("/")[0]) if given.rate else 0.0
    return {
        "workers": workers,
        "killed": killed,
        "seconds": round(seconds, 1),
        **steps,
        "created": summary["created"],
        "pending": summary["invalid"] + summary["rejected"] + summary["unknown"] + summary["quarantined"],
        "requests": len(told["arrived"]),
        "beyond": round(_beyond(told["arrived"], rate), 1) if rate else "no rate set",
        "replan": " / ".join(str(seconds) for seconds, _ in plans),
        "plans": {digest for _, digest in plans},
        "state": told["state"],
    }


def _replanned(folder: Path, environ: dict[str, str], *, waiting: bool) -> tuple[float, str]:
    """Plan an update of every record: the seconds from its beginning to the plan, and the plan's digest."""
    (folder / "log of the plan").unlink(missing_ok=True)
    if waiting:
        time.sleep(15)  # so that the workers have started
    log = folder / "log of the plan"
    out = subprocess.run(
        [*COMMAND, "plan", "all", "--json"], cwd=folder, env={**environ, "CROSSDOCK_LOG": str(log)}, stdout=subprocess.PIPE
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    at = {line["event"]: _seconds(line["time"]) for line in lines if line["event"] in ("extracting", "planned")}
    return round(at["planned"] - at["extracting"], 1), str(json.loads(out.stdout)["digest"])


def _kill_one(run: "subprocess.Popen[bytes]", helpers: list["subprocess.Popen[bytes]"], ledger: str, given: argparse.Namespace) -> int:
    """Kill a worker that holds a part once a third of all writes are done."""
    connection = psycopg2.connect(ledger)
    connection.autocommit = True
    with connection.cursor() as cursor:
        while run.poll() is None:
            time.sleep(0.2)
            try:
                cursor.execute("SELECT count(*) FROM crossdock_parts WHERE kind = 'write' AND state = 'done'")
                done = int((cursor.fetchone() or (0,))[0])
                cursor.execute(
                    "SELECT holder FROM crossdock_parts WHERE holder IS NOT NULL AND state = 'open' AND kind = 'write' AND shard >= 0"
                )
            except psycopg2.errors.UndefinedTable:
                continue
            held = {int(holder.split(":")[1]) for (holder,) in cursor.fetchall()}
            victim = next((one for one in helpers if one.pid in held), None)
            if victim is not None and done * 3 >= 4 * given.workers:
                victim.send_signal(signal.SIGKILL)
                return 1
    return 0


def _project(folder: Path, given: argparse.Namespace, *, shards: int, name: str = "first_name || ' ' || last_name") -> None:
    sync = folder / "pipelines" / "defs" / "all"
    sync.mkdir(parents=True, exist_ok=True)
    rate = f"    rate_limit: {given.rate}\n" if given.rate else ""
    settings = {"source": SOURCE, "sink": SINK, "timeout_s": given.timeout_s, "concurrency": given.concurrency, "rate": rate}
    (folder / "connections.yaml").write_text(CONNECTIONS.format(**settings))
    attributes = {
        "from": "here.contacts",
        "to": "there.people",
        "match": ["email"],
        "fields": {"email": "lower(trim(email))", "name": name, "phone": "phone"},
        "writes": {"batch": given.batch, "shards": shards, "on_unknown": "retry"},
    }
    (sync / "defs.yaml").write_text(json.dumps({"type": "pipelines.components.SyncComponent", "attributes": attributes}))


def _steps(log: Path) -> dict[str, float]:
    """Seconds of each step, whoever did it: until its last part was done."""
    at: dict[str, float] = {}
    for line in map(json.loads, log.read_text().splitlines()):
        name = STAGES.get(line.get("stage")) if line.get("event") == "shard_done" else line.get("event")
        if name in ("extracting", *STEPS.values()):
            at[name] = max(at.get(name, 0.0), _seconds(line["time"]))
    ends = [at[name] for name in ("extracting", *STEPS.values())]
    return {name: max(0.1, round(end - before, 1)) for name, before, end in zip(STEPS, ends, ends[1:], strict=False)}


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def _beyond(arrived: list[float], rate: float) -> float:
    """The most requests that any span held beyond what the rate gives in it: the burst that was used."""
    worst = filled = last = 0.0
    for at in arrived:
        filled = max(0.0, filled - rate * (at - last)) + 1
        worst, last = max(worst, filled), at
    return worst


def _home(environ: dict[str, str], folder: Path, host: int) -> dict[str, str]:
    return {**os.environ, **environ, "CROSSDOCK_HOME": str(folder / f"host{host}"), "PYTHONPATH": str(ROOT)}


@contextmanager
def _postgres() -> Iterator[str]:
    binaries = find_binaries()
    if binaries is None:
        raise SystemExit("no PostgreSQL programs on this machine; name a database with --ledger")
    with running_server(binaries) as server:
        yield server.create("shards")


@contextmanager
def _process(*arguments: str, cwd: Path = ROOT, environ: dict[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    log = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *arguments], cwd=cwd, env=environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _answering(port: int) -> None:
    until_s = time.monotonic() + 600
    while time.monotonic() < until_s:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"the platform on port {port} did not start")


def _serve(port: int, latency_ms: int) -> None:
    """Robostack, noting when requests arrive, and telling what it holds in the end."""
    import uvicorn

    from connectors.robostack.emulator import create_app
    from connectors.robostack.emulator_store import Store, decode

    store, arrived = Store(invoices=0), []
    store.add_resource("people")
    app = create_app(store)

    def state() -> str:
        held = store.resources["people"]
        found = sorted(json.dumps({**decode(store.shown(held, key)), "id": None}, sort_keys=True, default=str) for key in held.records)
        return f"{len(found)} {hashlib.sha256(''.join(found).encode()).hexdigest()}"

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/_bench":
            body = json.dumps({"arrived": arrived, "state": state()}).encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": body})
            return
        if scope["type"] == "http" and scope["path"] != "/":
            arrived.append(time.monotonic())
            await asyncio.sleep(latency_ms / 1000)
        await app(scope, receive, send)

    uvicorn.run(noted, host="127.0.0.1", port=port, log_level="critical", lifespan="off")


if __name__ == "__main__":
    main()
