"""The simulation can see: with any one guard taken out of the engine, some schedule fails that holds with it."""

import pytest

from tests.simulation.ablations import ABLATIONS, first_caught
from tests.simulation.schedule import play, simulating


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_engine_without_this_guard_is_caught(name: str) -> None:
    caught = first_caught(name)
    assert caught is not None, f"1,000 schedules did not notice: {ABLATIONS[name].says}"
    with simulating() as ledgers:
        assert play(caught.scenario.seed, ledgers).violation is None


def test_at_least_fifteen_guards_are_taken_out() -> None:
    assert len(ABLATIONS) >= 15
