"""Thousands of schedules of trouble through the real engine: nothing lost, nothing doubled, nothing clobbered, nothing deleted too much."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import faults
from tests.simulation.many import run_range
from tests.simulation.moments import VirtualTime
from tests.simulation.platforms import Robostack
from tests.simulation.report import failing
from tests.simulation.schedule import play, simulating

SCHEDULES, EACH = 10_000, 250  # `make simulate` plays a million


@pytest.mark.parametrize("first", range(0, SCHEDULES, EACH))
def test_in_no_schedule_is_anything_lost_doubled_clobbered_or_deleted_beyond_a_limit(first: int) -> None:
    tally = run_range(range(first, first + EACH))
    assert not tally.failed, "\n".join(line for verdict in tally.failed.values() for line in failing(verdict))
    # and it was no fair weather: had the distribution gone quiet, nothing would be proved
    assert tally.schedules == EACH
    assert tally.faults.total() > EACH / 2
    assert len(tally.faults) > len(faults.FAULTS) / 2
    assert tally.crashes.total() > EACH / 4
    assert tally.pairs > EACH / 50


def test_a_platform_that_is_restored_answers_in_the_same_order_of_chance() -> None:
    """Else a schedule that goes on from what another one of its base delivered is not the one that its seed replays."""
    first, second = (Robostack(VirtualTime(), {"order": "shuffled"}) for _ in range(2))
    for number in range(8):
        first.add({"email": f"k{number}@example.com"})
    first.store.visible(list(first.rows))
    second.restore(first.snapshot())
    assert second.store.visible(list(second.rows)) == first.store.visible(list(first.rows))


def replayed(seed: int, hash_seed: str) -> str:
    """What the one command shows of this schedule, in a process of its own."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=True)
    return done.stdout


def test_a_seed_is_the_same_schedule_byte_for_byte_in_another_process_and_after_other_schedules() -> None:
    with simulating() as ledgers:
        pair = next(verdict for seed in range(40) if (verdict := play(seed, ledgers)).scenario.workers == 2 and verdict.crashes)
    shown = replayed(pair.scenario.seed, "1")
    assert shown == replayed(pair.scenario.seed, "2")
    assert "\n".join(pair.trace) in shown
    assert "is killed at" in shown
