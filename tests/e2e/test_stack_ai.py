"""Syncs with Stack AI on both sides, between real platforms on loopback: inventory, copies with secrets, roles."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from connectors.errors import ConfigError
from connectors.stack_ai import CONNECTOR
from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import Store
from connectors.stacker.emulator_store import decode
from tests.e2e.world import World, world
from tests.house.sources import ROOT
from tests.loopback import serving

CANARY = "canary-reference-5e1d"
USERS = [f"9d2c1d3e-0000-4000-8000-0000000000{n:02d}" for n in range(8)]
DATA = {"provider_id": "notion", "connection_type_id": "api_key", "connection_provider_data": {"api_key": "canary-of-the-platform-11"}}


class Ai:
    """Two accounts of the platform, `ai` and `copy`, beside the world's `here` (Stacker)."""

    def __init__(self, made: World, urls: list[str], stores: list[Store]) -> None:
        self.world, (self.store, self.copy) = made, stores
        for name, url in zip(("ai", "copy"), urls, strict=True):
            given = {"connector": "stack_ai", "base_url": url, "token_url": "/token", "username": "demo", "password": "demo"}
            made._settings[name] = (CONNECTOR, {**given, "provider_data": {"provider:notion": {"api_key": CANARY}}})

    def connections(self, count: int) -> list[str]:
        return [self.store.create({"name": f"Notes Größe {n}", **DATA}) for n in range(count)]

    def stacker(self, name: str, *records: dict[str, Any]) -> None:
        self.world.stacker.add_object(name, records)

    def rows(self, name: str) -> list[dict[str, Any]]:
        held = self.world.stacker.objects[name]
        return [decode(self.world.stacker.shown(held, sid, None)) for sid in held.records]

    def sync(self, **spec: Any) -> Any:
        return self.world.run(self.world.spec(**{"fields": None, **spec}))


@pytest.fixture
def ai(tmp_path: Path) -> Iterator[Ai]:
    stores = [Store(), Store(seed=8)]
    with serving(create_app(stores[0])) as one, serving(create_app(stores[1])) as two, world(tmp_path) as made:
        yield Ai(made, [one, two], stores)


def test_the_sync_of_the_readme_keeps_an_inventory(ai: Ai) -> None:
    text = (ROOT / "connectors" / "stack_ai" / "README.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    CONNECTOR.settings(**blocks[0]["connections"]["ai"])
    spec = {**blocks[1]["attributes"], "name": "inventory", "to": "here.inventory"}
    keys = ai.connections(9)
    ai.stacker("inventory")
    first = ai.sync(**spec)
    assert (first.status, first.created, first.differences) == ("ok", 9, 0)
    assert sorted(row["connection_id"] for row in ai.rows("inventory")) == sorted(keys)
    assert ai.sync(**spec).requests["sink"]["write"] == 0
    ai.store.put(keys[0], {**ai.store.connections[keys[0]], "name": "Renamed"})
    ai.store.remove(keys[1])
    third = ai.sync(**spec)
    assert (third.status, third.updated, third.deleted, third.unchanged) == ("ok", 1, 1, 7)


def test_an_account_without_connections_is_read_as_empty_and_its_first_one_is_copied(ai: Ai) -> None:
    fields = {name: name for name in ("name", "provider_id", "connection_type_id")}
    spec = {"name": "copy", "from": "ai.connections", "to": "copy.connections", "match": ["name"], "fields": fields}
    assert (ai.sync(**spec).status, len(ai.copy.connections)) == ("ok", 0)
    ai.connections(1)
    assert (ai.sync(**spec).created, len(ai.copy.connections)) == (1, 1)


@pytest.mark.parametrize("answers", ["record", "nothing"])
def test_connections_are_copied_with_secrets_by_reference_and_then_rest(ai: Ai, answers: str) -> None:
    ai.copy.set_switch("create_answers", answers)
    for store in (ai.store, ai.copy):
        store.set_switch("provider_data", "plain")
    ai.connections(5)
    fields = {name: name for name in ("name", "provider_id", "connection_type_id")}
    spec = {"name": "copy", "from": "ai.connections", "to": "copy.connections", "match": ["name"], "fields": fields, "mode": "mirror"}
    first = ai.sync(**spec)
    assert (first.status, first.created, first.differences) == ("ok", 5, 0)
    assert [one["connection_provider_data"] for one in ai.copy.connections.values()] == [{"api_key": CANARY}] * 5
    second = ai.sync(**spec)
    assert (second.created, second.updated, second.deleted, second.requests["sink"]["write"]) == (0, 0, 0, 0)
    files = [path for path in ai.world.home.rglob("*") if path.is_file()]
    held = [pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes() for path in files]
    assert "Größe" in repr(held)
    assert "canary" not in repr(held)


def test_declared_secrets_that_are_rotated_are_sent_once(ai: Ai) -> None:
    ai.connections(3)
    fields = {name: name for name in ("name", "provider_id", "connection_type_id")}
    spec = {"name": "copy", "from": "ai.connections", "to": "copy.connections", "match": ["name"], "fields": fields}
    assert ai.sync(**spec).created == 3
    rotated = {"provider:notion": {"api_key": "canary-rotated-1"}, "Notes Größe 1": {"api_key": CANARY}}
    ai.world.configure("copy", provider_data=rotated)
    second = ai.sync(**spec)
    assert (second.status, second.updated, second.unchanged, second.requests["sink"]["write"]) == ("ok", 2, 1, 2)
    held = {one["name"]: one["connection_provider_data"]["api_key"] for one in ai.copy.connections.values()}
    assert held == {f"Notes Größe {n}": CANARY if n == 1 else "canary-rotated-1" for n in range(3)}
    assert ai.sync(**spec).requests["sink"]["write"] == 0
    ai.world.configure("copy", provider_data={})  # a secret that is not declared any more is no other secret
    assert ai.sync(**spec).requests["sink"]["write"] == 0


def test_a_rename_at_the_source_is_a_patch_at_the_sink(ai: Ai) -> None:
    keys = ai.connections(3)
    fields = {"name": "name", "provider_id": "provider_id", "connection_type_id": "connection_type_id"}
    for key in keys:
        ai.copy.create({"name": ai.store.connections[key]["name"], **DATA}, id=key)
    spec = {"name": "names", "from": "ai.connections", "to": "copy.connections", "match": ["id"], "fields": {"id": "id", **fields}}
    ai.store.put(keys[1], {**ai.store.connections[keys[1]], "name": "Renamed"})
    assert (ai.sync(**spec, mode="update").updated, ai.copy.connections[keys[1]]["name"]) == (1, "Renamed")
    assert [entry["method"] for entry in ai.copy.log if entry["method"] in ("PUT", "PATCH")] == ["PATCH"]


def test_roles_follow_a_table_and_are_taken_away_with_its_rows(ai: Ai) -> None:
    key, other = ai.connections(2)
    rows = [{"connection_id": key, "subject_type": "user", "subject_id": user, "role": "viewer"} for user in USERS]
    everyone = {"connection_id": other, "subject_type": "organization", "subject_id": "*", "role": "viewer"}
    ai.stacker("access", *rows, everyone)
    fields = {name: name for name in everyone}
    match = ["connection_id", "subject_type", "subject_id"]
    spec = {"name": "access", "from": "here.access", "to": "ai.rbac", "match": match, "fields": fields, "mode": "mirror"}
    limits = {"deletes": {"when": "missing", "max_count": 5, "max_share": 0.9}}
    first = ai.sync(**spec, **limits)
    assert (first.status, first.created, first.differences) == ("ok", 9, 0)
    assert len(ai.store.connections[key]["grants"]) == 8
    assert ai.store.connections[other]["organization_role"] == "viewer"
    assert ai.sync(**spec, **limits).requests["sink"]["write"] == 0
    ai.stacker("access", {**rows[0], "role": "editor"}, *rows[1:7])
    third = ai.sync(**spec, **limits)
    assert (third.status, third.updated, third.deleted) == ("ok", 1, 2)
    assert ai.store.connections[key]["grants"][f"user/{USERS[0]}"] == "editor"
    assert f"user/{USERS[7]}" not in ai.store.connections[key]["grants"]
    assert ai.store.connections[other]["organization_role"] is None


def test_another_organization_between_two_runs_stops_the_sync_before_anything_is_planned(ai: Ai) -> None:
    ai.connections(4)
    ai.stacker("inventory")
    fields = {"connection_id": "id", "name": "name"}
    spec = {"name": "inventory", "from": "ai.connections", "to": "here.inventory", "match": ["connection_id"], "fields": fields}
    ai.sync(**spec, mode="mirror")
    ai.store.organization = "7a1f0d8c-0000-4000-8000-000000000002"
    ai.connections(4)
    ai.world.configure("ai")  # a new process
    with pytest.raises(ConfigError, match="7a1f0d8c-0000-4000-8000-000000000002"):
        ai.sync(**spec, mode="mirror")
    assert len(ai.rows("inventory")) == 4
