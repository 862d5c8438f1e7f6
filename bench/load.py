"""How long a project takes to load in Dagster: `python -m bench.load [--syncs 50 500]`, each in a process of its own.

Told are seconds of processor time, which other programs on the machine disturb least, and of the clock. Loaded is what a code
server loads: every definition, and the repository made of them.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure, or load once where asked by ourselves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syncs", type=int, nargs="+", default=[1, 50, 500])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _load()
        return
    for count in options.syncs:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), count)
            environ = {**os.environ, "PYTHONPATH": folder}
            done = subprocess.run([sys.executable, "-m", "bench.load", "--here"], cwd=folder, env=environ, capture_output=True, text=True)
            print(f"{count:5} syncs  {done.stdout.strip() or done.stderr[-2000:]}")


def _write(folder: Path, count: int) -> None:
    """A copy of this project with syncs over fifty streams, a tenth of them with windows, all with schedules."""
    for name in ("connections.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("bench", "connectors", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "defs.yaml"))
    for number in range(count):
        attributes = {
            "from": f"stacker_demo.objects_{number % 50}",
            "to": "robostack_demo.people",
            "match": ["email"],
            "fields": {"email": "lower(email)", "name": "first_name || last_name"},
            "schedule": f"{number % 60} * * * *",
            **({"partitions": {"by": "updated_at", "start": "2025-01-01"}} if number % 10 == 0 else {}),
        }
        file = folder / "pipelines" / "defs" / f"sync_{number}" / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"type": "pipelines.components.SyncComponent", "attributes": attributes}))


def _load() -> None:
    start = time.perf_counter()
    from pipelines.definitions import defs

    imported = time.perf_counter()
    defs().get_repository_def().load_all_definitions()
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall = time.perf_counter() - start
    print(f"{used.ru_utime + used.ru_stime:6.1f} s processor  {wall:6.1f} s clock, {imported - start:.1f} s of it imports")


if __name__ == "__main__":
    main()
