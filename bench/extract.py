"""Time our extract against dlt's ways of doing the same, interleaved, each run in a process of its own.

python -m bench.extract [--records 250000 1000000] [--rounds 3] [--only crossdock]
"""

import argparse
import json
import subprocess
import sys
from statistics import median

from bench.extract_readers import READERS

SLOW = {"dlt rest_api": 250_000, "dlt Arrow": 250_000}  # more records only take longer: their rate does not grow


def measure(reader: str, url: str) -> dict[str, float]:
    """One run in a fresh process."""
    command = [sys.executable, "-m", "bench.extract_readers", reader, url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(records: int, rounds: int, readers: list[str]) -> None:
    """Print what each reader takes for so many records."""
    server = subprocess.Popen([sys.executable, "-m", "bench.extract_server", "--records", str(records)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        runs: dict[str, list[dict[str, float]]] = {reader: [] for reader in readers}
        for _ in range(rounds):
            for reader in readers:
                runs[reader].append(measure(reader, url))
                assert runs[reader][-1]["records"] == records
    finally:
        server.kill()
        server.wait()
    print(f"\n{records:,} records, median of {rounds}\n{'':26}{'records/s':>12}{'CPU s':>9}{'peak MB':>9}{'crossdock is':>15}")
    ours = median(run["seconds"] for run in runs["crossdock"]) if "crossdock" in runs else None
    for reader, found in runs.items():
        seconds = median(run["seconds"] for run in found)
        ratio = "" if ours is None or reader == "crossdock" else f"{seconds / ours:.1f} ×"
        cpu, peak = median(run["cpu_s"] for run in found), max(run["peak_mb"] for run in found)
        print(f"{reader:26}{records / seconds:12,.0f}{cpu:9.2f}{peak:9.0f}{ratio:>15}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=READERS)
    arguments = parser.parse_args()
    for count in arguments.records:
        chosen = arguments.only or [reader for reader in READERS if count <= SLOW.get(reader, count)]
        compare(count, arguments.rounds, chosen)
