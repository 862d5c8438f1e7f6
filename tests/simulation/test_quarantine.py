"""What lost answers leave to a person: next to nothing with `on_unknown: retry`, else just the creates that were lost unmade."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation import others
from tests.simulation.faults import FAULTS
from tests.simulation.ledgers import Ledgers
from tests.simulation.scenario import scenario
from tests.simulation.schedule import simulating
from tests.simulation.world import Process, World

RECORDS, SEEDS = 1000, 4
LOST = {"timeout, lost", "timeout, applied", "timeout, applied late", "reset before", "reset, applied", "reset, applied late"}
OUTWARD = next(seed for seed in range(0, 2000, 20) if scenario(seed).direction == "stacker to robostack" and not scenario(seed).lag_s)


@pytest.fixture
def ledgers() -> Iterator[Ledgers]:
    with simulating() as made:
        yield made


def delivered(seed: int, on_unknown: str, ledgers: Ledgers, home: Path) -> World:
    """A world after one run that creates RECORDS records while one answer in a hundred is lost."""
    drawn = scenario(OUTWARD, whole=True)
    writes = drawn.spec.writes.model_copy(update={"batch": 5, "on_unknown": on_unknown})
    spec = drawn.spec.model_copy(update={"mode": "upsert", "writes": writes, "deletes": None, "limits": type(drawn.spec.limits)()})
    world = World(
        replace(
            drawn,
            seed=seed,
            spec=spec,
            source_settings={},
            source_switches={},
            sink_switches={"create_answers": "records"},
            fault_share=0.01,
            first_fault=None,
            restless=0.0,
            rewrites="",
            without=frozenset(fault.name for fault in FAULTS) - LOST,
        ),
        home,
        ledgers,
    )
    for number in range(RECORDS):
        world.source.add({"email": others.email(number), "name": "Zoë", "score": number})
    world.calm = False
    process = Process(world, "p")
    try:
        summary = process.run()
    finally:
        process.end()
    assert summary is not None, world.trace[-1]
    assert (summary.created + summary.quarantined, summary.unknown, summary.rejected) == (RECORDS, 0, 0)
    world.quarantined = summary.quarantined
    return world


@pytest.mark.parametrize("on_unknown", ["retry", "quarantine"])
def test_what_one_lost_answer_in_a_hundred_leaves_to_a_person(on_unknown: str, ledgers: Ledgers, tmp_path: Path) -> None:
    quarantined = lost = 0
    for seed in range(SEEDS):
        world = delivered(seed, on_unknown, ledgers, tmp_path / str(seed))
        made = [row["email"] for row in world.sink.rows.values()]
        unmade = {others.email(number) for number in range(RECORDS)}.difference(made)
        assert len(made) == len(set(made))
        listed = ledgers.outside.execute("SELECT key, reason, request FROM crossdock_failures WHERE outcome = 'quarantined'").fetchall()
        assert {json.loads(key)[0] for key, _, _ in listed} == unmade
        assert all("no answer came" in reason and json.loads(request)["email"] for _, reason, request in listed)
        quarantined += world.quarantined
        lost += sum(world.faults.values())
        world.close()
    assert lost > SEEDS
    if on_unknown == "retry":
        assert quarantined <= 0.001 * SEEDS * RECORDS
    else:
        assert 0 < quarantined <= 0.01 * SEEDS * RECORDS
