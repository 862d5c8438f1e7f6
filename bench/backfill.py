"""A 30-day backfill by day, killed in the middle and continued: is the result right, is any record written twice, does the cursor move?

`python -m bench.backfill [--records 300000] [--per-run 10] [--on-unknown retry]`. Both platforms are emulators in this process; the
backfill is the `crossdock` command in processes of its own, the first of which is killed (-9) when half of the records have arrived.
Creates that were sent, or about to be, and are not found afterwards, wait for a person (or are sent again): one call's or none.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from connectors.robostack.emulator_store import Resource
from tests.e2e.commandline import Ended, Project, project

DAYS = 30
RANGE = ("--from", "2026-01-01", "--to", "2026-01-30")


def main() -> None:
    """Run it, print what was found, and fail where it is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--per-run", type=int, default=10)
    parser.add_argument("--on-unknown", choices=("quarantine", "retry"), default="quarantine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, project(Path(folder)) as made:
        text = (made.folder / "connections.yaml").read_text().replace("    timeout_s: 20\n", "    page_size: 1000\n")
        made.write("connections.yaml", text.replace("    streams:\n", "    result_cap: none\n    T_server_max_s: 5\n    streams:\n"))
        made.contacts(*(_contact(n, options.records) for n in range(options.records)))
        partitions = {"by": "updated_at", "start": "2026-01-01", "per_run": options.per_run}
        incremental = {"mode": "incremental", "cursor": "updated_at"}
        made.sync("live", mode="update", read=incremental)
        made.sync(partitions=partitions, read=incremental, writes={"on_unknown": options.on_unknown})
        _report("live run, which reads everything and moves the cursor", lambda: _ended(made, "run", "live"))
        cursor, written = _cursor(made), _counted(made)
        began = time.perf_counter()
        first = made.start("backfill", "c2p", *RANGE, "--json")
        while len(made.there.resources["people"].records) < options.records // 2 and first.poll() is None:
            time.sleep(0.05)
        first.kill()
        first.wait()
        arrived = len(made.people())
        print(f"{time.perf_counter() - began:8.1f} s  killed when {arrived:,} of {options.records:,} records had arrived")
        rest = _report("continued", lambda: _ended(made, "backfill", "c2p", "--continue"))
        kept = sum(run["quarantined"] for run in rest.json["runs"])
        if kept:
            print(f"            {kept:,} records of the call that was cut off wait for a person, who looks and lets them go")
            _ended(made, "failures", "c2p", "--retry")
            rest = _report("once more, with those", lambda: _ended(made, "backfill", "c2p", *RANGE))
        again = _report("the same again", lambda: _ended(made, "backfill", "c2p", *RANGE))
        found = {
            "status": rest.json["status"],
            "records in the sink": len(made.people()),
            "different ones": len({person["email"] for person in made.people()}),
            "written twice": sum(count > 1 for count in written.values()),
            "written by a second backfill": again.json["created"] + again.json["updated"],
            "live cursor as before": _cursor(made) == cursor,
        }
        print(found)
        assert list(found.values()) == ["ok", options.records, options.records, 0, 0, True]


def _contact(n: int, count: int) -> dict[str, Any]:
    minute = n * DAYS * 24 * 60 // count
    stamp = f"2026-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z"
    return {"email": f"c{n}@example.com", "name": f"Zoë {n}", "score": n % 100, "updated_at": stamp}


def _counted(made: Project) -> Counter[str]:
    """How often each record is written from now on."""
    written, put = Counter[str](), made.there.put

    def counted(resource: Resource, records: list[dict[str, Any]]) -> None:
        written.update(str(record["email"]) for record in records)
        put(resource, records)

    made.there.put = counted  # type: ignore[method-assign]
    return written


def _cursor(made: Project) -> list[Path]:
    """What live reads staged: a next one starts from the newest."""
    return sorted((made.folder / ".crossdock" / "staging" / "raw").rglob("manifest.json"))


def _ended(made: Project, *arguments: str) -> Ended:
    """The command in a process of its own, however long it takes."""
    process = made.start(*arguments, "--json")
    out, err = process.communicate()
    return Ended(process.returncode, out, err)


def _report(what: str, run: Any) -> Ended:
    began = time.perf_counter()
    ended: Ended = run()
    runs = ended.json.get("runs", [ended.json])
    requests = [{side: sum(one["requests"][side]["read"] + one["requests"][side]["write"] for one in runs) for side in ("source", "sink")}]
    print(f"{time.perf_counter() - began:8.1f} s  {what}: {len(runs)} runs, requests {requests[0]}")
    return ended


if __name__ == "__main__":
    main()
