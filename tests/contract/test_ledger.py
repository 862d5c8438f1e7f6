"""The laws of the ledger, over SQLite and over a real Postgres."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.errors import ConfigError
from pipelines.ledger import Failure, Ledger, Match, State, Write, open_ledger
from tests.clock import FakeClock
from tests.postgres import postgres_server, postgres_url  # noqa: F401

CLOCK = FakeClock()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = open_ledger(url, CLOCK)
    yield opened
    opened.close()


def write(seq: int, run_id: str = "r1", **changed: object) -> Write:
    made = Write(
        run_id=run_id,
        seq=seq,
        sync="s",
        key=f'["k{seq}"]',
        source_id=f"src{seq}",
        op="create",
        sink_id=None,
        state=State.IN_FLIGHT,
        attempt=1,
        intent_at=CLOCK.now(),
        before=None,
        after='{"email":"zoë","n":12345678901234567890}',
        fingerprint=-(2**62) + seq,
    )
    return replace(made, **changed)


def test_an_intent_survives_the_process_that_made_it(ledger: Ledger, url: str) -> None:
    ledger.intend([write(1), write(2)])
    ledger.close()
    again = open_ledger(url, CLOCK)
    assert [found.seq for found in again.open_writes("s")] == [1, 2]
    assert again.open_writes("s")[0] == write(1)
    again.close()


def test_a_settled_write_is_no_longer_open_and_keeps_its_evidence(ledger: Ledger) -> None:
    ledger.intend([write(1), write(2), write(3)])
    ledger.settle("r1", [(1, State.CONFIRMED, "17", ""), (2, State.REJECTED, None, "email is taken")])
    assert [found.seq for found in ledger.open_writes("s")] == [3]
    settled = list(ledger.writes("r1", [State.CONFIRMED, State.REJECTED]))
    assert [(found.sink_id, found.reason) for found in settled] == [("17", ""), (None, "email is taken")]


def test_settling_without_an_id_keeps_the_id_known_before(ledger: Ledger) -> None:
    ledger.intend([write(1, sink_id='"rec_9"')])
    ledger.settle("r1", [(1, State.CONFIRMED, None, "")])
    assert next(ledger.writes("r1")).sink_id == '"rec_9"'


def test_a_new_attempt_replaces_the_intent_of_the_old_one(ledger: Ledger) -> None:
    ledger.intend([write(1)])
    ledger.settle("r1", [(1, State.NOT_APPLIED, None, "busy")])
    ledger.intend([write(1, attempt=2)])
    assert [(found.attempt, found.state) for found in ledger.open_writes("s")] == [(2, State.IN_FLIGHT)]


def test_intents_and_what_came_of_earlier_writes_are_kept_together_or_not_at_all(ledger: Ledger) -> None:
    ledger.intend([write(1)])
    nobody = write(2, key=None)
    with pytest.raises(sa.exc.IntegrityError):
        ledger.intend([nobody], [(1, State.CONFIRMED, "17", "")])
    assert [(found.seq, found.sink_id) for found in ledger.open_writes("s")] == [(1, None)]


TEXTS = ["\\N", "\\.", "\\", "a\\tb", "tab\t", "line\nline\r\n", "'\"%s", "\x1f\x7f\x85\u2028", "é🚲", "", " ", "{}", "NULL", "a,b", "{,}"]


def test_many_intents_at_once_keep_every_character(ledger: Ledger) -> None:
    writes = [write(seq, key=text, source_id=text, before=text, after=text, reason=text) for seq, text in enumerate(TEXTS * 9)]
    ledger.intend([*writes, write(1000, op="delete", after=None, fingerprint=None)])
    assert list(ledger.writes("r1"))[:-1] == writes
    assert list(ledger.writes("r1"))[-1] == write(1000, op="delete", after=None, fingerprint=None)


def test_many_intents_at_once_replace_what_was_known_of_one_of_them(ledger: Ledger) -> None:
    ledger.intend([write(7)])
    ledger.settle("r1", [(7, State.NOT_APPLIED, None, "busy")])
    ledger.intend([write(seq) for seq in range(80)], [(7, State.REJECTED, None, "no")])
    assert [(found.seq, found.state) for found in ledger.open_writes("s")] == [(seq, State.IN_FLIGHT) for seq in range(80)]


def test_outcomes_keep_every_character_and_of_two_the_last_counts(ledger: Ledger) -> None:
    ledger.intend([write(seq) for seq in range(len(TEXTS))])
    first = [(seq, State.UNKNOWN, None, "nobody knows") for seq in range(len(TEXTS))]
    ledger.settle("r1", [*first, *((seq, State.REJECTED, text, text) for seq, text in enumerate(TEXTS))])
    settled = [(found.state, found.sink_id, found.reason) for found in ledger.writes("r1")]
    assert settled == [(State.REJECTED, text, text) for text in TEXTS]


def test_outcomes_in_any_order_reach_their_writes_and_no_others(ledger: Ledger) -> None:
    ledger.intend([write(seq, run_id=run_id) for run_id in ("r1", "r2") for seq in range(200)])
    ledger.settle("r1", [(seq, State.CONFIRMED, str(seq), "") for seq in (150, 3, 199, 0, 77)])
    settled = [(found.seq, found.sink_id) for found in ledger.writes("r1", [State.CONFIRMED])]
    assert settled == [(seq, str(seq)) for seq in (0, 3, 77, 150, 199)]
    assert ledger.write_counts("r2") == {("create", State.IN_FLIGHT): 200}


def test_writes_are_counted_by_op_and_state(ledger: Ledger) -> None:
    ledger.intend([write(1), write(2), write(3, op="update")])
    ledger.settle("r1", [(1, State.CONFIRMED, "1", "")])
    assert ledger.write_counts("r1") == {("create", State.CONFIRMED): 1, ("create", State.IN_FLIGHT): 1, ("update", State.IN_FLIGHT): 1}


def test_the_crosswalk_gives_what_was_put_and_only_of_its_sync(ledger: Ledger) -> None:
    rows = [
        Match(key=f'["k{n}"]', key_hash=n - 50, source_id=f"src{n}", sink_id=str(n), applied='{"a":1}', fingerprint=n) for n in range(100)
    ]
    ledger.put_matches("s", "r1", rows)
    ledger.put_matches("other", "r1", rows[:3])
    assert sorted(ledger.matches("s"), key=lambda match: match.key_hash) == rows
    assert list(ledger.match_hashes("s")) == list(range(-50, 50))
    assert {match.key for match in ledger.matches("s", ['["k1"]', '["none"]'])} == {'["k1"]'}
    assert {match.sink_id for match in ledger.matches_of_sources("s", ["src7", "src8", "x"])} == {"7", "8"}


def test_a_match_put_again_replaces_the_old_one(ledger: Ledger) -> None:
    ledger.put_matches("s", "r1", [Match('["k"]', 1, "src", "1")])
    ledger.put_matches("s", "r2", [Match('["k"]', 1, "src", "2", applied="{}", fingerprint=5, repeats=1)])
    assert list(ledger.matches("s")) == [Match('["k"]', 1, "src", "2", "{}", 5, 1)]
    ledger.drop_matches("s", ['["k"]'])
    assert list(ledger.matches("s")) == []


def test_a_record_that_moved_gives_up_its_old_key_unless_another_source_record_has_it_by_now(ledger: Ledger) -> None:
    old, free = Match('["old"]', 1, "moved", "1"), Match('["free"]', 2, "moved too", "2")
    ledger.put_matches("s", "r1", [old, free])
    ledger.put_matches("s", "r2", [Match('["old"]', 1, "its new owner", "3"), Match('["old"]', 1, "its last owner", "3")])
    ledger.drop_moved("s", [old, free])
    assert [match.source_id for match in ledger.matches("s")] == ["its last owner"]


def test_writes_are_found_by_a_range_of_their_numbers(ledger: Ledger) -> None:
    ledger.begin_run("r1", "s", "h")
    ledger.intend([write(n) for n in range(10)])
    ledger.settle("r1", [(3, State.NOT_APPLIED, None, ""), (4, State.CONFIRMED, None, "")])
    assert [one.seq for one in ledger.writes("r1", [State.IN_FLIGHT, State.CONFIRMED], range(2, 6))] == [2, 4, 5]
    assert ledger.intended("r1", range(2, 6)).tolist() == [2, 4, 5]


def test_a_failure_counts_its_attempts_and_keeps_when_it_was_first_seen(ledger: Ledger) -> None:
    failure = Failure(key='["k"]', source_id="src", outcome="rejected", reason="email is taken")
    ledger.put_failures("s", "r1", [failure])
    first = ledger.failures("s")[0]
    CLOCK.advance(60)
    ledger.put_failures("s", "r2", [replace(failure, reason="email is still taken")])
    second = ledger.failures("s")[0]
    assert (first.attempts, second.attempts) == (1, 2)
    assert second.first_seen == first.first_seen < second.last_seen
    assert second.reason == "email is still taken"


def test_failures_not_seen_again_by_a_run_are_dropped(ledger: Ledger) -> None:
    ledger.put_failures("s", "r1", [Failure(f'["k{n}"]', f"src{n}", "invalid", "x") for n in range(3)])
    ledger.put_failures("s", "r2", [Failure('["k1"]', "src1", "invalid", "x")])
    assert ledger.drop_failures_before("s", "r2") == 2
    assert [failure.key for failure in ledger.failures("s")] == ['["k1"]']


def test_a_released_failure_is_held_again_once_it_fails_again(ledger: Ledger) -> None:
    failure = Failure('["k"]', "src", "quarantined", "no answer")
    ledger.put_failures("s", "r1", [failure])
    assert ledger.release_failures("s") == 1
    assert ledger.failures("s")[0].released
    ledger.put_failures("s", "r2", [failure])
    assert not ledger.failures("s")[0].released
    assert ledger.dismiss_failures("s", [('["k"]', "src"), ('["none"]', "src")]) == 1
    assert ledger.failures("s") == ledger.failures("s", dismissed=True) == []


def test_a_dismissed_write_is_remembered_out_of_sight_until_another_one_fails(ledger: Ledger) -> None:
    failure = Failure('["k"]', "src", "quarantined", "no answer", op="create", request='{"a":1}')
    ledger.put_failures("s", "r1", [failure])
    assert ledger.dismiss_failures("s", [('["k"]', "src")]) == 1
    assert (ledger.failure_count("s"), ledger.drop_failures_before("s", "r2"), ledger.release_failures("s")) == (0, 0, 0)
    assert [found.request for found in ledger.failures("s", dismissed=True)] == ['{"a":1}']
    ledger.put_failures("s", "r2", [replace(failure, request='{"a":2}')])
    assert (ledger.failure_count("s"), ledger.failures("s", dismissed=True)) == (1, [])


def test_the_position_is_forgotten_when_the_mapping_changes(ledger: Ledger) -> None:
    ledger.move_position("s", "hash1", "batch7")
    assert ledger.position("s", "hash1") == "batch7"
    assert ledger.position("s", "hash2") is None
    ledger.move_position("s", "hash2", "batch8")
    assert ledger.position("s", "hash1") is None


def test_a_run_keeps_the_facts_of_its_steps(ledger: Ledger) -> None:
    ledger.begin_run("r1", "s", "hash")
    ledger.note_run("r1", {"raw": "b1"})
    ledger.begin_run("r1", "s", "hash")
    ledger.finish_run("r1", "ok", {"created": 3})
    run = ledger.run("r1")
    assert run is not None
    assert (run.status, run.summary) == ("ok", {"raw": "b1", "created": 3})
    assert [found.run_id for found in ledger.runs("s")] == ["r1"]
    assert ledger.run("nobody") is None


def test_a_file_that_is_no_ledger_is_refused_with_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(ConfigError, match=r"cannot be opened \(file is not a database\); check CROSSDOCK_LEDGER"):
        open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", FakeClock())


def test_processes_that_open_a_new_ledger_at_the_same_moment_all_get_it(url: str) -> None:
    with ThreadPoolExecutor(6) as opening:
        for opened in list(opening.map(lambda _: open_ledger(url, CLOCK), range(6))):
            opened.close()


def test_a_right_that_ran_out_is_over_although_nobody_took_it_unless_it_may_be_late(ledger: Ledger) -> None:
    assert ledger.claim("t", 0, "one", CLOCK.now() + timedelta(seconds=60), dead=False)
    CLOCK.advance(59)
    assert ledger.renew("t", 1, "one", CLOCK.now() + timedelta(seconds=60), late=False)
    CLOCK.advance(61)
    assert not ledger.renew("t", 1, "one", CLOCK.now() + timedelta(seconds=60), late=False)
    assert ledger.held_until("t") is None
    assert ledger.renew("t", 1, "one", CLOCK.now() + timedelta(seconds=60), late=True)
    assert not ledger.claim("t", 1, "two", CLOCK.now() + timedelta(seconds=60), dead=False)


def test_a_ledger_out_of_reach_is_a_configuration_error_without_the_password() -> None:
    with pytest.raises(ConfigError, match="CROSSDOCK_LEDGER") as caught:
        open_ledger("postgresql://user:hunter2@127.0.0.1:1/none", CLOCK)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "oracle://h/d"])
def test_a_ledger_at_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="give sqlite:///… or postgresql://…"):
        open_ledger(url, CLOCK)
