"""What others do to records that a sync once wrote is theirs: a record with a known key but another id is not ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import World, world

MIRROR = {"mode": "mirror", "deletes": {"max_count": 10, "max_share": 1.0}}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.put_contacts(*({"email": f"c{n}@example.com", "name": f"n{n}", "score": n} for n in range(6)))
        yield made


def _made_again_by_others(both: World, email: str) -> None:
    people = both.robostack.resources["people"]
    both.robostack.remove(people, [both.person(email)["id"]])
    both.robostack.put(people, [{"id": both.robostack.next_id(people), "email": email, "name": "made by hand", "score": 99}])


def test_a_record_that_others_made_anew_under_a_key_of_ours_is_not_deleted(both: World) -> None:
    spec = both.spec(**MIRROR)
    both.run(spec)
    _made_again_by_others(both, "c3@example.com")
    both.remove_contact("c3@example.com")
    summary = both.run(spec)
    assert summary.deleted == 0
    assert both.person("c3@example.com")["name"] == "made by hand"
    assert any("other ids" in warning for warning in summary.warnings)


def test_nor_is_it_deleted_where_the_ledger_is_trusted(both: World) -> None:
    spec = both.spec(**MIRROR, compare="ledger")
    both.run(spec)
    _made_again_by_others(both, "c3@example.com")
    both.remove_contact("c3@example.com")
    both.run(spec)
    assert both.person("c3@example.com")["name"] == "made by hand"


def test_a_record_that_others_made_anew_is_not_renamed_when_the_source_record_gets_another_key(both: World) -> None:
    spec = both.spec()
    both.run(spec)
    _made_again_by_others(both, "c3@example.com")
    both.edit_contact("c3@example.com", email="c33@example.com")
    both.run(spec)
    assert both.person("c3@example.com")["name"] == "made by hand"
    assert both.person("c33@example.com")["name"] == "n3"
