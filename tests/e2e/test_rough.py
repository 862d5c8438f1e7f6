"""A sink that does what it is told and then drops, spoils or cuts its answers, and asks to be left alone: nothing lost, nothing twice."""

from pathlib import Path

import pytest

from connectors.errors import RetryableError
from tests.clock import FakeClock
from tests.e2e.rough import create_in_bulk, delete_one_by_one, rough_world, update_one_by_one


def test_bulk_creates_through_a_bad_day_are_all_made_once(tmp_path: Path) -> None:
    with rough_world(tmp_path, FakeClock(), burst=10, wait_s=3) as (made, stacker, _):
        assert create_in_bulk(made, 2_000, 20) == []
    assert min(stacker.fates[fate] for fate in ("dropped", "failed", "cut", "429")) > 0
    assert stacker.early == 0


def test_single_updates_and_deletes_through_a_bad_day_all_arrive(tmp_path: Path) -> None:
    with rough_world(tmp_path, FakeClock(), burst=25, wait_s=3) as (made, _, robostack):
        assert update_one_by_one(made, 500) == []
        assert delete_one_by_one(made, 120) == []
    assert min(robostack.fates[fate] for fate in ("dropped", "failed", "cut", "429")) > 5
    assert robostack.early == 0


def test_the_audit_of_a_bad_day_sees_who_does_not_wait(tmp_path: Path) -> None:
    with rough_world(tmp_path, FakeClock(), burst=1, wait_s=3) as (made, stacker, _):
        stacker.clock = FakeClock()  # stands still while the engine believes that it waits
        with pytest.raises(RetryableError, match="429"):
            create_in_bulk(made, 9, 2)
    assert stacker.early > 0
