"""`check`, `streams`, `read`, `call`, `new sync`, `sandbox`: the platforms by hand."""

import sys
from collections.abc import Iterator

import pytest

from pipelines.config import load_sync_file
from pipelines.runtime import CONNECTORS
from tests.e2e.commandline import Project, contact, project


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("connections")) as made:
        yield made


@pytest.fixture
def here(shared: Project) -> Project:
    shared.contacts(*(contact(n) for n in range(1, 4)))
    shared.there.add_resource("people", [{"email": "p1@example.com", "name": "Ada"}])
    return shared


def test_check_tells_each_connection_and_each_sync(here: Project) -> None:
    shown, told = here.run("check"), here.json("check")
    assert shown.status == 0
    assert [(one["connection"], one["ok"]) for one in told["connections"]] == [("here", True), ("there", True)]
    assert told["syncs"] == []
    assert [one["connection"] for one in here.json("check", "there")["connections"]] == ["there"]


def test_check_of_an_unknown_connection_names_the_nearest(here: Project) -> None:
    ended = here.run("check", "theer")
    assert (ended.status, "did you mean 'there'?" in ended.err) == (3, True)


def test_streams_tell_what_can_be_done_with_which_promise(here: Project) -> None:
    told = here.json("streams", "there")["streams"]
    assert [one["name"] for one in told] == ["people", "orgs"]
    assert told[0]["write"]["create"]["delivery"] == "E2"
    assert told[0]["write"]["create"]["evidence"]
    assert "create (E2)" in here.run("streams", "there").out


def test_read_shows_the_first_records_exactly(here: Project) -> None:
    told = here.json("read", "here.contacts", "--limit", "2")
    assert (told["count"], told["more"]) == (2, True)
    assert all(set(record) >= {"sid", "email", "name", "score"} for record in told["records"])
    assert here.json("read", "here.contacts")["more"] is False
    assert "p1@example.com" in here.run("read", "there.people").out


def test_call_lists_the_documented_operations(here: Project) -> None:
    told = here.json("call", "there")["operations"]
    assert {one["name"]: one["delivery"] for one in told}["find_records"] == "read"
    shown = here.run("call", "there").out
    assert all(one["path"] in shown for one in told)


def test_call_reads_at_once_and_gives_the_platforms_own_answer(here: Project) -> None:
    told = here.json("call", "there", "find_records", "resource=people", 'selection={"email": "p1@example.com"}')
    assert [record["name"] for record in told["answer"]] == ["Ada"]
    assert here.json("call", "here", "search_records", "object_sid=contacts", "count=1")["answer"]["count"] == 1


def test_call_writes_only_after_a_confirmation(here: Project) -> None:
    line = ("call", "there", "create_records", "resource=people", "--body", '[{"email": "new@example.com"}]')
    refused = here.run(*line)
    assert (refused.status, len(here.people())) == (2, 1)
    assert "add --yes" in refused.err
    assert here.run(*line, "--yes").status == 0
    assert [person["email"] for person in here.people()] == ["p1@example.com", "new@example.com"]


def test_call_passes_the_selection_guard_like_everyone(here: Project) -> None:
    ended = here.run("call", "there", "delete_records", "resource=people", "selection={}", "--yes")
    assert ended.status == 3
    assert len(here.people()) == 1


def test_call_takes_a_body_from_a_file(here: Project) -> None:
    here.write("body.json", '{"selection": {"id": 1}, "updation": {"name": "Grace"}}')
    assert here.run("call", "there", "update_records", "resource=people", "--body", "@body.json", "--yes").status == 0
    assert here.people()[0]["name"] == "Grace"


def test_a_refusal_of_the_platform_is_told_in_its_words(here: Project) -> None:
    ended = here.run("call", "here", "get_record", "object_sid=contacts", "record_sid=rec_none", "--json")
    assert (ended.status, ended.json["http_status"]) == (1, 404)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["find_record", "resource=people"], "did you mean 'find_records'?"),
        (["find_records"], "needs resource; write resource=…"),
        (["find_records", "people"], "NAME=VALUE"),
        (["find_records", "resource=people", "colour=red"], "takes no 'colour'"),
        (["create_records", "resource=people", "--body", "{", "--yes"], "--body is not JSON"),
        (["create_records", "resource=people", "--body", "@none.json", "--yes"], "none.json cannot be read"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(here: Project, line: list[str], words: str) -> None:
    ended = here.run("call", "there", *line)
    assert ended.status == 3
    assert words in ended.err


def test_new_sync_writes_a_sync_that_can_be_planned_at_once(here: Project) -> None:
    made = here.run("new", "sync", "proposed", "--from", "here.contacts", "--to", "there.people")
    assert made.status == 0
    path = here.folder / "pipelines/defs/proposed/defs.yaml"
    spec = load_sync_file(path).spec
    assert (spec.match, spec.fields) == (("email",), {"email": "lower(trim(email))", "name": "name"})
    assert spec.limits.create_count is not None
    plan = here.json("plan", "proposed")
    assert (plan["created"], plan["updated"]) == (2, 1)

    text = path.read_text()
    again = here.run("new", "sync", "proposed", "--from", "here.contacts", "--to", "there.people")
    assert (again.status, path.read_text()) == (3, text)
    assert "already" in again.err


def test_new_sync_into_an_unknown_stream_writes_nothing(here: Project) -> None:
    assert here.run("new", "sync", "lost", "--from", "here.nothing", "--to", "there.people").status == 3
    assert here.run("new", "sync", "../out", "--from", "here.contacts", "--to", "there.people").status == 3
    assert not (here.folder / "pipelines/defs/lost").exists()


def test_the_sandbox_runs_a_command_among_the_emulators_and_ends_with_its_status(here: Project) -> None:
    seen = "import os, sys; print(os.environ['STACKER_URL']); sys.exit(7)"
    ended = here.shell("sandbox", "--port-base", str(_free_ports(len(CONNECTORS))), "--", sys.executable, "-c", seen)
    assert ended.status == 7
    assert ended.out.startswith("http://127.0.0.1:")
    assert "robostack" in ended.err


def _free_ports(count: int) -> int:
    """The first of so many neighbouring ports of loopback that nobody listened on a moment ago."""
    import random
    import socket
    from contextlib import ExitStack

    while True:
        first = random.randrange(20_000, 55_000)
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first


def test_check_says_what_may_be_done_and_suggests_settings_by_reading_alone(here: Project) -> None:
    (told,) = here.json("check", "there")["connections"]
    found = {one["subject"]: one for one in told["findings"]}
    assert found["may"]["detail"] == "create (E2), update (E1), delete (E1): people, orgs"
    assert found["find all"]["suggestion"] == "find_all: selection"
    assert len(here.people()) == 1


def test_a_write_is_probed_with_a_record_like_those_that_are_there_and_nothing_is_left(here: Project) -> None:
    before = here.people()
    told = here.json("check", "there", "--probe-writes", "people", "--yes")
    found = {one["subject"]: one["detail"] for one in told["connections"][0]["findings"]}
    assert (told["status"], told["exit"]) == ("ok", 0)
    assert found["delete"] == "it is gone: nothing is left behind"
    assert here.people() == before


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--probe-writes", "people"), 3, "needs the connection"),
        (("there", "--probe-writes", "people"), 2, "nothing was sent: add --yes"),
        (("there", "--probe-writes", "orgs", "--yes"), 3, "--record"),
        (("there", "--probe-writes", "people", "--record", '{"email": "x"}', "--yes"), 3, "{probe} in none of its texts"),
        (("there", "--probe-writes", "people", "--record", "{", "--yes"), 3, "--record is not JSON"),
        (("here", "--probe-writes", "accounts", "--yes"), 3, "takes no new record"),
    ],
)
def test_a_write_that_cannot_be_probed_is_refused_before_anything_is_sent(
    here: Project, arguments: tuple[str, ...], status: int, says: str
) -> None:
    before = here.there.counters.copy()
    ended = here.run("check", *arguments)
    assert ended.status == status
    assert says in ended.err
    assert {name: count for name, count in here.there.counters.items() if name != "find"} == {
        name: count for name, count in before.items() if name != "find"
    }


def test_a_probed_write_that_the_platform_refuses_ends_partial(here: Project) -> None:
    here.there.set_switch("unknown_fields", "refused")
    here.there.resources["people"].fields.update(dict.fromkeys(("id", "email")))
    try:
        told = here.json("check", "there", "--probe-writes", "people", "--record", '{"email": "{probe}", "colour": 1}', "--yes")
    finally:
        here.there.set_switch("unknown_fields", "stored")
    assert (told["status"], told["exit"]) == ("failed", 1)
