"""A sink that does not show all it holds: nothing is made a second time because a read left it out."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.base import Record
from connectors.errors import ConfigError
from tests.e2e.world import World, world

COUNT = 37


def contact(n: int, name: str = "Ann") -> Record:
    return {"email": f"p{n}@x.com", "name": name, "score": n}


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.put_contacts(*(contact(n) for n in range(COUNT)))
        yield made


def doubled(w: World) -> dict[object, int]:
    return {email: count for email, count in Counter(person["email"] for person in w.people()).items() if count > 1}


@pytest.mark.parametrize("cap", ["10", "20", "25"])
def test_records_beyond_a_silent_cap_are_not_created_again(w: World, cap: str) -> None:
    w.robostack.set_switch("result_cap", cap)
    assert w.run(w.spec()).created == COUNT
    for _ in range(2):
        again = w.run(w.spec())
        assert (again.created, again.updated, again.unchanged) == (0, 0, COUNT)
        assert again.requests["sink"]["write"] == 0
        assert "set result_cap" in again.warnings[0]
    assert len(w.people()) == COUNT


def test_records_that_were_there_before_the_first_run_are_found_beyond_a_silent_cap(w: World) -> None:
    w.put_people(*(contact(n, "old") for n in reversed(range(COUNT + 3))))
    w.robostack.set_switch("result_cap", "20")
    first = w.run(w.spec())
    assert (first.created, first.updated) == (0, COUNT)
    assert not doubled(w)


def test_nothing_is_created_where_asking_for_everything_finds_nothing_of_what_is_there(w: World) -> None:
    w.put_people(*(contact(n, "old") for n in range(COUNT)))
    for name, value in (("empty_selection", "none"), ("absent_selection", "refused"), ("no_body", "refused")):
        w.robostack.set_switch(name, value)
    with pytest.raises(ConfigError, match="finds none, but 37 of 37 that would be created are there"):
        w.run(w.spec())
    assert len(w.people()) == COUNT


def test_few_records_are_not_made_again_either_where_asking_for_everything_goes_on_finding_nothing(w: World) -> None:
    w.put_people(*(contact(n, "old") for n in range(3)))
    for name, value in (("empty_selection", "none"), ("absent_selection", "refused"), ("no_body", "refused")):
        w.robostack.set_switch(name, value)
    ended = w.run(w.spec(writes={"batch": 4}))
    assert (ended.status, ended.created > 0, ended.created + ended.rejected) == ("partial", True, COUNT)
    assert any("that would be created are there" in one.reason for one in w.ledger.failures("c2p"))
    assert not doubled(w)


def test_a_sink_whose_records_show_no_id_is_refused_in_words_that_name_what_they_show(w: World) -> None:
    w.put_people(contact(0, "old"))
    w.robostack.set_switch("hidden_fields", "id")
    with pytest.raises(ConfigError, match=r"none of 1 records .* shows its id, the field 'id'; they show email, .* name the field"):
        w.run(w.spec())
    assert [person["name"] for person in w.people()] == ["old"]


def test_a_record_this_sync_made_is_looked_up_before_it_is_made_again(w: World) -> None:
    w.run(w.spec())
    w.robostack.set_switch("result_cap", "33")  # no number that looks like a cap
    assert w.run(w.spec()).created == 0
    assert not doubled(w)


def test_a_record_that_others_removed_is_made_again(w: World) -> None:
    w.run(w.spec())
    held = w.robostack.resources["people"]
    w.robostack.remove(held, [next(iter(held.records))])
    assert w.run(w.spec()).created == 1
    assert len(w.people()) == COUNT
    assert not doubled(w)


def test_creates_are_refused_where_neither_a_read_nor_a_look_up_can_show_that_they_are_new(w: World) -> None:
    w.run(w.spec())
    w.robostack.set_switch("result_cap", "20")
    w.robostack.set_switch("match", "ignored")
    refused = w.run(w.spec())
    assert refused.status == "refused"
    assert "result_cap" in refused.refusals[0]
    assert len(w.people()) == COUNT


def test_nothing_is_created_unasked_where_the_sink_shows_no_record_with_the_field_to_match_by(w: World) -> None:
    w.put_people(*(contact(n, "old") for n in range(3)))
    w.robostack.set_switch("hidden_fields", "email")
    refused = w.run(w.spec())
    assert refused.status == "refused"
    assert "none of its 3 records shows email, by which they are matched" in refused.refusals[0]
    assert len(w.people()) == 3
    w.robostack.set_switch("hidden_fields", "")
    assert (w.run(w.spec()).created, doubled(w)) == (COUNT - 3, {})


def test_a_source_that_may_hide_records_behind_a_cap_is_said_and_deletes_nothing(w: World) -> None:
    w.put_people(*(contact(n) for n in range(COUNT)))
    w.put_contacts()
    back = w.spec(**{"from": "there.people", "to": "here.contacts", "mode": "mirror", "deletes": {"max_count": 99, "max_share": 1}})
    assert w.run(back).created == COUNT
    w.robostack.set_switch("result_cap", "20")
    refused = w.run(back)
    assert refused.status == "refused"
    assert "20 may be a silent cap; set result_cap" in refused.refusals[0]
    assert "may not be all it holds" in refused.warnings[0]
    assert len(w.contacts()) == COUNT
