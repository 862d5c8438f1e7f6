"""The Stack AI emulator: it remembers what it acknowledged, gives the same for the same seed, and its back door is not the platform."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import SWITCHES, Store
from tests.loopback import serving


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "stack_ai.jsonl"


def held(store: Store) -> Any:
    trees = {key: [(n.id, n.parent, n.name, n.folder, n.size) for n in tree.nodes.values()] for key, tree in store.trees.items()}
    return store.organization, store.connections, trees


@pytest.fixture
def changed(state: Path) -> Store:
    """A store on disk, after one change of every kind."""
    store = Store(connections=8, resources=20, state=state)
    first, second, third, *_ = store.connections
    store.create({"name": "zoë 🚲\n", "provider_id": "slack", "connection_type_id": "oauth2", "connection_provider_data": {}})
    store.put(first, {**store.connections[first], "name": "renamed", "grants": {"user/x": "viewer"}})
    store.remove(second)
    store.add_resource(third, None, "new", folder=True)
    store.remove_resource(third, next(iter(store.trees[third].nodes)))
    return store


def test_what_was_acknowledged_survives_a_restart(changed: Store, state: Path) -> None:
    assert held(Store(state=state)) == held(changed)
    assert held(Store(state=state)) == held(changed)  # also the one after that, from the compacted file


def test_a_torn_last_line_is_ignored_and_the_next_write_is_whole(changed: Store, state: Path) -> None:
    with state.open("ab") as journal:
        journal.write(b'{"id":"x","connec')
    again = Store(state=state)
    assert held(again) == held(changed)
    made = again.create({"name": "after", "provider_id": "slack", "connection_type_id": "oauth2", "connection_provider_data": {}})
    assert made not in changed.connections
    assert Store(state=state).connections[made]["name"] == "after"


def test_the_same_seed_gives_the_same_platform_and_another_one_another() -> None:
    assert held(Store(seed=3, connections=30, resources=40)) == held(Store(seed=3, connections=30, resources=40))
    assert set(Store(seed=4, connections=30).connections).isdisjoint(Store(seed=3, connections=30).connections)


def test_demo_records_look_like_those_of_a_business() -> None:
    store = Store(connections=60, resources=120)
    names = [one["name"] for one in store.connections.values()]
    assert len(set(names)) == 60
    assert not all(name.isascii() for name in names)
    assert {one["organization_role"] for one in store.connections.values()} == {None, "viewer"}
    assert max(len(one["grants"]) for one in store.connections.values()) >= 3
    assert {len(tree.nodes) for tree in store.trees.values()} == {120}
    assert any(
        node.parent and store.trees[key].nodes[node.parent].parent for key, tree in store.trees.items() for node in tree.nodes.values()
    )


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_takes_its_choices_and_nothing_else(name: str) -> None:
    store = Store()
    for choice in SWITCHES[name]:
        store.set_switch(name, "7" if choice == "…" else choice)
    if "…name" not in SWITCHES[name]:
        with pytest.raises(ValueError, match=name):
            store.set_switch(name, "nonsense")
    with pytest.raises(ValueError, match="no switch"):
        store.set_switch("nonsense", "1")


def test_the_back_door_is_there_only_when_asked_for() -> None:
    with serving(create_app(Store())) as url:
        assert httpx.get(f"{url}/_control/switches").status_code == 404


def test_other_users_are_played_through_the_back_door() -> None:
    store = Store(connections=2)
    with serving(create_app(store, control=True)) as url:
        assert httpx.post(f"{url}/_control/switches", json={"envelope": "data"}).json()["envelope"] == "data"
        assert httpx.post(f"{url}/_control/switches", json={"envelope": "nonsense"}).status_code == 400
        first, second = store.connections
        values = {"name": "made", "provider_id": "slack", "connection_type_id": "oauth2", "connection_provider_data": {}}
        done = httpx.post(
            f"{url}/_control/connections", json={"create": [values], "edit": {first: {"name": "edited"}}, "delete": [second]}
        ).json()
        assert done["ids"] == [first, *done["created"]]
        assert store.connections[first]["name"] == "edited"
        assert httpx.get(f"{url}/_control/log").json()["log"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/connections?limits=3", None, 422),
        ("GET", "/connections?limit=many", None, 422),
        ("POST", "/connections", {"name": "x"}, 422),
        ("POST", "/connections", [], 422),
        ("POST", "/connections/oauth/callback", {}, 422),
        ("PUT", "/connections", {}, 404),
        ("GET", "/connections/9d2c1d3e-0000-4000-8000-00000000000b", None, 404),
        ("GET", "/api/v1/connections?sort_by=nothing", None, 422),
        ("HEAD", "/connections", None, 404),
    ],
)
def test_what_the_document_does_not_have_is_refused(method: str, path: str, body: Any, status: int) -> None:
    store = Store()
    headers = {"authorization": f"Bearer {store.issue()}"}
    with serving(create_app(store)) as url:
        assert httpx.request(method, url + path, headers=headers, json=body).status_code == status


@pytest.mark.parametrize(
    "form", [{}, {"grant_type": "password", "username": "demo", "password": "no"}, {"username": "demo", "password": "demo"}]
)
def test_a_token_is_given_for_the_right_form_only(form: dict[str, str]) -> None:
    store = Store()
    with serving(create_app(store)) as url:
        assert httpx.post(url + "/token", data=form).status_code == 400
        assert httpx.post(url + "/token", json={"grant_type": "password", "username": "demo", "password": "demo"}).status_code == 400
    assert store.tokens == {}
