"""A sink that shows records of ours under other match keys than were written, or late: nothing is made twice, and it is said."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Record
from connectors.celigo import CONNECTOR as CELIGO
from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import Store
from tests.e2e.celigo_accounts import accounts
from tests.e2e.world import World, world
from tests.loopback import serving

INCREMENTAL = {"mode": "incremental", "cursor": "updated_at", "lag": "1d"}


def test_a_sink_with_a_form_of_its_own_for_keys_gets_every_record_once_and_is_left_alone_in_the_end(tmp_path: Path) -> None:
    with accounts(tmp_path, servers=2, lambdas=0) as made:
        padded = [
            made.us.create({"name": f" padded {n} ", "type": "server", "server": {"hostURI": f"https://p{n}.example"}})["_id"]
            for n in range(3)
        ]
        made.eu.set_switch("trims", "yes")
        runs = [made.json("run", "celigo_us_to_eu") for _ in range(4)]
        assert [(run["status"], run["created"], run["updated"]) for run in runs] == [("ok", 5, 0), ("ok", 0, 3), ("ok", 0, 0), ("ok", 0, 0)]
        assert len(made.eu.stacks) == 5
        assert "3 records keep reading back otherwise in name: normalised by the sink, left alone" in runs[-1]["warnings"]
        made.us.stacks[padded[0]]["server"]["hostURI"] = "https://moved.example"
        made.us.remove(padded[1])
        later = made.json("run", "celigo_us_to_eu")
        assert (later["status"], later["created"], later["updated"], later["deleted"]) == ("ok", 0, 1, 0)
        assert any("1 records of celigo_eu.stacks without a source have another match key there" in said for said in later["warnings"])
        shown = [stack["server"]["hostURI"] for stack in made.eu.stacks.values() if stack["name"].startswith("padded")]
        assert sorted(shown) == ["https://moved.example", "https://p1.example", "https://p2.example"]


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.put_contacts(*(contact(n) for n in range(40)))
        yield made


def contact(n: int) -> Record:
    return {"email": f"p{n}@x.com", "name": "Ann", "score": n, "updated_at": f"2026-01-01T00:00:{n:02}Z"}


@pytest.mark.parametrize("reading", [{"mode": "full"}, INCREMENTAL], ids=["all", "by key"])
def test_a_record_whose_key_others_changed_in_the_sink_is_set_right_and_not_made_again(w: World, reading: dict[str, str]) -> None:
    w.run(w.spec(read=reading))
    w.robostack.put(w.robostack.resources["people"], [{**w.person("p3@x.com"), "email": "theirs@x.com", "name": "Theirs"}])
    if reading == INCREMENTAL:
        w.edit_contact("p3@x.com", name="Bob", updated_at="2026-01-09T00:00:00Z")
    again = w.run(w.spec(read={**reading, "lag": "0s"} if reading == INCREMENTAL else reading))
    assert (again.status, again.created, again.updated, len(w.people())) == ("ok", 0, 1, 40)
    assert w.person("p3@x.com")["name"] in ("Ann", "Bob")


def test_an_id_that_the_sink_gave_anew_to_another_record_of_ours_is_not_taken_for_the_old_one(w: World) -> None:
    w.run(w.spec(read=INCREMENTAL))
    people = [w.person(f"p{n}@x.com") for n in range(40)]
    w.put_people(*({**people[n], "id": people[n + 20]["id"]} for n in range(20)))  # as a restored backup may
    w.robostack.resources["people"].made = 40
    for n in range(20, 40):
        w.edit_contact(f"p{n}@x.com", name="Bob", updated_at=f"2026-01-09T00:00:{n}Z")
    again = w.run(w.spec(read={**INCREMENTAL, "lag": "0s"}))
    assert (again.status, again.created, again.updated) == ("ok", 20, 0)
    assert {str(person["email"]) for person in w.people()} == {f"p{n}@x.com" for n in range(40)}


def test_a_record_of_others_under_an_old_id_of_ours_is_never_written_over_and_ours_is_made_when_a_person_says_so(w: World) -> None:
    w.run(w.spec())
    store = w.robostack.resources["people"]
    theirs = {**w.person("p3@x.com"), "email": "theirs@x.com", "name": "Theirs", "score": 999}
    w.robostack.put(store, [theirs])  # ours was deleted, and a new record got its number
    first = w.run(w.spec())
    assert (first.status, first.created, first.updated, first.conflicts) == ("partial", 0, 0, 1)
    assert "another match key and other values" in w.ledger.failures("c2p")[0].reason
    w.ledger.release_failures("c2p", [w.ledger.failures("c2p")[0].key])
    second = w.run(w.spec())
    assert (second.status, second.created, second.conflicts, w.ledger.failures("c2p")) == ("ok", 1, 0, [])
    assert (w.person("theirs@x.com")["name"], w.person("p3@x.com")["name"]) == ("Theirs", "Ann")


@pytest.mark.parametrize("lag_s", [2, 600])
def test_what_a_sink_shows_late_is_waited_for_a_little_and_never_made_again(w: World, lag_s: int) -> None:
    store = Store(seed=2, servers=0, lambdas=0)
    shown_from: dict[str, datetime] = {}
    listed = store.listed

    def late() -> list[Any]:
        now = w.clock.now()
        return [one for one in listed() if now >= shown_from.setdefault(one["_id"], now + timedelta(seconds=lag_s))]

    store.listed = late  # type: ignore[method-assign]
    w.put_contacts(*(contact(n) for n in range(3)))
    with serving(create_app(store)) as url:
        w._settings["late"] = (CELIGO, {"connector": "celigo", "base_url": url, "token": store.token})
        fields = {"name": "name || score", "type": "'server'", "server.hostURI": "'https://x.example/' || score"}
        spec = w.spec(to="late.stacks", match=["name"], fields=fields)
        first, second = w.run(spec), w.run(spec)
        if lag_s < 3:
            assert (first.created, first.differences, first.warnings, second.unchanged) == (3, 0, (), 3)
        else:
            assert (first.created, second.created, second.quarantined) == (3, 0, 3)
            assert "set T_lag_s of late" in first.warnings[-1]
            assert "no read has shown it since" in next(iter(w.ledger.failures("c2p"))).reason
        w.clock.advance(lag_s)
        third = w.run(spec)
        assert (third.status, third.unchanged, len(store.stacks), w.ledger.failures("c2p")) == ("ok", 3, 3, [])
        store.remove(next(iter(store.stacks)))
        assert w.run(spec).created == 1


@pytest.mark.parametrize("lag_s", [2, 600])
def test_what_was_answered_without_its_record_and_shows_late_is_waited_for_a_little_too(w: World, lag_s: int) -> None:
    w.put_people({**contact(0), "name": "before"})
    store, written_at = w.robostack, list[datetime]()
    visible, shown = store.visible, store.shown
    before = shown(store.resources["people"], 1)
    store.set_switch("create_answers", "nothing")
    store.set_switch("update_answers", "nothing")

    def late() -> bool:
        if len(store.resources["people"].records) > 1 and not written_at:
            written_at.append(w.clock.now())
        return bool(written_at) and w.clock.now() < written_at[0] + timedelta(seconds=lag_s)

    def listed(keys: list[Any]) -> list[Any]:
        return [key for key in visible(keys) if key == 1 or not late()]

    def told(resource: Any, key: Any) -> bytes:
        return before if late() else shown(resource, key)

    store.visible = listed  # type: ignore[method-assign]
    store.shown = told  # type: ignore[method-assign]
    first = w.run(w.spec())
    if lag_s < 3:
        assert (first.status, first.created, first.updated, first.warnings, first.requests["sink"]["write"]) == ("ok", 39, 1, (), 2)
    else:
        assert (first.status, first.created, first.updated, first.quarantined) == ("partial", 0, 0, 39)


@pytest.mark.parametrize("answers", ["records", "nothing"])
def test_a_sink_that_rewrites_values_is_left_alone_in_the_end_whatever_it_answers(w: World, answers: str) -> None:
    w.robostack.set_switch("trims", "yes")
    w.robostack.set_switch("update_answers", answers)
    w.put_contacts(*({**contact(n), "name": " Ann "} for n in range(3)))
    runs = [w.run(w.spec()) for _ in range(3)]
    w.edit_contact("p1@x.com", name=" Bob ")
    runs += [w.run(w.spec()) for _ in range(3)]
    outcomes = [(run.status, run.created, run.updated, run.requests["sink"]["write"]) for run in runs]
    assert outcomes == [("ok", 3, 0, 1), ("ok", 0, 3, 3), ("ok", 0, 0, 0), ("ok", 0, 1, 1), ("ok", 0, 1, 1), ("ok", 0, 0, 0)]
    assert (w.person("p1@x.com")["name"], runs[-1].warnings[0].split(":")[1]) == ("Bob", " normalised by the sink, left alone")


def test_a_delete_that_leaves_the_record_in_sight_is_not_called_done_and_says_so(w: World) -> None:
    spec = w.spec(mode="mirror", deletes={"max_share": 0.5})
    w.run(spec)
    w.stacker.delete(w.stacker.objects["contacts"], w.contacts()["p3@x.com"]["sid"])
    w.robostack.remove = lambda resource, keys: None  # type: ignore[method-assign]
    told = w.run(spec)
    assert (told.status, told.deleted, told.unknown) == ("partial", 0, 1)
    (left,) = w.ledger.failures(spec.name)
    assert left.reason.endswith("times, and the sink still shows the record")
    assert w.person("p3@x.com")
