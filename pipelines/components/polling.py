"""The sensor that asks sources whether they hold anything new, and runs a sync only then."""

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from connectors.errors import ConnectorError
from pipelines.components.triggers import busy, live_request
from pipelines.runtime import Runtime
from pipelines.spec import SyncSpec, duration

__all__ = ["SENSOR", "polling_sensor"]

SENSOR = "source_changes"
AT_ONCE = 4  # of one connection
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
        kept = {spec.name: kept.get(spec.name, {}) for spec in specs}
        now = runtime.clock.now().timestamp()
        late = [spec for spec in specs if now - kept[spec.name].get("asked_at", 0) >= duration(str(spec.poll)).total_seconds() - 1]
        asked = {spec.name: spec for spec in late if busy(context.instance, spec.name) is None}
        requests, answers = [], _answers(runtime, sorted(asked.values(), key=lambda spec: kept[spec.name].get("asked_at", 0)))
        for name, answer in answers.told.items():
            before = kept[name]
            looks = before.get("looks", 0) + 1 if answer == before.get("news") else 0
            kept[name] = {"asked_at": now, "news": answer, "looks": looks % AGAIN}
            if isinstance(answer, str) and looks % AGAIN == 0:
                requests.append(live_request(asked[name], f"{name}:{answer}:{now:.0f}"))
        for name in answers.failed:
            kept[name] |= {"asked_at": now}
        said = f"{len(answers.told)} sources were asked; {len(requests)} of them hold something new that no run was asked to take yet"
        problems = "".join(f"; {problem}" for problem in answers.failed.values())
        return dg.SensorResult(
            run_requests=requests, cursor=json.dumps(kept, sort_keys=True), skip_reason=None if requests else said + problems
        )

    return poll


@dataclass(frozen=True)
class _Answers:
    """What is new for each sync (None: nothing is), and a sentence for each whose source did not answer in time or as it should.

    One that is in neither was not asked: others of its connection took all the time.
    """

    told: dict[str, str | None]
    failed: dict[str, str]


def _answers(runtime: Runtime, specs: Sequence[SyncSpec]) -> _Answers:
    """Ask the sources of these syncs, the first ones first, a few at once of each connection: one that hangs holds up no other."""
    from pipelines.polling import news

    found = _Answers({}, {})
    if not specs:
        return found
    threads = {spec.source_connection: ThreadPoolExecutor(AT_ONCE) for spec in specs}
    try:
        with replace(runtime) as fresh:  # what it opens lasts as long as one look
            engine = fresh.engine()
            looks: dict[str, Future[str | None]] = {spec.name: threads[spec.source_connection].submit(news, engine, spec) for spec in specs}
            wait(looks.values(), LONGEST_S)
            begun = {name: look for name, look in looks.items() if not look.cancel()}
    finally:
        for those in threads.values():
            those.shutdown(wait=False, cancel_futures=True)
    for name, look in begun.items():
        if not look.done():
            found.failed[name] = f"the source of {name} did not answer within {LONGEST_S:.0f} s and is asked again at its next turn"
        elif (error := look.exception()) is None:
            found.told[name] = look.result()
        elif isinstance(error, ConnectorError):
            found.failed[name] = f"the source of {name} cannot be asked what is new: {error}"
        else:
            why = f"{type(error).__name__}; crossdock plan {name} --debug may show where"
            found.failed[name] = f"the source of {name} cannot be asked what is new, which is a defect of Crossdock ({why})"
    for problem in found.failed.values():
        dg.get_dagster_logger().warning(problem)
    return found
