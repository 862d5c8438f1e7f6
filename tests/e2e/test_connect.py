"""`crossdock connect`: the documented OAuth flow, over real HTTP, by a browser that comes back or by a code that is pasted."""

import io
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connectors.errors import ConfigError, RefusedError, UnreachableError
from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import Store
from pipelines.consent import Listener, code_in
from tests.clock import FakeClock
from tests.e2e.commandline import CONNECTIONS, Ended, Project, project
from tests.loopback import serving

AI = """\
  ai:
    connector: stack_ai
    base_url: ${AI_URL}
    token_url: /token
    username: demo
    password: ${AI_PASSWORD:-demo}
    provider_data: {"provider:slack": {client_secret: "${AI_SECRET}"}}
"""
SLACK = ("provider_id=slack", "connection_type_id=oauth2")
SECRETS = ("canary-code-1", "canary-provider-secret")


class Ai:
    """A project with a Stack AI beside the two others."""

    def __init__(self, made: Project, store: Store) -> None:
        self.project, self.store = made, store

    def connect(self, *arguments: str, code: str | None = None) -> Ended:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(code or ""))
            return self.silent(self.project.run("connect", *arguments))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.project.start("connect", *arguments)

    def silent(self, ended: Ended) -> Ended:
        """The same, having shown no secret, and left none in a file."""
        kept = [path.read_bytes() for path in self.project.folder.rglob("*") if path.is_file()]
        assert not any(secret in ended.out + ended.err for secret in (*SECRETS, *self.store.tokens))
        assert not any(secret.encode() in text for secret in SECRETS for text in kept)
        return ended

    def named(self, name: str) -> list[dict[str, Any]]:
        return [{**one, "id": key} for key, one in self.store.connections.items() if one["name"] == name]

    def asked(self) -> list[str]:
        return [f"{one['method']} {one['path']}" for one in self.store.log if "oauth" in one["path"]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project(tmp_path_factory.mktemp("connect")) as made:
        made.write("connections.yaml", CONNECTIONS + AI)
        yield made


@pytest.fixture
def ai(shared: Project) -> Iterator[Ai]:
    store = Store(connections=0)
    with serving(create_app(store)) as url:
        shared.environ |= {"AI_URL": url, "AI_SECRET": SECRETS[1]}
        yield Ai(shared, store)


def test_the_address_is_shown_the_code_is_given_and_the_connection_is_there(ai: Ai) -> None:
    begun = ai.connect("ai", *SLACK, "name=Support", "--yes", "--json")
    assert begun.status == 0
    assert begun.json["status"] == "started"
    assert begun.json["address"].startswith("https://provider.example/slack/authorize?state=")
    ended = ai.connect("ai", *SLACK, "name=Support", "--yes", "--json", "--code", "-", code="canary-code-1\n")
    (made,) = ai.named("Support")
    assert ended.json == {"status": "ok", "connection": "ai", "id": made["id"], "renewed": False}
    assert made["connection_provider_data"] == {"client_secret": "canary-provider-secret"}
    assert ai.asked() == ["POST /connections/oauth/start", "POST /connections/oauth/callback"]


def test_a_browser_that_comes_back_brings_the_code(ai: Ai, free_port: int) -> None:
    process = ai.start("ai", *SLACK, "name=Support", "--yes", "--listen", str(free_port))
    assert process.stdout is not None
    shown = ""
    while "Waiting for the browser" not in shown:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        shown += line
    (state,) = re.findall(r"state=(\w+)", shown)
    back = f"http://127.0.0.1:{free_port}/"
    assert httpx.get(back + "favicon.ico").status_code == 404
    httpx.get(back, params={"code": "another-code", "state": "of-another-attempt"})
    httpx.get(back, params={"code": "a-code-of-any-page"})
    answered = httpx.get(back, params={"code": "canary-code-1", "state": state})
    out, err = process.communicate(timeout=30)
    ai.silent(Ended(process.returncode, shown + out, err))
    assert (process.returncode, answered.status_code) == (0, 200)
    assert ai.store.codes == {"canary-code-1"}
    assert f"connected: its id is {ai.named('Support')[0]['id']}" in out


def test_a_consent_is_renewed_under_the_name_and_type_that_the_connection_has(ai: Ai) -> None:
    key = ai.store.create({"name": "Old", "provider_id": "slack", "connection_type_id": "oauth2", "connection_provider_data": {"a": "b"}})
    ended = ai.connect("ai", "--renew", key, "--yes", "--code", "-", code="https://stack.example/cb?code=canary-code-1&state=x")
    assert (ended.status, "renewed: its id is " + key in ended.out) == (0, True)
    assert [one["name"] for one in ai.store.connections.values()] == ["Old"]
    assert ai.asked() == [f"PUT /connections/oauth/callback/{key}"]


@pytest.mark.parametrize("switch", ["nothing", "id", "record", "enveloped"])
def test_whatever_the_answer_shows_the_command_ends_well(ai: Ai, switch: str) -> None:
    ai.store.set_switch("create_answers", switch)
    ended = ai.connect("ai", *SLACK, "name=Support", "--yes", "--code", "-", code="canary-code-1")
    assert ended.status == 0
    assert ("look for it by its name" in ended.out) is (switch == "nothing")
    assert len(ai.named("Support")) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "status", "says"),
    [
        (("ai", *SLACK, "name=S"), None, 2, "nothing was sent: add --yes"),
        (("ai", *SLACK, "--yes"), None, 3, "a connection needs name"),
        (("ai", "name=S", "--yes"), None, 3, "needs provider_id and connection_type_id"),
        (("ai", *SLACK, "name=S", "colour=red", "--yes"), None, 3, "'colour' is nothing that a connection is made of"),
        (("ai", *SLACK, "name=S", "--yes", "--code", "canary-code-1"), None, 3, "write --code -"),
        (("ai", *SLACK, "name=S", "--yes", "--code", "-", "--listen", "9999"), None, 3, "give one of them"),
        (("ai", *SLACK, "name=S", "--yes", "--code", "-"), "", 3, "is no code"),
        (
            ("ai", *SLACK, "name=S", "--yes", "--code", "-"),
            "https://x.example/?error=access_denied",
            3,
            "did not let us in (access_denied)",
        ),
        (("ai", "--renew", "3f0c8a52-5a0e-4d0c-9f6e-0d6c1f2b7a11", "--yes", "--code", "-"), "c", 3, "404"),
        (("here", "name=S", "--yes"), None, 3, "connected by its settings alone"),
    ],
)
def test_what_cannot_be_connected_is_refused_and_no_code_is_used(
    ai: Ai, arguments: tuple[str, ...], code: str | None, status: int, says: str
) -> None:
    ended = ai.connect(*arguments, code=code)
    assert (ended.status, says in ended.err) == (status, True), ended.err
    assert ai.store.codes == set()


def test_a_code_that_was_used_before_is_refused_in_one_sentence_without_it(ai: Ai) -> None:
    ai.store.codes.add("canary-code-1")
    ended = ai.connect("ai", *SLACK, "name=S", "--yes", "--code", "-", code="canary-code-1")
    assert (ended.status, "The code was used before" in ended.err) == (3, True)


def test_a_lost_answer_is_not_sent_again(ai: Ai) -> None:
    ai.store.set_switch("fault", "500_after")
    ended = ai.connect("ai", *SLACK, "name=S", "--yes", "--code", "-", code="canary-code-1")
    assert ended.status == 1
    assert len(ai.named("S")) == 1
    assert ai.asked() == ["POST /connections/oauth/callback"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("abc", "abc"),
        (" abc\n", "abc"),
        ("https://x.example/cb?code=a%2Fb&state=s", "a/b"),
        ("https://x.example/cb#code=abc&state=s", "abc"),
        ("code=abc&state=s", "abc"),
    ],
)
def test_a_code_is_found_in_what_is_pasted(text: str, code: str) -> None:
    assert code_in(text, "s").reveal() == code


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ConfigError),
        ("two words", ConfigError),
        ("https://x.example/cb?state=s", ConfigError),
        ("https://x.example/cb?code=c&state=other", ConfigError),
        ("https://x.example/cb?error=denied&state=s", RefusedError),
    ],
)
def test_what_holds_no_code_of_this_attempt_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        code_in(text, "s")


def test_nobody_is_waited_for_without_end(clock: FakeClock) -> None:
    class Hurried(FakeClock):
        def monotonic(self) -> float:
            self.sleep(400)
            return super().monotonic()

    with Listener(0) as listener, pytest.raises(UnreachableError, match="no browser came"):
        listener.code(None, Hurried(), 600)


def test_a_port_that_is_taken_is_told(free_port: int) -> None:
    with Listener(free_port), pytest.raises(ConfigError, match="cannot be listened on"), Listener(free_port):
        pass


def test_the_answer_of_json_is_one_object(ai: Ai) -> None:
    told = ai.connect("ai", *SLACK, "--body", json.dumps({"name": "By body"}), "--yes", "--json", "--code", "-", code="canary-code-1")
    assert told.json["id"] == ai.named("By body")[0]["id"]
