"""Whatever Stacker's documents leave open: each read is right, or declared incomplete, or refused with a clear error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.arrow import records_of
from connectors.base import Completeness, ReadRequest, Record, Since
from connectors.errors import ConfigError, ConnectorError, ContractError
from connectors.stacker import CONNECTOR
from connectors.stacker.emulator import create_app
from connectors.stacker.emulator_objects import Object, decode
from connectors.stacker.emulator_store import SWITCHES, Store
from connectors.stacker.search import says_none
from connectors.stacker.sink import StackerSink
from tests.contract.connector_suite import ports, same
from tests.loopback import serving

COUNT, PAGE = 130, 50
FLIPS = [
    (name, "30" if choice == "…" else choice)
    for name, choices in SWITCHES.items()
    for choice in choices[1:]
    if name not in ("latency_ms", "max_text")
]
PAIRS = [
    {"total": "absent", "gt": "numeric"},
    {"total": "absent", "gt": "case_insensitive", "sids": "mixed"},
    {"total": "page", "gt": "numeric"},
    {"total": "capped", "order_by": "ignored"},
    {"total": "page", "page_cap": "25", "order_by": "refused"},
    {"total": "absent", "order_by": "ignored", "unordered": "shuffled"},
    {"order_by": "case_insensitive", "gt": "case_insensitive", "sids": "mixed"},
    {"filter_join": "or", "total": "absent"},
    {"empty_list": "null", "total": "absent"},
    {"empty_list": "omitted", "total": "absent"},
    {"include_fields": "exact", "eq": "case_insensitive", "total": "absent"},
]
WAYS = [{name: value} for name, value in FLIPS] + PAIRS


def pairs(way: dict[str, str]) -> str:
    return "+".join(f"{name}={value}" for name, value in way.items())


@contextmanager
def connected(store: Store, **settings: Any) -> Iterator[StackerSink]:
    with serving(create_app(store)) as base_url:
        given = {"connector": "stacker", "base_url": base_url, "integration_key": "demo", "account_id": "acc_demo", "stack_id": "stk_demo"}
        sink = CONNECTOR.open(CONNECTOR.settings(**{**given, "page_size": PAGE, **settings}), ports())
        assert isinstance(sink, StackerSink)
        try:
            yield sink
        finally:
            sink.close()


def parts(store: Store) -> Object:
    """An object whose sids, numbers and times are what a filter may get wrong."""
    records = (
        {"number": f"p{n % 40:03d}-{n}", "stock": n % 7, "changed": f"2025-03-{1 + n // 10:02d}T10:00:{n % 10:02d}Z"} for n in range(COUNT)
    )
    return store.add_object("parts", records)


def read(sink: StackerSink, request: ReadRequest) -> tuple[list[Record], Completeness]:
    reading = sink.read(sink.stream("parts"), request)
    records: list[Record] = []
    for page in reading:
        held = page.records if isinstance(page.records, list) else records_of(page.records)
        records += [record for position, record in enumerate(held) if position not in page.drop]
    return records, reading.completeness


def truth(store: Store, held: Object) -> list[Record]:
    return [decode(store.shown(held, sid, None)) for sid in held.records]


@pytest.mark.parametrize("way", WAYS, ids=pairs)
def test_no_silence_of_the_documents_makes_a_read_silently_wrong(way: dict[str, str]) -> None:
    store = Store(contacts=0, companies=0, orders=0, **way)
    held = parts(store)
    everything = truth(store, held)
    with connected(store) as sink:
        for proof in (False, True):
            records, certificate = read(sink, ReadRequest(proof=proof))
            assert same(records, everything) or not certificate.complete, certificate
            if way != {"gt": "numeric", "total": "absent"}:  # a filter that loses records, and no total to show it
                assert len({record["sid"] for record in records}) == COUNT or not certificate.complete

        first = everything[60]["changed"]
        wanted = {record["sid"] for record in everything if record["changed"] >= first}
        records, certificate = read(sink, ReadRequest(since=Since("changed", first)))
        assert wanted <= {record["sid"] for record in records} or not certificate.complete, certificate

        wanted = {record["sid"] for record in everything if first <= record["changed"] < "2025-03-09"}
        records, certificate = read(sink, ReadRequest(since=Since("changed", first, "2025-03-09T00:00:00Z")))
        assert {record["sid"] for record in records} == wanted or not certificate.complete, certificate

        keys: tuple[Record, ...] = (
            {"number": everything[7]["number"]},
            {"number": "P007-7"},
            {"number": everything[9]["number"], "stock": 2},
        )
        records, certificate = read(sink, ReadRequest(keys=keys))
        assert [record["sid"] for record in records] in (
            [everything[7]["sid"], everything[9]["sid"]],
            [everything[9]["sid"], everything[7]["sid"]],
        )
        records, certificate = read(sink, ReadRequest(keys=({"sid": everything[3]["sid"]}, {"sid": "rec_nobody"})))
        assert same(records, [everything[3]])

        records, certificate = read(sink, ReadRequest(fields=("stock",)))
        assert {(record["sid"], record["stock"]) for record in records} == {(record["sid"], record["stock"]) for record in everything} or (
            not certificate.complete
        )


def test_a_page_size_that_is_refused_names_the_setting_and_works_when_it_is_set() -> None:
    store = Store(contacts=0, companies=0, orders=0, page_cap="30", over_cap="refused")
    held = parts(store)
    for request in (ReadRequest(), ReadRequest(fields=("stock",)), ReadRequest(proof=True)):
        with connected(store) as sink, pytest.raises(ConfigError, match=f"count is at most 30.*no {PAGE} records at once, set page_size"):
            read(sink, request)
    with connected(store, page_size=30) as sink:
        records, certificate = read(sink, ReadRequest(proof=True))
    assert (len(records), certificate.complete) == (len(held.records), True)


def test_a_look_up_that_finds_nothing_is_believed_only_where_eq_finds_what_is_there() -> None:
    store = Store(contacts=0, companies=0, orders=0, eq="never")
    held = parts(store)
    with connected(store) as sink:
        records, certificate = read(sink, ReadRequest(keys=({"number": "p007-7"}, {"number": "none"})))
    assert [record["number"] for record in records] == ["p007-7"]
    assert "did not find a record that is there" in certificate.reasons[0]
    assert held.records


def test_an_unchanged_source_is_one_request_for_an_incremental_read() -> None:
    store = Store(contacts=0, companies=0, orders=0)
    held = parts(store)
    with connected(store) as sink:
        stream = sink.stream("parts")
        before = sink.request_counts()["read"]
        last = max(record["changed"] for record in held.records.values())
        reading = sink.read(stream, ReadRequest(since=Since("changed", last)))
        pages = list(reading)
        assert [page.count for page in pages] == [2]  # asked from two seconds before
        assert [len(page.drop) for page in pages] == [1]
        assert sink.request_counts()["read"] - before == 1
    assert reading.completeness.method == "since"


def test_a_window_without_records_is_believed_only_where_the_filter_lets_in_what_it_must() -> None:
    for gt, expected in (("works", "since"), ("numeric", "offset with overlap")):
        store = Store(contacts=0, companies=0, orders=0, gt=gt)
        parts(store)
        with connected(store) as sink:
            records, certificate = read(sink, ReadRequest(since=Since("changed", "2025-06-01T00:00:00Z")))
        assert records == []
        assert certificate.method == expected
        assert certificate.complete
        assert any("everything was read" in reason for reason in certificate.reasons) is (gt == "numeric")


def test_a_filter_that_is_ignored_makes_a_full_read_that_says_so() -> None:
    store = Store(contacts=0, companies=0, orders=0, gt="ignored")
    held = parts(store)
    last = max(record["changed"] for record in held.records.values())
    with connected(store) as sink:
        records, certificate = read(sink, ReadRequest(since=Since("changed", last)))
    assert [record["changed"] for record in records] == [last]
    assert any("is ignored, so everything was read" in reason for reason in certificate.reasons)


def test_a_cursor_of_unknown_form_is_read_whole() -> None:
    store = Store(contacts=0, companies=0, orders=0)
    parts(store)
    with connected(store) as sink:
        records, certificate = read(sink, ReadRequest(since=Since("number", "p007-7")))
    assert len(records) == COUNT
    assert "no bound can be asked for" in " ".join(certificate.reasons)


def test_a_read_of_fifty_thousand_records_is_fifty_requests() -> None:
    store = Store(contacts=50_000, companies=0, orders=0)
    with connected(store, page_size=None) as sink:
        stream = sink.stream("contacts")
        before = sink.request_counts()["read"]
        reading = sink.read(stream, ReadRequest())
        assert sum(page.count for page in reading) == 50_000
        assert sink.request_counts()["read"] - before == 50
    assert reading.completeness.complete


@pytest.mark.parametrize(("switch", "ends"), [("accounts", "set account_id"), ("stacks", "objects")])
def test_what_the_key_sees_decides_what_must_be_set(switch: str, ends: str) -> None:
    store = Store(contacts=1, companies=0, orders=0, **{switch: "several"})
    settings: dict[str, Any] = {"account_id": None} if switch == "accounts" else {"stack_id": "stk_other"}
    with connected(store, **settings) as sink, pytest.raises(ConnectorError, match=ends):
        sink.stream("contacts")


def test_the_lists_are_read_whole_in_one_answer() -> None:
    store = Store(contacts=1, companies=0, orders=0)
    with connected(store) as sink:
        counts = {}
        for name in ("objects", "accounts", "action_buttons"):
            reading = sink.read(sink.stream(name), ReadRequest(proof=True))
            counts[name] = sum(page.count for page in reading)
            assert reading.completeness.complete
    assert counts == {"objects": 8, "accounts": 1, "action_buttons": 3}


@pytest.mark.parametrize("shape", SWITCHES["error_body"])
def test_an_error_of_any_shape_is_one_sentence_without_a_secret(shape: str) -> None:
    store = Store(contacts=1, companies=0, orders=0, error_body=shape)
    with connected(store, stack_id="stk_wrong") as sink, pytest.raises(ConnectorError) as refused:
        sink.stream("contacts")
    assert "demo" not in str(refused.value).replace("acc_demo", "")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("empty", ["null", "omitted"])
def test_an_object_without_records_is_read_as_empty_however_the_empty_list_is_written(empty: str) -> None:
    store = Store(contacts=0, companies=0, orders=0, empty_list=empty)
    store.add_object("parts")
    with connected(store) as sink:
        records, certificate = read(sink, ReadRequest(proof=True))
    assert records == []
    assert certificate.complete


@pytest.mark.parametrize(
    ("body", "none"),
    [
        (b'{"records":null}', True),
        (b'{"count":0,"start":0}', True),
        (b'{"total":0}', True),
        (b'{"records":null,"error":"timeout"}', False),
        (b'{"count":5}', False),
        (b'{"count":false}', False),
        (b'{"message":"try later"}', False),
        (b"[]", False),
    ],
)
def test_an_answer_without_a_list_is_empty_only_where_it_says_so(body: bytes, none: bool) -> None:
    assert says_none(body) is none


@pytest.mark.parametrize(
    ("way", "doubted"), [({}, False), ({"total": "absent"}, False), ({"total": "plus5"}, True), ({"start": "ignored"}, False)]
)
def test_a_read_that_falls_short_says_that_records_may_be_there_which_it_did_not_see(way: dict[str, str], doubted: bool) -> None:
    store = Store(contacts=0, companies=0, orders=0, **way)
    parts(store)
    with connected(store) as sink:
        _, certificate = read(sink, ReadRequest())
    assert bool(certificate.doubts) is doubted, certificate


def test_an_answer_that_cannot_be_read_is_named_with_its_object() -> None:
    class Broken(Store):
        def shown(self, target: Object, sid: str, include: list[str] | None) -> bytes:
            return b'{"sid":"a\xff"}'

    store = Broken(contacts=0, companies=0, orders=0)
    parts(store)
    with connected(store) as sink, pytest.raises(ContractError, match=r"a search of the object 'obj_\w+' was answered 200: .* not UTF-8"):
        read(sink, ReadRequest())
