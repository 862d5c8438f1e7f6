"""Reading Robostack whatever its undocumented answers turn out to be: right, or declared incomplete, or refused; never silently wrong."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from connectors.base import JsonBody, ReadRequest, Since
from connectors.errors import ConfigError, ContractError
from connectors.http import Answer
from connectors.robostack import CONNECTOR
from connectors.robostack.answers import found_in
from connectors.robostack.emulator import create_app
from connectors.robostack.emulator_store import SWITCHES, Resource, Store, decode
from connectors.robostack.sink import RobostackSink
from connectors.robostack.source import suspicious
from connectors.settings import Ports
from pipelines.ports import SystemRng
from tests.clock import FakeClock
from tests.contract.connector_suite import read, same
from tests.loopback import serving

PROOF = ReadRequest(proof=True)


@contextmanager
def connected(store: Store, **settings: Any) -> Iterator[RobostackSink]:
    given = {"connector": "robostack", "api_key": "demo", "api_secret": "demo", "app_uuid": store.app_uuid, **settings}
    with serving(create_app(store)) as base_url:
        sink = CONNECTOR.open(CONNECTOR.settings(base_url=base_url, **given), Ports(FakeClock(), SystemRng()))
        assert isinstance(sink, RobostackSink)
        yield sink
        sink.close()


def store_with(count: int, **switches: Any) -> Store:
    store = Store(people=0, orgs=0, invoices=0, **switches)
    store.add_resource("parts", ({"number": f"P{n}", "note": None if n % 2 else "x", "lines": [{"id": n}]} for n in range(count)))
    return store


READING = [(name, value) for name in list(SWITCHES)[: list(SWITCHES).index("create_status")] for value in SWITCHES[name]]


@pytest.mark.parametrize("count", [0, 1, 7, 107])
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v in READING if not v.startswith("…")])
def test_whatever_is_silent_a_read_is_right_or_says_that_it_proves_nothing(name: str, value: str, count: int) -> None:
    store = store_with(count, **{name: value})
    held = [decode(store.shown(store.resources["parts"], key)) for key in store.resources["parts"].records]
    with connected(store) as source:
        if (name, value, count) == ("none_found", "404", 0):
            with pytest.raises(ConfigError):
                read(source, source.stream("parts"), PROOF)
            return
        records, proof = read(source, source.stream("parts"), PROOF)
    assert same(records, held)
    assert proof.complete or (count == 0 and value in ("empty", "null", "object"))


@pytest.mark.parametrize("cap", [100, 250, 1000])
def test_a_silent_cap_is_suspected(cap: int) -> None:
    with connected(store_with(cap + 7, result_cap=str(cap))) as source:
        records, proof = read(source, source.stream("parts"), PROOF)
    assert len(records) == cap
    assert not proof.complete
    assert any("silent cap" in reason for reason in proof.reasons)


def test_a_round_count_is_believed_where_the_setting_says_that_there_is_no_cap() -> None:
    with connected(store_with(200), result_cap="none") as source:
        assert read(source, source.stream("parts"), PROOF)[1].complete


def test_a_known_cap_that_is_reached_proves_nothing_and_below_it_all_is_fine() -> None:
    with connected(store_with(37), result_cap=37) as source:
        assert not read(source, source.stream("parts"), PROOF)[1].complete
    with connected(store_with(200), result_cap=201) as source:
        assert read(source, source.stream("parts"), PROOF)[1].complete


@pytest.mark.parametrize(
    ("count", "is_suspicious"),
    [(0, False), (1, False), (99, False), (100, True), (250, True), (256, True), (1500, True), (1501, False)],
)
def test_round_counts_are_suspicious(count: int, is_suspicious: bool) -> None:
    assert bool(suspicious(count, "unknown")) is is_suspicious
    assert not suspicious(count, "none")


def test_one_read_alone_proves_nothing_and_costs_one_request() -> None:
    with connected(store_with(7)) as source:
        records, proof = read(source, source.stream("parts"), ReadRequest())
        assert source.request_counts() == {"read": 1, "write": 0}
    assert len(records) == 7
    assert (proof.complete, proof.method, proof.requests) == (False, "single answer", 1)


def test_two_equal_reads_prove_and_are_two_requests() -> None:
    with connected(store_with(7, order="shuffled")) as source:
        _, proof = read(source, source.stream("parts"), PROOF)
    assert (proof.complete, proof.method, proof.requests) == (True, "two equal reads", 2)


def test_records_that_keep_changing_prove_nothing() -> None:
    store = store_with(7)
    store.before_find = lambda: store.put(store.resources["parts"], [{"id": 3, "number": str(store.rng.random())}])
    with connected(store) as source:
        records, proof = read(source, source.stream("parts"), PROOF)
    assert len(records) == 7
    assert not proof.complete
    assert proof.requests == 3


def test_one_change_between_the_reads_costs_a_third_read_only() -> None:
    store = store_with(7)
    finds = iter(range(9))

    def happens() -> None:
        if next(finds) == 1:
            store.put(store.resources["parts"], [{"id": 3, "number": "changed"}])

    store.before_find = happens
    with connected(store) as source:
        records, proof = read(source, source.stream("parts"), PROOF)
    assert {"id": 3, "number": "changed"} in records
    assert (proof.complete, proof.requests) == (True, 3)


def test_everything_is_handed_on_in_its_bytes() -> None:
    with connected(store_with(3, envelope="data.records")) as source:
        (page,) = source.read(source.stream("parts"), ReadRequest())
    assert isinstance(page.records, JsonBody)
    assert page.records.path == ("data", "records")
    assert page.server_date is not None


def test_the_way_to_find_everything_is_found_once_and_kept() -> None:
    store = store_with(3, empty_selection="refused", absent_selection="none")
    with connected(store) as source:
        for _ in range(2):
            assert len(read(source, source.stream("parts"), ReadRequest())[0]) == 3
    assert [entry["body"] for entry in store.log] == ['{"selection":{}}', "{}", "", ""]


def test_a_platform_that_finds_nothing_without_a_filter_is_a_setting_to_make() -> None:
    store = store_with(3, empty_selection="refused", absent_selection="refused", no_body="refused")
    with connected(store) as source, pytest.raises(ConfigError, match="find_all"):
        read(source, source.stream("parts"), ReadRequest())


def test_a_find_all_that_is_set_is_the_only_one_tried() -> None:
    store = store_with(0)
    with connected(store, find_all="empty") as source:
        read(source, source.stream("parts"), ReadRequest())
    assert [entry["body"] for entry in store.log] == ["{}"]


def test_404_means_a_wrong_name_unless_the_setting_says_nothing_found() -> None:
    store = store_with(0, none_found="404")
    with connected(store) as source, pytest.raises(ConfigError, match="find_404"):
        read(source, source.stream("parts"), ReadRequest())
    with connected(store, find_404="no_records") as source:
        assert read(source, source.stream("parts"), PROOF)[0] == []


def test_a_key_that_is_answered_404_is_not_found_where_the_resource_is_known() -> None:
    with connected(store_with(3, none_found="404")) as source:
        records, proof = read(source, source.stream("parts"), ReadRequest(keys=({"number": "P9"}, {"number": "P1"})))
        assert [record["number"] for record in records] == ["P1"]
        assert proof.complete
        with pytest.raises(ConfigError, match="nowhere"):
            read(source, source.stream("nowhere"), ReadRequest(keys=({"number": "P9"},)))


def test_keys_are_looked_up_exactly_even_if_the_platform_is_not_exact() -> None:
    store = store_with(0, match="case_insensitive")
    store.add_resource("parts", [{"number": "A"}, {"number": "a"}])
    with connected(store) as source:
        records, proof = read(source, source.stream("parts"), ReadRequest(keys=({"number": "a"},)))
    assert [record["id"] for record in records] == [2]
    assert proof.method == "by keys"


def test_a_filter_that_is_ignored_is_noticed_and_replaced_by_one_full_read() -> None:
    store = store_with(60, match="ignored")
    keys = tuple({"number": f"P{n}"} for n in range(20))
    with connected(store) as source:
        records, proof = read(source, source.stream("parts"), ReadRequest(keys=keys))
    assert [record["number"] for record in records] == [f"P{n}" for n in range(20)]
    assert proof.requests == 2
    assert any("filter was not kept" in reason for reason in proof.reasons)


def test_a_record_that_two_keys_find_comes_once() -> None:
    with connected(store_with(3)) as source:
        records, _ = read(source, source.stream("parts"), ReadRequest(keys=({"number": "P1"}, {"id": 2})))
    assert len(records) == 1


def test_ids_keep_their_kind() -> None:
    for kind, first in (("int", 1), ("text", "r00000001")):
        with connected(store_with(1, ids=kind)) as source:
            records, _ = read(source, source.stream("parts"), ReadRequest(keys=({"id": first},)))
        assert records[0]["id"] == first


def test_since_reads_everything_and_says_so() -> None:
    with connected(store_with(3)) as source:
        records, proof = read(source, source.stream("parts"), ReadRequest(since=Since("number", "P1")))
    assert len(records) == 3
    assert any("everything was read" in reason for reason in proof.reasons)


def test_a_single_record_with_a_list_inside_is_a_record_and_not_an_envelope() -> None:
    with connected(store_with(1, envelope="single")) as source:
        records, _ = read(source, source.stream("parts"), ReadRequest())
    assert records[0]["number"] == "P0"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"records":[{"id":1}],"total":2}', "there are 2 records and holds 1"),
        ('{"records":[{"id":1}],"has_more":true}', "more records follow"),
        ('{"records":[{"id":1}],"next_page_token":"x"}', "more records follow"),
        ('[{"id":1},{"id":1}]', "the id of another one"),
        ('[{"id":1},{"name":"hidden"}]', "have no id"),
        ("{}", "may mean something else"),
    ],
)
def test_what_an_answer_says_against_itself_is_a_reason(body: str, reason: str) -> None:
    transport = _answering(200, body.encode())
    given: dict[str, Any] = {"connector": "robostack", "api_key": "k", "api_secret": "s", "app_uuid": "a"}
    source = CONNECTOR.open(CONNECTOR.settings(base_url="https://robostack.example", **given), Ports(FakeClock(), SystemRng(), transport))
    _, proof = read(source, source.stream("parts"), PROOF)
    assert not proof.complete
    assert any(reason in one for one in proof.reasons), proof.reasons


@pytest.mark.parametrize(
    "body", ['{"error":"permission denied"}', '{"a":[{"id":1}],"b":[{"id":2}]}', "<html>", "[1,2]", '"text"', "3", '{"message":"no"}']
)
def test_an_answer_that_is_not_understood_is_a_broken_contract_and_never_no_records(body: str) -> None:
    with pytest.raises(ContractError):
        found_in(Answer(200, {}, body.encode(), None), "id", None)


def test_records_at_tells_which_of_two_lists_holds_the_records() -> None:
    body = json.dumps({"included": [{"id": 9}], "data": {"rows": [{"id": 1}, {"id": 2}]}}).encode()
    found = found_in(Answer(200, {}, body, None), "id", "data.rows")
    assert [record["id"] for record in found.decoded()] == [1, 2]


def test_a_check_tells_whether_a_misspelt_resource_would_be_noticed() -> None:
    declared = {"streams": {"parts": {"key": ["id"]}}}
    for unknown, noticed in (("404", True), ("empty", False)):
        with connected(store_with(3, unknown_resource=unknown), **declared) as source:
            of = {finding.subject: finding for finding in source.check()}
            assert source.request_counts()["write"] == 0
        assert of["unknown resource"].ok is noticed
        assert of["stream parts"].ok
        assert "3 records" in of["stream parts"].detail


def test_a_check_without_declared_streams_says_what_to_declare() -> None:
    with connected(store_with(3)) as source:
        assert any("streams" in finding.suggestion for finding in source.check() if not finding.ok)


def test_declared_streams_are_listed_and_others_may_be_named() -> None:
    streams = {"parts": {"key": ["sku"], "schema": {"sku": "string", "price": "decimal(12,2)"}, "cursor": "at", "natural_key": ["name"]}}
    with connected(store_with(0), streams=streams) as source:
        (parts,) = source.streams()
        assert (parts.id_field, parts.cursors, parts.natural_key) == ("sku", ("at",), ("name",))
        assert parts.schema is not None
        assert str(parts.schema.field("price").type) == "decimal128(12, 2)"
        assert source.stream("others").id_field == "id"
        assert source.request_counts() == {"read": 0, "write": 0}


def test_fifty_thousand_records_are_one_answer() -> None:
    store = Store(people=50_000, orgs=0, invoices=0)
    with connected(store) as source:
        (page,) = source.read(source.stream("people"), ReadRequest())
    assert page.count == 50_000


def _answering(status: int, body: bytes) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(status, content=body))


@pytest.mark.parametrize("match", ["exact", "case_insensitive", "as_text", "ignored"])
def test_a_key_is_said_to_be_missing_only_where_selections_find_what_is_there(match: str) -> None:
    with connected(store_with(13, match=match)) as sink:
        stream = sink.stream("parts")
        for nobody in ("P77", "P88"):
            records, proof = read(sink, stream, ReadRequest(keys=({"number": nobody},)))
            assert records == []
            assert proof.complete, proof
        asked = sink.request_counts()["read"]
    assert asked <= (6 if match == "ignored" else 4), "each look-up, and once everything and a record that is there"


def test_a_selection_that_finds_nothing_that_is_there_is_not_believed() -> None:
    class Forgetful(Store):
        def select(self, resource: Resource, selection: dict[str, Any]) -> list[int | str]:
            return [] if selection else super().select(resource, selection)

    store = Forgetful(people=0, orgs=0, invoices=0)
    store.add_resource("parts", [{"number": f"P{n}"} for n in range(7)])
    with connected(store) as sink:
        records, proof = read(sink, sink.stream("parts"), ReadRequest(keys=({"number": "P3"}, {"number": "P9"})))
    assert [record["number"] for record in records] == ["P3"]
    assert "did not find a record that is there" in " ".join(proof.reasons)


@pytest.mark.parametrize(("cap", "count", "doubted"), [("0", 20, True), ("0", 21, False), ("0", 0, False), ("100", 130, True)])
def test_a_read_says_where_records_may_be_hidden_behind_a_cap(cap: str, count: int, doubted: bool) -> None:
    for settings in ({}, {"result_cap": "none"}):
        with connected(store_with(count, result_cap=cap), **settings) as sink:
            _, proof = read(sink, sink.stream("parts"), ReadRequest())
        assert bool(proof.doubts) is (doubted and not settings), proof
