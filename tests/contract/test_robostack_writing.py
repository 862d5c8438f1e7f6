"""Writing Robostack whatever its undocumented answers turn out to be: what is claimed happened, and what is not known is not claimed."""

from typing import Any

import pytest

from connectors.base import Change, JsonValue, Receipt, Record, Result
from connectors.errors import ConfigError, RetryableError
from connectors.robostack.emulator_store import SWITCHES, Resource, Store
from connectors.robostack.sink import RobostackSink
from tests.contract.test_robostack_reading import connected, store_with

VALUES: list[Record] = [{"number": f"N{n}", "note": f" Größe {n} ", "price": n} for n in range(5)]


def creates(values: list[Record]) -> list[Change]:
    return [Change(n, "create", {"number": one["number"]} if "number" in one else {}, one) for n, one in enumerate(values)]


def written(sink: RobostackSink, changes: list[Change]) -> list[Receipt]:
    receipts = list(sink.write(sink.stream("parts"), changes))
    assert sorted(receipt.seq for receipt in receipts) == [change.seq for change in changes]
    return sorted(receipts, key=lambda receipt: receipt.seq)


def kept(store: Store) -> dict[Any, Record]:
    return store.resources["parts"].records


def writes(store: Store) -> list[Record]:
    return [entry for entry in store.log if entry["method"] != "POST"]


class Careless(Store):
    """Finds by a selection, and writes as if there were none."""

    def select(self, resource: Resource, selection: dict[str, Any]) -> list[int | str]:
        return super().select(resource, selection) if not self.log else list(resource.records)


WRITING = [
    (name, value) for name in list(SWITCHES)[list(SWITCHES).index("create_status") :] for value in SWITCHES[name] if "…" not in value
]
NOT_HERE = {"latency_ms", "fault_count", "max_batch", "max_text"}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v in WRITING if n not in NOT_HERE])
def test_a_create_that_is_claimed_stands_under_the_claimed_id_and_was_sent_once(name: str, value: str, count: int) -> None:
    store = store_with(2, **{name: value})
    store.resources["parts"].fields.update(dict.fromkeys(VALUES[0]))
    with connected(store) as sink:
        try:
            receipts = written(sink, creates(VALUES[:count]))
        except RetryableError:
            assert len(kept(store)) == 2
            return
    sent = [entry for entry in store.log if entry["method"] == "PUT"]
    assert len(sent) == (2 if value == "429" else 1)
    made = {key: record for key, record in kept(store).items() if key > 2}
    for receipt, values in zip(receipts, VALUES, strict=False):
        if receipt.result is Result.APPLIED:
            assert str(made[receipt.sink_id]["number"]).casefold() == str(values["number"]).casefold()
            assert receipt.answer is not None
            assert receipt.answer["id"] == receipt.sink_id
        elif receipt.result is Result.ACCEPTED:
            assert len(made) == count
        else:
            assert receipt.result in (Result.UNKNOWN, Result.REFUSED_BATCH if value == "error_200" else Result.UNKNOWN), receipt
            assert name in ("fault", "create_answers")


def test_records_are_paired_by_content_and_never_by_position() -> None:
    store = store_with(0, create_order="reversed", trims="yes")
    with connected(store) as sink:
        receipts = written(sink, creates(VALUES))
    assert {receipt.result for receipt in receipts} == {Result.APPLIED}
    for receipt, values in zip(receipts, VALUES, strict=True):
        assert kept(store)[receipt.sink_id]["number"] == values["number"]
        assert receipt.answer is not None
        assert receipt.answer["note"] == str(values["note"]).strip()


def test_two_records_with_the_same_key_are_not_paired() -> None:
    store = store_with(0, create_order="shuffled", trims="yes")
    with connected(store) as sink:
        receipts = written(sink, creates([{"number": "same", "note": " a"}, {"number": "same", "note": " b"}, {"number": "other"}]))
    assert [receipt.result for receipt in receipts] == [Result.ACCEPTED, Result.ACCEPTED, Result.APPLIED]


def test_an_answer_with_fewer_records_than_were_sent_is_unknown() -> None:
    with connected(store_with(0, create_answers="few")) as sink:
        receipts = written(sink, creates(VALUES))
    assert {receipt.result for receipt in receipts} == {Result.UNKNOWN}


def test_one_record_goes_as_an_object_and_several_as_a_list() -> None:
    store = store_with(0)
    with connected(store) as sink:
        written(sink, creates([{"number": "a"}]))
        written(sink, creates([{"number": "b"}, {"number": "c"}]))
    assert [entry["body"] for entry in store.log] == ['{"number":"a"}', '[{"number":"b"},{"number":"c"}]']


@pytest.mark.parametrize("fault", ["500_before", "500_after", "html_200", "error_200", "cut"])
def test_a_create_whose_answer_is_lost_is_to_be_looked_up_and_never_sent_again(fault: str) -> None:
    store = store_with(0, fault=fault, fault_count="99")
    with connected(store) as sink:
        receipts = written(sink, creates(VALUES))
    assert {receipt.result for receipt in receipts} == {Result.REFUSED_BATCH if fault == "error_200" else Result.UNKNOWN}
    assert all(receipt.reason for receipt in receipts)
    assert len(store.log) == 1
    assert len(kept(store)) == (0 if fault == "500_before" else 5)


def test_a_create_that_was_asked_to_wait_is_sent_again() -> None:
    store = store_with(0, fault="429")
    with connected(store) as sink:
        receipts = written(sink, creates(VALUES))
    assert {receipt.result for receipt in receipts} == {Result.APPLIED}
    assert len(kept(store)) == 5


@pytest.mark.parametrize("shape", SWITCHES["error_body"])
def test_a_refused_batch_is_refused_as_a_whole_and_a_refused_record_in_the_platforms_words(shape: str) -> None:
    store = store_with(1, unique="number", error_body=shape)
    with connected(store) as sink:
        receipts = written(sink, creates([{"number": "new"}, {"number": "P0"}]))
        assert {receipt.result for receipt in receipts} == {Result.REFUSED_BATCH}
        (alone,) = written(sink, creates([{"number": "P0"}]))
    assert alone.result is Result.REJECTED
    assert "number must be unique" in alone.reason or shape == "empty"
    assert alone.reason
    assert len(kept(store)) == 1


def test_a_batch_that_is_too_large_is_refused_as_a_whole() -> None:
    with connected(store_with(0, max_batch="3")) as sink:
        assert {receipt.result for receipt in written(sink, creates(VALUES))} == {Result.REFUSED_BATCH}


def test_a_resource_that_does_not_exist_stops_the_write() -> None:
    with connected(store_with(0)) as sink, pytest.raises(ConfigError, match="nowhere"):
        list(sink.write(sink.stream("nowhere"), creates(VALUES)))


def test_an_id_is_never_written() -> None:
    store = store_with(1)
    with connected(store) as sink:
        receipts = written(sink, creates([{"id": 77, "number": "x"}, {"number": "y"}]))
        assert [receipt.result for receipt in receipts] == [Result.REJECTED, Result.APPLIED]
        (update,) = written(sink, [Change(0, "update", {}, {"id": 78}, 1)])
    assert update.result is Result.REJECTED
    assert all('"id":7' not in entry["body"] for entry in store.log)


def test_what_json_cannot_say_is_one_rejected_record() -> None:
    store = store_with(1)
    with connected(store) as sink:
        (create,) = written(sink, creates([{"number": "x", "ratio": float("nan")}]))
        (update,) = written(sink, [Change(0, "update", {}, {"note": "\ud800"}, 1)])
    assert (create.result, update.result) == (Result.REJECTED, Result.REJECTED)
    assert writes(store) == []


@pytest.mark.parametrize("way", SWITCHES["update_answers"])
@pytest.mark.parametrize("kind", SWITCHES["ids"])
def test_an_update_changes_the_selected_record_by_its_id(way: str, kind: str) -> None:
    store = store_with(3, update_answers=way, ids=kind)
    key = list(kept(store))[1]
    with connected(store) as sink:
        (receipt,) = written(sink, [Change(0, "update", {"number": "P1"}, {"note": None}, key)])
    assert receipt.result is (Result.ACCEPTED if way in ("nothing", "empty_list") else Result.APPLIED)
    assert kept(store)[key] == {"id": key, "number": "P1", "note": None, "lines": [{"id": 1}]}
    assert writes(store)[0]["body"] == '{"selection":{"id":%s},"updation":{"note":null}}' % (key if kind == "int" else f'"{key}"')


@pytest.mark.parametrize("op", ["update", "delete"])
@pytest.mark.parametrize(
    ("switches", "result"),
    [
        ({"update_answers": "count", "delete_answers": "count"}, Result.MISSING),
        ({"update_answers": "records", "delete_answers": "records"}, Result.MISSING),
        ({"update_answers": "matched", "delete_answers": "count"}, Result.MISSING),
        ({"update_answers": "empty_list", "delete_answers": "count"}, Result.MISSING),
        ({"update_answers": "nothing", "delete_answers": "nothing"}, Result.ACCEPTED),
        ({"no_match": "404"}, Result.MISSING),
    ],
)
def test_a_selection_that_matches_nothing_is_missing_where_the_answer_shows_it(op: Any, switches: dict[str, str], result: Result) -> None:
    store = store_with(2, **switches)
    with connected(store) as sink:
        (receipt,) = written(sink, [Change(0, op, {}, {"note": "new"} if op == "update" else {}, 99)])
    assert receipt.result is result
    assert [record["note"] for record in kept(store).values()] == ["x", None]


@pytest.mark.parametrize("op", ["update", "delete"])
def test_a_write_that_touched_several_records_is_never_called_done(op: Any) -> None:
    store = Careless(people=0, orgs=0, invoices=0, update_answers="count", delete_answers="count")
    store.add_resource("parts", [{"number": f"P{n}"} for n in range(3)])
    with connected(store) as sink:
        (receipt,) = written(sink, [Change(0, op, {}, {"note": "new"} if op == "update" else {}, 2)])
    assert receipt.result is Result.UNKNOWN
    assert "3" in receipt.reason


@pytest.mark.parametrize("op", ["update", "delete"])
def test_a_lost_answer_of_an_update_or_delete_is_repeated_and_its_second_answer_not_misread(op: Any) -> None:
    store = store_with(3, fault="500_after", update_answers="count", delete_answers="count")
    with connected(store) as sink:
        (receipt,) = written(sink, [Change(0, op, {}, {"note": "new"} if op == "update" else {}, 2)])
    assert len(writes(store)) == 2
    assert receipt.result is (Result.APPLIED if op == "update" else Result.ACCEPTED)


def test_updates_answered_with_an_empty_list_are_looked_up_once_and_left_to_the_read_back() -> None:
    store = store_with(9, update_answers="empty_list")
    with connected(store) as sink:
        updates = [Change(n, "update", {"number": f"P{n}"}, {"note": "new"}, key) for n, key in enumerate(kept(store))]
        receipts = written(sink, updates)
        looked = sink.request_counts()["read"]
        gone = written(sink, [Change(9, "update", {"number": "P9"}, {"note": "new"}, 99)])
        assert sink.request_counts()["read"] == looked
    assert {receipt.result for receipt in receipts + gone} == {Result.ACCEPTED}
    assert looked < len(updates)


@pytest.mark.parametrize("sink_id", [None, "", "  ", True, {}, [], {"$ne": None}, 1.5, ["a"]])
@pytest.mark.parametrize("op", ["update", "delete"])
def test_an_id_that_could_select_everything_is_rejected_before_it_is_sent(op: Any, sink_id: JsonValue) -> None:
    store = store_with(2, empty_write_selection="all")
    with connected(store) as sink:
        (receipt,) = written(sink, [Change(0, op, {}, {"note": "new"} if op == "update" else {}, sink_id)])
    assert receipt.result is Result.REJECTED
    assert store.log == []


GUARDED: list[Any] = [
    {},
    None,
    "",
    [],
    [{}],
    [{"id": 1}],
    {"id": None},
    {"id": ""},
    {"id": " "},
    {"id": True},
    {"id": []},
    {"id": {}},
    {"id": 1.5},
    {"number": "P1"},
    {"id": 1, "number": "P1"},
    {"fieldName": ""},
    "id",
    7,
]


@pytest.mark.parametrize("selection", GUARDED, ids=repr)
def test_the_client_refuses_selections_that_may_match_more_than_one_record(selection: Any) -> None:
    store = store_with(2, empty_write_selection="all")
    with connected(store) as sink:
        with pytest.raises(ConfigError, match="parts"):
            sink._client.update_records("parts", selection, {"note": "all"})
        with pytest.raises(ConfigError, match="parts"):
            sink._client.delete_records("parts", selection)
        with pytest.raises(ConfigError, match="parts"):
            sink._client.update_records("parts", {"id": 1}, {})
    assert store.log == []


@pytest.mark.parametrize(
    "selection", [[], [{}], [{"id": ""}], [{"id": 1}, {"id": 1}], [{"id": 1}, {"number": "x"}], [[{"id": 1}]]], ids=repr
)
def test_allowed_lists_are_still_guarded_one_by_one(selection: Any) -> None:
    with connected(store_with(2), list_selections=True) as sink, pytest.raises(ConfigError, match="parts"):
        sink._client.delete_records("parts", selection)


def test_an_allowed_list_is_paired_by_position() -> None:
    store = store_with(3)
    with connected(store, list_selections=True) as sink:
        sink._client.update_records("parts", [{"id": 3}, {"id": 1}], [{"note": "third"}, {"note": "first"}])
        sink._client.delete_records("parts", [{"id": 2}])
        with pytest.raises(ConfigError, match="as many"):
            sink._client.update_records("parts", [{"id": 3}, {"id": 1}], [{"note": "one for two"}])
    assert {key: record["note"] for key, record in kept(store).items()} == {1: "first", 3: "third"}


def test_another_declared_key_selects_instead_of_the_id() -> None:
    store = store_with(3)
    with connected(store, streams={"parts": {"key": ["number"]}}) as sink:
        (receipt,) = written(sink, [Change(0, "update", {}, {"note": "by number"}, "P2")])
        with pytest.raises(ConfigError, match="number"):
            sink._client.delete_records("parts", {"id": 1})
    assert receipt.result is Result.APPLIED
    assert kept(store)[3]["note"] == "by number"


def test_credentials_that_stop_working_leave_the_rest_unsent() -> None:
    store = store_with(3)
    with connected(store) as sink:
        changes = [Change(n, "update", {}, {"note": str(n)}, n + 1) for n in range(3)]
        receipts = sink.write(sink.stream("parts"), changes)
        first = next(receipts)
        store.secret = "rotated"
        rest = list(receipts)
        assert first.result is Result.APPLIED
        assert [receipt.result for receipt in rest] == [Result.NOT_SENT, Result.NOT_SENT]
        with pytest.raises(ConfigError, match="credentials"):
            list(sink.write(sink.stream("parts"), changes))


@pytest.mark.parametrize("op", ["update", "delete"])
def test_nothing_is_changed_where_a_selection_by_id_finds_other_records_too(op: str) -> None:
    store = store_with(5, match="ignored")
    before = {key: dict(record) for key, record in kept(store).items()}
    change = Change(0, op, {"number": "P1"}, {"note": "new"} if op == "update" else {}, 2)  # type: ignore[arg-type]
    with connected(store) as sink:
        for _ in range(2):
            with pytest.raises(ConfigError, match="found 4 others"):
                written(sink, [change])
        assert sink.request_counts() == {"read": 1, "write": 0}
    assert kept(store) == before


def test_writing_stops_at_the_first_answer_that_speaks_of_more_than_the_record_selected() -> None:
    store = Careless(people=0, orgs=0, invoices=0)
    store.add_resource("parts", [{"number": f"P{n}"} for n in range(3)])
    updates = [Change(n, "update", {"number": f"P{n}"}, {"note": "new"}, n + 1) for n in range(3)]
    with connected(store) as sink:
        receipts = written(sink, updates)
        with pytest.raises(ConfigError, match="was answered with 3"):
            written(sink, updates[:1])
        assert sink.request_counts()["write"] == 1
    assert [receipt.result for receipt in receipts] == [Result.UNKNOWN, Result.NOT_SENT, Result.NOT_SENT]


def test_one_look_proves_that_a_selection_by_id_finds_one_record() -> None:
    store = store_with(5)
    with connected(store) as sink:
        written(sink, [Change(n, "update", {"number": f"P{n}"}, {"note": "new"}, n + 1) for n in range(4)])
        written(sink, [Change(9, "delete", {"number": "P4"}, {}, 5)])
        assert sink.request_counts() == {"read": 1, "write": 5}


@pytest.mark.parametrize("way", SWITCHES["update_answers"])
def test_updating_stops_at_the_first_record_whose_other_fields_an_update_clears_and_they_are_put_back(way: str) -> None:
    store = store_with(4, updation="replaces", update_answers=way)
    before = {key: dict(record) for key, record in kept(store).items()}
    with connected(store) as sink:
        receipts = written(sink, [Change(n, "update", {"number": f"P{n}"}, {"note": "new"}, n + 1) for n in range(3)])
        assert sink.request_counts()["write"] == 2
        with pytest.raises(ConfigError, match="cleared lines, number, which it did not name, in 'parts'"):
            written(sink, [Change(9, "delete", {"number": "P3"}, {}, 4)])
    assert [receipt.result for receipt in receipts] == [receipts[0].result, Result.NOT_SENT, Result.NOT_SENT]
    assert receipts[0].result in (Result.APPLIED, Result.ACCEPTED)
    assert kept(store) == before | {1: before[1] | {"note": "new"}}


def test_one_update_proves_that_updates_leave_other_fields_alone() -> None:
    store = store_with(5, update_answers="nothing")
    with connected(store) as sink:
        for note in ("new", "newer"):
            written(sink, [Change(n, "update", {"number": f"P{n}"}, {"note": note}, n + 1) for n in range(4)])
        assert sink.request_counts() == {"read": 2, "write": 8}
