"""The Celigo emulator: it remembers what it acknowledged, and its back door is not the platform."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import SWITCHES, Store
from tests.loopback import serving

HEADERS = {"authorization": "Bearer demo"}
SERVER = {"name": "Größe 🚲", "type": "server", "server": {"hostURI": "https://hooks.example/a"}}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "celigo.journal"


def calls(store: Store) -> Iterator[httpx.Client]:
    with serving(create_app(store)) as url, httpx.Client(base_url=f"{url}/v1", headers=HEADERS) as http:
        yield http


@pytest.fixture
def changed(state: Path) -> Store:
    """A store on disk, after one call of every kind that changes something."""
    store = Store(state=state)
    one, two, *_ = store.stacks
    for http in calls(store):
        assert http.post("/stacks", json=SERVER).status_code == 201
        assert http.put(f"/stacks/{one}", json=SERVER).status_code == 200
        assert http.delete(f"/stacks/{one}/systemToken").status_code == 204
        assert http.delete(f"/stacks/{two}").status_code == 204
    return store


def held(store: Store) -> object:
    return store.stacks, store.deleted, store.users


def test_what_was_acknowledged_survives_a_restart(changed: Store, state: Path) -> None:
    assert held(Store(state=state)) == held(changed)
    assert held(Store(state=state)) == held(changed)  # also the one after that, from the compacted file


def test_an_id_is_never_used_twice_even_after_a_restart(changed: Store, state: Path) -> None:
    assert Store(state=state).create(dict(SERVER))["_id"] not in {*changed.stacks, *changed.deleted}


def test_a_torn_last_line_is_ignored_and_the_next_write_is_whole(changed: Store, state: Path) -> None:
    with state.open("ab") as journal:
        journal.write(b'{"put":{"_id":"1","na')
    again = Store(state=state)
    assert held(again) == held(changed)
    made = again.create(dict(SERVER))
    assert made["_id"] in Store(state=state).stacks


def test_an_emptied_account_stays_empty(state: Path) -> None:
    Store(state=state).clear()
    assert Store(state=state).stacks == {}


def test_the_same_seed_gives_the_same_demo_data_and_another_one_other_ids() -> None:
    assert held(Store()) == held(Store())
    assert not set(Store().stacks) & set(Store(seed=8).stacks)


def test_the_demo_data_has_shared_names_and_stacks_in_use_and_out_of_use() -> None:
    store = Store()
    names = [stack["name"] for stack in store.stacks.values()]
    assert len(set(names)) < len(names)
    assert {bool(uses) for uses in store.users.values()} == {True, False}
    every = [entry["id"] for uses in store.users.values() for entries in uses.values() for entry in entries]
    assert len(every) == len(set(every))


def test_a_switch_that_does_not_exist_is_refused_with_what_exists() -> None:
    with pytest.raises(ValueError, match="page_size"):
        Store(pagesize="1")
    with pytest.raises(ValueError, match="replaces"):
        Store(put="sideways")
    assert all(choices for choices in SWITCHES.values())


def test_a_test_in_another_process_can_turn_switches_edit_stacks_and_read_the_log() -> None:
    store = Store(servers=2, lambdas=0)
    one, two = store.stacks
    with serving(create_app(store, control=True)) as url, httpx.Client(base_url=url) as http:
        assert http.post("/_control/switches", json={"none": "list"}).json()["none"] == "list"
        assert http.post("/_control/switches", json={"no": "such"}).status_code == 400
        edited = {"create": [SERVER], "edit": [[one, {"name": "theirs"}]], "delete": [two], "use": [[one, "flows", "Flow"]]}
        told = http.post("/_control/records", json=edited).json()
        assert (told["count"], told["ids"]) == (2, [one, *told["created"]])
        assert http.get(f"/v1/stacks/{one}", headers=HEADERS).json()["name"] == "theirs"
        assert [*http.get(f"/v1/stacks/{one}/dependencies", headers=HEADERS).json()] == ["flows"]
        assert http.get("/_control/log").json()["counters"] == {"get": 1, "dependencies": 1}
        http.delete("/_control/log")
        assert http.get("/_control/log").json() == {"counters": {}, "log": []}
    with serving(create_app(store)) as url:
        assert httpx.get(f"{url}/_control/log", headers=HEADERS).status_code == 404


@pytest.mark.parametrize("body", [b"[", b"7", b"[]", b'"x"', b'{"name":"n","type":"server","server":7}', b'{"name":1,"type":"server"}'])
def test_a_body_that_is_no_stack_is_refused_and_changes_nothing(body: bytes) -> None:
    store = Store()
    before = dict(store.stacks)
    for http in calls(store):
        for answer in (http.post("/stacks", content=body), http.put(f"/stacks/{next(iter(before))}", content=body)):
            assert answer.status_code in (400, 422)
            assert answer.json()["errors"]
    assert store.stacks == before


def test_a_page_token_that_is_none_is_refused() -> None:
    for http in calls(Store()):
        assert http.get("/stacks", params={"pageToken": "%%%"}).status_code == 400
        assert http.get("/stacks", params={"limit": "5"}).status_code == 400
