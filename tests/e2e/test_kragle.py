"""Kragle between other platforms: its stacks as a catalogue in Stacker, and stacks made from Stacker's records."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Record
from connectors.errors import ConfigError, CredentialsError
from connectors.kragle import CONNECTOR
from connectors.kragle.emulator import create_app
from connectors.kragle.emulator_store import Store
from connectors.stacker.emulator_store import decode
from pipelines.spec import SyncSpec
from pipelines.validation import problems
from tests.e2e.world import World, world
from tests.loopback import serving

SAMPLE = {"tweet_body": "\u0001/input/screen_name\u0002 says #gluetogetherallt3hthings!"}
CATALOGUE: dict[str, Any] = {
    "name": "stacks_to_catalogue",
    "from": "glue.stacks",
    "to": "here.catalogue",
    "match": ["kragle_id"],
    "fields": {
        "kragle_id": "CAST(id AS VARCHAR)",
        "name": "name",
        "webhook": "webhook",
        "block_count": "json_array_length(blocks)",
        "first_block": "blocks->>'$[0][0]'",
        "blocks": "blocks",
    },
}
RECIPES: dict[str, Any] = {
    "name": "recipes_to_stacks",
    "from": "here.recipes",
    "to": "glue.stacks",
    "match": ["name"],
    "fields": {
        "name": "trim(title)",
        "webhook": "webhook",
        "webhook_method": "CASE WHEN webhook IS NOT NULL THEN 'POST' END",
        "blocks": "blocks",
        "block_options": "options",
        "schedule_id": "schedule",
        "enabled": "schedule IS NOT NULL",
    },
}


class Glued:
    """Stacker (`here`) with the objects `catalogue` and `recipes`, and Kragle (`glue`)."""

    def __init__(self, made: World, store: Store, url: str) -> None:
        self.world, self.kragle = made, store
        settings = {"connector": "kragle", "base_url": url, "token": "demo", "owner": 7, "T_server_max_s": 30}
        made._settings["glue"] = (CONNECTOR, settings)
        self.stacker = made.stacker
        self.stacker.add_object("catalogue", ())
        self.stacker.add_object("recipes", ())

    def run(self, spec: dict[str, Any], **changed: Any) -> Any:
        return self.world.run(SyncSpec(**{**spec, **changed}))

    def held(self, name: str) -> list[Record]:
        target = self.stacker.objects[name]
        return [decode(self.stacker.shown(target, sid, None)) for sid in target.records]

    def recipe(self, title: str, *blocks: Any, **fields: Any) -> str:
        given = {"title": title, "blocks": list(blocks), "webhook": None, "schedule": None, "options": None, **fields}
        self.stacker.create(self.stacker.objects["recipes"], given)
        return str(self.held("recipes")[-1]["sid"])

    def stack(self, name: str) -> dict[str, Any]:
        (found,) = [stack for stack in self.kragle.stacks.values() if stack["owner"] == 7 and stack["name"] == name]
        return found

    def sent(self) -> list[str]:
        return [entry["body"] for entry in self.kragle.log if entry["method"] in ("POST", "PUT")]


@pytest.fixture
def glued(tmp_path: Path) -> Iterator[Glued]:
    store = Store(own=30, others=20, pagesize="8")
    with world(tmp_path) as made, serving(create_app(store)) as url:
        yield Glued(made, store, url)


def test_stacks_become_a_catalogue_that_follows_them_and_holds_no_secret(glued: Glued, tmp_path: Path) -> None:
    first = glued.run(CATALOGUE, mode="mirror")
    assert (first.status, first.created, first.complete) == ("ok", 30, True)
    of = {record["kragle_id"]: record for record in glued.held("catalogue")}
    assert set(of) == {str(key) for key, stack in glued.kragle.stacks.items() if stack["owner"] == 7}
    for key, record in of.items():
        shown = [[block["type"], block["conversion"]] for block in glued.kragle.stacks[int(key)]["blocks"]]
        blocks = decode(json.dumps(shown).encode())
        assert (record["blocks"], record["block_count"], record["first_block"]) == (blocks, len(blocks), blocks[0][0])
    again = glued.run(CATALOGUE, mode="mirror")
    assert (again.status, again.unchanged, again.created, again.updated, again.deleted) == ("ok", 30, 0, 0, 0)

    gone, renamed = [int(key) for key in of][:2]
    glued.kragle.remove(gone)
    glued.kragle.put({**glued.kragle.stacks[renamed], "name": "renamed"})
    later = glued.run(CATALOGUE, mode="mirror", deletes={"when": "missing", "max_share": 0.5})
    assert (later.status, later.updated, later.deleted, later.unchanged) == ("ok", 1, 1, 28)

    tokens = [stack["webhook_token"] for stack in glued.kragle.stacks.values() if stack["webhook_token"]]
    staged = glued.world.rows("raw", "glue", "stacks")
    kept = f"{staged.to_pylist()} {(tmp_path / 'ledger.db').read_bytes()!r} {glued.held('catalogue')}"
    assert tokens
    assert "webhook_token" not in staged.schema.names
    assert not any(token in kept for token in tokens)


@pytest.mark.parametrize("public", [True, False])
def test_an_expired_login_deletes_nothing_from_the_catalogue(glued: Glued, public: bool) -> None:
    for stack in list(glued.kragle.stacks.values()):
        glued.kragle.put({**stack, "public": public or stack["owner"] != 7})
    glued.run(CATALOGUE, mode="mirror")
    glued.kragle.logins.clear()
    if public:
        with pytest.raises(CredentialsError, match="login"):
            glued.run(CATALOGUE, mode="mirror")
    else:
        refused = glued.run(CATALOGUE, mode="mirror")
        assert (refused.status, refused.complete) == ("refused", False)
    assert len(glued.held("catalogue")) == 30


def test_the_login_of_another_owner_stops_the_sync_before_anything_is_planned(glued: Glued) -> None:
    glued.world.configure("glue", owner=None)
    assert glued.run(CATALOGUE, mode="mirror").created == 30
    glued.kragle.logins.update(dict.fromkeys(glued.kragle.logins, 101))
    glued.world.configure("glue")  # a new process
    with pytest.raises(ConfigError, match="now shows records of owner 101, and those read before were of owner 7"):
        glued.run(CATALOGUE, mode="mirror")
    assert len(glued.held("catalogue")) == 30


def test_recipes_become_stacks_once_and_only_what_changed_is_sent_later(glued: Glued) -> None:
    tweet = glued.recipe(" Everything is Awesome ", ["Post to Twitter", SAMPLE], webhook="token", schedule=432)
    glued.recipe("Feed", ["Read RSS Feed", {"url": "https://a.example"}], ["Delay", {"seconds": 5}], options=[{"name": "the feed"}, None])
    theirs = glued.kragle.add(owner=100, name="Feed", public=True, blocks=[])

    first = glued.run(RECIPES)
    assert (first.status, first.created, first.updated) == ("ok", 2, 0)
    awesome, feed = glued.stack("Everything is Awesome"), glued.stack("Feed")
    assert [[block["type"], block["conversion"]] for block in awesome["blocks"]] == [["Post to Twitter", SAMPLE]]
    assert (awesome["webhook"], awesome["webhook_method"], len(awesome["jobs"]), awesome["jobs"][0]["do_run"]) == ("token", "POST", 1, True)
    assert [block["name"] for block in feed["blocks"]] == ["the feed", None]
    assert theirs["blocks"] == []

    writes = len(glued.sent())
    again = glued.run(RECIPES)
    assert (again.status, again.unchanged, again.created, again.updated) == ("ok", 2, 0, 0)
    assert len(glued.sent()) == writes

    feed["blocks"][0]["state"] = {"input": {}, "output": {"last_guid": "77"}}
    recipes = glued.stacker.objects["recipes"]
    glued.stacker.update(recipes, tweet, {"webhook": "public"})
    other = str(next(one["sid"] for one in glued.held("recipes") if one["title"] == "Feed"))
    glued.stacker.update(recipes, other, {"blocks": [["Read RSS Feed", {"url": "https://a.example"}], ["Delay", {"seconds": 9}]]})
    later = glued.run(RECIPES)
    assert (later.status, later.created, later.updated) == ("ok", 0, 2)
    assert '{"webhook":"public"}' in glued.sent()
    assert (len(glued.stack("Everything is Awesome")["jobs"]), glued.stack("Feed")["jobs"]) == (1, [])
    kept, changed = glued.stack("Feed")["blocks"]
    assert (kept["state"]["output"], changed["conversion"]) == ({"last_guid": "77"}, {"seconds": 9})


def test_what_kragle_never_shows_is_compared_with_what_was_last_written(glued: Glued) -> None:
    recipe = glued.recipe("Quiet", ["Delay", {"seconds": 5}], schedule=432)
    spec = {**RECIPES, "fields": {**RECIPES["fields"], "enabled": "webhook IS NULL", "webhook": "NULL", "webhook_method": "NULL"}}
    assert glued.run(spec).created == 1
    writes, recipes = len(glued.sent()), glued.stacker.objects["recipes"]
    glued.stacker.update(recipes, recipe, {"webhook": "token"})
    again = glued.run(spec)
    assert (again.status, again.updated, glued.sent()[writes:]) == ("ok", 1, ['{"enabled":false}'])
    assert glued.run(spec).unchanged == 1
    glued.stacker.update(recipes, recipe, {"schedule": 433})  # may add one more job each time: never sent without a word
    refused = glued.run(spec)
    assert (refused.status, refused.rejected, len(glued.sent())) == ("partial", 1, writes + 1)
    assert "schedule_in_update: send" in glued.world.ledger.failures("recipes_to_stacks")[0].reason


READING = {"count": "absent", "page_fields": "absent", "beyond_end": "404", "order": "newest", "short_pages": "yes", "bad_login": "403"}
SHAPES = {"ids": "text", "owners": "text", "no_token": "null", "no_jobs": "null", "lookup": "name_first", "private": "404"}
WRITING = {"create_answers": "nothing", "create_status": "201", "put_answers": "nothing", "put_blocks": "keeps", "put_schedule": "replaces"}
STRICT = {"unique_names": "yes", "visibility": "public", "method_without_webhook": "GET", "trims": "yes", "error_status": "400"}
LOOSE = {"create_answers": "whole", "put_answers": "whole", "count": "low", "beyond_end": "last", "nulls": "ignored"}


@pytest.mark.parametrize("switches", [READING, SHAPES, WRITING, STRICT, LOOSE], ids=["reading", "shapes", "writing", "strict", "loose"])
def test_silences_answered_the_other_way_change_nothing_about_a_sync(glued: Glued, switches: dict[str, str]) -> None:
    for name, value in switches.items():
        glued.kragle.set_switch(name, value)
    glued.recipe("Plain", ["Delay", {"seconds": 5}])
    hooked = glued.recipe(" Hooked ", ["Post to Twitter", SAMPLE], webhook="token", schedule=432)
    first = glued.run(RECIPES)
    assert (first.status, first.created) == ("ok", 2)
    glued.stacker.update(glued.stacker.objects["recipes"], hooked, {"webhook": None})
    later = glued.run(RECIPES)
    assert (later.status, later.created, later.updated, later.unchanged) == ("ok", 0, 1, 1)
    last = glued.run(RECIPES)
    assert (last.status, last.created, last.updated, last.unchanged) == ("ok", 0, 0, 2)
    stack = glued.stack("Hooked")
    assert ([block["conversion"] for block in stack["blocks"]], stack["webhook"], len(stack["jobs"])) == ([SAMPLE], None, 1)


@pytest.mark.parametrize("fault", ["none", "500_after"])
def test_the_first_stacks_of_an_account_are_made_once(glued: Glued, fault: str) -> None:
    for key, stack in list(glued.kragle.stacks.items()):
        if stack["owner"] == 7:
            glued.kragle.remove(key)
    glued.kragle.set_switch("fault", fault)
    glued.recipe("First", ["Delay", {"seconds": 5}])
    assert (glued.run(RECIPES).created, glued.run(RECIPES).unchanged, len(glued.sent())) == (1, 1, 1)


@pytest.mark.parametrize("public", [True, False])
def test_a_sink_whose_login_expired_is_refused_and_gets_nothing(glued: Glued, public: bool) -> None:
    glued.recipe("Mine", ["Delay", {"seconds": 5}])
    glued.run(RECIPES)
    for stack in list(glued.kragle.stacks.values()):
        glued.kragle.put({**stack, "public": public})
    before = json.dumps(glued.kragle.stacks)
    glued.kragle.logins.clear()
    glued.recipe("Another", ["Delay", {"seconds": 6}])
    with pytest.raises(CredentialsError):
        glued.run(RECIPES)
    assert json.dumps(glued.kragle.stacks) == before


def test_a_create_whose_answer_was_lost_is_found_by_its_name_and_not_made_twice(glued: Glued) -> None:
    glued.recipe("Lost", ["Delay", {"seconds": 5}])
    glued.kragle.set_switch("fault", "500_after")
    run = glued.run(RECIPES)
    assert (run.status, run.created, run.unknown) == ("ok", 1, 0)
    assert len(glued.sent()) == 1
    assert glued.run(RECIPES).unchanged == 1


def test_stacks_that_cannot_be_are_told_one_by_one(glued: Glued) -> None:
    glued.recipe("Good", ["Delay", {"seconds": 5}])
    glued.recipe("Object", {"type": "Delay", "conversion": {}})
    glued.recipe("Unknown", ["No Such Block", {}])
    run = glued.run(RECIPES)
    assert (run.status, run.created, run.rejected) == ("partial", 1, 2)
    reasons = sorted(failure.reason for failure in glued.world.ledger.failures("recipes_to_stacks"))
    assert "block 1 is not written as" in reasons[0]
    assert "No block No Such Block" in reasons[1]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({**RECIPES, "mode": "mirror"}, "cannot delete"),
        ({**RECIPES, "fields": {**RECIPES["fields"], "webhook_token": "'x'"}}, "webhook_token"),
        ({**RECIPES, "to": "glue.jobs"}, "can only be read"),
        ({**CATALOGUE, "read": {"mode": "incremental", "cursor": "id"}}, "since a cursor"),
    ],
)
def test_what_kragle_cannot_do_is_refused_before_anything_runs(glued: Glued, spec: dict[str, Any], said: str) -> None:
    checked = SyncSpec(**spec)

    def known(address: str) -> Any:
        connection, _, stream = address.partition(".")
        return glued.world._connection(connection).stream(stream) if connection == "glue" else None

    found = list(problems(checked, lambda *keys: "here", known(checked.source), known(checked.target)))
    assert any(said in problem for problem in found), found
    assert glued.kragle.log == []
