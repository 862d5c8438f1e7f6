"""A sync through a platform on a bad day: 20,000 records, by bulk calls and one by one; what was lost, doubled, or sent too early.

`python -m bench.rough [--records N]`; exits 1 where anything was. Real HTTP, real ledger, real waiting.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.clock import FakeClock
from tests.e2e.rough import Rough, World, create_in_bulk, delete_one_by_one, rough_world, update_one_by_one

Part = tuple[str, Callable[[World, int], list[str]], int]
PARTS: tuple[Part, ...] = (
    ("bulk creates of 50", lambda made, count: create_in_bulk(made, count, 50), 25),
    ("single updates", update_one_by_one, 500),
    ("single deletes", delete_one_by_one, 500),
)


class MachineClock(FakeClock):
    """The machine's own clock where a test would have its own."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        time.sleep(max(0.0, duration_s))


def main() -> None:
    """Carry out every part and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    given = parser.parse_args()
    bad = 0
    for title, carry_out, burst in PARTS:
        with tempfile.TemporaryDirectory() as home, rough_world(Path(home), MachineClock(), burst=burst, wait_s=1) as (made, *layers):
            for connection in ("here", "there"):
                made.configure(connection, T_server_max_s=0.2)
            started_s = time.monotonic()
            wrong = carry_out(made, given.records)
            took_s = time.monotonic() - started_s
        early = sum(layer.early for layer in layers)
        bad += len(wrong) + early
        print(
            f"{title:20} {given.records:7,} records in {took_s:5.0f} s  {_fates(layers)}  sent too early: {early}  {_verdict(wrong)}",
            flush=True,
        )
    sys.exit(1 if bad else 0)


def _fates(layers: list[Rough]) -> str:
    met = sum((layer.fates for layer in layers), start=type(layers[0].fates)())
    return ", ".join(f"{met[fate]:,} {fate}" for fate in ("answered", "dropped", "failed", "cut", "429"))


def _verdict(wrong: list[str]) -> str:
    return "all there, none twice" if not wrong else "; ".join(wrong)


if __name__ == "__main__":
    main()
