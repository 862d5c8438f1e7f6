"""Credentials that expire: one log-in for all threads, kept before use, never tried again once refused."""

import threading
from collections.abc import Callable, Mapping

import pytest

from connectors.base import Delivery
from connectors.errors import ConnectorError, CredentialsError, RetryableError
from connectors.http import Answer, Login, Sender
from connectors.settings import ConnectionSettings, Ports, Secret
from pipelines.ports import SystemRng
from tests.clock import FakeClock
from tests.loopback import RawServer, answer
from tests.unit.test_http import E1, E2, E3, READ, Request, request_of


class Issuer:
    """Issues tokens t1, t2 …; `valid` is the one that the platform takes."""

    def __init__(self, fails: Callable[[int], ConnectorError | None] = lambda count: None) -> None:
        self.count, self.valid, self._fails = 0, "t1", fails
        self.events: list[str] = []

    def log_in(self) -> Mapping[str, Secret]:
        self.count += 1
        if (error := self._fails(self.count)) is not None:
            raise error
        self.events.append(f"issued t{self.count}")
        return {"authorization": Secret(f"Bearer t{self.count}")}

    def keep(self, headers: Mapping[str, Secret]) -> None:
        self.events.append(f"kept {headers['authorization'].reveal()}")

    def answer(self, number: int, request: bytes) -> bytes:
        known = f"authorization: Bearer {self.valid}\r\n".encode().lower() in request.lower()
        self.events.append("taken" if known else "refused")
        return answer(200, b"{}") if known else answer(401, b'{"message":"token expired"}')


def sender_with(issuer: Issuer, base_url: str, clock: FakeClock, **more: object) -> Sender:
    settings = ConnectionSettings(connector="test", base_url=base_url, timeout_s=5, concurrency=16)
    return Sender(settings, Ports(clock, SystemRng()), auth=Login("ada", issuer.log_in, keep=issuer.keep, **more))  # type: ignore[arg-type]


def test_a_token_is_kept_before_it_is_used(clock: FakeClock) -> None:
    issuer = Issuer()
    with RawServer(issuer.answer) as server:
        sender_with(issuer, server.base_url, clock).send(request_of(READ))
    assert issuer.events == ["issued t1", "kept Bearer t1", "taken"]


def test_a_token_from_before_is_used_without_logging_in(clock: FakeClock) -> None:
    issuer = Issuer()
    with RawServer(issuer.answer) as server:
        sender_with(issuer, server.base_url, clock, kept={"authorization": Secret("Bearer t1")}).send(request_of(READ))
    assert issuer.events == ["taken"]


@pytest.mark.parametrize("delivery", [READ, E1, E2, E3])
def test_an_expired_token_is_renewed_and_the_request_sent_again_whatever_its_class(delivery: Delivery, clock: FakeClock) -> None:
    issuer = Issuer()
    with RawServer(issuer.answer) as server:
        sender = sender_with(issuer, server.base_url, clock)
        sender.send(request_of(READ))
        issuer.valid = "t2"
        assert isinstance(sender.send(request_of(delivery)), Answer)
    assert issuer.events[3:] == ["refused", "issued t2", "kept Bearer t2", "taken"]


def test_a_new_token_that_is_refused_too_is_the_callers_to_settle(clock: FakeClock) -> None:
    issuer = Issuer()
    issuer.valid = "none"
    with RawServer(issuer.answer) as server, pytest.raises(CredentialsError):
        sender_with(issuer, server.base_url, clock).send(request_of(E2))
    assert issuer.events.count("refused") == 2


def test_many_threads_that_meet_an_expired_token_log_in_once(clock: FakeClock) -> None:
    issuer = Issuer()
    everyone = threading.Barrier(12)

    def reply(number: int, request: bytes) -> bytes:
        if 1 <= number <= 12:  # nobody hears "refused" before all have asked with the old token
            everyone.wait(10)
        return issuer.answer(number, request)

    with RawServer(reply) as server:
        sender = sender_with(issuer, server.base_url, clock)
        sender.send(request_of(READ))
        issuer.valid = "t2"
        threads = [threading.Thread(target=sender.send, args=(request_of(READ),)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert issuer.count == 2
    assert issuer.events.count("refused") == 12
    assert issuer.events.count("taken") == 13


def test_refused_log_ins_are_not_tried_again_because_that_locks_accounts(clock: FakeClock) -> None:
    issuer = Issuer(lambda count: CredentialsError("no such user"))
    with RawServer(issuer.answer) as server:
        sender = sender_with(issuer, server.base_url, clock)
        for _ in range(5):
            with pytest.raises(CredentialsError, match="no such user"):
                sender.send(request_of(READ))
    assert issuer.count == 1
    assert server.requests == []


def test_a_log_in_in_trouble_is_tried_again_by_the_next_request(clock: FakeClock) -> None:
    issuer = Issuer(lambda count: RetryableError("later") if count == 1 else None)
    issuer.valid = "t2"
    with RawServer(issuer.answer) as server:
        sender = sender_with(issuer, server.base_url, clock)
        with pytest.raises(RetryableError, match="later"):
            sender.send(request_of(E2))
        sender.send(request_of(E2))
    assert issuer.count == 2


def test_a_form_carries_secrets_that_nothing_shows(clock: FakeClock) -> None:
    form = {"grant_type": "password", "username": "ada", "password": Secret("canary & more")}
    echo = answer(400, b'{"detail":"canary & more is wrong"}')
    with RawServer(lambda number, request: echo) as server:
        settings = ConnectionSettings(connector="test", base_url=server.base_url)
        sender = Sender(settings, Ports(clock, SystemRng()), auth={}, hidden=[Secret("canary & more")])
        request = Request(request_of(E3).operation, "/token", form=form)
        with pytest.raises(ConnectorError) as caught:
            sender.send(request)
    assert server.requests[0].endswith(b"\r\n\r\ngrant_type=password&username=ada&password=canary+%26+more")
    assert b"content-type: application/x-www-form-urlencoded" in server.requests[0].lower()
    assert "canary" not in str(caught.value) + repr(request)
