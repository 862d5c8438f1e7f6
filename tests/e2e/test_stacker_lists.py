"""Stacker's lists of objects, accounts and action buttons: listed, read and synced like any other stream, and never written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.spec import SyncSpec
from pipelines.validation import problems
from tests.e2e.commandline import project
from tests.e2e.world import World, world

LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "objects": ("sid", {"key": "sid", "name": "name", "number": "api_name"}),
    "accounts": ("id", {"key": "id", "name": "name"}),
    "action_buttons": ("sid", {"key": "sid", "name": "name", "number": "object_sid"}),
}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.robostack.add_resource("parts")
        made.robostack.resources["parts"].fields.update(dict.fromkeys(("key", "name", "number")))
        yield made


def spec(name: str, **changed: Any) -> SyncSpec:
    given = {"from": f"here.{name}", "to": "there.parts", "match": ["key"], "fields": LISTS[name][1], **changed}
    return SyncSpec(name=f"{name}_to_parts", **given)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_synced_once_and_then_nothing_is_to_do(two: World, name: str) -> None:
    first, second = two.run(spec(name)), two.run(spec(name))
    assert (first.status, first.read) == ("ok", first.created)
    assert first.created > 0
    assert (second.status, second.unchanged, second.created) == ("ok", first.created, 0)


def test_an_object_that_is_taken_away_is_mirrored(two: World) -> None:
    mirror = spec("objects", mode="mirror", deletes={"when": "missing", "max_count": 5, "max_share": 0.5})
    made = two.run(mirror).created
    del two.stacker.objects["orders"]
    gone = two.run(mirror)
    assert (gone.status, gone.deleted, gone.unchanged) == ("ok", 1, made - 1)


@pytest.mark.parametrize("name", LISTS)
def test_a_sync_that_writes_a_list_is_refused_before_it_runs(two: World, name: str) -> None:
    back = SyncSpec(**{"name": "back", "from": "there.parts", "to": f"here.{name}", "match": ["name"]})
    source = two.core.open("here")
    found = list(problems(back, lambda *_: "here", None, source.stream(name)))
    assert any("cannot" in problem or "read" in problem for problem in found), found


def test_the_command_lists_them_and_reads_them(tmp_path: Path) -> None:
    with project(tmp_path) as made:
        listed = {one["name"]: one for one in made.json("streams", "here")["streams"]}
        for name, (key, _) in LISTS.items():
            assert (listed[name]["id_field"], listed[name]["write"]) == (key, {"create": None, "update": None, "delete": None})
            told = made.json("read", f"here.{name}")
            assert told["count"] > 0
            assert all(record[key] for record in told["records"])
