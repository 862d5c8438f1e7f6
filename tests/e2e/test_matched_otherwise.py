"""A sync that matches by other fields than before: what it wrote, or left unanswered, keeps the key that it was written with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.errors import ConfigError
from pipelines.delivery import Delivery
from pipelines.undo import plan_undo
from tests.e2e.world import World, world

BOTH = {"match": ["email", "name"]}


@pytest.fixture
def four(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.put_contacts(*({"email": f"c{n}@example.com", "name": f"N{n}", "score": n} for n in range(4)))
        yield made


def test_creates_left_unanswered_are_looked_up_by_the_key_that_they_were_sent_with(four: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(delivery: Delivery) -> None:
        raise KeyboardInterrupt

    four.robostack.set_switch("fault", "500_after")
    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "look", die)
        with pytest.raises(KeyboardInterrupt):
            four.run(four.spec(writes={"batch": 1}))
    summary = four.run(four.spec(**BOTH))
    assert (summary.status, summary.unchanged, summary.quarantined) == ("ok", 4, 0)
    assert [write.state.value for write in four.ledger.writes("run1")] == ["confirmed"] * 4
    assert len(four.people()) == 4


def test_what_the_ledger_remembers_is_compared_under_the_new_key_and_known_once(four: World) -> None:
    four.run(four.spec())
    for changed in ({**BOTH}, {"match": ["name"]}, {"match": ["name", "score"]}):
        summary = four.run(four.spec(compare="ledger", **changed))
        assert (summary.status, summary.unchanged, summary.conflicts) == ("ok", 4, 0)
        assert len(list(four.ledger.matches("c2p"))) == 4


def test_a_run_that_matched_otherwise_is_not_undone_by_the_wrong_fields(four: World) -> None:
    four.run(four.spec())
    with pytest.raises(ConfigError, match=r"matched records by email, and c2p matches them by name now.*put match: \[email\] back"):
        plan_undo(four.core, four.spec(match=["name"]), "run1")
    assert plan_undo(four.core, four.spec(), "run1").counts.delete == 4
