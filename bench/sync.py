"""A sync of 50,000 contacts from end to end over HTTP: what it sends, that it rests afterwards, and what the engine itself takes.

`python -m bench.sync [--contacts 50000]`. Emulators run in processes of their own. "Beyond the platforms" is the
run's time less the time a bare client needs for the same requests, measured right before it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from connectors.base import ReadRequest
from pipelines.ports import SystemClock
from pipelines.run import SyncRun, run_sync
from pipelines.runtime import Runtime, open_runtime
from pipelines.spec import SyncSpec

FIELDS = {
    "email": "lower(trim(email))",
    "name": "first_name || ' ' || last_name",
    "phone": "phone",
    "status": "status",
    "value": "CAST(lifetime_value AS DECIMAL(18, 2))",
}


def main() -> None:
    """Run it and print one line per step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3, help="repeats of the unchanged run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _platforms(Path(folder), options.contacts) as urls:
        os.environ.update(urls, CROSSDOCK_HOME=str(Path(folder) / "home"))
        with open_runtime() as runtime:
            _steps(runtime, urls["STACKER_URL"], options.rounds)


def _steps(runtime: Runtime, stacker: str, rounds: int) -> None:
    upsert, incremental, mirror = (
        _spec("c2p"),
        _spec("increments", read={"mode": "incremental", "cursor": "updated_at"}),
        _spec("c2p", mode="mirror"),
    )
    print(f"{'step':34} {'seconds':>8} {'read':>7} {'created':>7} {'updated':>7} {'deleted':>7} {'same':>7} {'invalid':>7}  requests")
    _run(runtime, "upsert, first", upsert)
    _verify(runtime, upsert)
    for number in range(rounds):
        bare = _bare(runtime)
        wall = _run(runtime, f"upsert, unchanged ({number + 1})", upsert)
        print(f"{'':34} {wall - bare:8.2f} s beyond the platforms' answers ({bare:.2f} s for a bare client)")
    _run(runtime, "incremental, first", incremental)
    _business(stacker, edits=500, additions=20, deletions=10)
    _run(runtime, "incremental, after 500 + 20 − 10", incremental)
    _run(runtime, "mirror, after 500 + 20 − 10", mirror)
    _verify(runtime, mirror)


def _spec(name: str, **changed: Any) -> SyncSpec:
    sides = {"from": "stacker_demo.contacts", "to": "robostack_demo.people"}
    return SyncSpec(**{"name": name, **sides, "match": ["email"], "fields": FIELDS, **changed})


def _run(runtime: Runtime, title: str, spec: SyncSpec) -> float:
    engine = runtime.engine()
    start = time.perf_counter()
    summary = run_sync(engine, spec, engine.rng.token())
    wall = time.perf_counter() - start
    counts = " ".join(f"{getattr(summary, name):7}" for name in ("read", "created", "updated", "deleted", "unchanged", "invalid"))
    print(f"{title:34} {wall:8.2f} {counts}  {summary.requests} differences={summary.differences}")
    return wall


def _verify(runtime: Runtime, spec: SyncSpec) -> None:
    run = SyncRun(runtime.engine(), spec, runtime.ports.rng.token())
    run.extract(full=True)
    plan = run.plan()
    run.close_planned(plan)
    print(f"{'  verify':34} {plan.counts.changes:8} differences")


def _bare(runtime: Runtime) -> float:
    """Seconds that the requests of an unchanged run take without anything being done with the answers."""
    start = time.perf_counter()
    for connection, stream in (("stacker_demo", "contacts"), ("robostack_demo", "people")):
        source = runtime.open_connection(connection)
        for _ in source.read(source.stream(stream), ReadRequest()):
            pass
    return time.perf_counter() - start


def _business(stacker: str, *, edits: int, additions: int, deletions: int) -> None:
    """A day at the source: records edited, added and deleted by others."""
    with httpx.Client(base_url=f"{stacker}/api/external/objects/contacts", headers=_HEADERS, timeout=60) as client:
        records: list[dict[str, Any]] = client.post("/search/", json={"count": 1000, "order_by": "sid"}).json()["records"]
        good = [record for record in records if record.get("email") and record["email"] == record["email"].strip().lower()]
        for number, record in enumerate(good[:edits]):
            client.patch(
                f"/records/{record['sid']}/", json={"phone": f"+1 555 {number:04}", "updated_at": "2027-01-01T00:00:00Z"}
            ).raise_for_status()
        for number in range(additions):
            new = {"email": f"new{number}@example.org", "first_name": "New", "last_name": str(number), "updated_at": "2027-01-02T00:00:00Z"}
            client.post("/records/", json=new).raise_for_status()
        for record in good[edits : edits + deletions]:
            client.delete(f"/records/{record['sid']}/").raise_for_status()


_HEADERS = {"X-Integration-Key": "demo", "X-Account-Id": "acc_demo", "X-Stack-Id": "stk_demo"}


@contextmanager
def _platforms(folder: Path, contacts: int) -> Iterator[dict[str, str]]:
    started = []
    urls = {}
    try:
        for name, port, more in (("stacker", 18701, ["--contacts", str(contacts)]), ("robostack", 18702, [])):
            command = [sys.executable, "-m", f"connectors.{name}.emulator", "--port", str(port), "--state", str(folder / name), *more]
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            urls[f"{name.upper()}_URL"] = f"http://127.0.0.1:{port}"
        for url in urls.values():
            _wait_for(url)
        yield urls
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)


def _wait_for(url: str) -> None:
    clock = SystemClock()
    for _ in range(300):
        try:
            httpx.get(url, timeout=1)
        except httpx.TransportError:
            clock.sleep(0.1)
        else:
            return
    raise SystemExit(f"the emulator at {url} did not start")


if __name__ == "__main__":
    main()
