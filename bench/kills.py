"""Kill a real sync at every named point and at random times, run it again until clean, audit the sink, and print a table per point.

`python -m bench.kills --kills 200 --seed 1`; exits 1 where anything was lost, doubled, clobbered or left open. Ctrl-C ends it with the
table of what was done by then.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.kills import SCENARIOS, Bench, moments, platforms
from tests.e2e.kills_points import Death

_IN_RECOVERY = (
    "before the lock",
    "locked",
    "before a wait",
    "before staging seen",
    "POST sent",
    "before commit of seen",
    "after commit of seen",
    "before ledger settle",
    "inside ledger settle",
    "after ledger settle",
    "before ledger claim",
)


@dataclass
class Tally:
    """What the kills at one point came to."""

    kills: int = 0
    runs: int = 0
    missed: int = 0
    findings: list[str] = field(default_factory=list)


Try = tuple[str, str, tuple["Death | float", ...]]  # the row of the table, the scenario, how its runs die


def tries(passed: dict[str, dict[str, int]], lasted_s: dict[str, float], rng: random.Random) -> Iterator[Try]:
    """Without end: first every point once, in one scenario or another, then points, recoveries and times by chance."""
    every = [(name, death) for name in SCENARIOS for death in moments(passed[name])]
    rng.shuffle(every)
    seen: set[str] = set()
    first = [(name, death) for name, death in every if death.point not in seen and not seen.add(death.point)]  # type: ignore[func-returns-value]
    yield from ((death.point, name, (death,)) for name, death in first)
    for point in _IN_RECOVERY:
        name = rng.choice(["first", "careful", "mirror", "increment"])
        yield f"in recovery: {point}", name, (Death("PUT sent"), Death(point))
    while True:
        kind, (name, death) = rng.random(), rng.choice(every)
        if kind < 0.4:
            yield "at a random time", name, (rng.uniform(0.0, lasted_s[name]),)
        elif kind < 0.6:
            yield "two at random times", name, (rng.uniform(0.0, lasted_s[name]), rng.uniform(0.0, lasted_s[name]))
        else:
            yield death.point, name, (death,)


def main() -> None:
    """Kill, audit, print; the exit status says whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    table: dict[str, Tally] = defaultdict(Tally)
    with platforms() as world, tempfile.TemporaryDirectory(prefix="kills-") as folder:
        benches, passed, lasted_s = {}, {}, {}
        for name, scenario in SCENARIOS.items():
            benches[name] = Bench(world, scenario, Path(folder) / name)
            started_s = time.monotonic()
            calm = benches[name].trial()
            passed[name], lasted_s[name] = calm.passed, (time.monotonic() - started_s) / calm.runs
            assert not calm.findings, (name, calm.findings)
        kills = 0
        with suppress(KeyboardInterrupt):
            for row, name, deaths in tries(passed, lasted_s, rng):
                trial = benches[name].trial(*deaths)
                tally = table[row]
                kills += trial.killed
                tally.kills += trial.killed
                tally.runs += trial.runs
                tally.missed += len(deaths) - trial.killed
                tally.findings += [f"{name} {deaths}: {finding}" for finding in trial.findings]
                print(f"\r{kills} of {given.kills} kills", end="", file=sys.stderr, flush=True)
                if kills >= given.kills:
                    break
    print(file=sys.stderr)
    sys.exit(_report(table, kills))


def _report(table: dict[str, Tally], kills: int) -> int:
    print(f"{'point':52}{'kills':>6}{'runs':>6}  result")
    for row, tally in sorted(table.items()):
        missed = f" ({tally.missed} ended before it)" if tally.missed else ""
        print(f"{row:52}{tally.kills:6}{tally.runs:6}  {'ok' if not tally.findings else f'{len(tally.findings)} FINDINGS'}{missed}")
    findings = [finding for tally in table.values() for finding in tally.findings]
    print(f"{'all':52}{kills:6}{sum(tally.runs for tally in table.values()):6}  {len(findings)} findings")
    for finding in findings:
        print(f"- {finding}")
    return 1 if findings else 0


if __name__ == "__main__":
    main()
