"""Every way to fail has its sentence, its exit status, and leaves nothing half done; never a traceback, never a secret."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.commandline import Project, contact, project

SECRET = "canary-7d1f9b"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("errors")) as made:
        made.contacts(contact(1))
        yield made


@pytest.fixture
def here(shared: Project) -> Iterator[Project]:
    environ, connections = dict(shared.environ), (shared.folder / "connections.yaml").read_text()
    shared.sync()
    yield shared
    shared.environ = environ
    shared.write("connections.yaml", connections)


def refused(here: Project, status: int, *words: str, command: tuple[str, ...] = ("plan", "c2p")) -> None:
    """The command ends with that status and a sentence holding the words, as text and as one JSON object."""
    ended = here.run(*command)
    assert ended.status == status, ended
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, ended.err
    told = here.run(*command, "--json")
    assert (told.status, told.json["exit"], told.json["status"]) == (status, status, "failed")
    assert told.json["error"] in told.err
    assert here.people() == []


def test_a_misspelt_key_is_named_with_its_line_and_the_right_spelling(here: Project) -> None:
    here.write(
        "pipelines/defs/c2p/defs.yaml",
        "type: pipelines.components.SyncComponent\nattributes:\n  form: here.contacts\n  to: there.people\n  match: [email]\n",
    )
    refused(here, 3, "pipelines/defs/c2p/defs.yaml:3", "'form'", "did you mean 'from'?")


def test_a_wrong_connector_name_is_named_with_the_nearest(here: Project) -> None:
    here.write("connections.yaml", (here.folder / "connections.yaml").read_text().replace("connector: stacker", "connector: staker"))
    refused(here, 3, "connections.yaml:3", "'staker'", "did you mean 'stacker'?")


def test_an_unknown_connection_is_named_with_the_nearest(here: Project) -> None:
    here.sync(**{"from": "hear.contacts"})
    refused(here, 3, "'hear'", "did you mean 'here'?")


def test_a_missing_environment_variable_is_named(here: Project) -> None:
    here.environ["HERE_URL"] = ""
    refused(here, 3, "HERE_URL", "connections.yaml:4")


def test_an_unknown_sync_is_named_with_the_nearest(here: Project) -> None:
    refused(here, 3, "'c2q'", "did you mean 'c2p'?", command=("run", "c2q"))


def test_an_unreachable_host_is_no_fault_of_the_configuration(here: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    here.environ["THERE_URL"] = f"http://127.0.0.1:{port}"
    ended = here.run("run", "c2p", "--json")
    assert (ended.status, ended.json["status"], ended.json["sync"], ended.json["exit"]) == (4, "failed", "c2p", 4)
    assert f"127.0.0.1:{port}" in ended.json["error"]
    assert "check base_url and the network" in ended.json["error"]


def test_refused_credentials_say_so_and_never_show_them(here: Project) -> None:
    here.environ["HERE_KEY"] = SECRET
    refused(here, 4, "refused the credentials", command=("run", "c2p"))
    for command in (["run", "c2p", "--debug"], ["check"], ["check", "--json"], ["runs", "--json"], ["call", "here", "hello", "--debug"]):
        ended = here.run(*command)
        assert SECRET not in ended.out + ended.err
    state = [path for path in (here.folder / ".crossdock").rglob("*") if path.is_file()]
    assert state
    assert [path for path in state if SECRET.encode() in path.read_bytes()] == []


def test_a_mirror_that_reads_increments_is_refused_before_anything_is_read(here: Project) -> None:
    here.sync(mode="mirror", read={"mode": "incremental", "cursor": "updated_at"})
    searches = here.here.searches
    refused(here, 3, "mirror", "use mode: upsert")
    assert here.here.searches == searches


def test_a_field_that_the_source_does_not_have_is_named(here: Project) -> None:
    here.sync(fields={"email": "emial"})
    refused(here, 3, "emial")


def test_a_sync_of_a_stream_into_itself_may_only_update_it(here: Project) -> None:
    here.sync(**{"to": "here.contacts"})
    refused(here, 3, "from and to are both here.contacts", "use mode: update")


def test_a_mirror_that_would_delete_everything_is_refused_by_a_guard(here: Project) -> None:
    here.sync(
        "emptied", mode="mirror", **{"from": "here.companies", "to": "there.orgs", "match": ["domain"], "fields": {"domain": "domain"}}
    )
    here.here.add_object("companies", [{"domain": "a.example"}, {"domain": "b.example"}])
    assert here.run("run", "emptied").status == 0
    here.here.add_object("companies", [])

    ended = here.run("run", "emptied")

    assert ended.status == 2
    assert "refused" in ended.out
    assert "--approve" not in ended.out  # nobody may approve this one
    assert len(here.there.resources["orgs"].records) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["plam", "c2p"], "no such command 'plam'"),
        (["run", "c2p", "--ful"], "--ful"),
        (["new"], "crossdock new --help"),
        (["run"], "name one sync, or say --all"),
        (["run", "c2p", "--all"], "name one sync, or say --all"),
        (["read", "here"], "CONNECTION.STREAM"),
        (["read", "here.contacts", "--limit", "many"], "many"),
        (["explain", "c2p"], "crossdock explain --help"),
        (["failures", "c2p", "--retry", "--dismiss"], "exclude each other"),
        (["new", "sync", "x"], "--from"),
    ],
)
def test_a_wrong_command_line_is_configuration(here: Project, line: list[str], words: str) -> None:
    refused(here, 3, words, command=tuple(line))


def test_json_without_a_command_is_one_object_too(here: Project) -> None:
    ended = here.run("--json")
    assert (ended.status, ended.json["exit"]) == (3, 3)


def test_a_real_process_ends_with_the_status_and_the_sentence_alone(here: Project) -> None:
    ended = here.shell("run", "c2q", "--json")
    assert (ended.status, ended.json["exit"]) == (3, 3)
    assert ended.err == f"error: {ended.json['error']}\n"


def test_a_defect_of_ours_is_told_without_what_it_held_and_debug_shows_where(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **named: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr("pipelines.commands.history.known_sync", broken)
    ended = here.run("runs", "c2p", "--json")
    assert ended.status == 5
    assert "ZeroDivisionError" in ended.json["error"]
    assert SECRET not in ended.out + ended.err
    assert "Traceback" in here.run("runs", "c2p", "--debug").err


def test_debug_shows_the_traceback_and_json_stays_pure(here: Project) -> None:
    ended = here.run("plan", "c2q", "--json", "--debug")
    assert "Traceback" in ended.err
    assert json.loads(ended.out)["exit"] == 3
