"""Hostile platforms: every answer ends in an error that says what to do, in bounded time and memory, and no record of it is believed."""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.base import Delivery
from connectors.errors import ConfigError, ConnectorError, ContractError, RetryableError, UnknownOutcome
from connectors.http import Answer, Sender
from connectors.settings import ConnectionSettings, Ports, Secret
from pipelines.ports import SystemClock, SystemRng
from pipelines.staging import Dataset
from tests.clock import FakeClock
from tests.e2e.world import World, world
from tests.hostile import GZIPPED, LISTS, REFUSED, TAKEN, HostileServer, bomb, drip, record, whole
from tests.unit.test_http import request_of

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-91ab"
ADDRESS_SPACE = 4 << 30  # of a process that reads hostile answers; its libraries take most of it


def sender_for(base_url: str, clock: object, **settings: object) -> Sender:
    given = {"timeout_s": 5.0, "max_response_bytes": 3_000_000, "max_response_s": 1.0, **settings}
    connection = ConnectionSettings(connector="test", base_url=base_url, **given)  # type: ignore[arg-type]
    return Sender(connection, Ports(clock, SystemRng()), auth={"x-api-key": Secret(CANARY)})  # type: ignore[arg-type]


class RealTime(FakeClock):
    """Time passes as it does; waiting does not take any."""

    def monotonic(self) -> float:
        return SystemClock().monotonic() + super().monotonic()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("hostile")) as made:
        made.put_people({"email": "theirs@example.com", "name": "T", "score": 1})
        yield made


ENDLESS = [fault for fault in REFUSED if "drip" in fault or "for ever" in fault]


@pytest.mark.parametrize("fault", [fault for fault in REFUSED if fault not in ENDLESS])
def test_a_run_over_a_hostile_source_ends_with_a_plain_error_and_touches_nothing(shop: World, fault: str) -> None:
    before = shop.people()
    with HostileServer(REFUSED[fault], LISTS) as server:
        shop.configure("here", base_url=server.base_url, max_response_bytes=3_000_000, max_response_s=5, timeout_s=5)
        with pytest.raises(ConnectorError) as caught:
            shop.run(shop.spec())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert shop.people() == before
    assert shop.staging.batches(Dataset(("raw", "here", "contacts"))) == []


@pytest.mark.parametrize("fault", ENDLESS)
@pytest.mark.parametrize("delivery", [Delivery.READ, Delivery.E2])
def test_an_answer_that_drips_for_ever_is_given_up_in_time(fault: str, delivery: Delivery) -> None:
    clock = RealTime()
    with HostileServer(REFUSED[fault]) as server:
        sender = sender_for(server.base_url, clock, max_response_s=0.2)
        with pytest.raises(RetryableError if delivery is Delivery.READ else UnknownOutcome):
            sender.send(request_of(delivery))
    assert len(server.requests) == (5 if delivery is Delivery.READ else 1)


def test_a_reader_that_takes_a_byte_now_and_then_is_given_up_in_time() -> None:
    clock = RealTime()

    def slow(over: threading.Event) -> Iterator[bytes]:
        over.wait(20)  # reads no more than the first megabyte of what is sent
        yield b""

    with HostileServer(slow) as server:
        sender = sender_for(server.base_url, clock, max_response_s=0.5, timeout_s=0.3)
        with pytest.raises(UnknownOutcome):
            sender.send(type(request_of(Delivery.E2))(request_of(Delivery.E2).operation, "/a/", json="x" * 30_000_000))


@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_error_that_drips_is_its_status_all_the_same(status: int) -> None:
    head = f"HTTP/1.1 {status} No\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    with HostileServer(drip(head, b"1\r\n \r\n")) as server, pytest.raises(ConnectorError, match=str(status)):
        sender_for(server.base_url, RealTime(), max_response_s=0.2).send(request_of(Delivery.E2))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("delivery", [Delivery.READ, Delivery.E1])
def test_a_redirect_to_another_host_takes_no_credentials_there(status: int, delivery: Delivery, clock: FakeClock) -> None:
    with HostileServer(whole(b"{}")) as elsewhere:
        target = {"location": f"{elsewhere.base_url}/steal/?key={CANARY}"}
        with HostileServer(whole(b"", status=status, headers=target)) as server:
            with pytest.raises((ConfigError, UnknownOutcome)) as caught:
                sender_for(server.base_url, clock).send(request_of(delivery))
            assert len(server.requests) == 1
    assert elsewhere.requests == []
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/things?page=2",
        "//evil.example/things",
        "http://api.example.com/v1/things",
        "https://api.example.com:444/v1/things",
        "https://user@api.example.com/v1/things",
        "https://api.example.com.evil.example/v1/things",
        "https://api.example.com@evil.example/v1/things",
        "https://api.example.com/v2/things",
        "https://api.example.com/v1/../v2/things",
        "https://api.example.com/v1/%2e%2e/v2/things",
        "/v10/things",
        "javascript:alert(1)",
        "https://[broken",
        "\\\\evil.example\\things",
        "file:///etc/passwd",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(link: str, clock: FakeClock) -> None:
    sender = sender_for("https://api.example.com/v1", clock)
    with pytest.raises(ContractError):
        sender.path_of(link)


@pytest.mark.parametrize("link", ["https://api.example.com/v1/things?page=2&a=b%20c", "/v1/things?page=2&a=b%20c"])
def test_a_link_to_our_own_host_becomes_a_path(link: str, clock: FakeClock) -> None:
    assert sender_for("https://api.example.com/v1", clock).path_of(link) == "/things?page=2&a=b%20c"


@pytest.mark.parametrize("strange", TAKEN)
def test_what_is_strange_and_yet_one_thing_arrives_as_it_is(shop: World, strange: str) -> None:
    text, value = TAKEN[strange]
    first = [True]

    def reply(over: threading.Event) -> Iterator[bytes]:
        yield from whole(record(b',"x":' + text) if first else b'{"records":[],"total":0,"count":0,"start":0}')(over)
        first.clear()

    with HostileServer(reply, LISTS) as server:
        shop.configure("here", base_url=server.base_url, timeout_s=5)
        summary = shop.run(shop.spec(fields={"email": "email", "name": "x"}))
    assert (summary.status, summary.differences) in {("ok", 0), ("ok", None)}
    assert shop.person("a@example.com")["name"] == value


READ_HOSTILE = """
import resource, sys
from connectors.base import Delivery
from connectors.errors import ConnectorError
from tests.e2e.test_hostile import sender_for, request_of
from tests.clock import FakeClock
from pipelines.ports import SystemClock
sender = sender_for(sys.argv[1], SystemClock(), max_response_bytes=int(sys.argv[2]), max_response_s=30)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print("taken", len(sender.send(request_of(Delivery.READ)).body))
except ConnectorError as error:
    print("refused", type(error).__name__)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak_mb(reply: str, cap_bytes: int) -> tuple[str, int]:
    """What a process that reads this answer says, and the megabytes by which it grew at most."""
    made = {"bomb": whole(bomb(), headers=GZIPPED), "100 MB": REFUSED["a record of 100 MB"], "90 MB": whole(b" " * 90_000_000)}[reply]
    with HostileServer(made) as server:
        done = subprocess.run(
            [sys.executable, "-c", READ_HOSTILE, server.base_url, str(cap_bytes)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE)),
        )
    said, grown = done.stdout.splitlines()
    return said, int(grown)


@pytest.mark.parametrize("reply", ["bomb", "100 MB"])
@pytest.mark.parametrize("cap_bytes", [10_000_000, 60_000_000])
def test_memory_stays_under_the_cap_whatever_is_packed_into_an_answer(reply: str, cap_bytes: int) -> None:
    said, grown_mb = peak_mb(reply, cap_bytes)
    assert said == "refused ContractError"
    assert grown_mb <= 1.3 * cap_bytes / 1e6 + 20


def test_a_large_answer_within_the_cap_is_held_once() -> None:
    said, grown_mb = peak_mb("90 MB", 100_000_000)
    assert said == "taken 90000000"
    assert grown_mb <= 1.4 * 90 + 20


def test_a_proxy_of_the_environment_is_not_used_unless_asked_for(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    with HostileServer(whole(b"{}")) as proxy, HostileServer(whole(b"{}")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert isinstance(sender_for(server.base_url, clock).send(request_of(Delivery.READ)), Answer)
        assert (len(proxy.requests), len(server.requests)) == (0, 1)
        sender_for(server.base_url, clock, trust_env=True).send(request_of(Delivery.READ))
        assert (len(proxy.requests), len(server.requests)) == (1, 1)
