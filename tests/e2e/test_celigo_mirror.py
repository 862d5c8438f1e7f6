"""A US account's stacks mirrored to an EU account, by the README's own connections and sync; secrets by reference only."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.celigo.demo import user
from pipelines.run import run_sync
from pipelines.runtime import open_runtime
from pipelines.summary import Summary
from tests.e2e.celigo_accounts import CONNECTIONS, FIELDS, SECRETS, SYNC, Accounts, accounts

NAME = "celigo_us_to_eu"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Accounts]:
    with accounts(tmp_path) as made:
        yield made


def synced(both: Accounts, run_id: str) -> Summary:
    """One run by the engine alone."""
    with open_runtime(both.environ, both.folder) as runtime:
        spec = runtime.syncs.file(NAME).spec
        runtime.validate(spec)
        return run_sync(runtime.engine(), spec, run_id)


def essence(store: Any) -> list[Any]:
    """What the stacks of an account are but for what the platform made."""
    own = ("_id", "createdAt", "lastModified")
    stacks = [{name: value for name, value in stack.items() if name not in own} for stack in store.stacks.values()]
    for stack in stacks:
        stack["server"] = {name: value for name, value in stack.get("server", {}).items() if name != "systemToken"}
    return sorted(stacks, key=repr)


def in_plain(folder: Path, texts: list[str]) -> list[str]:
    """The files below a folder that hold one of these texts."""
    held = [path for path in folder.rglob("*") if path.is_file()]
    assert len(held) > 5
    return [str(path) for path in held if any(text.encode() in path.read_bytes() for text in texts)]


def test_the_second_run_plans_nothing_and_no_secret_is_left_anywhere(both: Accounts) -> None:
    assert both.run("check").status == 0
    planned = both.run("plan", NAME, "--json")
    first = both.run("run", NAME, "--json")
    assert (first.status, first.json["created"], first.json["status"]) == (0, 7, "ok")
    assert essence(both.eu) == essence(both.us)
    secrets = {stack["lambda"]["secretAccessKey"] for stack in both.eu.stacks.values() if stack["type"] == "lambda"}
    assert secrets == set(SECRETS.values())
    written = both.writes()

    second = both.run("run", NAME, "--json")
    assert [second.json[name] for name in ("created", "updated", "deleted", "unchanged", "complete")] == [0, 0, 0, 7, True]
    assert second.json["requests"] == {"source": {"read": 1, "write": 0}, "sink": {"read": 1, "write": 0}}
    assert both.writes() == written

    tokens = [
        stack["server"]["systemToken"] for store in (both.us, both.eu) for stack in store.stacks.values() if stack["type"] == "server"
    ]
    shown = [*SECRETS.values(), both.us.token, both.eu.token, *tokens]
    state = both.folder / ".crossdock"
    assert in_plain(state, shown) == []
    said = "".join(ended.out + ended.err for ended in (planned, first, second, both.run("status"), both.run("streams", "celigo_eu")))
    assert [text for text in shown if text in said] == []


def test_a_rotated_secret_is_sent_once_and_only_to_the_stacks_that_use_it(both: Accounts) -> None:
    assert synced(both, "r1").created == 7
    both.eu.log.clear()
    both.environ["AWS_SECRET_1"] = "rotated-canary-secret-77"
    planned = both.run("plan", NAME)
    assert planned.out.count("secrets") == 1
    again = synced(both, "r2")
    (cleaner,) = [stack for stack in both.eu.stacks.values() if stack.get("lambda", {}).get("accessKeyId") == "AKIDEXAMPLE-1"]
    assert (again.status, again.updated, again.unchanged, again.differences) == ("ok", 1, 6, 0)
    assert both.writes() == [("PUT", f"/v1/stacks/{cleaner['_id']}")]
    assert cleaner["lambda"]["secretAccessKey"] == "rotated-canary-secret-77"
    assert (synced(both, "r3").unchanged, len(both.writes())) == (7, 1)
    assert in_plain(both.folder / ".crossdock", ["rotated-canary-secret-77"]) == []
    undone = both.run("undo", "r2", "--json")
    assert (undone.json["conflicts"], len(both.writes())) == (1, 1)  # nobody knows the old secret any more
    assert synced(both, "r4").unchanged == 7


def test_only_what_changed_is_sent_and_what_is_in_use_stays(both: Accounts) -> None:
    synced(both, "r1")
    theirs = {stack["name"]: stack for stack in both.eu.stacks.values()}
    both.eu.log.clear()
    renamed = next(stack for stack in both.us.stacks.values() if stack["name"] == "Invoice splitter")
    both.us.replace({**renamed, "lambda": {**renamed["lambda"], "language": "Other"}})
    gone = [stack for stack in both.us.stacks.values() if stack["name"] in ("Address cleaner", "倉庫フック")]
    for stack in gone:
        both.us.remove(stack["_id"])
    both.eu.use(theirs["倉庫フック"]["_id"], {"flows": [user("f", "夜間同期")]})

    again = synced(both, "r2")
    assert (again.updated, again.deleted, again.rejected, again.unchanged, again.status) == (1, 1, 1, 4, "partial")
    updated, removed = theirs["Invoice splitter"]["_id"], theirs["Address cleaner"]["_id"]
    assert sorted(both.writes()) == [("DELETE", f"/v1/stacks/{removed}"), ("PUT", f"/v1/stacks/{updated}")]  # sent at once
    assert both.eu.stacks[updated]["lambda"]["language"] == "Other"
    assert both.eu.stacks[updated]["lambda"]["secretAccessKey"] == renamed["lambda"]["secretAccessKey"]
    assert "1 resources still use it (flows 夜間同期)" in both.run("failures", NAME).out

    both.eu.use(theirs["倉庫フック"]["_id"], {})
    assert synced(both, "r3").deleted == 1
    rest = synced(both, "r4")
    assert (rest.created, rest.updated, rest.deleted, rest.status) == (0, 0, 0, "ok")


def test_a_stack_whose_secret_is_not_given_waits_for_it(tmp_path: Path) -> None:
    without = re.sub(r"\n +AKIDEXAMPLE-1: .*", "", CONNECTIONS)
    with accounts(tmp_path, without) as both:
        first = synced(both, "r1")
        assert (first.created, first.rejected, first.status) == (6, 1, "partial")
        failures = both.run("failures", NAME).out
        assert "no secret is given for its access key id AKIDEXAMPLE-1" in failures
        given = "      AKIDEXAMPLE-1: ${AWS_SECRET_1}\n      AKIDEXAMPLE-2"
        with_all = (tmp_path / "connections.yaml").read_text().replace("      AKIDEXAMPLE-2", given)
        both.write("connections.yaml", with_all)
        assert synced(both, "r2").created == 1
        assert essence(both.eu) == essence(both.us)


def test_a_secret_that_a_variable_does_not_give_is_told_by_name_and_nothing_is_sent(both: Accounts) -> None:
    both.environ["AWS_SECRET_1"] = ""
    ended = both.run("run", NAME)
    assert ended.status == 3
    assert "secret_access_keys" in ended.err
    assert "AWS_SECRET_1" in ended.err
    assert both.writes() == []


def test_a_secret_written_out_in_the_file_is_pointed_at(both: Accounts) -> None:
    both.write("connections.yaml", (both.folder / "connections.yaml").read_text().replace("${AWS_SECRET_0}", "in-the-clear"))
    ended = both.run("check", "celigo_eu")
    assert "'secret_access_keys' of connection celigo_eu is written out" in ended.out + ended.err
    assert "in-the-clear" not in ended.out + ended.err


@pytest.mark.parametrize("field", ["lambda.secretAccessKey", "server.systemToken"])
def test_a_sync_that_maps_a_secret_is_refused_before_anything_is_read(both: Accounts, field: str) -> None:
    both.sync(SYNC + "  fields:\n    name: name\n    type: type\n    endpoint: endpoint\n" + f"    {field}: \"'x'\"\n")
    ended = both.run("plan", NAME)
    assert ended.status == 3
    assert field in ended.err
    assert ("give it by reference" in ended.err) is (field == "lambda.secretAccessKey")
    assert both.us.log == both.eu.log == []


def test_an_increment_that_no_filter_can_ask_for_is_refused_before_anything_is_read(both: Accounts) -> None:
    both.sync(SYNC.replace("mode: mirror", "read: {mode: incremental, cursor: lastModified}").replace("  deletes:", "  # deletes:"))
    ended = both.run("plan", NAME)
    assert ended.status == 3
    assert "cannot be asked for what changed since a cursor" in ended.err
    assert both.us.log == both.eu.log == []


def test_the_readmes_fields_move_every_function_to_another_aws_account(both: Accounts) -> None:
    both.sync(SYNC + FIELDS)
    assert synced(both, "r1").created == 7
    configs = [stack["lambda"] for stack in both.eu.stacks.values() if stack["type"] == "lambda"]
    assert {config["accessKeyId"] for config in configs} == {"AKIDEXAMPLE-1"}
    assert {config["secretAccessKey"] for config in configs} == {SECRETS["AWS_SECRET_1"]}
    assert {config["awsRegion"] for config in configs} == {"eu-west-1"}
    assert synced(both, "r2").unchanged == 7


FLIPPED: list[dict[str, str]] = [
    {
        **{"page_size": "2", "next_link": "relative", "link_header": "crowded", "last_page": "empty", "none": "list", "order": "reversed"},
        **{"mask": "omitted", "extra_fields": "yes", "deleted": "marked", "deleted_get": "200", "deleted_again": "204"},
    },
    {
        **{"put": "merges", "put_without_secret": "clears", "null_values": "clears", "mask": "null", "used": "refused"},
        **{"unknown_fields": "refused", "read_only_fields": "ignored", "type_change": "ignored", "error_code": "int"},
    },
]


@pytest.mark.parametrize("flipped", FLIPPED)
def test_whatever_the_silence_two_accounts_end_equal_and_then_rest(both: Accounts, flipped: dict[str, str]) -> None:
    for name, value in flipped.items():
        both.us.set_switch(name, value)
        both.eu.set_switch(name, value)
    assert synced(both, "r1").created == 7
    one, two, *_ = both.us.stacks.values()
    both.us.replace({**one, "framework": "twoDotZero", "server": {**one["server"], "ipRanges": ["192.0.2.9"]}})
    both.us.remove(two["_id"])
    again = synced(both, "r2")
    assert (again.updated, again.deleted, again.status) == (1, 1, "ok")
    assert essence(both.eu) == essence(both.us)
    rest = synced(both, "r3")
    assert (rest.unchanged, rest.requests["sink"]["write"]) == (6, 0)


def test_the_system_token_is_shown_and_rotated_only_when_a_person_confirms(both: Accounts) -> None:
    one = next(stack for stack in both.us.stacks.values() if stack["type"] == "server")
    token, arguments = one["server"]["systemToken"], ("celigo_us", "get_stack_system_token", f"stack_id={one['_id']}")
    asked = both.run("call", *arguments)
    assert asked.status == 2
    assert token not in asked.out + asked.err
    assert both.us.log == []
    assert token in both.run("call", *arguments, "--yes").out
    rotate = ("celigo_us", "recycle_stack_system_token", f"stack_id={one['_id']}")
    assert both.run("call", *rotate).status == 2
    assert both.run("call", *rotate, "--yes").status == 0
    assert both.us.stacks[one["_id"]]["server"]["systemToken"] != token


def test_every_operation_can_be_called(both: Accounts) -> None:
    one = next(stack_id for stack_id, stack in both.us.stacks.items() if stack["type"] == "server")
    body = '{"name": "New", "type": "server", "server": {"hostURI": "https://new.example"}}'
    calls = [
        ("list_stacks", "include=name"),
        ("create_stack", "--body", body, "--yes"),
        ("get_stack_by_id", f"stack_id={one}"),
        ("update_stack", f"stack_id={one}", "--body", body, "--yes"),
        ("list_stack_dependencies", f"stack_id={one}"),
        ("delete_stack", f"stack_id={one}", "--yes"),
    ]
    assert [both.run("call", "celigo_us", *call).status for call in calls] == [0] * len(calls)
    assert one not in both.us.stacks
