"""What the ledger costs: applying a plan over a sink that answers after 50 ms, with the real ledger and with one that keeps nothing.

`python -m bench.ledger [--ledger postgresql://…] [--rounds N]`. Interleaved; prints seconds, the share of the apply's time that the ledger
adds, and the processor time of each. Without `--ledger` it is a SQLite file made for it; a database should be empty, and is left full.
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.base import Capabilities, Change, Delivery, ReadCapability, Receipt, Result, Stream, WriteCapability
from pipelines.apply import Target, apply
from pipelines.changes import PLAN_SCHEMA
from pipelines.ledger import Ledger, open_ledger
from pipelines.ports import SystemClock

ANSWER_S = 0.05
CAN = WriteCapability(Delivery.E2, 1000, replaces=False, identifies=True, evidence="")
ONE = WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence="")
STREAM = Stream("people", "id", Capabilities(ReadCapability(), CAN, ONE, ONE))


class Sink:
    """Takes 50 ms for every call, whatever is in it."""

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        SystemClock().sleep(ANSWER_S)
        for change in changes:
            yield Receipt(change.seq, Result.APPLIED, change.seq)


class Forgetful:
    """A ledger that keeps nothing."""

    def intend(self, writes: Sequence[Any], settled: Sequence[Any] = ()) -> None:
        """Nothing."""

    def settle(self, run_id: str, settled: Sequence[Any]) -> None:
        """Nothing."""


def main() -> None:
    """Time both kinds of calls with both ledgers, round by round."""
    options = argparse.ArgumentParser()
    options.add_argument("--ledger", metavar="URL")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    for title, op, count, batch, concurrency in (
        ("single updates, 4 at once", "update", 800, 1, 4),
        ("single updates, one after the other", "update", 200, 1, 1),
        ("creates of 500, 4 at once", "create", 80_000, 500, 4),
        ("creates of 500, one after the other", "create", 20_000, 500, 1),
    ):
        plan = _plan(op, count)
        with_ledger, without = [], []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as folder:
                ledger = open_ledger(given.ledger or f"sqlite:///{Path(folder) / 'ledger.db'}", SystemClock())
                with_ledger.append(_time(plan, ledger, batch, concurrency))
                ledger.close()
            without.append(_time(plan, Forgetful(), batch, concurrency))
        ours, bare = (statistics.median(times) for times in ([took for took, _ in with_ledger], [took for took, _ in without]))
        cpu, bare_cpu = (1e6 * min(used for _, used in times) / count for times in (with_ledger, without))
        print(
            f"{title:36} {count:6} records  {ours:6.2f} s with the ledger, {bare:6.2f} s without: {(ours - bare) / ours:6.1%} of the time; "
            f"{cpu:6.1f} and {bare_cpu:6.1f} us of processor time a record",
            flush=True,
        )


def _time(plan: pa.RecordBatch, ledger: Ledger | Forgetful, batch: int, concurrency: int) -> tuple[float, float]:
    """Seconds, and seconds of processor time, that applying the plan takes."""
    target: Any = Target(Sink(), STREAM, ("email",), batch, concurrency)  # type: ignore[arg-type]
    run_id = uuid.uuid4().hex
    start, used = time.perf_counter(), time.process_time()
    apply([plan], target, run_id=run_id, sync="s", ledger=ledger, clock=SystemClock())  # type: ignore[arg-type]
    return time.perf_counter() - start, time.process_time() - used


def _plan(op: str, count: int) -> pa.RecordBatch:
    after = '{"name":"somebody with a name","phone":"+49 30 1234567","score":12,"status":"active"}'
    rows = [
        {
            "seq": n,
            "op": op,
            "key": f'{{"email":"p{n}@example.com"}}',
            "source_id": f"s{n}",
            "sink_id": str(n),
            "before": "{}",
            "after": after,
        }
        for n in range(count)
    ]
    return pa.RecordBatch.from_pylist([{**row, "fields": ["name"], "fingerprint": 1} for row in rows], schema=PLAN_SCHEMA)


if __name__ == "__main__":
    main()
