"""The Kragle emulator: strict, it remembers what it acknowledged, and its back door is not the platform."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.kragle.emulator import create_app
from connectors.kragle.emulator_store import SWITCHES, Store
from tests.loopback import serving

LOGIN = {"authorization": "Bearer demo"}
BODY = {"name": "new", "blocks": [["Filter", {"a": "\u0001x\u0002"}]]}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "kragle.jsonl"


def changed(state: Path) -> Store:
    store = Store(own=4, others=2, state=state)
    with serving(create_app(store)) as url, httpx.Client(base_url=url, headers=LOGIN) as http:
        made = http.post("/blockstacks", json=BODY).json()["id"]
        http.put(f"/blockstacks/{made}", json={"name": "zoë 🚲\n", "schedule_id": 432})
    store.remove(next(iter(store.stacks)))
    return store


def test_what_was_acknowledged_survives_a_restart_and_no_id_is_used_twice(state: Path) -> None:
    store = changed(state)
    for _ in range(2):  # also after the restart from the compacted file
        again = Store(state=state)
        assert again.stacks == store.stacks
        assert again.next_id() == store.made + 1


def test_a_torn_last_line_is_ignored_and_the_next_write_is_whole(state: Path) -> None:
    store = changed(state)
    with state.open("ab") as journal:
        journal.write(b'{"put":{"id":1,"na')
    again = Store(state=state)
    assert again.stacks == store.stacks
    made = again.add(name="after")
    assert Store(state=state).stacks[made["id"]] == made


def test_the_same_seed_gives_the_same_stacks_and_another_gives_others() -> None:
    assert Store().stacks == Store().stacks
    assert Store().stacks != Store(seed=8).stacks


def test_the_demo_data_holds_private_stacks_foreign_ones_and_control_characters() -> None:
    stacks = Store().stacks.values()
    assert {stack["owner"] for stack in stacks} == {7, 100, 101, 102, 103}
    assert {stack["public"] for stack in stacks if stack["owner"] == 7} == {True, False}
    assert "\\u0001/input" in json.dumps([stack["blocks"] for stack in stacks])
    own = [stack["name"] for stack in stacks if stack["owner"] == 7]
    assert len(own) == len(set(own)) == 45


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/blockstacks/", None, 404),
        ("GET", "/blockstacks/1/", None, 404),
        ("GET", "/stacks", None, 404),
        ("GET", "/blockstacks?page=0", None, 400),
        ("GET", "/blockstacks?page=x", None, 400),
        ("GET", "/blockstacks?limit=5", None, 400),
        ("DELETE", "/blockstacks/1", None, 404),
        ("PATCH", "/blockstacks/1", {}, 404),
        ("POST", "/blockstacks", [], 400),
        ("POST", "/blockstacks", {"name": "x"}, 422),
        ("POST", "/blockstacks", {"blocks": []}, 422),
        ("POST", "/blockstacks", {**BODY, "colour": 1}, 422),
        ("POST", "/blockstacks", {**BODY, "webhook": "all"}, 422),
        ("POST", "/blockstacks", {**BODY, "schedule_id": 1}, 422),
        ("POST", "/blockstacks", {**BODY, "schedule_id": "432"}, 422),
        ("POST", "/blockstacks", {**BODY, "enabled": "yes"}, 422),
        ("POST", "/blockstacks", {"name": "x", "blocks": [{"type": "Filter", "conversion": {}}]}, 422),
        ("POST", "/blockstacks", {"name": "x", "blocks": [["Filter"]]}, 422),
        ("POST", "/blockstacks", {"name": "x", "blocks": [["Filter", {}, {"id": 1}]]}, 422),
        ("POST", "/blockstacks", {"name": "x", "blocks": [["Filter", {}, {"state": {"x": 1}}]]}, 422),
        ("PUT", "/blockstacks/999", {"name": "x"}, 404),
    ],
)
def test_what_is_not_as_documented_is_refused_and_changes_nothing(method: str, path: str, body: Any, status: int) -> None:
    store = Store(own=3, others=0)
    before = json.dumps(store.stacks)
    with serving(create_app(store)) as url:
        assert httpx.request(method, url + path, headers=LOGIN, json=body).status_code == status
    assert json.dumps(store.stacks) == before


def test_a_switch_that_does_not_exist_is_refused_with_what_exists() -> None:
    with pytest.raises(ValueError, match="pagesize"):
        Store(page_size="3")
    with pytest.raises(ValueError, match="shuffled"):
        Store(order="sideways")
    assert all(choices for choices in SWITCHES.values())


def test_a_test_in_another_process_can_turn_switches_edit_stacks_expire_logins_and_read_the_log() -> None:
    store = Store(own=1, others=0)
    with serving(create_app(store, control=True)) as url, httpx.Client(base_url=url, headers=LOGIN) as http:
        assert http.post("/_control/switches", json={"pagesize": 3}).json()["pagesize"] == "3"
        assert http.post("/_control/switches", json={"no": "such"}).status_code == 400
        (mine,) = store.stacks
        made = http.post(
            "/_control/stacks", json={"create": [{"name": "x", "public": True}], "edit": {str(mine): {"name": "y", "public": False}}}
        ).json()
        assert made["count"] == 2
        assert [stack["name"] for stack in http.get("/blockstacks").json()["stacks"]] == ["y", "x"]
        assert http.get("/_control/log").json()["counters"] == {"list": 1}
        http.post("/_control/logins", json={})
        assert [stack["name"] for stack in http.get("/blockstacks").json()["stacks"]] == ["x"]
        assert http.post("/_control/stacks", json={"delete": made["created"]}).json()["ids"] == [mine]
        http.delete("/_control/log")
        assert http.get("/_control/log").json() == {"counters": {}, "log": []}


def test_a_wrong_switch_on_the_command_line_ends_with_a_sentence() -> None:
    command = [sys.executable, "-m", "connectors.kragle.emulator", "--port", "1", "--switch", "order=sideways"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "shuffled" in done.stderr
