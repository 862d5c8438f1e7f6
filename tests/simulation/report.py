"""What a number of schedules showed, in words: how many, how fast, what they met, and how much zero failures prove. Pure."""

from collections import Counter
from collections.abc import Iterator

from tests.simulation.many import Tally
from tests.simulation.schedule import Verdict

SHORT_TRACE = 40  # lines


def summed_up(tally: Tally, took_s: float, jobs: int, ablated: str | None = None) -> Iterator[str]:
    """The lines that close a run of many schedules."""
    count = tally.schedules
    each_ms = 1000 * tally.cpu_s / count
    yield f"{count:,} schedules in {took_s:.0f} s, {count / took_s:.1f} schedules/s on {jobs} processes ({each_ms:.0f} ms of CPU each)"
    yield f"faults met: {tally.faults.total():,} of {len(tally.faults)} kinds: {_spread(tally.faults)}"
    yield f"processes killed: {tally.crashes.total():,} at {len(tally.crashes)} moments: {_spread(tally.crashes)}"
    yield f"two workers at once: {tally.pairs:,} schedules"
    share = tally.quarantined / max(1, tally.written)
    yield f"quarantined at the end: {tally.quarantined:,} records, to {tally.written:,} written ({share:.2%})"
    if tally.failed:
        yield f"FAILED: {len(tally.failed)} of {count:,} schedules"
        for words, number in Counter((verdict.violation or "")[:40] for verdict in tally.failed.values()).most_common():
            yield f"  {number} × {words}…"
    else:
        most = 3 / count
        yield f"0 failures in {count:,}: at 95 % confidence fewer than {most:.2g} per schedule of this distribution (the rule of three);"
        yield "  it says nothing of faults that this distribution does not draw"
    for verdict in list(tally.failed.values())[:3]:
        yield ""
        yield from failing(verdict, ablated)


def failing(verdict: Verdict, ablated: str | None = None) -> Iterator[str]:
    """One schedule in which something did not hold: the command that replays it, and the end of its trace."""
    extra = f" --ablate {ablated}" if ablated else ""
    yield f"seed {verdict.scenario.seed}: {verdict.violation}"
    yield f"  replay: python -m tests.simulation --seed {verdict.scenario.seed}{extra} --trace"
    left = len(verdict.trace) - SHORT_TRACE
    if left > 0:
        yield f"  ({left} lines before)"
    yield from verdict.trace[-SHORT_TRACE:]
    yield "  the ledger's writes:"
    yield from (f"  {line}" for line in verdict.ledger)


def whole(verdict: Verdict) -> Iterator[str]:
    """Everything of one schedule."""
    yield repr(verdict.scenario)
    yield from verdict.trace
    yield from verdict.ledger
    yield f"seed {verdict.scenario.seed}: {verdict.violation or 'everything held'}"


def _spread(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common())
