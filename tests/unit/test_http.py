"""The sender over real sockets: every delivery class against every way a request can end."""

import gzip
import json
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.base import Delivery, Operation
from connectors.errors import (
    ConfigError,
    ContractError,
    CredentialsError,
    RefusedError,
    RetryableError,
    UnknownOutcome,
    UnreachableError,
)
from connectors.http import Answer, Request, Sender
from connectors.settings import ConnectionSettings, Ports, Secret
from tests.clock import FakeClock
from tests.loopback import Answerer, RawServer, answer

CANARY = "canary-5f1e"
READ, E1, E2, E3 = Delivery.READ, Delivery.E1, Delivery.E2, Delivery.E3
WRITES = [E1, E2, E3]
RESENDABLE, ONCE = [READ, E1], [E2, E3]


class Dice:
    """Chance that always draws the same share."""

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def random(self) -> float:
        return self.share

    def token(self) -> str:
        return "0" * 32


def request_of(delivery: Delivery, **more: Any) -> Request:
    return Request(Operation("try", "POST", "/things/", delivery, "", ""), "/things/", json={"a": 1}, **more)


def sender_for(base_url: str, clock: FakeClock, *, share: float = 0.5, transport: Any = None, **settings: Any) -> Sender:
    given = ConnectionSettings(connector="test", base_url=base_url, **({"timeout_s": 5.0} | settings))
    return Sender(given, Ports(clock, Dice(share), transport), auth={"x-api-key": Secret(CANARY)})


def send(answerer: Answerer, clock: FakeClock, request: Request, **settings: Any) -> tuple[Answer | Exception, RawServer]:
    """Send one request to a scripted server; what came of it, and the server."""
    with RawServer(answerer) as server:
        sender = sender_for(server.base_url, clock, **settings)
        try:
            outcome: Answer | Exception = sender.send(request)
        except Exception as error:
            outcome = error
        sender.close()
    assert CANARY not in str(outcome)
    return outcome, server


def always(reply: bytes | None) -> Answerer:
    return lambda number, request: reply


def first(*replies: bytes | None) -> Answerer:
    """These answers in order, then a success."""
    return lambda number, request: replies[number] if number < len(replies) else answer(200, b'{"done":true}')


AMBIGUOUS = {
    "500": answer(500, b'{"message":"oops"}'),
    "502 with a proxy's page": answer(502, b"<html><title>Bad Gateway</title></html>"),
    "503": answer(503),
    "504": answer(504),
    "closed without an answer": None,
    "cut in its head": b"HTTP/1.1 200 O",
    "cut in its body": answer(200, b'{"half":', claimed_length=400),
    "cut in its gzip": answer(200, gzip.compress(b'{"a":1}' * 100)[:-20], {"content-encoding": "gzip"}),
}


def test_the_request_arrives_as_written(clock: FakeClock) -> None:
    with RawServer(always(answer(200, b"{}"))) as server:
        sender = sender_for(server.base_url + "/prefix/", clock)
        operation = Operation("try", "PUT", "/a/", E2, "", "")
        sender.send(
            Request(operation, "/a%2Fb/", params=[("x", "1 2")], json={"n": Decimal("1.10"), "z": "zoë"}, headers={"x-more": "yes"})
        )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert head.startswith(b"PUT /prefix/a%2Fb/?x=1%202 HTTP/1.1") or head.startswith(b"PUT /prefix/a%2Fb/?x=1+2 HTTP/1.1")
    assert body == '{"n":1.10,"z":"zoë"}'.encode()
    assert {f"x-api-key: {CANARY}", "x-more: yes", "content-type: application/json", "accept: application/json"} <= set(lines)


def test_a_request_without_json_has_no_body(clock: FakeClock) -> None:
    outcome, server = send(always(answer(200)), clock, Request(Operation("try", "GET", "/a/", READ, "", ""), "/a/"))
    assert isinstance(outcome, Answer)
    assert server.requests[0].endswith(b"\r\n\r\n")
    assert b"content-type" not in server.requests[0].lower()


def test_an_answer_gives_exact_numbers_lower_case_headers_and_the_servers_date(clock: FakeClock) -> None:
    reply = answer(200, b'{"n":1.10}', {"X-Some": "Thing", "Date": "Thu, 01 Jan 2026 10:00:00 GMT"})
    outcome, _ = send(always(reply), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert outcome.json() == {"n": Decimal("1.10")}
    assert outcome.headers["x-some"] == "Thing"
    assert outcome.server_date == datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("fault", AMBIGUOUS)
@pytest.mark.parametrize("delivery", RESENDABLE)
def test_reads_and_resend_safe_writes_are_repeated_until_they_pass(delivery: Delivery, fault: str, clock: FakeClock) -> None:
    outcome, server = send(first(AMBIGUOUS[fault], AMBIGUOUS[fault]), clock, request_of(delivery))
    assert isinstance(outcome, Answer)
    assert outcome.repeated is (delivery is E1)
    assert len(server.requests) == 3
    assert clock.slept == [0.25, 0.5]


@pytest.mark.parametrize("fault", AMBIGUOUS)
@pytest.mark.parametrize("delivery", ONCE)
def test_a_write_that_is_not_resend_safe_is_sent_once_and_unknown(delivery: Delivery, fault: str, clock: FakeClock) -> None:
    outcome, server = send(always(AMBIGUOUS[fault]), clock, request_of(delivery))
    assert isinstance(outcome, UnknownOutcome)
    assert len(server.requests) == 1
    assert "not known" in str(outcome)


@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_trouble_that_does_not_pass_ends_after_bounded_tries(delivery: Delivery, clock: FakeClock) -> None:
    outcome, server = send(always(answer(500)), clock, request_of(delivery))
    assert type(outcome) is (RetryableError if delivery is READ else UnknownOutcome)
    assert len(server.requests) == (5 if delivery in RESENDABLE else 1)


@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_no_answer_in_time_is_unknown_for_writes(delivery: Delivery, clock: FakeClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, takes the request, never answers
        sender = sender_for(f"http://127.0.0.1:{silent.getsockname()[1]}", clock, timeout_s=0.05)
        with pytest.raises(RetryableError if delivery is READ else UnknownOutcome, match="nothing came"):
            sender.send(request_of(delivery))


@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_a_refused_connection_was_not_sent_whatever_the_class(delivery: Delivery, clock: FakeClock, free_port: int) -> None:
    sender = sender_for(f"http://127.0.0.1:{free_port}", clock)
    with pytest.raises(UnreachableError, match="was not sent"):
        sender.send(request_of(delivery))
    assert len(clock.slept) == 4
    assert sender.request_counts() == {"read": 0, "write": 0}


def test_an_unknown_host_was_not_sent(clock: FakeClock) -> None:
    sender = sender_for("https://no-such-host.invalid", clock)
    with pytest.raises(UnreachableError):
        sender.send(request_of(E2))


@pytest.mark.parametrize("delivery", [READ, *WRITES])
@pytest.mark.parametrize("status", [429, 403])
def test_too_many_requests_are_repeated_for_every_class_and_never_before_it_was_asked(
    delivery: Delivery, status: int, clock: FakeClock
) -> None:
    outcome, server = send(first(answer(status, headers={"Retry-After": "7"})), clock, request_of(delivery))
    assert isinstance(outcome, Answer)
    assert not outcome.repeated
    assert len(server.requests) == 2
    assert clock.monotonic() >= 7


@pytest.mark.parametrize(
    ("retry_after", "least_s"),
    [("Thu, 01 Jan 2026 00:00:30 GMT", 30), ("0", 0), ("soon", 1), ("-5", 1), ("", 1), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("1.5", 1.5)],
)
def test_retry_after_is_a_number_a_date_or_else_a_second(retry_after: str, least_s: float, clock: FakeClock) -> None:
    outcome, _ = send(first(answer(429, headers={"Retry-After": retry_after})), clock, request_of(E2))
    assert isinstance(outcome, Answer)
    assert least_s <= clock.monotonic() <= least_s + 1


def test_a_date_counts_from_the_servers_own_clock(clock: FakeClock) -> None:
    headers = {"Date": "Fri, 05 Jun 2020 12:00:00 GMT", "Retry-After": "Fri, 05 Jun 2020 12:00:09 GMT"}
    outcome, _ = send(first(answer(429, headers=headers)), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert 9 <= clock.monotonic() <= 10


@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_a_wait_of_ten_years_is_told_instead_of_waited(delivery: Delivery, clock: FakeClock) -> None:
    outcome, server = send(always(answer(429, headers={"Retry-After": "315360000"})), clock, request_of(delivery))
    assert type(outcome) is RetryableError
    assert outcome.retry_after_s == 315360000
    assert len(server.requests) == 1
    assert clock.slept == []


def test_endless_429_ends(clock: FakeClock) -> None:
    outcome, server = send(always(answer(429, headers={"Retry-After": "0"})), clock, request_of(E2))
    assert type(outcome) is RetryableError
    assert len(server.requests) <= 50


def test_after_a_429_the_other_threads_wait_too(clock: FakeClock) -> None:
    with RawServer(first(answer(429, headers={"Retry-After": "20"}))) as server:
        sender = sender_for(server.base_url, clock)
        other = sender_for(server.base_url, clock)
        sender.send(request_of(READ))
        assert clock.monotonic() >= 20
        other.send(request_of(READ))
    assert len(server.requests) == 3


def test_503_with_retry_after_is_waited_out_by_reads_and_unknown_for_creates(clock: FakeClock) -> None:
    trouble = answer(503, headers={"Retry-After": "12"})
    outcome, _ = send(first(trouble), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert clock.monotonic() >= 12
    outcome, server = send(always(trouble), clock, request_of(E2))
    assert isinstance(outcome, UnknownOutcome)
    assert len(server.requests) == 1


def test_a_used_up_quota_in_the_headers_slows_the_next_request(clock: FakeClock) -> None:
    with RawServer(always(answer(200, b"{}", {"RateLimit": '"default";r=0;t=9'}))) as server:
        sender = sender_for(server.base_url, clock)
        sender.send(request_of(READ))
        assert clock.monotonic() == 0
        sender.send(request_of(READ))
        assert clock.monotonic() >= 9


def test_a_generous_quota_in_the_headers_speeds_nothing_up(clock: FakeClock) -> None:
    with RawServer(always(answer(200, b"{}", {"X-RateLimit-Remaining": "9999", "X-RateLimit-Reset": "1"}))) as server:
        sender = sender_for(server.base_url, clock, rate_limit="2/s", burst=1)
        for _ in range(5):
            sender.send(request_of(READ))
    assert clock.monotonic() == pytest.approx(2.0, abs=1e-3)


def test_the_rate_limit_of_the_settings_is_kept(clock: FakeClock) -> None:
    with RawServer(always(answer(200, b"{}"))) as server:
        sender = sender_for(server.base_url, clock, rate_limit="10/s", burst=5, concurrency=8)
        threads = [threading.Thread(target=sender.send, args=(request_of(READ),)) for _ in range(14)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 14
    assert clock.monotonic() >= (14 - 4) / 10 - 1e-3


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_a_certified_refusal_is_definite(delivery: Delivery, status: int, clock: FakeClock) -> None:
    outcome, server = send(always(answer(status, b'{"message":"email is not unique"}')), clock, request_of(delivery))
    assert isinstance(outcome, RefusedError)
    assert (outcome.status, outcome.words) == (status, "email is not unique")
    assert "POST /things/" in str(outcome)
    assert len(server.requests) == 1


def test_a_501_that_is_certified_is_a_refusal(clock: FakeClock) -> None:
    outcome, _ = send(always(answer(501)), clock, request_of(E3, certified=frozenset({501})))
    assert isinstance(outcome, RefusedError)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"errors":[{"code":422,"message":"too long","field":"name"}]}', "name: too long"),
        (b'{"detail":[{"loc":["body","id"],"msg":"bad id"}]}', "body.id: bad id"),
        (b'{"detail":"Not found."}', "Not found."),
        (b'{"email":["must be unique","is odd"]}', "email: must be unique; is odd"),
        (b"<html><head><title>Oh &amp; no</title></head></html>", "Oh & no"),
        (b"plain\nwords\x00", "plain words"),
        (f'{{"message":"key {CANARY} is bad"}}'.encode(), "key [secret] is bad"),
        (b'{"record":{"iban":"DE02"}}', ""),
        (b"\xff\xfe\x00", "��"),
        (b"x" * 100_000, ""),
        (json.dumps({"message": "y" * 2000}).encode(), "y" * 299 + "…"),
    ],
)
def test_the_platforms_words_are_shortened_and_redacted(body: bytes, words: str, clock: FakeClock) -> None:
    outcome, _ = send(always(answer(422, body)), clock, request_of(E2))
    assert isinstance(outcome, RefusedError)
    assert outcome.words == words


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_refused_credentials_are_their_own_error(delivery: Delivery, status: int, clock: FakeClock) -> None:
    outcome, server = send(always(answer(status, b'{"message":"no"}')), clock, request_of(delivery))
    assert isinstance(outcome, CredentialsError)
    assert len(server.requests) == 1


def test_403_about_one_record_is_a_refusal(clock: FakeClock) -> None:
    outcome, _ = send(always(answer(403)), clock, request_of(E1, certified=frozenset({403})))
    assert isinstance(outcome, RefusedError)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_says_what_to_check(status: int, clock: FakeClock) -> None:
    reply = answer(status, headers={"Location": "https://user:pw@evil.example/x?token=1"})
    outcome, server = send(always(reply), clock, request_of(READ))
    assert isinstance(outcome, ConfigError)
    assert "base_url" in str(outcome)
    assert "trailing slash" in str(outcome)
    assert "pw" not in str(outcome)
    assert "token" not in str(outcome)
    assert len(server.requests) == 1


def test_a_create_that_was_redirected_may_have_happened(clock: FakeClock) -> None:
    outcome, _ = send(always(answer(303, headers={"Location": "/things/5/"})), clock, request_of(E2))
    assert isinstance(outcome, UnknownOutcome)
    outcome, _ = send(always(answer(308, headers={"Location": "/things"})), clock, request_of(E2))
    assert isinstance(outcome, ConfigError)


@pytest.mark.parametrize("status", [202, 204, 402, 405, 418, 501])
def test_an_undocumented_status_is_a_broken_contract_for_reads_and_unknown_for_writes(status: int, clock: FakeClock) -> None:
    assert isinstance(send(always(answer(status)), clock, request_of(READ))[0], ContractError)
    for delivery in WRITES:
        outcome, server = send(always(answer(status)), clock, request_of(delivery))
        assert isinstance(outcome, UnknownOutcome)
        assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b'{"a":1', b"", b'{"a":1,"a":2}'])
def test_a_success_that_is_not_json_is_unknown_after_a_write(body: bytes, clock: FakeClock) -> None:
    for delivery, kind in ((READ, ContractError), (E1, UnknownOutcome), (E2, UnknownOutcome)):
        outcome, server = send(always(answer(200, body)), clock, request_of(delivery))
        assert isinstance(outcome, Answer)
        assert len(server.requests) == (3 if delivery is READ and body != b'{"a":1,"a":2}' else 1)
        with pytest.raises(kind, match="POST /things/"):
            outcome.json()


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b' {"a":[1,{"b":2', b'[{"a":1}', b'"tex', b"\n<!doctype html>"])
def test_a_read_whose_answer_is_cut_off_or_a_page_once_is_repeated(body: bytes, clock: FakeClock) -> None:
    outcome, server = send(lambda number, _: answer(200, body if number == 0 else b" [1] "), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert (outcome.json(), len(server.requests)) == ([1], 2)


@pytest.mark.parametrize("body", [b"[]", b'{"a": 1}\n', b"3", b"null", b'"text"', b"true"])
def test_a_read_that_was_answered_by_a_whole_text_is_not_repeated(body: bytes, clock: FakeClock) -> None:
    outcome, server = send(always(answer(200, body)), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert len(server.requests) == 1


def test_a_read_answered_by_nothing_is_repeated_until_it_is_known_that_the_platform_answers_so(clock: FakeClock) -> None:
    outcome, server = send(first(answer(200, b"")), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert (outcome.body != b"", len(server.requests)) == (True, 2)
    with RawServer(always(answer(200, b" "))) as server:
        sender = sender_for(server.base_url, clock)
        for _ in range(5):
            assert sender.send(request_of(READ)).body == b" "
        assert len(server.requests) == 3 + 4


def test_a_resend_that_finds_nothing_after_a_lost_answer_is_told_as_404(clock: FakeClock) -> None:
    outcome, _ = send(lambda number, _: None if number == 0 else answer(404), clock, request_of(E1))
    assert isinstance(outcome, RefusedError)
    assert outcome.status == 404


@pytest.mark.parametrize("status", [400, 401, 422, 429])
def test_a_refusal_after_a_lost_answer_proves_nothing(status: int, clock: FakeClock) -> None:
    outcome, _ = send(lambda number, _: None if number == 0 else answer(status), clock, request_of(E1))
    assert isinstance(outcome, UnknownOutcome)


def test_repeats_are_at_most_a_tenth_of_the_requests_in_the_long_run(clock: FakeClock) -> None:
    calls = 200
    with RawServer(always(answer(500))) as server:
        sender = sender_for(server.base_url, clock)
        for _ in range(calls):
            with pytest.raises(RetryableError):
                sender.send(request_of(READ))
    assert len(server.requests) <= calls * 1.12 + 21


def test_what_json_cannot_say_is_refused_before_it_is_sent(clock: FakeClock) -> None:
    request = Request(Operation("try", "PUT", "/a/", E2, "", ""), "/a/", json={"a": float("nan")})
    outcome, server = send(always(answer(200)), clock, request)
    assert isinstance(outcome, RefusedError)
    assert outcome.status == 0
    assert server.requests == []


def test_an_answer_beyond_the_cap_is_not_read(clock: FakeClock) -> None:
    outcome, _ = send(always(answer(200, b"x" * 3000)), clock, request_of(READ), max_response_bytes=2000)
    assert isinstance(outcome, ContractError)
    assert "2,000 bytes" in str(outcome)
    outcome, _ = send(always(answer(200, b"x" * 3000)), clock, request_of(E2), max_response_bytes=2000)
    assert isinstance(outcome, UnknownOutcome)


def test_a_gzip_bomb_is_not_unpacked(clock: FakeClock) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    outcome, _ = send(always(answer(200, bomb, {"content-encoding": "gzip"})), clock, request_of(READ), max_response_bytes=1_000_000)
    assert isinstance(outcome, ContractError)
    assert "1,000,000 bytes" in str(outcome)


def test_gzip_of_several_members_is_read_whole(clock: FakeClock) -> None:
    body = gzip.compress(b'{"a":') + gzip.compress(b"[1,2]}")
    outcome, _ = send(always(answer(200, body, {"content-encoding": "gzip"})), clock, request_of(READ))
    assert isinstance(outcome, Answer)
    assert outcome.json() == {"a": [1, 2]}


def test_an_encoding_that_was_not_asked_for_is_refused(clock: FakeClock) -> None:
    outcome, _ = send(always(answer(200, b"??", {"content-encoding": "br"})), clock, request_of(READ))
    assert isinstance(outcome, ContractError)


def test_cookies_are_not_kept(clock: FakeClock) -> None:
    with RawServer(always(answer(200, b"{}", {"Set-Cookie": "session=1; Path=/"}))) as server:
        sender = sender_for(server.base_url, clock)
        sender.send(request_of(READ))
        sender.send(request_of(READ))
    assert b"cookie" not in server.requests[1].lower()


def test_requests_are_counted_with_their_repeats(clock: FakeClock) -> None:
    with RawServer(first(answer(500))) as server:
        sender = sender_for(server.base_url, clock)
        sender.send(request_of(READ))
        sender.send(request_of(E2))
    assert sender.request_counts() == {"read": 2, "write": 1}
    sender.close()
    sender.close()


@pytest.mark.parametrize("loud", [logging.DEBUG, logging.INFO])
def test_no_log_line_shows_a_header_or_a_query(loud: int, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(loud)
    request = Request(Operation("try", "GET", "/a/", READ, "", ""), "/a/", params=[("q", "private-word")])
    send(first(answer(500)), clock, request)
    assert CANARY not in caplog.text
    assert "private-word" not in caplog.text


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.example.com",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "https://user:pw@host",
        "https://host/?a=1",
        "https://host/#x",
        "host",
        "",
        "http://localhost.evil.example",
        "https://[broken",
    ],
)
def test_an_address_that_leaks_or_misleads_is_refused(base_url: str, clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        sender_for(base_url, clock)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://api.example.com/prefix"])
def test_https_and_loopback_are_fine(base_url: str, clock: FakeClock) -> None:
    sender_for(base_url, clock).close()


@pytest.mark.parametrize("path", ["things/", "/a/../b/", "/%2e%2e/b/", "/a/./", "/a#b/", "/a\x00/", "@evil.example/"])
def test_a_path_that_would_leave_its_place_is_refused(path: str, clock: FakeClock) -> None:
    sender = sender_for("https://api.example.com/prefix", clock)
    with pytest.raises(ConfigError, match="path"):
        sender.send(Request(Operation("try", "GET", path, READ, "", ""), path))


@pytest.mark.parametrize("value", ["", "two\nlines", "schlüssel", " padded"])
def test_a_credential_that_no_header_can_carry_is_refused_without_showing_it(value: str, clock: FakeClock) -> None:
    settings = ConnectionSettings(connector="test", base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="x-api-key") as caught:
        Sender(settings, Ports(clock, Dice()), auth={"x-api-key": Secret(value)})
    assert not value or value not in str(caught.value)


def test_a_transport_replaces_the_network(clock: FakeClock) -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(200, json={"ok": True})

    sender = sender_for("https://platform.example", clock, transport=httpx.MockTransport(reply))
    assert sender.send(request_of(READ)).json() == {"ok": True}
    assert len(seen) == 2
    assert str(seen[0].url) == "https://platform.example/things/"


class Drip(httpx.SyncByteStream):
    """A body of which one byte comes every ten seconds."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(1000):
            self._clock.advance(10)
            yield b" "


def test_an_answer_that_only_drips_is_given_up(clock: FakeClock) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Drip(clock)))
    sender = sender_for("https://platform.example", clock, transport=transport, timeout_s=60)
    with pytest.raises(UnknownOutcome, match="bytes came in"):
        sender.send(request_of(E2))
    assert clock.monotonic() < 100
