"""Yesterday's ledger put in the place of today's: nothing is created twice, deleted wrongly, or left behind."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.ledger import open_ledger
from tests.e2e.commandline import contact
from tests.e2e.world import World, world

WAYS: dict[str, dict[str, Any]] = {
    "whole reads": {},
    "increments": {"read": {"mode": "incremental", "cursor": "updated_at"}},
    "a mirror": {"mode": "mirror", "deletes": {"max_share": 1.0}},
    "the ledger's word for the sink": {"compare": "ledger"},
    "increments, the ledger's word": {"compare": "ledger", "read": {"mode": "incremental", "cursor": "updated_at"}},
    "a mirror, the ledger's word": {"compare": "ledger", "mode": "mirror", "deletes": {"max_share": 1.0}},
}


def put_back(made: World, kept: Path) -> None:
    """The ledger's file is this one again, with nothing beside it."""
    ledger = made.home / "ledger.db"
    made.ledger.close()
    for path in made.home.glob("ledger.db*"):
        path.unlink()
    shutil.copy(kept, ledger)
    made.ledger = open_ledger(f"sqlite:///{ledger}", made.clock)
    made.engine(str(made.home / "staging"))


@pytest.mark.parametrize("way", WAYS)
def test_a_ledger_of_yesterday_costs_reads_and_nothing_else(tmp_path: Path, way: str) -> None:
    def of_day(day: int, n: int, **changed: Any) -> dict[str, Any]:
        return contact(n, updated_at=f"2026-03-0{day}T12:00:00.000000Z", _sid=f"rec_{n}", **changed)

    with world(tmp_path) as made:
        spec = made.spec(**WAYS[way])
        first = [of_day(1, n) for n in range(1, 7)]
        made.put_contacts(*first)
        assert made.run(spec).created == 6
        made.ledger.close()
        shutil.copy(tmp_path / "ledger.db", tmp_path / "yesterday.db")
        renamed, corrected = of_day(2, 1, name="Renamed"), of_day(2, 3, name="Corrected")
        made.put_contacts(renamed, corrected, *first[3:], of_day(2, 7))
        assert made.run(spec).status == "ok"
        put_back(made, tmp_path / "yesterday.db")
        now = [of_day(3, 1), corrected, *first[3:], of_day(2, 7), of_day(3, 8)]
        made.put_contacts(*now)
        ended = made.run(spec)
        assert ended.status == "ok", ended
        expected = {(one["email"], one["name"]) for one in now} | ({("p2@example.com", "Person 2")} if "mirror" not in way else set())
        found = [(person["email"], person["name"]) for person in made.people()]
        assert sorted(found) == sorted(expected)
        assert made.run(spec).status == "ok"  # by the ledger's word some of it may be said once more
        assert sorted((person["email"], person["name"]) for person in made.people()) == sorted(expected)
        assert made.run(spec).requests["sink"]["write"] == 0
