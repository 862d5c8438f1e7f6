"""Yesterday's ledger put in the place of today's: nothing is created twice, deleted wrongly, or left behind."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commandline import contact, project

WAYS: dict[str, dict[str, Any]] = {
    "whole reads": {},
    "increments": {"read": {"mode": "incremental", "cursor": "updated_at"}},
    "a mirror": {"mode": "mirror", "deletes": {"max_share": 1.0}},
    "the ledger's word for the sink": {"compare": "ledger"},
    "increments, the ledger's word": {"compare": "ledger", "read": {"mode": "incremental", "cursor": "updated_at"}},
    "a mirror, the ledger's word": {"compare": "ledger", "mode": "mirror", "deletes": {"max_share": 1.0}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_ledger_of_yesterday_costs_reads_and_nothing_else(tmp_path: Path, way: str) -> None:
    def of_day(day: int, n: int, **changed: Any) -> dict[str, Any]:
        return contact(n, updated_at=f"2026-03-0{day}T12:00:00.000000Z", _sid=f"rec_{n}", **changed)

    with project(tmp_path) as made:
        made.sync(**WAYS[way])
        ledger = tmp_path / ".crossdock" / "ledger.db"
        first = [of_day(1, n) for n in range(1, 7)]
        made.contacts(*first)
        assert made.json("run", "c2p")["created"] == 6
        shutil.copy(ledger, tmp_path / "yesterday.db")
        renamed, corrected = of_day(2, 1, name="Renamed"), of_day(2, 3, name="Corrected")
        made.contacts(renamed, corrected, *first[3:], of_day(2, 7))
        assert made.json("run", "c2p")["status"] == "ok"
        for path in ledger.parent.glob("ledger.db*"):
            path.unlink()
        shutil.copy(tmp_path / "yesterday.db", ledger)
        now = [of_day(3, 1), corrected, *first[3:], of_day(2, 7), of_day(3, 8)]
        made.contacts(*now)
        ended = made.json("run", "c2p")
        assert ended["status"] == "ok", ended
        expected = {(one["email"], one["name"]) for one in now} | ({("p2@example.com", "Person 2")} if "mirror" not in way else set())
        found = [(person["email"], person["name"]) for person in made.people()]
        assert sorted(found) == sorted(expected)
        assert made.json("run", "c2p")["status"] == "ok"  # by the ledger's word some of it may be said once more
        assert sorted((person["email"], person["name"]) for person in made.people()) == sorted(expected)
        assert made.json("run", "c2p")["requests"]["sink"]["write"] == 0
