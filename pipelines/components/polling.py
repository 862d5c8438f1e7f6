"""The sensor that asks sources whether they hold anything new, and runs a sync only then."""

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import dagster as dg

from connectors.errors import ConnectorError
from pipelines.components.triggers import busy, live_request
from pipelines.runtime import Runtime
from pipelines.spec import SyncSpec, duration

__all__ = ["SENSOR", "polling_sensor"]

SENSOR = "source_changes"
AT_ONCE = 4
LONGEST_S = 30.0  # half of what Dagster gives a sensor; a source that takes longer is asked again at its next turn
AGAIN = 10  # looks after which a run is asked for once more, where what was new is still not taken


def polling_sensor(runtime: Runtime, specs: Sequence[SyncSpec], jobs: Sequence[Any]) -> dg.SensorDefinition:
    """One sensor for every sync with `poll`. Dagster keeps when each source was asked last, and which news a run was asked for."""

    @dg.sensor(
        name=SENSOR,
        jobs=jobs,
        minimum_interval_seconds=max(1, int(min(duration(str(spec.poll)).total_seconds() for spec in specs))),
        default_status=dg.DefaultSensorStatus.RUNNING if runtime.schedules_run else dg.DefaultSensorStatus.STOPPED,
        description="Runs a sync when its source holds something new. It asks "
        + "; ".join(f"{spec.source} for {spec.name} every {spec.poll}" for spec in specs),
    )
    def poll(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        kept: dict[str, dict[str, Any]] = json.loads(context.cursor) if context.cursor else {}
        now = runtime.clock.now().timestamp()
        late = [spec for spec in specs if now - kept.get(spec.name, {}).get("asked_at", 0) >= duration(str(spec.poll)).total_seconds() - 1]
        asked = {spec.name: spec for spec in late if busy(context.instance, spec.name) is None}
        requests = []
        for name, answer in _answers(runtime, list(asked.values())).items():
            before = kept.get(name, {})
            looks = before.get("looks", 0) + 1 if answer == before.get("news") else 0
            kept[name] = {"asked_at": now, "news": answer, "looks": looks % AGAIN}
            if isinstance(answer, str) and looks % AGAIN == 0:
                requests.append(live_request(asked[name], f"{name}:{answer}:{now:.0f}"))
        said = f"{len(asked)} sources were asked; {len(requests)} of them hold something new that no run was asked to take yet"
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(kept, sort_keys=True), skip_reason=None if requests else said)

    return poll


def _answers(runtime: Runtime, specs: Sequence[SyncSpec]) -> dict[str, str | None]:
    """What is new for each sync; None where nothing is, or where its source did not answer in time or as it should."""
    from pipelines.polling import news

    found: dict[str, str | None] = dict.fromkeys(spec.name for spec in specs)
    if not specs:
        return found
    threads = ThreadPoolExecutor(AT_ONCE)
    try:
        with replace(runtime) as fresh:  # what it opens lasts as long as one look
            engine = fresh.engine()
            looks: dict[Future[str | None], str] = {threads.submit(news, engine, spec): spec.name for spec in specs}
            done, late = wait(looks, LONGEST_S)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    log = dg.get_dagster_logger()
    for look in late:
        log.warning(f"the source of {looks[look]} did not answer within {LONGEST_S:.0f} s; it is asked again at its next turn")
    for look in done:
        error = look.exception()
        if error is None:
            found[looks[look]] = look.result()
        elif isinstance(error, ConnectorError):
            log.warning(f"the source of {looks[look]} cannot be asked what is new: {error}")
        else:
            raise error
    return found
