"""`python -m tests.simulation`: replay one schedule, or play many and say what they prove."""

import argparse
import sys
import time
from contextlib import nullcontext

from tests.simulation.ablations import ABLATIONS, without
from tests.simulation.many import Tally, run_many
from tests.simulation.report import summed_up, whole
from tests.simulation.schedule import play, simulating


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 where everything held, 1 where something did not."""
    given = _parser().parse_args(arguments)
    if given.ablations:
        return _ablations()
    if given.schedules:
        return _many(given.first, given.schedules, given.jobs, given.ablate)
    with simulating() as ledgers, without(given.ablate) if given.ablate else nullcontext():
        verdict = play(given.seed, ledgers)
    lines = list(whole(verdict))
    print("\n".join(lines if given.trace else lines[-1:]))
    return 1 if verdict.violation else 0


def _many(first: int, count: int, jobs: int, ablated: str | None) -> int:
    tally, began_s = Tally(), time.monotonic()
    for piece in run_many(first, count, jobs, ablated):
        tally.join(piece)
        took_s = time.monotonic() - began_s
        print(f"\r{tally.schedules:,} of {count:,}, {len(tally.failed)} failed, {took_s:.0f} s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print("\n".join(summed_up(tally, time.monotonic() - began_s, jobs, ablated)))
    return 1 if tally.failed else 0


def _ablations() -> int:
    missed = 0
    for name, ablation in ABLATIONS.items():
        with simulating() as ledgers, without(name):
            caught = next((verdict for seed in range(1000) if (verdict := play(seed, ledgers)).violation is not None), None)
        missed += caught is None
        found = "NOT CAUGHT in 1,000" if caught is None else f"caught after {caught.scenario.seed + 1:>4}: {caught.violation}"
        print(f"{name:40} {ablation.says}\n    {found}", flush=True)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.simulation", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, metavar="N", help="replay this schedule")
    what.add_argument("--schedules", type=int, metavar="N", help="play so many")
    what.add_argument("--ablations", action="store_true", help="take out one guard after the other: how many schedules until it shows")
    parser.add_argument("--trace", action="store_true", help="with --seed: show every request, fault and crash")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED", help="with --schedules: the first seed (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="with --schedules: so many processes (1)")
    parser.add_argument("--ablate", choices=ABLATIONS, metavar="NAME", help=f"take out one guard: {', '.join(ABLATIONS)}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
