"""A host that fails in a row is left alone, one read finds out whether it is back, and writes wait for that."""

import threading

import pytest

from connectors.base import Delivery
from connectors.errors import RetryableError, UnknownOutcome
from connectors.governor_breaker import FAILURES, OPEN_CAP_S, OPEN_S, Breaker
from connectors.http import Answer, Sender
from pipelines.ports import SystemRng
from tests.clock import FakeClock
from tests.loopback import RawServer, answer
from tests.unit.test_http import E1, E2, READ, WRITES, request_of, sender_for

GOOD, DOWN = answer(200, b"{}"), answer(503)


class Host(RawServer):
    """A platform that is down while `down`."""

    def __init__(self) -> None:
        self.down = False
        super().__init__(lambda number, request: DOWN if self.down else GOOD)


def broken(host: Host, sender: Sender) -> None:
    """Read once, then fail until the breaker is open."""
    sender.send(request_of(READ))
    host.down = True
    for _ in range(FAILURES):
        with pytest.raises(UnknownOutcome):
            sender.send(request_of(E2))


@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_an_open_breaker_lets_nothing_but_one_read_through(delivery: Delivery, clock: FakeClock) -> None:
    with Host() as host:
        sender = sender_for(host.base_url, clock)
        broken(host, sender)
        before, began_s = len(host.requests), clock.monotonic()
        with pytest.raises(RetryableError, match=r"left alone|in trouble"):
            sender.send(request_of(delivery))
        assert clock.monotonic() - began_s >= OPEN_S / 2
        probes = host.requests[before:]
    if delivery is not READ:
        assert probes == [host.requests[0]]  # the last read that went well, once


@pytest.mark.parametrize("delivery", [READ, *WRITES])
def test_a_host_that_is_back_is_used_again_after_the_probe(delivery: Delivery, clock: FakeClock) -> None:
    with Host() as host:
        sender = sender_for(host.base_url, clock)
        broken(host, sender)
        host.down = False
        before = len(host.requests)
        assert isinstance(sender.send(request_of(delivery)), Answer)
        assert len(host.requests) - before == (1 if delivery is READ else 2)
        slept = len(clock.slept)
        sender.send(request_of(E2))
        assert len(clock.slept) == slept


def test_a_write_that_knows_no_read_is_not_sent_into_the_dark(clock: FakeClock) -> None:
    with Host() as host:
        sender = sender_for(host.base_url, clock)
        host.down = True
        for _ in range(FAILURES):
            with pytest.raises(UnknownOutcome):
                sender.send(request_of(E2))
        host.down = False
        with pytest.raises(RetryableError, match="no read has found it back"):
            sender.send(request_of(E2))
        assert len(host.requests) == FAILURES
        sender.send(request_of(READ))
        sender.send(request_of(E2))
    assert len(host.requests) == FAILURES + 2


def test_many_threads_wait_for_one_probe(clock: FakeClock) -> None:
    with Host() as host:
        sender = sender_for(host.base_url, clock, concurrency=8)
        broken(host, sender)
        before = len(host.requests)
        told: list[str] = []

        def write() -> None:
            with pytest.raises(RetryableError) as caught:
                sender.send(request_of(E1))
            told.append(str(caught.value))

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 8
        assert all("left alone" in words for words in told)
        assert 1 <= len(host.requests) - before <= 8  # the clock stands still between: each waited out an opening of its own at most


def test_two_connections_to_a_host_share_its_breaker(clock: FakeClock) -> None:
    with Host() as host:
        broken(host, sender_for(host.base_url, clock))
        began_s = clock.monotonic()
        with pytest.raises(RetryableError):
            sender_for(host.base_url, clock).send(request_of(E2))
    assert clock.monotonic() - began_s >= OPEN_S / 2


def test_refusals_and_full_quotas_say_nothing_about_the_host(clock: FakeClock) -> None:
    replies = [answer(status) for status in (400, 401, 404, 409, 422, 405, 302)]
    with RawServer(lambda number, request: replies[number % len(replies)] if number < 70 else GOOD) as server:
        sender = sender_for(server.base_url, clock)
        for _ in range(70):
            with pytest.raises(Exception, match=r"POST /things/"):
                sender.send(request_of(E2))
        sender.send(request_of(E2))
    assert clock.slept == []


def test_every_probe_that_fails_doubles_the_time_up_to_a_minute(clock: FakeClock) -> None:
    breaker = Breaker(clock, SystemRng())
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert breaker.open_s() is None
    for opening in range(12):
        breaker.failed()
        most_s = min(OPEN_CAP_S, OPEN_S * 2**opening)
        open_s = breaker.open_s()
        assert open_s is not None
        assert most_s / 2 <= open_s <= most_s
        breaker.failed()  # one that was under way when it opened
        assert breaker.open_s() == open_s
        clock.advance(open_s)
        assert breaker.open_s() == 0
    breaker.succeeded()
    assert breaker.open_s() is None
