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
LONGEST_S = 30.0  # of telling, where what takes alerts hangs; Dagster gives a sensor a minute


def watching_defs(runtime: Runtime, specs: Mapping[str, SyncSpec], problems: Mapping[str, str]) -> dg.Definitions:
    """The sensor, started where alerts go anywhere; none where they go nowhere or CROSSDOCK_ALERTS cannot be read.

    `specs` are the syncs that can run, `problems` says of all others why they cannot.
    """
    try:
        if not runtime.alerts or not (specs or problems):
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
        from pipelines.health import broken
        from pipelines.watch import look, tell_of

        with replace(runtime) as fresh:  # what it opens lasts as long as one look
            until_s = fresh.clock.monotonic() + LONGEST_S
            found = [broken(name, problem) for name, problem in problems.items()]
            found += [look(fresh.ledger, spec, fresh.clock.now()) for spec in specs.values()]
            for one in found:
                tell_of(fresh.ledger, one, fresh.alerts if fresh.clock.monotonic() < until_s else ())
        unwell = [f"{one.sync} ({one.verdict})" for one in found if one.verdict != "healthy"]
        return dg.SkipReason(f"{len(found)} syncs looked at; " + (f"not healthy: {', '.join(unwell)}" if unwell else "all are healthy"))

    return dg.Definitions(sensors=[watch])
