"""The pace of an account in Postgres: hosts whose clocks have nothing in common keep it together."""

import threading
import time
from contextlib import closing

import psycopg2
import pytest

from connectors.governor_bucket import Bucket, Pace, Rate, decode, encode
from pipelines.ledger_paces import LedgerCell, LedgerPaces
from tests.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401

RATE = Rate(0.01, 10)  # a burst of eight, of which nothing comes back during a test


def on_bucket(cell: LedgerCell, step: str, *, booted_s: float = 0.0) -> float:
    """What a bucket says at a host that booted so many seconds before this one: `wait_s`, or after a `pause` of 100 s, or a token less."""
    with pytest.MonkeyPatch.context() as patch:
        real = time.monotonic
        patch.setattr(time, "monotonic", lambda: real() + booted_s)

        def change(kept: bytes) -> tuple[bytes, float]:
            now_s = real() + booted_s
            bucket = Bucket(RATE, decode(kept, now_s, 0.0) if kept else Pace())
            if step == "pause":
                bucket.pause(now_s + 100)
            if step == "take":
                bucket.take(now_s)
            return encode(bucket.pace, now_s, 0.0), bucket.wait_s(now_s)

        return cell.change(change)


def test_a_pause_that_one_host_was_asked_for_holds_for_another_whose_clock_began_elsewhere(postgres_url: str) -> None:  # noqa: F811
    paces = LedgerPaces(postgres_url)
    assert on_bucket(paces("account"), "wait", booted_s=5e6) == 0
    assert on_bucket(paces("account"), "pause") > 99
    assert 95 < on_bucket(paces("account"), "wait", booted_s=5e6) <= 100.5
    assert on_bucket(paces("another"), "wait", booted_s=5e6) == 0


def test_tokens_that_one_host_used_are_missing_at_another(postgres_url: str) -> None:  # noqa: F811
    cells = [LedgerPaces(postgres_url)("account") for _ in range(2)]
    waits = [on_bucket(cells[number % 2], "take", booted_s=number % 2 * 1e6) for number in range(8)]  # four at each host
    assert waits[:7] == [0.0] * 7
    assert waits[7] > 0


def test_an_address_is_shown_nowhere_and_a_database_out_of_reach_is_an_os_error() -> None:
    paces = LedgerPaces("postgresql://somebody:very-secret@127.0.0.1:9/nothing")
    assert "very-secret" not in repr(paces)
    assert paces == LedgerPaces("postgresql://somebody:very-secret@127.0.0.1:9/nothing")
    with pytest.raises(OSError, match=r"^[A-Za-z]+$"):
        on_bucket(paces("account"), "wait")


def test_while_the_database_is_away_nobody_goes_on_alone_but_waits_for_it_for_a_while(
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = postgres_url.rpartition("/")[2]

    def admit(who: str) -> None:
        with closing(psycopg2.connect(postgres_server.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {who}")
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))

    cell, waits = LedgerPaces(postgres_url)("account"), []
    on_bucket(cell, "pause")
    admit("false")
    monkeypatch.setattr(time, "sleep", lambda duration_s: (waits.append(duration_s), len(waits) == 3 and admit("true")))
    assert on_bucket(cell, "wait") > 99
    assert len(waits) == 3
    admit("false")
    with pytest.raises(OSError, match="OperationalError"):
        on_bucket(cell, "wait")
    patient = len(waits)
    assert patient > 20
    with pytest.raises(OSError, match="OperationalError"):
        on_bucket(cell, "wait")
    assert len(waits) == patient  # that it is away is known by now


def test_a_process_that_stands_still_in_the_middle_keeps_the_pace_from_nobody(
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.ledger_paces._IDLE_MS", 100)
    still, other, gone, calls = LedgerPaces(postgres_url)("account"), LedgerPaces(postgres_url)("account"), threading.Event(), []
    on_bucket(still, "take")

    def stand(kept: bytes) -> tuple[bytes, bytes]:
        calls.append(kept)
        if len(calls) == 1:
            assert other.change(lambda kept: (kept, "went on")) == "went on"
            gone.set()
        return kept, kept

    assert still.change(stand)
    assert (len(calls), gone.is_set()) == (2, True)
