"""What became of every write to Stacker, whatever the platform does that its documents do not say."""

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.base import Change, Op, Receipt, Result
from connectors.errors import ConfigError, CredentialsError, UnreachableError
from connectors.settings import Ports
from connectors.stacker import CONNECTOR
from connectors.stacker.emulator_objects import Object
from connectors.stacker.emulator_store import Store
from connectors.stacker.sink import StackerSink
from pipelines.ports import SystemRng
from tests.clock import FakeClock
from tests.contract.test_stacker_switches import connected

LONG = "x" * 20_000  # longer than the emulator takes


def emptied(**switches: str) -> tuple[Store, Object]:
    store = Store(contacts=0, companies=0, orders=0, **switches)
    held = store.add_object("parts", [{"number": "first", "stock": 1, "note": "old"}])
    return store, held


def creates(*notes: str) -> list[Change]:
    return [Change(n, "create", {"number": f"P{n}"}, {"number": f"P{n}", "note": note}) for n, note in enumerate(notes)]


def on_first(held: Object, op: Op, **fields: Any) -> Change:
    return Change(1, op, {"number": "first"}, fields, held.sids[0])


def write(sink: StackerSink, changes: Sequence[Change]) -> list[Receipt]:
    return list(sink.write(sink.stream("parts"), changes))


@pytest.mark.parametrize("order", ["sent", "reversed", "shuffled"])
def test_bulk_creates_are_accepted_without_an_id_whatever_order_the_answer_has(order: str) -> None:
    store, held = emptied(created_order=order)
    with connected(store) as sink:
        receipts = write(sink, creates("a", "b", "c"))
        assert sink.request_counts()["write"] == 1
    assert [(receipt.seq, receipt.result, receipt.sink_id) for receipt in receipts] == [(n, Result.ACCEPTED, None) for n in range(3)]
    assert len(held.records) == 4


def test_a_single_create_is_applied_with_its_id_and_answer() -> None:
    store, held = emptied(trims="yes")
    with connected(store) as sink:
        (receipt,) = write(sink, creates(" spaced "))
    assert receipt.result is Result.APPLIED
    assert held.records[str(receipt.sink_id)]["note"] == "spaced"
    assert receipt.answer is not None
    assert receipt.answer["note"] == "spaced"


def test_a_write_answered_as_done_without_the_record_is_accepted_and_left_to_the_read_back() -> None:
    store, held = emptied(write_answers="nothing")
    with connected(store) as sink:
        receipts = [*write(sink, creates("a")), *write(sink, [on_first(held, "update", note="new")])]
    assert {receipt.result for receipt in receipts} == {Result.ACCEPTED}
    assert sorted(str(record["note"]) for record in held.records.values()) == ["a", "new"]


def test_fifteen_hundred_creates_are_two_calls() -> None:
    store, held = emptied()
    with connected(store) as sink:
        receipts = write(sink, creates(*map(str, range(1500))))
        assert sink.request_counts()["write"] == 2
    assert {receipt.seq for receipt in receipts} == set(range(1500))
    assert len(held.records) == 1501


@pytest.mark.parametrize(
    ("failure", "result", "made"),
    [("atomic", Result.REFUSED_BATCH, 0), ("stops", Result.UNKNOWN, 2), ("skips", Result.UNKNOWN, 3)],
)
def test_a_bulk_call_with_a_bad_record_is_refused_only_where_nothing_was_written(failure: str, result: Result, made: int) -> None:
    store, held = emptied(bulk_failure=failure)
    with connected(store) as sink:
        receipts = write(sink, creates("a", "b", LONG, "d"))
    assert {receipt.result for receipt in receipts} == {result}
    assert len(receipts) == 4
    assert len(held.records) == 1 + made


@pytest.mark.parametrize(("status", "asked"), [("404", 2), ("405", 1), ("501", 1), ("403", 1)])
def test_records_are_created_one_by_one_where_there_is_no_bulk_call_and_it_is_asked_for_once(status: str, asked: int) -> None:
    store, held = emptied(bulk=status)
    with connected(store) as sink:
        receipts = [*write(sink, creates("a", "b", "c")), *write(sink, creates("d", "e"))]
        assert sink.request_counts()["write"] == asked + 5
    assert {receipt.result for receipt in receipts} == {Result.APPLIED}
    assert len(held.records) == 6


def test_a_403_of_a_bulk_call_stops_the_run_where_something_of_it_may_have_been_written() -> None:
    store, held = emptied(bulk="403")
    with connected(store) as sink, pytest.raises(CredentialsError, match="bulk call was refused with status 403"):
        write(sink, [*creates("a"), Change(9, "create", {"number": "first"}, {"number": "first", "note": "there already"})])
    assert len(held.records) == 1


def test_a_person_can_say_what_a_refused_bulk_call_means() -> None:
    for said, result in (("atomic", Result.REFUSED_BATCH), ("partial", Result.UNKNOWN)):
        store, _ = emptied()
        with connected(store, bulk_failure=said) as sink:
            before = sink.request_counts()["read"]
            receipts = write(sink, creates("a", LONG))
            assert sink.request_counts()["read"] - before <= 2  # the object list and its path; nothing is looked up
        assert {receipt.result for receipt in receipts} == {result}


def test_a_refused_single_create_is_rejected_in_the_platforms_words() -> None:
    store, _ = emptied()
    with connected(store) as sink:
        (receipt,) = write(sink, creates(LONG))
    assert receipt.result is Result.REJECTED
    assert "note is too long: 20000 characters" in receipt.reason


def test_creates_that_the_platform_takes_as_updates_are_told() -> None:
    store, held = emptied(bulk_match="number")
    with connected(store) as sink:
        changes = [*creates("a"), Change(9, "create", {"number": "first"}, {"number": "first", "note": "overwritten"})]
        receipts = write(sink, changes)
    assert {receipt.result for receipt in receipts} == {Result.ACCEPTED}
    assert "1 of 2 records" in receipts[0].reason
    assert len(held.records) == 2


@pytest.mark.parametrize("field", ["sid", "include_fields"])
def test_what_is_the_platforms_own_is_never_sent_as_a_field(field: str) -> None:
    store, held = emptied()
    with connected(store) as sink:
        good, bad = creates("a", "b")
        receipts = write(sink, [good, Change(bad.seq, "create", bad.key, {**bad.fields, field: "x"})])
        receipts += write(sink, [on_first(held, "update", **{field: "x"})])
    assert {receipt.seq: receipt.result for receipt in receipts[:2]} == {0: Result.APPLIED, 1: Result.REJECTED}
    assert receipts[2].result is Result.REJECTED
    assert len(held.records) == 2


@pytest.mark.parametrize(
    ("nulls", "setting", "result", "note", "reason"),
    [
        ("clears", "write", Result.APPLIED, None, ""),
        ("ignored", "write", Result.APPLIED, "old", "did not clear note"),
        ("refused", "write", Result.REJECTED, "old", "null is not a valid value"),
        ("clears", "refuse", Result.REJECTED, "old", "patch_nulls"),
    ],
)
def test_a_null_in_an_update_is_never_taken_for_done_where_it_was_not(
    nulls: str, setting: str, result: Result, note: str | None, reason: str
) -> None:
    store, held = emptied(null_in_patch=nulls)
    with connected(store, patch_nulls=setting) as sink:
        (receipt,) = write(sink, [on_first(held, "update", note=None)])
    assert receipt.result is result
    assert held.records[held.sids[0]]["note"] == note
    assert reason in receipt.reason


def test_an_update_of_nothing_is_missing_and_a_delete_of_nothing_is_done() -> None:
    store, held = emptied()
    sid = held.sids[0]
    for there, gone in (("404", "it was already gone"), ("204", "")):
        store.set_switch("delete_missing", there)
        with connected(store) as sink:
            (updated,) = write(sink, [Change(1, "update", {}, {"note": "new"}, "rec_gone")])
            (deleted,) = write(sink, [Change(2, "delete", {}, {}, "rec_gone")])
        assert updated.result is Result.MISSING
        assert (deleted.result, deleted.reason) == (Result.APPLIED, gone)
    assert held.records[sid]["note"] == "old"


def test_a_refused_delete_is_rejected_in_the_platforms_words() -> None:
    store, held = emptied(delete="refused")
    with connected(store) as sink:
        (receipt,) = write(sink, [on_first(held, "delete")])
    assert (receipt.result, len(held.records)) == (Result.REJECTED, 1)
    assert "Other records refer to this one" in receipt.reason


@pytest.mark.parametrize("path", ["sid", "api_name"])
def test_a_wrong_name_in_the_path_is_never_taken_for_a_missing_record(path: str) -> None:
    store, held = emptied(path=path)
    with connected(store) as sink:
        (updated,) = write(sink, [on_first(held, "update", note="new")])
        (deleted,) = write(sink, [on_first(held, "delete")])
    assert (updated.result, deleted.result, deleted.reason) == (Result.APPLIED, Result.APPLIED, "")
    assert not held.records


def test_a_hostile_id_names_no_other_path() -> None:
    store, held = emptied()
    with connected(store) as sink:
        for sid in ("../..", "a/b", "..", ".", "x?y=1", "ä ö", "%2e%2e"):
            (receipt,) = write(sink, [Change(1, "update", {}, {"note": "new"}, sid)])
            assert receipt.result in (Result.MISSING, Result.REJECTED), sid
    assert held.records[held.sids[0]]["note"] == "old"


def test_bulk_updates_by_sid_are_applied_where_a_person_said_the_platform_does_so() -> None:
    store, held = emptied()
    second = store.create(held, {"number": "second"}, quiet=True)
    changes = [on_first(held, "update", note="new"), Change(2, "update", {}, {"note": "newer"}, second)]
    changes[0] = Change(1, "update", {}, {"note": "new"}, next(sid for sid in held.sids if sid != second))
    with connected(store, bulk_updates="by_sid") as sink:
        assert sink.stream("parts").capabilities.update.max_batch == 1000  # type: ignore[union-attr]
        receipts = write(sink, changes)
        assert sink.request_counts()["write"] == 1
    assert [receipt.result for receipt in receipts] == [Result.APPLIED, Result.APPLIED]
    assert held.records[second]["note"] == "newer"


def test_bulk_updates_that_made_new_records_are_unknown_and_say_what_to_set() -> None:
    store, held = emptied(bulk_match="never")
    changes = [Change(n, "update", {}, {"note": "new"}, held.sids[0]) for n in range(2)]
    with connected(store, bulk_updates="by_sid") as sink:
        receipts = write(sink, changes)
    assert {receipt.result for receipt in receipts} == {Result.UNKNOWN}
    assert "set bulk_updates to off" in receipts[0].reason


def test_refused_credentials_and_an_unreachable_platform_stop_before_anything_is_sent() -> None:
    store, _ = emptied()
    with connected(store) as sink:
        stream = sink.stream("parts")
        sink.settle(stream)
        store.key = "another"
        with pytest.raises(CredentialsError):
            list(sink.write(stream, creates("a", "b")))
    gone = CONNECTOR.settings(connector="stacker", base_url="http://127.0.0.1:9", integration_key="k", account_id="a", stack_id="s")
    with pytest.raises(UnreachableError):
        CONNECTOR.open(gone, Ports(FakeClock(), SystemRng())).stream("parts")


def test_changes_of_two_kinds_in_one_call_are_refused() -> None:
    store, held = emptied()
    with connected(store) as sink, pytest.raises(ConfigError, match="one kind"):
        write(sink, [*creates("a"), on_first(held, "delete")])


@pytest.mark.parametrize("empty", ["null", "omitted"])
def test_a_bulk_answer_that_writes_an_empty_list_as_null_or_not_at_all_is_understood(empty: str) -> None:
    store, held = emptied(empty_list=empty)
    with connected(store) as sink:
        receipts = write(sink, creates("a", "b"))
    assert [receipt.result for receipt in receipts] == [Result.ACCEPTED] * 2
    assert len(held.records) == 3
