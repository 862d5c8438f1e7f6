"""The sensor that looks at every sync's health, so that a run that died without a word, or never came, is told as well."""

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg

from connectors.errors import ConnectorError
from pipelines.runtime import Runtime
from pipelines.spec import SyncSpec

__all__ = ["SENSOR", "watching_defs"]

SENSOR = "crossdock_watch"
EVERY_S = 60


def watching_defs(runtime: Runtime, specs: Mapping[str, SyncSpec]) -> dg.Definitions:
    """The sensor, started where alerts go anywhere; none where they go nowhere or CROSSDOCK_ALERTS cannot be read."""
    try:
        if not runtime.alerts or not specs:
            return dg.Definitions()
    except ConnectorError as error:
        dg.get_dagster_logger().error(str(error))
        return dg.Definitions()

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks at the health of every sync and sends what is new to where CROSSDOCK_ALERTS says. It starts no runs.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from pipelines.watch import tell

        with replace(runtime) as fresh:  # what it opens lasts as long as one look
            found = [tell(fresh.ledger, spec, fresh.clock.now(), fresh.alerts) for spec in specs.values()]
        unwell = [f"{one.sync} ({one.verdict})" for one in found if one.verdict != "healthy"]
        return dg.SkipReason(f"{len(found)} syncs looked at; " + (f"not healthy: {', '.join(unwell)}" if unwell else "all are healthy"))

    return dg.Definitions(sensors=[watch])
