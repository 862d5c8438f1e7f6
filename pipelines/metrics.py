"""Metrics of every sync in the form Prometheus reads, made from the ledger at the moment somebody asks. Needs prometheus_client.

Runs are short processes on any host; the ledger is where they all report. What a run counted is given as gauges of the
last run: a ledger forgets old runs, and a counter that falls would look like a burst.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connectors.errors import ConfigError
from pipelines.health import Health
from pipelines.ledger import Ledger
from pipelines.spec import SyncSpec
from pipelines.summary import OUTCOMES
from pipelines.watch import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.base import Clock

__all__ = ["SyncMetrics", "registry"]

VERDICTS = ("healthy", "attention", "failing")
STATUSES = ("ok", "partial", "refused", "failed")


class SyncMetrics:
    """A Prometheus collector over these syncs; every scrape looks at the ledger anew."""

    def __init__(self, ledger: Ledger, clock: "Clock", specs: "Callable[[], Iterable[SyncSpec]]") -> None:
        self._ledger, self._clock, self._specs = ledger, clock, specs

    def collect(self) -> Iterator[Any]:
        """The metric families (prometheus_client.core.Metric)."""
        from prometheus_client.core import GaugeMetricFamily

        def gauge(name: str, said: str, *labels: str) -> Any:
            return GaugeMetricFamily(f"crossdock_{name}", said, labels=["sync", *labels])

        health = gauge("sync_health", f"How a sync is: {', '.join(f'{number} {word}' for number, word in enumerate(VERDICTS))}.")
        pending = gauge("pending_records", "Records that were not delivered yet, by outcome.", "outcome")
        matched = gauge("matched_records", "Records known on both sides.")
        ended = gauge("last_run_timestamp_seconds", "When the last run ended.")
        good = gauge("last_good_run_timestamp_seconds", "When the last run ended that was applied.")
        status = gauge("last_run_status", "1 for the status of the last run.", "status")
        took = gauge("last_run_duration_seconds", "How long the last run worked.")
        records = gauge("last_run_records", "Records of the last run, by outcome.", "outcome")
        drifted = gauge("last_run_drifted_records", "Records of the last run that others had changed in the sink.")
        requests = gauge("last_run_requests", "Requests of the last run, by side and kind.", "side", "kind")
        for spec in self._specs():
            found = look(self._ledger, spec, self._clock.now())
            health.add_metric([spec.name], VERDICTS.index(found.verdict))
            matched.add_metric([spec.name], self._ledger.match_count(spec.name))
            for outcome, count in sorted(self._ledger.failure_counts(spec.name).items()):
                pending.add_metric([spec.name, outcome], count)
            if found.good is not None:
                good.add_metric([spec.name], _seconds(found.good.finished_at))
            if found.last is None:
                continue
            summary = found.last.summary
            ended.add_metric([spec.name], _seconds(found.last.finished_at))
            took.add_metric([spec.name], float(summary.get("duration_s") or 0))
            drifted.add_metric([spec.name], int(summary.get("drifted") or 0))
            for word in STATUSES:
                status.add_metric([spec.name, word], found.last.status == word)
            for outcome in OUTCOMES:
                records.add_metric([spec.name, outcome], int(summary.get(outcome) or 0))
            for side, kind, count in _requests(found):
                requests.add_metric([spec.name, side, kind], count)
        yield from (health, pending, matched, ended, good, status, took, records, drifted, requests)


def registry(metrics: SyncMetrics) -> Any:
    """A registry of just these metrics. Raises ConfigError where prometheus_client is not installed."""
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise ConfigError(f"metrics need a package that is not installed ({error.name}); install crossdock[metrics]") from None
    made = CollectorRegistry()
    made.register(metrics)
    return made


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _requests(found: Health) -> Iterator[tuple[str, str, int]]:
    sides = found.last.summary.get("requests", {}) if found.last else {}
    for side, kinds in sorted(sides.items()):
        for kind, count in sorted(kinds.items()):
            yield side, kind, int(count)
