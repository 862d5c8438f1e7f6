"""Reading Kragle whatever its document leaves open: right, or declared incomplete, or refused; and never from a login that expired."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.base import ReadRequest, Record
from connectors.errors import ConfigError, ConnectorError, ContractError, CredentialsError, RefusedError
from connectors.kragle import CONNECTOR
from connectors.kragle.emulator import create_app
from connectors.kragle.emulator_store import SWITCHES, Store
from connectors.kragle.sink import KragleSink
from connectors.settings import Ports
from pipelines.ports import SystemRng
from tests.clock import FakeClock
from tests.contract.connector_suite import ports, read
from tests.loopback import RawServer, answer, serving

OURS, THEIRS = 7, 8
BLOCK = {"type": "Send Email", "conversion": {"subject": "\u0001/input/title\u0002"}}
READING = list(SWITCHES)[: list(SWITCHES).index("visibility")]
FLIPS = [(name, "7" if choice == "…" else choice) for name in READING for choice in SWITCHES[name][1:] if name != "auth"]
NOT_PROVABLE = {("count", "page"), ("count", "high"), ("order", "shuffled"), ("page", "ignored")}


def store_with(own: int = 45, others: int = 30, **switches: str) -> Store:
    """Stacks of ours and of others, mixed, every third public."""
    store = Store(own=0, others=0, **switches)
    for n in range(max(own, others)):
        if n < own:
            store.add(owner=OURS, name=f"ours {n}", public=n % 3 == 0, blocks=[BLOCK], webhook="token", schedules=[432], enabled=True)
        if n < others:
            store.add(owner=THEIRS, name=f"theirs {n}", public=n % 3 == 0, blocks=[BLOCK])
    return store


@contextmanager
def connected(store: Store, **settings: Any) -> Iterator[KragleSink]:
    """A connection to an emulator of this store."""
    with serving(create_app(store)) as base_url:
        sink = CONNECTOR.open(CONNECTOR.settings(**{"connector": "kragle", "base_url": base_url, "token": "demo", **settings}), ports())
        assert isinstance(sink, KragleSink)
        try:
            yield sink
        finally:
            sink.close()


def names(records: list[Record]) -> set[Any]:
    return {record["name"] for record in records}


def ours(store: Store) -> set[str]:
    return {stack["name"] for stack in store.stacks.values() if stack["owner"] == OURS}


@pytest.mark.parametrize("count", ["auto", "ignore"])
@pytest.mark.parametrize(("switch", "value"), FLIPS)
def test_whatever_the_document_leaves_open_a_read_is_right_or_not_complete(switch: str, value: str, count: str) -> None:
    store = store_with(**{switch: value})
    with connected(store, count=count) as source:
        records, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    if proof.complete:
        assert names(records) == ours(store), proof.reasons
        assert len(records) == len(ours(store))
    provable = (switch, value) not in NOT_PROVABLE or (count == "ignore" and switch == "count")
    assert proof.complete or not provable, proof.reasons


@pytest.mark.parametrize("switch", ["no_jobs", "no_token"])
def test_a_field_that_is_never_shown_can_be_taken_out_of_what_a_proof_asks_for(switch: str) -> None:
    store = store_with(own=0, others=3, **{switch: "absent"})
    store.add(owner=OURS, name="bare", blocks=[BLOCK])
    field = {"no_jobs": "jobs", "no_token": "webhook_token"}[switch]
    with connected(store) as source:
        _, doubted = read(source, source.stream("stacks"), ReadRequest(proof=True))
    rest = [name for name in ("jobs", "webhook_token", "conversion", "state") if name != field]
    with connected(store, owner_fields=rest) as source:
        _, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    assert not doubted.complete
    assert any(field in reason and "owner_fields" in reason for reason in doubted.reasons)
    assert proof.complete


def test_a_thousand_stacks_are_read_whole_with_proof_in_two_ways_through() -> None:
    store = store_with(own=1000, others=200)
    with connected(store) as source:
        records, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    visible = 1000 + sum(stack["public"] for stack in store.stacks.values() if stack["owner"] == THEIRS)
    assert names(records) == ours(store)
    assert proof.complete
    assert proof.requests == 2 * (-(-visible // 20) + 1)


@pytest.mark.parametrize("changes", [1, 2, 200])
def test_a_thousand_stacks_that_come_and_go_are_right_or_declared_incomplete(changes: int) -> None:
    store = store_with(own=1000, others=100, pagesize="50")
    start, left = ours(store), iter(range(changes))

    def churn() -> None:
        if store.counters.get("list", 0) > 3 and next(left, None) is not None:
            old = [key for key, stack in store.stacks.items() if stack["owner"] == OURS]
            store.remove(old[store.rng.randrange(60)])  # on a page that was read: the rest moves up
            store.add(owner=OURS, name=f"new {store.rng.random()}", blocks=[BLOCK])  # and the count stays

    store.before_page = churn
    with connected(store) as source:
        records, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    if proof.complete:
        assert names(records) == ours(store)
    assert proof.complete is (changes < 200)
    assert (start & ours(store)) <= names(records) or not proof.complete


def test_one_way_through_is_never_called_complete() -> None:
    with connected(store_with(3, 0)) as source:
        _, proof = read(source, source.stream("stacks"), ReadRequest())
    assert not proof.complete
    assert proof.requests == 1
    assert "proof" in proof.reasons[-1]


def test_a_change_of_a_block_state_between_two_reads_does_not_disturb_a_proof() -> None:
    store = store_with(30, 0)

    def runs() -> None:
        for stack in store.stacks.values():
            stack["blocks"][0]["state"] = {"input": {}, "output": {"runs": store.rng.random()}}

    store.before_page = runs
    with connected(store) as source:
        _, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    assert proof.complete


# whose stacks, and whose view of them


def expire(store: Store) -> None:
    store.logins.clear()


@pytest.mark.parametrize("settings", [{"owner": OURS}, {"owner": str(OURS)}, {"own_stack": "ours 1"}, {"own_stack": "ours 0"}], ids=repr)
def test_an_expired_login_is_a_credentials_error_where_we_know_who_we_are(settings: dict[str, Any]) -> None:
    store = store_with()
    expire(store)
    with connected(store, **settings) as source, pytest.raises(CredentialsError, match="login"):
        read(source, source.stream("stacks"), ReadRequest())


def test_an_expired_login_is_never_an_empty_account_where_we_do_not_know_who_we_are() -> None:
    store = store_with()
    expire(store)
    with connected(store) as source:
        records, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    assert records == []
    assert not proof.complete


@pytest.mark.parametrize("stream", ["stacks", "blocks", "jobs"])
@pytest.mark.parametrize("after", range(1, 7))
def test_a_login_that_expires_during_a_read_never_makes_it_complete(stream: str, after: int) -> None:
    store = store_with(20, 40, pagesize="10")
    for stack in store.stacks.values():
        stack["public"] = stack["owner"] == THEIRS  # nothing of ours is left to be seen
    pages = iter(range(after))
    store.before_page = lambda: None if next(pages, None) is not None else expire(store)
    with connected(store) as source:
        _, proof = read(source, source.stream(stream), ReadRequest(proof=True))
    assert not proof.complete


def test_the_owner_is_learnt_and_a_later_read_knows_an_expired_login_by_it() -> None:
    store = store_with()
    with connected(store) as source:
        read(source, source.stream("stacks"), ReadRequest())
        expire(store)
        with pytest.raises(CredentialsError):
            read(source, source.stream("stacks"), ReadRequest())


def test_whose_stacks_were_read_is_said_unless_the_settings_say_it() -> None:
    store = store_with()
    for settings, scope in (({}, "owner 7"), ({"owner": 7}, None)):
        with connected(store, **settings) as source:
            assert read(source, source.stream("blocks"), ReadRequest())[1].scope == scope
    expire(store)
    with connected(store) as source:
        assert read(source, source.stream("stacks"), ReadRequest())[1].scope is None


def test_an_account_without_a_stack_is_proven_empty_where_expired_logins_are_refused() -> None:
    store = store_with(0, 30, bad_login="401")
    with connected(store, expired_login="refused") as source:
        records, proof = read(source, source.stream("stacks"), ReadRequest(proof=True))
    assert (records, proof.complete) == ([], True)


def test_a_login_of_somebody_else_than_owner_names_is_a_config_error() -> None:
    with connected(store_with(), owner=THEIRS) as source, pytest.raises(ConfigError, match="owner"):
        read(source, source.stream("stacks"), ReadRequest())


@pytest.mark.parametrize("owners", ["int", "text"])
@pytest.mark.parametrize("owner", [7, "7"])
def test_an_owner_is_the_same_as_number_and_as_text(owners: str, owner: Any) -> None:
    store = store_with(owners=owners)
    with connected(store, owner=owner) as source:
        records, _ = read(source, source.stream("stacks"), ReadRequest())
    assert names(records) == ours(store)


def test_public_stacks_of_others_are_read_where_asked_for_and_then_nothing_is_written() -> None:
    store = store_with()
    with connected(store, public_stacks="include") as source:
        stream = source.stream("stacks")
        records, proof = read(source, stream, ReadRequest(proof=True))
    visible = {stack["name"] for stack in store.stacks.values() if stack["owner"] == OURS or stack["public"]}
    assert names(records) == visible
    assert proof.complete
    assert proof.total == len(visible)
    assert stream.capabilities.create is stream.capabilities.update is None
    assert next(record["blocks"] for record in records if record["owner"] == THEIRS) == [["Send Email"]]


@pytest.mark.parametrize(
    ("auth", "settings"), [("bearer", {}), ("basic", {"token": None, "username": "demo", "password": "demo"}), ("basic", {})]
)
def test_a_login_is_sent_as_a_bearer_or_basic(auth: Any, settings: dict[str, Any]) -> None:
    with connected(store_with(auth=auth), auth=auth, **settings) as source:
        records, _ = read(source, source.stream("stacks"), ReadRequest())
    assert len(records) == 45


@pytest.mark.parametrize(
    "given", [{"auth": "basic", "username": "ada"}, {"auth": "basic"}, {"auth": "bearer", "username": "a", "password": "b"}]
)
def test_credentials_that_do_not_go_with_auth_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs"):
        CONNECTOR.settings(connector="kragle", base_url="https://kragle.example", **given)


# secrets and children


def test_no_webhook_token_leaves_the_source() -> None:
    store = store_with(5, 0)
    tokens = [stack["webhook_token"] for stack in store.stacks.values()]
    with connected(store, name_lookup="direct") as source:
        shown = [repr(read(source, stream, ReadRequest(proof=True))) for stream in source.streams()]
        shown.append(repr(read(source, source.stream("stacks"), ReadRequest(keys=({"name": "ours 1"},)))))
        shown += [repr(finding) for finding in source.check()]
    assert all(tokens)
    assert not any(token in text for token in tokens for text in shown)
    assert not any("webhook_token" in text for text in shown[:4])


def test_a_token_that_was_seen_once_is_hidden_in_what_kragle_says_later() -> None:
    stack = {"id": 1, "owner": OURS, "name": "x", "webhook": "token", "webhook_token": "1234567890ABCDEF", "jobs": [], "blocks": []}
    answers = [answer(200, json.dumps({"count": 1, "stacks": [stack]}).encode()), answer(400, b'{"message": "bad token 1234567890ABCDEF"}')]
    with RawServer(lambda number, request: answers[number]) as server:
        source = CONNECTOR.open(CONNECTOR.settings(connector="kragle", base_url=server.base_url, token="demo"), ports())
        assert isinstance(source, KragleSink)
        listed = source.listed(1)
        with pytest.raises(RefusedError, match=r"bad token \[secret\]"):
            source.listed(1)
        source.close()
    assert "1234567890ABCDEF" not in repr(listed)


def test_blocks_and_jobs_are_the_flattened_children_of_our_stacks() -> None:
    store = store_with(3, 3)
    conversion = {"body": "\u0001/a\u0002", "big": 2**70}
    store.add(
        owner=OURS, name="two", blocks=[BLOCK, {"type": "Filter", "conversion": conversion, "state": {"input": {"x": 1}, "output": {}}}]
    )
    with connected(store) as source:
        blocks, proof = read(source, source.stream("blocks"), ReadRequest(proof=True))
        jobs, _ = read(source, source.stream("jobs"), ReadRequest(proof=True))
    last = max(store.stacks)
    assert proof.complete
    assert proof.count == len(blocks) == 5
    assert len({block["place"] for block in blocks}) == 5
    assert blocks[-1]["place"] == f"{last}/1"
    assert blocks[-1] | {"id": 0} == {
        "place": f"{last}/1",
        "stack_id": last,
        "position": 1,
        "id": 0,
        "type": "Filter",
        "conversion": conversion,
        "state": {"input": {"x": 1}, "output": {}},
    }
    assert [(job["name"], job["do_run"], job["schedule"], job["stack_id"]) for job in jobs] == [
        (stack["name"], True, {"every": "15m"}, stack["id"]) for stack in store.stacks.values() if stack["jobs"]
    ]


# looking names up


@pytest.mark.parametrize("settings", [{}, {"name_lookup": "direct"}], ids=repr)
def test_every_stack_of_ours_with_a_name_is_found(settings: dict[str, Any]) -> None:
    store = store_with(5, 0)
    store.add(owner=THEIRS, name="ours 1", public=True)
    store.add(owner=THEIRS, name="shared", public=True)
    store.add(owner=OURS, name="shared")
    store.switches["same_name"] = "oldest"
    keys = tuple({"name": name} for name in ("ours 1", "shared", "nobody has this", "12"))
    with connected(store, **settings) as source:
        records, _ = read(source, source.stream("stacks"), ReadRequest(keys=keys))
    assert sorted((record["name"], record["owner"]) for record in records) == [("ours 1", OURS), ("shared", OURS)]


@pytest.mark.parametrize(("settings", "requests"), [({}, 1), ({"name_lookup": "direct"}, 2)])
def test_two_stacks_of_one_name_are_both_found_in_the_list_which_is_the_default(settings: dict[str, Any], requests: int) -> None:
    store = store_with(5, 0)
    store.add(owner=OURS, name="ours 1")
    with connected(store, **settings) as source:
        records, proof = read(source, source.stream("stacks"), ReadRequest(keys=({"name": "ours 1"}, {"name": "ours 2"})))
        assert source.stream("stacks").capabilities.read.keys_per_request == (1 if settings else 0)
    assert len(records) == (2 if settings else 3)
    assert proof.requests == requests


def test_a_name_not_found_under_an_expired_login_is_not_absent() -> None:
    store = store_with()
    expire(store)
    with connected(store, name_lookup="direct", own_stack="ours 2") as source, pytest.raises(CredentialsError):
        read(source, source.stream("stacks"), ReadRequest(keys=({"name": "ours 1"},)))


# answers that are none


@pytest.mark.parametrize(
    "body", [b"[]", b'{"stacks": 3}', b'{"stacks": [1]}', b'{"stacks": [{"name": "no id"}]}', b"<html>", b'{"stacks": [{"id": 1']
)
def test_what_is_not_a_list_of_stacks_is_a_contract_error(body: bytes) -> None:
    with RawServer(lambda number, request: answer(200, body)) as server:
        source = CONNECTOR.open(CONNECTOR.settings(connector="kragle", base_url=server.base_url, token="canary-9913"), ports())
        with pytest.raises(ContractError) as error:
            read(source, source.stream("stacks"), ReadRequest())
        source.close()
    assert "canary" not in str(error.value)


def test_a_block_without_a_type_is_a_contract_error() -> None:
    body = b'{"count": 1, "stacks": [{"id": 1, "owner": 7, "name": "x", "jobs": [], "webhook_token": null, "blocks": [{"id": 2}]}]}'
    with RawServer(lambda number, request: answer(200, body)) as server:
        source = CONNECTOR.open(CONNECTOR.settings(connector="kragle", base_url=server.base_url, token="demo"), ports())
        with pytest.raises(ContractError, match="type"):
            read(source, source.stream("stacks"), ReadRequest())
        source.close()


# what a check says


def failing(source: KragleSink) -> list[str]:
    return [finding.subject for finding in source.check() if not finding.ok]


@pytest.mark.parametrize(
    ("prepare", "settings", "failed"),
    [
        (lambda store: None, {}, []),
        (lambda store: None, {"own_stack": "ours 4", "owner": OURS}, []),
        (lambda store: None, {"owner": THEIRS}, ["owner"]),
        (expire, {}, ["login"]),
        (expire, {"owner": OURS}, ["login"]),
        (expire, {"own_stack": "ours 1"}, ["login"]),
        (lambda store: store.set_switch("bad_login", "401") or expire(store), {}, ["login"]),
        (lambda store: store.stacks.clear(), {"expired_login": "refused"}, []),
        (lambda store: store.stacks.clear(), {}, ["login"]),
        (lambda store: store.set_switch("lookup", "id_only"), {}, []),
    ],
)
def test_a_check_tells_what_is_wrong_and_writes_nothing(
    prepare: Callable[[Store], Any], settings: dict[str, Any], failed: list[str]
) -> None:
    store = store_with()
    prepare(store)
    with connected(store, **settings) as source:
        assert failing(source) == failed
        assert source.request_counts()["write"] == 0


def test_an_address_where_nothing_listens_is_said_in_one_finding() -> None:
    settings = CONNECTOR.settings(connector="kragle", base_url="http://127.0.0.1:9", token="demo")
    source = CONNECTOR.open(settings, Ports(FakeClock(), SystemRng()))
    findings = [finding for finding in source.check() if not finding.ok]
    source.close()
    assert [finding.subject for finding in findings] == ["connection"]


def test_an_unknown_stream_names_those_there_are() -> None:
    with connected(store_with(0, 0)) as source, pytest.raises(ConnectorError, match="stacks, blocks, jobs"):
        source.stream("stack")
