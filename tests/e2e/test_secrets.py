"""Canary secrets go through every fault and every run, and no log, file, database, traceback, output or printed value shows them."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from connectors.errors import ConnectorError
from connectors.http import Sender
from connectors.robostack.settings import RobostackSettings
from connectors.settings import ConnectionSettings, Ports, Secret
from connectors.stacker.settings import StackerSettings
from tests.clock import FakeClock
from tests.e2e.commandline import Project, contact, project
from tests.loopback import Answerer, RawServer, answer
from tests.secrets_found import everything_logged, found_in, found_under, shown
from tests.unit.test_http import AMBIGUOUS, E1, E2, E3, READ, Dice, Request, request_of

CANARIES = ("kanary-a1/b2+c3==", "kanary-d4e5f6", "kanary-g7h8i9")
HEADERS = {"x-api-key": Secret(CANARIES[0]), "authorization": Secret(f"Bearer {CANARIES[1]}")}
A, B = (canary.encode() for canary in CANARIES[:2])
BOTH = A + b" and " + B

ECHOES: dict[str, bytes] = {
    "a message": answer(422, b'{"message":"your key ' + BOTH + b' is bad"}'),
    "a field": answer(400, b'{"' + A + b'":["' + B + b'"]}'),
    "a code": answer(409, b'{"errors":[{"code":"' + A + b'","message":"' + B + b'"}]}'),
    "a title of a page": answer(500, b"<html><title>" + BOTH + b"</title></html>"),
    "plain words": answer(403, BOTH),
    "refused credentials": answer(401, b'{"message":"unknown key ' + BOTH + b'"}'),
    "too many requests": answer(429, BOTH, {"retry-after": "99999999"}),
    "a place to come back at": answer(429, b"", {"retry-after": CANARIES[1]}),
    "a redirect": answer(302, BOTH, {"location": f"https://evil.example/{CANARIES[1]}/{CANARIES[0]}?key={CANARIES[1]}"}),
    "an encoding": answer(200, b"x", {"content-encoding": CANARIES[1]}),
    "a header": answer(200, b"{}", {"x-echo": CANARIES[1], "set-cookie": f"session={CANARIES[1]}"}),
    "a status line": b"HTTP/1.1 500 " + B + b"\r\ncontent-length: 0\r\n\r\n",
    "no HTTP": B + b" / nothing\r\n\r\n",
    "a broken header": b"HTTP/1.1 200 OK\r\n" + B + b"\r\n\r\n",
    "a chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + B + b"\r\n",
    "a length": b"HTTP/1.1 200 OK\r\ncontent-length: " + B + b"\r\n\r\n",
    "a page instead of JSON": answer(200, b"<html>" + BOTH + b"</html>"),
    "a key twice": answer(200, b'{"' + B + b'":1,"' + B + b'":2}'),
    "a number": answer(200, b'{"a":1e999999' + B + b"}"),
    "an undocumented status": answer(299, BOTH),
    "cut": answer(200, BOTH, claimed_length=500),
}


def outcomes(answerer: Answerer, request: Request) -> Iterator[object]:
    """Everything that a caller gets to see of one request: sender, settings, request, and the answer, its JSON or the errors."""
    clock = FakeClock()
    with RawServer(answerer) as server:
        settings = ConnectionSettings(connector="test", base_url=server.base_url, timeout_s=5)
        ports = Ports(clock, Dice())
        sender = Sender(settings, ports, auth=HEADERS, hidden=[Secret(CANARIES[2])])
        yield from (sender, settings, ports, request, HEADERS)
        with everything_logged() as logged:
            try:
                given = sender.send(request)
                yield given
                given.json()
            except ConnectorError as error:
                yield error
            sender.close()
        yield logged.getvalue()


def assert_hidden(things: Iterator[object]) -> None:
    for thing in things:
        text = shown(thing) if isinstance(thing, BaseException) else f"{thing}{thing!r}"
        assert found_in(text, CANARIES) == [], type(thing)


@pytest.mark.parametrize("delivery", [READ, E1, E2, E3])
@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_no_fault_of_the_way_shows_a_credential(fault: str, delivery: object) -> None:
    assert_hidden(outcomes(lambda number, request: AMBIGUOUS[fault], request_of(delivery)))  # type: ignore[arg-type]


@pytest.mark.parametrize("delivery", [READ, E2])
@pytest.mark.parametrize("echo", ECHOES)
def test_a_platform_that_quotes_the_credentials_makes_us_show_nothing(echo: str, delivery: object) -> None:
    assert_hidden(outcomes(lambda number, request: ECHOES[echo], request_of(delivery)))  # type: ignore[arg-type]


def test_a_request_that_cannot_be_sent_shows_nothing() -> None:
    secret = {"password": CANARIES[2], "value": float("nan")}
    for request in (
        Request(request_of(E2).operation, "/a/", json=secret),
        Request(request_of(E2).operation, "/a/", json={"a": 1}, headers={"x-more": "ü\n"}),
        Request(request_of(E2).operation, "/a/../b/", json={"a": 1}),
        Request(request_of(E2).operation, "/a/", form={"password": Secret(CANARIES[2])}),
    ):
        assert_hidden(outcomes(lambda number, request: None, request))


def test_whoever_is_interrupted_while_sending_shows_nothing() -> None:
    """Frames of the HTTP library hold headers in the clear; what passes through them must not take them along."""

    class Interrupted(BaseException):
        pass

    def stop(*given: object, **named: object) -> None:
        raise Interrupted

    with RawServer(lambda number, request: answer(200)) as server, pytest.MonkeyPatch.context() as patch:
        settings = ConnectionSettings(connector="test", base_url=server.base_url)
        sender = Sender(settings, Ports(FakeClock(), Dice()), auth=HEADERS)
        patch.setattr("httpcore._backends.sync.SyncStream.write", stop)
        with pytest.raises(Interrupted) as caught:
            sender.send(request_of(E2))
    assert found_in(shown(caught.value), CANARIES) == []


def test_values_that_a_connector_hides_later_are_hidden_from_then_on() -> None:
    with RawServer(lambda number, request: answer(422, b'{"message":"hook-7 is bad"}')) as server:
        sender = Sender(ConnectionSettings(connector="test", base_url=server.base_url), Ports(FakeClock(), Dice()), auth=HEADERS)
        sender.hide(Secret("hook-7"))
        with pytest.raises(ConnectorError, match=r"\[secret\] is bad"):
            sender.send(request_of(E2))


def test_what_is_looked_for_would_be_found(tmp_path: Path) -> None:
    """The search itself: log lines, local variables, packed cells and Parquet are looked through."""
    import sqlite3
    import zlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [CANARIES[0]] * 100}), tmp_path / "a.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE t (c BLOB)")
        database.execute("INSERT INTO t VALUES (?)", (zlib.compress(CANARIES[1].encode() * 3),))
    database.close()
    found, count = found_under(tmp_path, CANARIES)
    assert set(found) == {f"a.parquet: {CANARIES[0]}", f"a.db: {CANARIES[1]}"}
    assert count == 2
    with everything_logged() as logged:
        logging.getLogger("some.library").debug("sent %s", CANARIES[0])
    assert found_in(logged.getvalue(), CANARIES) == [CANARIES[0]]

    def fail(local: str) -> None:
        raise ValueError(len(local))

    with pytest.raises(ValueError, match=r"\d") as caught:
        fail(CANARIES[2])
    assert CANARIES[2] in found_in(shown(caught.value), CANARIES)


SETTINGS: dict[str, Callable[..., ConnectionSettings]] = {
    "stacker": lambda **more: StackerSettings(connector="stacker", base_url="https://a", integration_key=Secret(CANARIES[0]), **more),
    "robostack": lambda **more: RobostackSettings(
        connector="robostack", api_key=Secret(CANARIES[0]), api_secret=Secret(CANARIES[1]), **more
    ),
}


@pytest.mark.parametrize(("name", "needed"), [("stacker", {"stack_id": "s"}), ("robostack", {"app_uuid": "u"})])
def test_settings_print_dump_and_complain_without_their_secrets(name: str, needed: dict[str, str]) -> None:
    settings = SETTINGS[name](**needed)
    whole = [
        settings,
        settings.model_dump(),
        settings.model_dump_json(),
        settings.model_dump(mode="json"),
        settings.model_copy(),
        vars(settings),
    ]
    assert found_in(repr(whole) + str(whole) + f"{settings:}", CANARIES) == []
    for wrong in ({}, {**needed, "timeout_s": "soon"}, {**needed, "no_such_setting": 1}):
        with pytest.raises(ValidationError) as caught:
            SETTINGS[name](**wrong)
        assert found_in(str(caught.value) + repr(caught.value), CANARIES) == []


# whole runs


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose every credential is a canary that the platforms take."""
    with project(tmp_path_factory.mktemp("secrets")) as made:
        made.here.key, made.there.key, made.there.secret = CANARIES
        made.environ |= dict(zip(("HERE_KEY", "THERE_KEY", "THERE_SECRET"), CANARIES, strict=True))
        yield made


COMMANDS = [
    ("check", "--debug"),
    ("streams", "here"),
    ("read", "here.contacts", "--json"),
    ("call", "here", "list_objects"),
    ("plan", "c2p", "--debug"),
    ("run", "c2p", "--debug"),
    ("run", "c2p", "--json"),
    ("verify", "c2p"),
    ("status", "--json"),
    ("runs", "c2p"),
    ("failures", "c2p"),
    ("explain", "c2p", "p1@example.com"),
]


def spoken(canaries: Project, *commands: tuple[str, ...]) -> tuple[str, list[int]]:
    """All that the commands print and log; and their exit statuses."""
    said, statuses = [], []
    with everything_logged() as logged:
        for command in commands:
            ended = canaries.run(*command)
            said.append(ended.out + ended.err)
            statuses.append(ended.status)
    return "\n".join([*said, logged.getvalue()]), statuses


def assert_nothing_kept(canaries: Project) -> None:
    found, count = found_under(canaries.folder, CANARIES)
    assert found == []
    assert count > 5


def test_every_command_of_a_sync_that_succeeds_keeps_them_to_itself(canaries: Project, capfd: pytest.CaptureFixture[str]) -> None:
    canaries.contacts(*(contact(number) for number in range(30)))
    said, statuses = spoken(canaries, *COMMANDS)
    assert set(statuses) == {0}
    assert len(canaries.people()) == 30
    assert found_in(said + "".join(capfd.readouterr()), CANARIES) == []
    assert_nothing_kept(canaries)


@pytest.mark.parametrize("fault", ["500_before", "error_200"])
def test_a_sync_with_a_failing_sink_keeps_them_to_itself(canaries: Project, fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    canaries.contacts(contact(1), contact(2, email=f"{fault}@example.com"), contact(3, name=fault))
    canaries.write("connections.yaml", _impatient(canaries))
    canaries.there.set_switch("fault", fault)
    try:
        said, _ = spoken(canaries, ("run", "c2p", "--debug"), ("failures", "c2p"))
    finally:
        canaries.there.set_switch("fault", "none")
    assert found_in(said + "".join(capfd.readouterr()), CANARIES) == []
    assert_nothing_kept(canaries)


@pytest.mark.parametrize(
    ("side", "echo"),
    [
        ("HERE_URL", "a message"),
        ("HERE_URL", "a redirect"),
        ("HERE_URL", "a key twice"),
        ("THERE_URL", "refused credentials"),
        ("THERE_URL", "an encoding"),
    ],
)
def test_a_run_against_a_platform_that_quotes_them_keeps_them_to_itself(canaries: Project, side: str, echo: str) -> None:
    own = CANARIES[:1] * 2 if side == "HERE_URL" else CANARIES[1:]
    reply = ECHOES[echo].replace(B, b"two").replace(A, own[0].encode()).replace(b"two", own[1].encode())
    before = dict(canaries.environ)
    with RawServer(lambda number, request: _with_length(reply)) as server:
        canaries.environ[side] = server.base_url
        try:
            with everything_logged() as logged:
                ended = canaries.run("run", "c2p", "--debug")
        finally:
            canaries.environ = before
        assert any(own[0].encode() in request for request in server.requests)  # they were really sent
    assert ended.status in (3, 4, 5)
    assert "[secret]" in ended.err or echo in ("a redirect", "a key twice", "an encoding")
    assert found_in(ended.out + ended.err + logged.getvalue(), CANARIES) == []
    assert_nothing_kept(canaries)


def _with_length(reply: bytes) -> bytes:
    """The answer with the length that its body now has."""
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body)]) + b"\r\n\r\n" + body


def _impatient(canaries: Project) -> str:
    """The connections, waiting for no late effects."""
    text = (canaries.folder / "connections.yaml").read_text()
    return text if "T_server_max_s" in text else text.replace("    app_uuid", "    T_server_max_s: 0\n    timeout_s: 2\n    app_uuid")
