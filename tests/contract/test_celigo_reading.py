"""Reading Celigo whatever its document leaves open turns out to be: what was read is right, or it is not called complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from connectors.base import ReadRequest
from connectors.celigo.demo import user
from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import SWITCHES, Store
from connectors.celigo.sink import CeligoSink
from connectors.errors import ConfigError, ContractError
from tests.contract.celigo_platform import CeligoPlatform, flat
from tests.contract.connector_suite import ids, opened, ports, read, same
from tests.loopback import RawServer, answer, serving

READING = [(name, value) for name in SWITCHES for value in SWITCHES[name] if list(SWITCHES).index(name) < list(SWITCHES).index("put")]


@contextmanager
def connected(store: Store, **settings: Any) -> Iterator[tuple[CeligoPlatform, Any]]:
    """The store served, and a connection to it; the store keeps what it holds."""
    with serving(create_app(store)) as base_url:
        platform = CeligoPlatform(base_url, store, empty=False)
        with opened(platform, **settings) as sink:
            yield platform, sink


def whole(sink: Any, **request: Any) -> Any:
    return read(sink, sink.stream("stacks"), ReadRequest(**request))


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, v in READING if v not in ("…", "other_host", "repeated", "listed", "shuffled")])
def test_whatever_the_silence_every_stack_is_read_once(name: str, value: str) -> None:
    store = Store(servers=8, lambdas=6, page_size="4", **({name: value} if name != "page_size" else {}))
    store.remove(next(iter(store.stacks)))
    with connected(store) as (platform, sink):
        records, proof = whole(sink, proof=True)
    expected = [flat(store.stacks[stack["_id"]]) for stack in platform.store.stacks.values()]
    if name == "masks_key_ids" and value == "yes":
        for record in expected:
            if record["type"] == "lambda":
                del record["lambda.accessKeyId"]
    assert same(records, expected)
    assert proof.complete, proof.reasons


def test_a_list_in_another_order_for_every_page_is_read_whole_or_not_called_complete() -> None:
    store = Store(servers=20, lambdas=0, page_size="7", order="shuffled")
    with connected(store) as (_, sink):
        for _ in range(5):
            records, proof = whole(sink)
            assert ids(records, sink.stream("stacks")) == set(store.stacks) or not proof.complete


def test_a_link_to_another_host_is_not_followed() -> None:
    with (
        connected(Store(page_size="2", next_link="other_host")) as (_, sink),
        pytest.raises(ContractError, match=r"links to https?://\S+, away from"),
    ):
        whole(sink)


@pytest.mark.parametrize("operation", ["read", "call"])
def test_a_link_that_leads_back_ends_the_read_with_an_error(operation: str) -> None:
    store = Store(page_size="2", next_link="repeated")
    with connected(store) as (_, sink), pytest.raises(ContractError, match="did not end after"):
        whole(sink) if operation == "read" else sink.client.list_stacks()
    assert len(store.log) < 10


@pytest.mark.parametrize(("paging", "changes"), [("offset", 9), ("keyset", 9), ("offset", 1000), ("keyset", 1000)])
def test_two_thousand_stacks_that_come_and_go_are_read_right_or_declared_incomplete(paging: str, changes: int) -> None:
    store = Store(servers=2000, lambdas=0, page_size="200", paging=paging)
    with connected(store) as (platform, sink):
        start = set(store.stacks)
        moves = iter(range(changes))

        def churn() -> None:
            if next(moves, None) is not None:
                platform.insert()
                for _ in range(3):
                    platform.remove()

        platform.before_each_read(churn)
        records, proof = whole(sink)
        assert proof.complete is (changes < 1000), proof.reasons
        assert start & set(store.stacks) <= ids(records, sink.stream("stacks")) or not proof.complete
        assert proof.requests == sum(entry["path"].startswith("/v1/stacks") for entry in store.log) <= 40


def test_a_list_of_one_page_takes_one_request_and_proves_itself() -> None:
    store = Store()
    with connected(store) as (_, sink):
        assert whole(sink)[1].complete
    assert len(store.log) == 1


def test_a_second_read_may_be_kept_for_proofs() -> None:
    with connected(Store(page_size="3"), second_read="for_proof") as (_, sink):
        once, proven = whole(sink), whole(sink, proof=True)
    assert (once[1].complete, once[1].requests, proven[1].complete, proven[1].requests) == (False, 3, True, 6)
    assert same(once[0], proven[0])


def test_a_prefix_of_the_address_is_kept_on_every_page() -> None:
    store = Store(page_size="3")
    with serving(Starlette(routes=[Mount("/celigo", create_app(store))])) as base_url:
        platform = CeligoPlatform(base_url + "/celigo", store)
        platform.fill(7)
        with opened(platform) as sink:
            assert len(whole(sink)[0]) == 7


def test_an_address_may_hold_the_version() -> None:
    store = Store()
    with serving(create_app(store)) as base_url:
        platform = CeligoPlatform(base_url + "/v1/", store)
        store.set_switch("page_size", "2")
        platform.fill(5)
        with opened(platform) as sink:
            assert len(whole(sink)[0]) == 5


@pytest.mark.parametrize(("mark", "count"), [("deletedAt", 6), ("", 7), ("binned", 7)])
def test_a_stack_in_the_recycle_bin_is_left_out_by_its_mark(mark: str, count: int) -> None:
    store = Store(deleted="marked", deleted_get="200")
    gone = next(iter(store.stacks))
    store.remove(gone)
    with connected(store, deleted_mark=mark) as (_, sink):
        records, proof = whole(sink)
        looked_up, _ = whole(sink, keys=({"_id": gone},))
    assert (len(records), len(looked_up)) == (count, int(count == 7))
    assert ("recycle bin" in " ".join(proof.reasons)) is (count == 6)


def test_undocumented_fields_are_left_out_or_read_as_one_without_masks() -> None:
    store = Store(servers=1, lambdas=0, extra_fields="yes")
    with connected(store) as (_, sink):
        assert "undocumented" not in whole(sink)[0][0]
    with connected(store, undocumented_fields="read") as (_, sink):
        assert "undocumented" in sink.stream("stacks").read_only
        assert whole(sink)[0][0]["undocumented"] == {"_userId": "u1", "shared": False, "notes": {"by": "ada"}}


def test_fields_that_were_not_asked_for_are_left_out_without_a_projection_of_the_platform() -> None:
    store = Store(servers=1, lambdas=1)
    with connected(store) as (_, sink):
        records, _ = whole(sink, fields=("name", "server.hostURI"))
    assert {frozenset(record) for record in records} == {frozenset({"_id", "name", "server.hostURI"})}
    assert {entry["path"] for entry in store.log} == {"/v1/stacks"}


def test_stacks_are_looked_up_by_id_one_by_one() -> None:
    store = Store()
    one = next(iter(store.stacks))
    with connected(store) as (_, sink):
        records, proof = whole(sink, keys=({"_id": one}, {"_id": "f" * 24}, {"_id": None}))
    assert [record["_id"] for record in records] == [one]
    assert (proof.method, proof.requests) == ("by keys", 2)


def test_dependencies_are_listed_stack_by_stack_each_under_a_key_of_its_own() -> None:
    store = Store(servers=3, lambdas=0)
    one, two, three = store.stacks
    store.use(one, {"flows": [user("a", "A"), user("b", "B")], "imports": [user("a", "A")]})
    store.use(two, {})
    store.use(three, {"flows": [user("a", "A")]})
    with connected(store) as (_, sink):
        stream = sink.stream("dependencies")
        records, proof = read(sink, stream, ReadRequest(proof=True))
        of_three, _ = read(sink, stream, ReadRequest(keys=({"stackId": three, "type": "flows"},), fields=("name",)))
    assert len({record["key"] for record in records}) == len(records) == proof.count == 4
    assert (proof.complete, proof.requests) == (True, 4)
    assert {(record["stackId"], record["type"]) for record in records} == {(one, "flows"), (one, "imports"), (three, "flows")}
    assert set(records[0]) == set(stream.schema.names)
    assert [set(record) for record in of_three] == [{"key", "name"}]


def test_every_documented_field_is_declared_so_that_syncs_are_checked_without_asking() -> None:
    settings = CeligoPlatform.connector.settings(connector="celigo", token="t")
    sink = CeligoSink(settings, ports())
    stacks, dependencies = sink.streams()
    assert stacks.schema is not None
    assert set(stacks.schema.names) == {*flat({"type": "server"})}
    assert stacks.write_only <= stacks.read_only
    assert dependencies.capabilities.create is None
    with pytest.raises(ConfigError, match="there are stacks and dependencies"):
        sink.stream("stack")
    assert dict(sink.request_counts()) == {"read": 0, "write": 0}
    sink.close()


@pytest.mark.parametrize(
    ("include", "exclude"), [("name", "type"), ("a-b", None), ("name,", None), (None, "na me"), ("a[]", None), (["name"], None)]
)
def test_a_projection_that_would_be_refused_is_not_sent(include: Any, exclude: Any) -> None:
    store = Store()
    with connected(store) as (_, sink), pytest.raises(ConfigError):
        sink.client.list_stacks(include=include, exclude=exclude)
    assert store.log == []


@pytest.mark.parametrize("settings", [{}, {"secret_access_keys": {}}, {"second_read": "for_proof"}])
def test_a_check_tells_what_a_person_should_know(settings: dict[str, Any]) -> None:
    store = Store(extra_fields="yes", page_size="8", deleted="marked", servers=6, lambdas=2)
    store.remove(next(iter(store.stacks)))
    with connected(store, **settings) as (_, sink):
        told = {finding.subject: finding for finding in sink.check()}
    assert set(told) == {"credentials", "stacks", "names", "recycle bin", "fields", "secrets"}
    assert "notes" in told["fields"].detail
    assert "2 of 2 lambda stacks" in told["secrets"].detail
    assert len(store.log) == 1


def test_a_check_against_what_is_no_celigo_says_so() -> None:
    with RawServer(lambda n, request: answer(200, b'{"message": "hello"}', {"content-type": "application/json"})) as server:
        sink = CeligoSink(CeligoPlatform.connector.settings(connector="celigo", token="t", base_url=server.base_url), ports())
        (finding,) = sink.check()
        sink.close()
    assert not finding.ok
    assert "api.eu.integrator.io" in finding.suggestion
