"""Applying a plan: how rows become calls, and what becomes of every row."""

from collections.abc import Iterator, Sequence
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from connectors.base import Capabilities, Change, Delivery, ReadCapability, Receipt, Result, Stream, WriteCapability
from connectors.errors import UnreachableError
from pipelines.apply import Applied, Target, apply
from pipelines.callers import Callers
from pipelines.changes import PLAN_SCHEMA
from pipelines.ledger import Ledger, State, open_ledger
from tests.clock import FakeClock

CAN = WriteCapability(Delivery.E2, 1000, replaces=False, identifies=True, evidence="")
ONE = WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence="")
STREAM = Stream("people", "id", Capabilities(ReadCapability(), CAN, ONE, ONE))


class Sink:
    """Answers as told, and looks into the ledger at the moment of every call."""

    def __init__(self, ledger: Ledger, answers: dict[int, Result] | None = None) -> None:
        self.ledger, self.answers, self.calls = ledger, answers or {}, list[list[int]]()
        self.unknown_at_call: set[int] = set()

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        self.calls.append([change.seq for change in changes])
        self.unknown_at_call |= {change.seq for change in changes} - {write.seq for write in self.ledger.open_writes("s")}
        if any(self.answers.get(change.seq) is Result.NOT_SENT for change in changes):
            raise UnreachableError("the sink went away")
        for change in changes:
            yield Receipt(change.seq, self.answers.get(change.seq, Result.APPLIED), change.seq, "words")


@pytest.fixture
def ledger(clock: FakeClock) -> Iterator[Ledger]:
    opened = open_ledger("sqlite://", clock)
    yield opened
    opened.close()


def rows(*ops: str) -> Iterator[pa.RecordBatch]:
    made: list[dict[str, Any]] = []
    for number, op in enumerate(ops):
        who = {"key": f'{{"email":"p{number}"}}', "source_id": f"s{number}", "sink_id": None if op == "create" else str(number)}
        what = {"fields": ["name"], "before": "{}", "after": None if op == "delete" else '{"name":"n"}', "fingerprint": number}
        made.append({"seq": number, "op": op, **who, **what})
    table = pa.Table.from_pylist(made, schema=PLAN_SCHEMA)
    yield from table.to_batches(max_chunksize=7)  # chunks of the plan must not show in the calls


def run(sink: Sink, ledger: Ledger, clock: FakeClock, *ops: str, batch: int = 10, concurrency: int = 1, tried: bool = True) -> Applied:
    target: Any = Target(sink, STREAM, ("email",), batch, concurrency, tried)  # type: ignore[arg-type]
    return apply(rows(*ops), target, run_id="r", sync="s", ledger=ledger, clock=clock)


def states(ledger: Ledger) -> dict[State, int]:
    found: dict[State, int] = {}
    for (_, state), count in ledger.write_counts("r").items():
        found[state] = found.get(state, 0) + count
    return found


def test_calls_are_as_few_as_the_batch_allows_and_hold_one_op_each(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger)
    run(sink, ledger, clock, *["create"] * 25, *["update"] * 3, *["delete"] * 2)
    assert [len(call) for call in sink.calls] == [10, 10, 5, 1, 1, 1, 1, 1]
    assert sorted(seq for call in sink.calls for seq in call) == list(range(30))


def test_every_intent_is_in_the_ledger_before_its_call(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger)
    run(sink, ledger, clock, *["create"] * 25, *["update"] * 3)
    assert sink.unknown_at_call == set()


def test_intents_are_durable_before_their_calls_where_several_are_under_way_too(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger)
    run(sink, ledger, clock, *["create"] * 400, *["update"] * 30, concurrency=3)
    assert sorted(seq for call in sink.calls for seq in call) == list(range(430))
    assert sink.unknown_at_call == set()
    assert states(ledger) == {State.CONFIRMED: 430}


def test_no_delete_is_sent_while_an_update_is_under_way(ledger: Ledger, clock: FakeClock) -> None:
    deleting = Event()

    class Slow(Sink):
        overtaken = False

        def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
            if changes[0].op == "delete":
                deleting.set()
            elif changes[0].seq == 5:
                self.overtaken = deleting.wait(0.2)  # the other caller is free for as long
            yield from super().write(stream, changes)

    sink = Slow(ledger)
    run(sink, ledger, clock, *["update"] * 6, *["delete"] * 6, concurrency=2)
    assert not sink.overtaken
    assert states(ledger) == {State.CONFIRMED: 12}


def test_a_call_in_doubt_halves_the_next_ones_and_clean_calls_double_them_again(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger, {0: Result.UNKNOWN, 600: Result.UNKNOWN})
    run(sink, ledger, clock, *["create"] * 5000, batch=600)
    assert [len(call) for call in sink.calls[:7]] == [600, 300, 150, 150, 300, 600, 600]


def test_the_first_call_of_all_is_small_and_answered_before_others_are_sent(ledger: Ledger, clock: FakeClock) -> None:
    class Slow(Sink):
        beside = False

        def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
            if changes[0].seq == 0:
                Event().wait(0.2)  # other callers are free for as long
                self.beside = len(self.calls) > 0
            yield from super().write(stream, changes)

    sink = Slow(ledger)
    run(sink, ledger, clock, *["create"] * 1500, batch=500, concurrency=3, tried=False)
    assert not sink.beside
    assert (len(sink.calls[0]), sorted(len(call) for call in sink.calls[1:])) == (50, [450, 500, 500])


def test_first_calls_stay_small_until_one_is_answered_well(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger, {0: Result.UNKNOWN, 50: Result.REFUSED_BATCH})
    run(sink, ledger, clock, *["create"] * 1500, batch=500, tried=False)
    assert [len(call) for call in sink.calls] == [50, 25, 25, 400, 500, 500]


def test_when_the_sink_goes_away_every_row_has_an_outcome_and_nothing_more_is_sent(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger, {12: Result.NOT_SENT})
    ended = run(sink, ledger, clock, *["create"] * 2000)
    assert isinstance(ended.stopped_by, UnreachableError)
    assert len(sink.calls) == 2
    assert states(ledger) == {State.CONFIRMED: 10, State.NOT_APPLIED: 1990}


def test_a_call_that_waits_for_a_free_caller_is_not_sent_once_the_sink_went_away(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand, waits, handed = Callers.hand, Event(), list[object]()

    def handing(callers: Callers, send: Any, call: Any) -> Any:
        handed.append(call)
        answer = hand(callers, send, call)
        if len(handed) == 3:
            waits.set()
        return answer

    class Busy(Sink):
        def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
            assert waits.wait(30)
            yield from super().write(stream, changes)

    monkeypatch.setattr(Callers, "hand", handing)
    sink = Busy(ledger, {0: Result.NOT_SENT, 10: Result.NOT_SENT})
    ended = run(sink, ledger, clock, *["create"] * 500, concurrency=2)
    assert isinstance(ended.stopped_by, UnreachableError)
    assert {call[0] for call in sink.calls} <= {0, 10}
    assert states(ledger) == {State.NOT_APPLIED: 500}


def test_one_refused_update_is_rejected_alone_and_refused_creates_wait_for_a_look(ledger: Ledger, clock: FakeClock) -> None:
    sink = Sink(ledger, {3: Result.REFUSED_BATCH, 12: Result.REJECTED})
    run(sink, ledger, clock, *["create"] * 10, *["update"] * 5)
    assert states(ledger) == {State.REFUSED: 10, State.CONFIRMED: 4, State.REJECTED: 1}


def test_a_delete_that_finds_nothing_is_done_and_an_update_that_finds_nothing_is_a_conflict(ledger: Ledger, clock: FakeClock) -> None:
    run(Sink(ledger, {0: Result.MISSING, 1: Result.MISSING}), ledger, clock, "update", "delete")
    assert ledger.write_counts("r") == {("update", State.CONFLICT): 1, ("delete", State.CONFIRMED): 1}
