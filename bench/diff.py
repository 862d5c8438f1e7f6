"""Diff of 10 M desired against 10 M existing rows, 2 % different, from memory-mapped indexes as staging keeps them.

    python bench/diff.py [--rows 10000000] [--rounds 3] [--pandas-rows 1000000]

Each measurement runs in a process of its own, ours and its peers in turn in every round. Peers: DuckDB
joining the same stored hashes (files on disk, as a query engine would keep them), and pandas merging
the rows by key and comparing every column, at fewer rows and scaled by rows, which flatters pandas.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_SIDES = ("desired", "existing")
_COLUMNS = ("key_hi", "key_lo", "row", "position")
_FIELDS = 12


def build(folder: Path, rows: int) -> None:
    """Two indexes whose keys agree but for 1 % on each side; 1 % more of the rows differ in content."""
    rng = np.random.default_rng(7)
    only = rows // 100
    hi, lo, content = (rng.integers(0, 2**64, rows + only, dtype=np.uint64) for _ in range(3))
    for name, places in (("desired", slice(0, rows)), ("existing", slice(only, rows + only))):
        index = {"key_hi": hi[places], "key_lo": lo[places], "row": content[places].copy(), "position": rng.permutation(rows)}
        if name == "existing":
            index["row"][rng.choice(rows - only, only, replace=False)] ^= np.uint64(1)
        order = np.argsort(index["key_hi"], kind="stable")
        for column, values in index.items():
            np.save(folder / f"{name}.{column}.npy", values[order])


def ours(folder: Path, rows: int) -> dict[str, int]:
    """The engine's own diff."""
    from pipelines.diff import diff
    from pipelines.fingerprint import Index

    sides = [Index.of({c: np.load(folder / f"{side}.{c}.npy", mmap_mode="r") for c in _COLUMNS}) for side in _SIDES]
    found = diff(*sides)
    return {"create": len(found.create), "differ": len(found.differ), "missing": len(found.missing), "same": found.same_count}


def duckdb_join(folder: Path, rows: int) -> dict[str, int]:
    """A full outer join over the same hashes in Parquet, giving the positions of what differs."""
    import duckdb

    connection = duckdb.connect()
    names = {side: str(folder / f"{side}.parquet") for side in _SIDES}
    query = f"""
        CREATE TABLE found AS SELECT d.position AS d, e.position AS e
        FROM '{names["desired"]}' d FULL JOIN '{names["existing"]}' e ON d.key_hi = e.key_hi AND d.key_lo = e.key_lo
        WHERE d.row IS DISTINCT FROM e.row"""
    connection.sql(query)
    sql = "SELECT count(*) FILTER (e IS NULL), count(*) FILTER (d IS NOT NULL AND e IS NOT NULL), count(*) FILTER (d IS NULL) FROM found"
    create, differ, missing = connection.sql(sql).fetchall()[0]
    connection.close()
    return {"create": create, "differ": differ, "missing": missing, "same": rows - create - differ}


def pandas_merge(folder: Path, rows: int) -> dict[str, int]:
    """An outer merge by key, then every column compared; the frames are made before the clock starts."""
    import pandas as pd

    rng = np.random.default_rng(7)
    only = rows // 100
    keys = [f"contact{number}@example.com" for number in range(rows + only)]
    values = {f"f{n}": (rng.integers(0, 10**6, rows + only).astype(str) if n % 2 else rng.random(rows + only)) for n in range(_FIELDS)}
    whole = pd.DataFrame({"key": keys, **values})
    desired, existing = whole[:rows].sample(frac=1, random_state=1), whole[only:].sample(frac=1, random_state=2)
    existing = existing.assign(f0=np.where(rng.random(rows) < 0.01, -1.0, existing["f0"]))
    start = time.perf_counter()
    merged = desired.merge(existing, on="key", how="outer", suffixes=("", "_e"), indicator=True)
    both = merged[merged["_merge"] == "both"]
    differ = np.zeros(len(both), bool)
    for n in range(_FIELDS):
        differ |= (both[f"f{n}"] != both[f"f{n}_e"]).to_numpy()
    create, missing = int((merged["_merge"] == "left_only").sum()), int((merged["_merge"] == "right_only").sum())
    taken = time.perf_counter() - start
    return {"create": create, "differ": int(differ.sum()), "missing": missing, "same": int((~differ).sum()), "taken_us": int(taken * 1e6)}


_MEASURED = {"ours": ours, "duckdb": duckdb_join, "pandas": pandas_merge}


def measure(name: str, folder: Path, rows: int) -> None:
    """Run one measurement in this process and print it as JSON. Imports count for nobody."""
    if name == "ours":
        import pipelines.diff  # noqa: F401
    if name == "duckdb":
        import duckdb  # noqa: F401
    start = time.perf_counter()
    counts = _MEASURED[name](folder, rows)
    taken = counts.pop("taken_us", None)
    seconds = time.perf_counter() - start if taken is None else taken / 1e6
    print(json.dumps({"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **counts}))


def main() -> None:
    """Build, measure in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--pandas-rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", choices=[*_MEASURED, "build"])
    asked = parser.parse_args()
    if asked.measure == "build":
        build(asked.folder, asked.rows)
        _as_parquet(asked.folder)
    elif asked.measure:
        measure(asked.measure, asked.folder, asked.rows)
    else:
        compare(asked.rows, asked.pandas_rows, asked.rounds)


def compare(rows: int, pandas_rows: int, rounds: int) -> None:
    """Every peer once per round, each in a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run("build", folder, rows)
        results: dict[str, list[dict[str, float]]] = {peer: [] for peer in _MEASURED}
        for _ in range(rounds):
            for peer in _MEASURED:
                results[peer].append(json.loads(_run(peer, folder, pandas_rows if peer == "pandas" else rows)))
    if any(results["ours"][0][count] != results["duckdb"][0][count] for count in ("create", "differ", "missing", "same")):
        raise SystemExit(f"ours and DuckDB disagree: {results['ours'][0]} and {results['duckdb'][0]}")
    print(f"{rows:,} x {rows:,} rows, 2 % different; median of {rounds}, each in a process of its own")
    for peer, runs in results.items():
        seconds, peak = statistics.median(r["seconds"] for r in runs), max(r["peak_mb"] for r in runs)
        scale = rows / pandas_rows if peer == "pandas" else 1
        note = f"  (measured {seconds:.1f} s at {pandas_rows:,} rows, scaled by {scale:g})" if scale != 1 else ""
        print(f"{peer:8} {seconds * scale:9.2f} s   peak {peak:7.0f} MB{note}")


def _run(what: str, folder: Path, rows: int) -> str:
    command = [sys.executable, __file__, "--measure", what, "--folder", str(folder), "--rows", str(rows)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _as_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for side in _SIDES:
        columns = {column: pa.array(np.load(folder / f"{side}.{column}.npy")) for column in _COLUMNS}
        pq.write_table(pa.table(columns), folder / f"{side}.parquet")


if __name__ == "__main__":
    main()
