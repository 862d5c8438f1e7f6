"""Is a sync healthy, and if not, what to do: a verdict from its runs, what is pending, and what it was told to watch for. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal

from pipelines.ledger_records import Run
from pipelines.spec import SyncSpec, duration

__all__ = ["Finding", "Health", "Known", "broken", "health"]

Verdict = Literal["healthy", "attention", "failing"]

GOOD = ("ok", "partial")
LONGEST_RUN = timedelta(days=1)
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True)
class Known:
    """What the ledger knows of a sync: its latest runs, newest first; pending records by outcome; records known on both sides."""

    runs: Sequence[Run]
    pending: Mapping[str, int]
    matched_count: int = 0


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. `name` is stable; `grave`: nothing is kept in step until somebody acts.

    `alert`: it is beyond what the sync's `alerts` allow, so a person wants to be told.
    """

    name: str
    grave: bool
    alert: bool
    said: str
    next: str


@dataclass(frozen=True)
class Health:
    """The verdict on one sync. `last` is its last finished run, `good` the last one that was applied; None: there was none."""

    sync: str
    findings: tuple[Finding, ...]
    last: Run | None
    good: Run | None
    pending_count: int

    @property
    def verdict(self) -> Verdict:
        """`failing` where it does not work, `attention` where a person has something to do, else `healthy`."""
        if any(finding.grave for finding in self.findings):
            return "failing"
        return "attention" if self.findings else "healthy"

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """The findings that a person wants to be told about."""
        return tuple(finding for finding in self.findings if finding.alert)

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "sync": self.sync,
            "health": self.verdict,
            "findings": [vars(finding) for finding in self.findings],
            "last_run": self.last.run_id if self.last else None,
            "last_status": self.last.status if self.last else None,
            "last_good_at": self.good.finished_at if self.good else None,
            "pending": self.pending_count,
        }


def health(spec: SyncSpec, known: Known, now: datetime) -> Health:
    """The verdict on a sync that can be loaded."""
    live = [run for run in known.runs if run.summary.get("kind", "run") == "run"]
    ended = [run for run in live if run.status != "running"]
    good = next((run for run in ended if run.status in GOOD), None)
    findings = (
        *_ending(spec, ended),
        *_running(spec, live, now),
        *_late(spec, good, now),
        *_pending(spec, known, good),
        *_written(spec, ended),
    )
    return Health(spec.name, findings, ended[0] if ended else None, good, sum(known.pending.values()))


def broken(sync: str, problem: str) -> Health:
    """The verdict on a sync whose file cannot be loaded, or asks for what cannot be done: it does not run at all."""
    found = Finding("broken", True, True, _cut(f"it cannot run: {problem}"), "correct it; crossdock check --files tells when it is right")
    return Health(sync, (found,), None, None, 0)


def _ending(spec: SyncSpec, ended: Sequence[Run]) -> Iterator[Finding]:
    """How the last runs ended."""
    if not ended:
        yield Finding("never_ran", False, False, "it never ran", f"crossdock plan {spec.name}, then crossdock run {spec.name}")
        return
    bad = list(takewhile(lambda run: run.status not in GOOD, ended))
    if not bad:
        return
    last, limit = bad[0], spec.alerts.failed_runs
    alert = limit is not None and len(bad) >= limit
    times = "the last run" if len(bad) == 1 else f"each of the last {len(bad)} runs"
    if last.status == "refused":
        refusals = "; ".join(str(one) for one in last.summary.get("refusals", ()))
        said = _cut(f"a guard refused {times}, nothing was written: {refusals}")
        yield Finding("refused", True, alert, said, f"crossdock plan {spec.name}; if it is right, approve its digest")
        return
    said = _cut(f"{times} failed: {last.summary.get('message') or 'its process ended without a word'}")
    yield Finding("failed", True, alert, said, f"do what it says, then crossdock run {spec.name}; nothing is lost meanwhile")


def _running(spec: SyncSpec, live: Sequence[Run], now: datetime) -> Iterator[Finding]:
    """A run that never ended: its process is gone, or something holds it."""
    if live and live[0].status == "running" and (since := now - datetime.fromisoformat(live[0].started_at)) > LONGEST_RUN:
        said = f"run {live[0].run_id[:8]} began {_long(since)} ago and never ended"
        yield Finding("stuck", True, True, said, f"see whether its process lives; crossdock run {spec.name} looks up what it left")


def _late(spec: SyncSpec, good: Run | None, now: datetime) -> Iterator[Finding]:
    """Nothing was brought in step for longer than the sync allows."""
    if spec.fresh_within is None or good is None or good.finished_at is None:
        return
    age = now - datetime.fromisoformat(good.finished_at)
    if age > duration(spec.fresh_within):
        said = f"the last good run ended {_long(age)} ago, later than fresh_within: {spec.fresh_within}"
        yield Finding("late", True, True, said, f"see that its schedule and the daemon run, or crossdock run {spec.name}")


def _pending(spec: SyncSpec, known: Known, good: Run | None) -> Iterator[Finding]:
    """Records that were not delivered."""
    quarantined = known.pending.get("quarantined", 0)
    others = sum(known.pending.values()) - quarantined
    if quarantined:
        limit = spec.alerts.quarantined_count
        said = f"{_records(quarantined)} {_are(quarantined)} quarantined: whether they were made is not known, and nothing tries them again"
        step = f"crossdock failures {spec.name}; look there, then add --retry or --dismiss"
        yield Finding("quarantined", False, limit is not None and quarantined > limit, said, step)
    if others:
        read = int(good.summary.get("read", 0)) if good else 0
        whole = max(read, known.matched_count + others)
        limit_share, share = spec.alerts.rejected_share, others / whole
        said = f"{_records(others)} of {whole:,} ({share:.1%}) {_are(others)} not delivered and planned again by every run"
        alert = limit_share is not None and share > limit_share
        yield Finding("undelivered", False, alert, said, f"crossdock failures {spec.name} tells why; correct them at the source")


def _written(spec: SyncSpec, ended: Sequence[Run]) -> Iterator[Finding]:
    """What the last run saw of what it, or others, wrote."""
    summary = ended[0].summary if ended and ended[0].status in GOOD else {}
    if differing := int(summary.get("differences") or 0):
        said = f"{_records(differing)} of the last run read back otherwise than they were sent"
        yield Finding("differs", False, False, said, f"crossdock verify {spec.name}")
    drifted, limit = int(summary.get("drifted") or 0), spec.alerts.drift_count
    if drifted and limit is not None and drifted > limit:
        what = {"overwrite": "overwritten", "keep": "kept", "conflict": "kept as conflicts"}[spec.drift]
        said = f"{_records(drifted)} had been changed by others in {spec.target} since this sync wrote them, and were {what}"
        yield Finding("drift", False, True, said, "agree on who owns these fields; `drift` of the sync decides whose values stay")


def _records(count: int) -> str:
    return f"{count:,} record" + ("" if count == 1 else "s")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _long(age: timedelta) -> str:
    """A span in its two largest units at most."""
    seconds = max(0, int(age.total_seconds()))
    parts = [(seconds // 86_400, "d"), (seconds // 3_600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    said = [f"{count} {unit}" for count, unit in _from_first(parts)][:2]
    return " ".join(said)


def _from_first(parts: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    kept = list(parts)
    while len(kept) > 1 and not kept[0][0]:
        kept.pop(0)
    return [part for number, part in enumerate(kept) if part[0] or number == 0]


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
