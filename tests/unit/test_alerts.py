"""Alerts: which addresses are taken, that nothing of them is shown, and what arrives at a real web server and a real mail server."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from connectors.errors import ConfigError
from pipelines.alerts import channels, send
from pipelines.ledger import Failure, Ledger, open_ledger
from pipelines.spec import SyncSpec
from pipelines.watch import tell
from tests.clock import FakeClock
from tests.loopback import RawServer, answer

SECRET = "T00-very-secret"
SPEC = SyncSpec(**{"name": "c2p", "from": "here.contacts", "to": "there.people", "match": ["email"]})


class Mailbox:
    """What a mail server was given."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.messages: list[Message] = []


@contextmanager
def mail_server() -> Iterator[tuple[int, Mailbox]]:
    """A server that speaks just enough SMTP to take one message."""
    box = Mailbox()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb", buffering=0) as wire:
            wire.write(b"220 here\r\n")
            while line := wire.readline():
                word = line.split()[0].upper()
                box.said.append(line.decode().strip())
                if word == b"DATA":
                    wire.write(b"354 go on\r\n")
                    body = b""
                    while (part := wire.readline()) != b".\r\n":
                        body += part
                    box.messages.append(message_from_bytes(body))
                wire.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield listener.getsockname()[1], box
        thread.join(10)


@pytest.mark.parametrize(
    "written",
    [f"ftp://x.example/{SECRET}", f"http://x.example/{SECRET}", f"smtps://u:{SECRET}@x.example/?from=a@x.example", SECRET, "https:///x"],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(written: str) -> None:
    with pytest.raises(ConfigError) as refused:
        channels(written, Path("."))
    assert SECRET not in str(refused.value)
    assert "address 1 of CROSSDOCK_ALERTS" in str(refused.value)


def test_addresses_stand_in_the_variable_or_in_a_file(tmp_path: Path) -> None:
    written = f"https://hooks.x.example/{SECRET} smtps://m.x.example/?from=a@x.example&to=b@x.example"
    (tmp_path / "alerts").write_text(written + "\n")
    for found in (channels(written, tmp_path), channels("file:alerts", tmp_path)):
        assert [one.host for one in found] == ["hooks.x.example", "m.x.example"]
        assert SECRET not in repr(found)
    assert channels(None, tmp_path) == ()


def test_a_webhook_gets_the_form_that_slack_takes() -> None:
    with RawServer(lambda number, request: answer(200, b"ok")) as server:
        assert list(send(channels(f"{server.base_url}/hooks/{SECRET}", Path(".")), "Crossdock: c2p is failing", "why\n→ what")) == []
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST /hooks/{SECRET} ".encode())
    assert json.loads(body) == {"text": "*Crossdock: c2p is failing*\nwhy\n→ what"}


def test_a_mail_server_gets_one_message_for_everybody_named() -> None:
    with mail_server() as (port, box):
        to = channels(f"smtp://127.0.0.1:{port}/?from=sync@x.example&to=ada@x.example&to=bob@x.example", Path("."))
        assert list(send(to, "Crossdock: c2p is failing", "why → what")) == []
    (message,) = box.messages
    assert (message["Subject"], message["To"]) == ("Crossdock: c2p is failing", "ada@x.example, bob@x.example")
    assert message.get_payload(decode=True).decode().strip() == "why → what"  # type: ignore[union-attr]
    assert [line for line in box.said if line.lower().startswith("rcpt")] == ["rcpt TO:<ada@x.example>", "rcpt TO:<bob@x.example>"]


def test_a_channel_that_does_not_take_it_is_told_by_its_host_alone() -> None:
    with RawServer(lambda number, request: answer(302, headers={"location": "https://elsewhere.example/"})) as server:
        to = channels(f"{server.base_url}/{SECRET} http://127.0.0.1:9/{SECRET}", Path("."))
        answered, unreachable = send(to, "a", "b")
    assert "it answered 302" in answered
    assert "ConnectError" in unreachable
    assert SECRET not in answered + unreachable


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = open_ledger("sqlite://", FakeClock())
    yield made
    made.close()


def _ran(ledger: Ledger, run_id: str, status: str) -> None:
    ledger.begin_run(run_id, SPEC.name, "")
    ledger.finish_run(run_id, status, {"read": 100, "message": "out of reach; try again"})


def test_what_is_wrong_is_told_once_when_it_begins_and_once_when_it_is_over(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    with RawServer(lambda number, request: answer(500 if number == 0 else 200)) as server:
        to = channels(server.base_url, Path("."))

        def told() -> list[str]:
            before = len(server.requests)
            tell(ledger, SPEC, now, to)
            return [str(json.loads(request.partition(b"\r\n\r\n")[2])["text"]) for request in server.requests[before:]]

        assert told() == []  # it never ran: no alarm
        _ran(ledger, "1", "failed")
        assert "c2p is failing" in told()[0]  # not taken, so it is told again
        assert "out of reach; try again" in told()[0]
        assert told() == []
        ledger.put_failures(SPEC.name, "1", [Failure("k", "s", "quarantined", "")])
        (more,) = told()
        assert "quarantined" in more
        assert "out of reach" not in more
        _ran(ledger, "2", "partial")
        assert told() == []  # one thing is over, the other is not
        ledger.dismiss_failures(SPEC.name, [("k", "s")])
        assert "c2p is healthy again" in told()[0]
        assert told() == []
