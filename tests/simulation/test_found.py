"""What the simulation found, each once more by itself over real HTTP: these stay when the schedules change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.base import Record
from tests.e2e.world import World, world


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.configure("here", concurrency=1)
        made.configure("there", concurrency=1)
        yield made


def contact(number: int, **changed: object) -> Record:
    return {"email": f"c{number}@example.com", "name": f"Zoë {number}", "score": number, "rev": number, **changed}  # type: ignore[dict-item]


def test_a_quarantined_create_waits_for_a_person_however_many_runs_pass(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.robostack.set_switch("fault", "500_before")
    assert both.run(both.spec(writes={"batch": 2})).quarantined == 2
    evidence = [(failure.key, failure.reason, failure.request) for failure in both.ledger.failures("c2p")]
    for _ in range(3):
        held = both.run(both.spec(writes={"batch": 2}))
        assert (held.created, held.quarantined, len(both.people())) == (0, 2, 2)
        assert [(failure.key, failure.reason, failure.request) for failure in both.ledger.failures("c2p")] == evidence
    both.ledger.release_failures("c2p")
    freed = both.run(both.spec(writes={"batch": 2}))
    assert (freed.created, freed.quarantined, len(both.people())) == (2, 0, 4)
