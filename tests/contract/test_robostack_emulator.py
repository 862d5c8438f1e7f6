"""The Robostack emulator: it remembers what it acknowledged, and its back door is not the platform."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.robostack.emulator import create_app
from connectors.robostack.emulator_store import SWITCHES, Store, decode
from tests.loopback import serving

HEADERS = {"x-api-key": "demo", "x-api-secret": "demo"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "robostack.jsonl"


def calls(store: Store) -> Iterator[httpx.Client]:
    with serving(create_app(store)) as url, httpx.Client(base_url=f"{url}/external/api/{store.app_uuid}", headers=HEADERS) as http:
        yield http


@pytest.fixture
def changed(state: Path) -> Store:
    """A store on disk, after one call of every kind."""
    store = Store(invoices=20, state=state)
    for http in calls(store):
        http.put("/people/", json=[{"email": "a@new.example"}, {"email": "b@new.example"}])
        http.patch("/people/", json={"selection": {"id": 1}, "updation": {"notes": "zoë 🚲\n"}})
        http.request("DELETE", "/people/", json={"selection": {"email": "b@new.example"}})
        http.request("DELETE", "/people/", json={"selection": {"id": 2}})
    return store


def held(store: Store) -> dict[str, Any]:
    return {name: resource.records for name, resource in store.resources.items()}


def test_what_was_acknowledged_survives_a_restart(changed: Store, state: Path) -> None:
    assert held(Store(state=state)) == held(changed)
    assert held(Store(state=state)) == held(changed)  # also the one after that, from the compacted file


def test_an_id_is_never_used_twice_even_after_a_restart(changed: Store, state: Path) -> None:
    again = Store(state=state)
    assert again.next_id(again.resource("people")) == 8


def test_a_torn_last_line_is_ignored_and_the_next_write_is_whole(changed: Store, state: Path) -> None:
    with state.open("ab") as journal:
        journal.write(b'{"resource":"people","put":[{"id":1,"em')
    again = Store(state=state)
    assert held(again) == held(changed)
    again.put(again.resource("people"), [{"id": 99, "email": "c@new.example"}])
    assert 99 in Store(state=state).resources["people"].records


def test_the_file_is_compacted_when_it_is_opened(state: Path) -> None:
    store = Store(state=state)
    for n in range(300):
        store.put(store.resource("people"), [{"id": 1, "email": f"{n}@new.example"}])
    assert state.read_bytes().count(b"\n") == 303
    Store(state=state)
    assert state.read_bytes().count(b"\n") == 3


def test_a_file_that_is_there_counts_more_than_the_demo_data(changed: Store, state: Path) -> None:
    assert len(Store(seed=1, people=500, state=state).resources["people"].records) == len(changed.resources["people"].records)


def test_the_same_seed_gives_the_same_demo_data() -> None:
    assert held(Store(invoices=200)) == held(Store(invoices=200))
    assert held(Store(invoices=200)) != held(Store(invoices=200, seed=8))


def test_the_demo_data_overlaps_with_other_platforms_and_has_hard_values() -> None:
    store = Store(invoices=1500)
    people, orgs, invoices = (list(store.resources[name].records.values()) for name in ("people", "orgs", "invoices"))
    assert {"ada.lovelace@example.com", "zoë.müller@example.com"} <= {one["email"] for one in people}
    assert "example.com" in {one["domain"] for one in orgs}
    assert len({one["number"] for one in invoices}) == 1500
    assert all(type(one["amount"]) is Decimal and one["amount"].as_tuple().exponent == -2 for one in invoices)
    assert {None, ""} <= {one["notes"] for one in invoices}


def test_numbers_come_back_with_the_digits_they_were_sent_with() -> None:
    for http in calls(Store(invoices=0)):
        http.put("/people/", content=b'{"email":"n","score":12345678901234567890123,"share":0.10}')
        found = http.post("/people/", json={"selection": {"email": "n"}}).content
        assert b'"score":12345678901234567890123,"share":0.10' in found


@pytest.mark.parametrize("body", [b"[", b"7", b'"text"', b"[]", b"[1]", b"{}", b"[{}]"])
def test_a_create_of_something_else_than_records_is_refused(body: bytes) -> None:
    for http in calls(Store(invoices=0)):
        assert http.put("/people/", content=body).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"selection": {"id": 1}},
        {"selection": {}, "updation": {"notes": "x"}},
        {"selection": {"id": 1}, "updation": {}},
        {"selection": [{"id": 1}], "updation": {"notes": "x"}},
        {"selection": [{"id": 1}], "updation": []},
        {"selection": {"id": 1}, "updation": {"notes": "x"}, "more": 1},
    ],
)
def test_an_update_that_is_not_as_documented_is_refused(body: Any) -> None:
    store = Store(invoices=0)
    before = {key: dict(record) for key, record in store.resources["people"].records.items()}
    for http in calls(store):
        assert http.patch("/people/", json=body).status_code == 400
    assert store.resources["people"].records == before


def test_a_switch_that_does_not_exist_is_refused_with_what_exists() -> None:
    with pytest.raises(ValueError, match="envelope"):
        Store(envelop="list")
    with pytest.raises(ValueError, match=r"data\.records"):
        Store(envelope="sideways")
    assert all(choices for choices in SWITCHES.values())


def test_a_test_in_another_process_can_turn_switches_edit_records_and_read_the_log() -> None:
    store = Store(invoices=0)
    with serving(create_app(store, control=True)) as url, httpx.Client(base_url=url) as http:
        assert http.post("/_control/switches", json={"envelope": "data"}).json()["envelope"] == "data"
        assert http.post("/_control/switches", json={"no": "such"}).status_code == 400
        edited = {"resource": "people", "create": [{"email": "x"}], "edit": [[1, {"notes": "theirs"}]], "delete": [2], "first": 2}
        assert http.post("/_control/records", json=edited).json() == {"created": [6], "ids": [1, 3], "count": 5}
        found = http.post(f"/external/api/{store.app_uuid}/people/", headers=HEADERS, json={"selection": {"id": 1}})
        assert decode(found.content)["data"][0]["notes"] == "theirs"
        assert http.get("/_control/log").json()["counters"] == {"find": 1}
        http.delete("/_control/log")
        assert http.get("/_control/log").json() == {"counters": {}, "log": []}
