"""Watch: look at a sync's health in the ledger, and tell people once when something begins and once when it is over."""

import logging
from collections.abc import Sequence
from datetime import datetime

from pipelines.alerts import Channel, send
from pipelines.health import Health, Known, health
from pipelines.ledger import Ledger
from pipelines.spec import SyncSpec

__all__ = ["look", "tell", "tell_of"]

_RUNS = 50  # looked back at

_log = logging.getLogger(__name__)


def look(ledger: Ledger, spec: SyncSpec, now: datetime) -> Health:
    """The health of a sync as of now."""
    known = Known(ledger.runs(spec.name, _RUNS), ledger.failure_counts(spec.name), ledger.match_count(spec.name))
    return health(spec, known, now)


def tell(ledger: Ledger, spec: SyncSpec, now: datetime, to: Sequence[Channel]) -> Health:
    """Look, and send what is new since people were told last."""
    return tell_of(ledger, look(ledger, spec, now), to)


def tell_of(ledger: Ledger, found: Health, to: Sequence[Channel]) -> Health:
    """Send what is new about a sync since people were told last. What no channel takes counts as not told."""
    if not to:
        return found
    alerts = {finding.name: finding for finding in found.alerts}
    before = ledger.told(found.sync)
    fresh = [alerts[name] for name in alerts if name not in before]
    if fresh:
        subject = f"Crossdock: {found.sync} {'is failing' if found.verdict == 'failing' else 'needs attention'}"
        text = "\n".join(f"{finding.said}\n→ {finding.next}" for finding in fresh)
    elif before and not alerts:
        subject = f"Crossdock: {found.sync} is {'healthy' if found.verdict == 'healthy' else 'within its limits'} again"
        text = f"over: {', '.join(sorted(before))}"
    else:
        if before != set(alerts):
            ledger.tell(found.sync, alerts)
        return found
    problems = list(send(to, subject, text))
    for problem in problems:
        _log.warning("%s: %s", found.sync, problem)
    if len(problems) < len(to):
        ledger.tell(found.sync, alerts)
    return found
