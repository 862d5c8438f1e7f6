"""Writing Stack AI: names that stay, secrets by reference only, roles on connections; one honest receipt for every change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.base import Change, JsonValue, Op, ReadRequest, Receipt, Record, Result
from connectors.errors import ConfigError, CredentialsError, RetryableError
from connectors.settings import Ports
from connectors.stack_ai import CONNECTOR
from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import Store
from connectors.stack_ai.sink import StackAiSink
from pipelines.ports import SystemRng
from tests.clock import FakeClock
from tests.contract.connector_suite import read, write
from tests.loopback import serving

USER, GROUP = "9d2c1d3e-0000-4000-8000-00000000000b", "9d2c1d3e-0000-4000-8000-00000000000c"
CANARY = "canary-bot-19c4"
SLACK = {"provider_id": "slack", "connection_type_id": "oauth2"}
NOTION = {"provider_id": "notion", "connection_type_id": "api_key"}
DECLARED = {"provider:slack": {"bot_token": CANARY}, "Notes": {"api_key": CANARY}}


@contextmanager
def opened(store: Store, **settings: Any) -> Iterator[StackAiSink]:
    with serving(create_app(store)) as url:
        given = {"connector": "stack_ai", "base_url": url, "token_url": "/token", "username": "demo", "password": "demo"}
        sink = CONNECTOR.open(CONNECTOR.settings(**{**given, "provider_data": DECLARED, **settings}), Ports(FakeClock(), SystemRng()))
        assert isinstance(sink, StackAiSink)
        try:
            yield sink
        finally:
            sink.close()


def one(store: Store, **values: Any) -> str:
    return store.create({"name": "Slack", **SLACK, "connection_provider_data": {"bot_token": "kept"}, **values})


def sent(sink: StackAiSink, op: Op, fields: Mapping[str, JsonValue], sink_id: JsonValue = None, stream: str = "connections") -> Receipt:
    (receipt,) = write(sink, sink.stream(stream), [Change(1, op, {}, fields, sink_id)])
    return receipt


def requests(store: Store, *methods: str) -> list[tuple[Any, Any]]:
    return [(entry["method"], entry["path"]) for entry in store.log if entry["method"] in methods and entry["path"] != "/token"]


# connections


def test_secrets_are_filled_in_by_reference_by_name_before_provider() -> None:
    store = Store()
    with opened(store) as sink:
        for fields in ({"name": "Slack", **SLACK}, {"name": "Notes", **NOTION, "connection_provider_data": {"workspace": "w"}}):
            assert sent(sink, "create", fields).result is Result.APPLIED
    slack, notes = store.connections.values()
    assert slack["connection_provider_data"] == {"bot_token": CANARY}
    assert notes["connection_provider_data"] == {"workspace": "w", "api_key": CANARY}


def test_a_mask_for_a_name_stops_no_other_and_a_name_that_only_sounds_like_one_is_a_name() -> None:
    store = Store()
    with opened(store) as sink:
        named = ("Secret", "****", "xxxxxxxx")
        changes = [Change(seq, "create", {}, {"name": name, **SLACK}) for seq, name in enumerate(named)]
        receipts = write(sink, sink.stream("connections"), changes)
    assert [receipt.result for receipt in receipts] == [Result.APPLIED, Result.REJECTED, Result.APPLIED]
    assert "never sent" in receipts[1].reason
    assert [held["name"] for held in store.connections.values()] == ["Secret", "xxxxxxxx"]


def test_no_secret_comes_back_with_a_receipt() -> None:
    with opened(Store(provider_data="plain")) as sink:
        receipt = sent(sink, "create", {"name": "Slack", **SLACK})
    assert receipt.answer is not None
    assert CANARY not in repr(receipt)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**SLACK}, "needs a name of its own"),
        ({"name": "", **SLACK}, "needs a name of its own"),
        ({"name": "Unnamed connection", **SLACK}, "needs a name of its own"),
        ({"name": "x", "provider_id": "slack"}, "connection_type_id is required"),
        ({"name": "x", **NOTION}, "declare it by reference under provider_data"),
        ({"name": "x", **NOTION, "connection_provider_data": {"api_key": "••••••••"}}, "is never sent"),
        ({"name": "x", **NOTION, "connection_provider_data": {"deep": [{"key": "sk-****1234"}]}}, "deep.0.key"),
        ({"name": "x", **NOTION, "connection_provider_data": "{not json"}, "not JSON"),
        ({"name": "x", **NOTION, "connection_provider_data": [1]}, "is an object"),
        ({"name": "x", **SLACK, "created_at": "2026-01-01"}, "'created_at' cannot be written"),
    ],
)
def test_what_must_not_be_created_is_rejected_and_nothing_is_sent(fields: Mapping[str, JsonValue], words: str) -> None:
    store = Store()
    with opened(store) as sink:
        receipt = sent(sink, "create", fields)
    assert receipt.result is Result.REJECTED
    assert words in receipt.reason
    assert requests(store, "POST", "PUT", "PATCH") == []


def test_a_rename_is_a_patch_that_touches_nothing_else() -> None:
    store = Store()
    key = one(store)
    with opened(store, provider_data={}) as sink:
        assert sent(sink, "update", {"name": "Slack Größe"}, key).result is Result.APPLIED
    assert requests(store, "GET", "PUT", "PATCH") == [("PATCH", f"/connections/{key}")]
    assert store.connections[key]["name"] == "Slack Größe"
    assert store.connections[key]["connection_provider_data"] == {"bot_token": "kept"}


def test_anything_else_is_a_put_of_everything_as_it_is_just_before() -> None:
    store = Store()
    key = one(store, **NOTION)
    with opened(store) as sink:
        store.put(key, {**store.connections[key], "name": "Renamed meanwhile"})
        receipt = sent(sink, "update", SLACK, key)
    assert receipt.result is Result.APPLIED
    assert {name: store.connections[key][name] for name in ("name", *SLACK)} == {"name": "Renamed meanwhile", **SLACK}
    assert store.connections[key]["connection_provider_data"] == {"bot_token": CANARY}


def test_a_put_without_its_secrets_by_reference_is_rejected_even_where_some_are_mapped() -> None:
    store = Store()
    key = one(store)
    for fields in (NOTION, {**NOTION, "connection_provider_data": {"api_key": "from the mapping"}}):
        with opened(store) as sink:
            receipt = sent(sink, "update", fields, key)
        assert receipt.result is Result.REJECTED
        assert "secrets included" in receipt.reason
    assert requests(store, "PUT") == []


def test_a_connection_is_never_left_without_a_name() -> None:
    store = Store()
    key = one(store)
    with opened(store) as sink:
        assert sent(sink, "update", {"name": ""}, key).result is Result.REJECTED
        assert sent(sink, "update", {"name": None, **SLACK}, key).result is Result.REJECTED
    assert requests(store, "PUT", "PATCH") == []


@pytest.mark.parametrize("answers", ["record", "enveloped", "id", "id_object", "nothing", "null", "job"])
@pytest.mark.parametrize("status", ["200", "201", "204"])
def test_a_create_is_applied_with_its_id_or_accepted_to_be_found_by_name(answers: str, status: str) -> None:
    store = Store(create_answers=answers, create_status=status)
    with opened(store) as sink:
        receipt = sent(sink, "create", {"name": "Slack", **SLACK})
        (key,) = store.connections
        tells = status != "204" and answers not in ("nothing", "null", "job")
        assert (receipt.result, receipt.sink_id) == ((Result.APPLIED, key) if tells else (Result.ACCEPTED, None))
        records, _ = read(sink, sink.stream("connections"), ReadRequest(keys=({"name": "Slack"},)))
    assert [record["id"] for record in records] == [key]


@pytest.mark.parametrize("answers", ["record", "enveloped", "nothing", "null"])
def test_an_update_is_applied_whatever_it_is_answered(answers: str) -> None:
    store = Store(update_answers=answers)
    key = one(store)
    with opened(store) as sink:
        assert sent(sink, "update", {"name": "a"}, key).result is Result.APPLIED
        assert sent(sink, "update", SLACK, key).result is Result.APPLIED


@pytest.mark.parametrize(
    ("switches", "fields", "words"),
    [
        ({"names_unique": "yes"}, {"name": "Slack", **SLACK}, "refused with status 409"),
        ({}, {"name": "x", "provider_id": "slack", "connection_type_id": "nothing"}, "no such connection type"),
    ],
)
def test_what_the_platform_refuses_is_rejected_in_its_words(switches: dict[str, str], fields: Mapping[str, JsonValue], words: str) -> None:
    store = Store(**switches)
    one(store)
    with opened(store) as sink:
        receipt = sent(sink, "create", fields)
    assert receipt.result is Result.REJECTED
    assert words in receipt.reason
    assert len(store.connections) == 1


@pytest.mark.parametrize(("fault", "made"), [("500_before", 0), ("500_after", 1), ("html_200", 1), ("error_200", 1)])
def test_a_create_without_a_trustworthy_answer_is_unknown_and_sent_once(fault: str, made: int) -> None:
    store = Store(fault=fault)
    with opened(store) as sink:
        receipt = sent(sink, "create", {"name": "Slack", **SLACK})
    assert receipt.result is Result.UNKNOWN
    assert len(store.connections) == made
    assert len(requests(store, "POST")) == 1
    assert CANARY not in receipt.reason


@pytest.mark.parametrize("fault", ["500_before", "500_after"])
@pytest.mark.parametrize("op", ["update", "delete"])
def test_what_is_safe_to_repeat_is_repeated(fault: str, op: Op) -> None:
    store = Store(fault=fault)
    key = one(store)
    with opened(store) as sink:
        receipt = sent(sink, op, {"name": "new"} if op == "update" else {}, key)
    assert receipt.result is Result.APPLIED
    assert len(requests(store, "PATCH", "DELETE")) == 2


def test_an_error_in_an_error_body_of_any_shape_says_what_was_wrong() -> None:
    for shape in ("detail", "message", "errors", "html"):
        with opened(Store(error_body=shape)) as sink:
            receipt = sent(sink, "create", {"name": "x", "provider_id": "slack", "connection_type_id": "nothing"})
        assert "no such connection type" in receipt.reason


def test_the_first_write_that_lands_in_another_organization_is_the_last() -> None:
    store = Store()
    one(store)
    with opened(store) as sink:
        read(sink, sink.stream("connections"), ReadRequest())
        store.organization = "7a1f0d8c-0000-4000-8000-000000000002"
        stream = sink.stream("connections")
        changes = [Change(n, "create", {}, {"name": f"n{n}", **SLACK}) for n in range(3)]
        receipts = list(sink.write(stream, changes))
        assert [receipt.result for receipt in receipts] == [Result.APPLIED, Result.NOT_SENT, Result.NOT_SENT]
        with pytest.raises(ConfigError, match="this connection is for"):
            list(sink.write(stream, changes[2:]))
    assert len(requests(store, "POST")) == 1


def test_refused_credentials_and_trouble_before_sending_stop_a_call_with_nothing_sent() -> None:
    store = Store()
    key = one(store)
    with opened(store, password="wrong") as sink, pytest.raises(CredentialsError):
        sent(sink, "update", {"name": "x"}, key)
    with opened(store, base_url="http://127.0.0.1:1", token_url="/token") as sink, pytest.raises(RetryableError):
        sent(sink, "update", {"name": "x"}, key)
    assert store.connections[key]["name"] == "Slack"


@pytest.mark.parametrize("stream", ["resources", "health", "available_connections"])
def test_what_is_read_only_refuses_changes(stream: str) -> None:
    with opened(Store()) as sink, pytest.raises(ConfigError, match=f"{stream} cannot be written"):
        sent(sink, "create", {"x": 1}, stream=stream)


# roles


def role(store: Store, key: str) -> Any:
    return store.connections[key]["organization_role"]


@pytest.mark.parametrize("answers", ["grant", "nothing", "null", "true"])
def test_grants_are_made_changed_and_taken_away_and_read_back_equal(answers: str) -> None:
    store = Store(rbac_write_answers=answers)
    key = one(store)
    with opened(store) as sink:
        stream = sink.stream("rbac")
        grants = [
            {"connection_id": key, "subject_type": "user", "subject_id": USER, "role": "viewer"},
            {"connection_id": key, "subject_type": "organization", "subject_id": "*", "role": "viewer"},
        ]
        made = [sent(sink, "create", grant, stream="rbac") for grant in grants]
        held, _ = read(sink, stream, ReadRequest())
        assert [(receipt.result, receipt.sink_id) for receipt in made] == [(Result.APPLIED, record["id"]) for record in held]
        assert [{name: record[name] for name in grants[0]} for record in held] == grants
        for record in held:
            assert sent(sink, "update", {"role": "editor"}, record["id"], stream="rbac").result is Result.APPLIED
        assert (store.connections[key]["grants"], role(store, key)) == ({f"user/{USER}": "editor"}, "editor")
        for record in held:
            assert sent(sink, "delete", {}, record["id"], stream="rbac").result is Result.APPLIED
        assert read(sink, stream, ReadRequest())[0] == []


@pytest.mark.parametrize("op", ["create", "update", "delete"])
@pytest.mark.parametrize("subject", [f"user/{USER}", "organization/*"])
def test_a_role_whose_answer_says_that_it_failed_is_unknown(op: Op, subject: str) -> None:
    store = Store()
    key = one(store, organization_role="viewer", grants={f"user/{USER}": "viewer"})
    kind, _, who = subject.partition("/")
    fields: dict[str, Record] = {
        "create": {"connection_id": key, "subject_type": kind, "subject_id": who, "role": "editor"},
        "update": {"role": "editor"},
        "delete": {},
    }
    with opened(store) as sink:
        store.set_switch("fault", "error_200")
        receipt = sent(sink, op, fields[op], None if op == "create" else f"{key}/{subject}", stream="rbac")
    assert (receipt.result, "Something went wrong" in receipt.reason) == (Result.UNKNOWN, True)


def test_a_role_that_is_missing_is_an_error_and_null_takes_only_the_organizations_away() -> None:
    store = Store()
    key = one(store, organization_role="viewer", grants={f"user/{USER}": "viewer"})
    subject = {"connection_id": key, "subject_type": "user", "subject_id": GROUP}
    with opened(store) as sink:
        assert "needs a role" in sent(sink, "create", subject, stream="rbac").reason
        assert "null is no role" in sent(sink, "create", {**subject, "role": None}, stream="rbac").reason
        assert "null is no role" in sent(sink, "update", {"role": None}, f"{key}/user/{USER}", stream="rbac").reason
        assert (store.connections[key]["grants"], role(store, key)) == ({f"user/{USER}": "viewer"}, "viewer")
        assert sent(sink, "update", {"role": None}, f"{key}/organization/*", stream="rbac").result is Result.APPLIED
    assert role(store, key) is None


@pytest.mark.parametrize("no_grant", ["404", "204"])
def test_a_grant_that_is_gone_is_not_made_again_by_an_update_and_may_be_deleted_again(no_grant: str) -> None:
    store = Store(no_grant=no_grant)
    key = one(store)
    with opened(store) as sink:
        assert sent(sink, "update", {"role": "editor"}, f"{key}/user/{USER}", stream="rbac").result is Result.MISSING
        assert sent(sink, "delete", {}, f"{key}/user/{USER}", stream="rbac").result is Result.APPLIED
    assert store.connections[key]["grants"] == {}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"subject_type": "user", "subject_id": "nonsense", "role": "viewer"}, "422"),
        ({"subject_type": "robot", "subject_id": USER, "role": "viewer"}, "422"),
        ({"subject_type": "user", "subject_id": USER, "role": "emperor"}, "Unknown role"),
        ({"subject_type": "user", "subject_id": "*", "role": "viewer"}, "is for everyone"),
        ({"subject_type": "user", "subject_id": 7, "role": "viewer"}, "subject_id is the UUID"),
        ({"subject_type": "user", "subject_id": USER, "role": 1}, "a role is a text"),
        ({"subject_type": "user", "subject_id": USER, "role": "viewer", "id": "x"}, "'id' cannot be written"),
    ],
)
def test_a_grant_that_cannot_be_is_rejected(fields: Record, words: str) -> None:
    store = Store(roles="known")
    key = one(store)
    with opened(store) as sink:
        receipt = sent(sink, "create", {"connection_id": key, **fields}, stream="rbac")
    assert (receipt.result, words in receipt.reason) == (Result.REJECTED, True), receipt.reason
    assert store.connections[key]["grants"] == {}


def test_a_role_that_no_answer_tells_is_not_written_by_a_sync() -> None:
    store = Store(organization_role="hidden")
    key = one(store)
    with opened(store, organization_roles="hidden") as sink:
        fields: Record = {"connection_id": key, "subject_type": "organization", "subject_id": "*", "role": "viewer"}
        assert "organization_roles" in sent(sink, "create", fields, stream="rbac").reason
    assert requests(store, "PATCH") == []


@pytest.mark.parametrize("bad", [None, "", "x", "a/b", 7])
def test_an_id_that_names_no_grant_and_no_connection_is_rejected(bad: JsonValue) -> None:
    with opened(Store()) as sink:
        assert sent(sink, "delete", {}, bad, stream="rbac").result is Result.REJECTED
        if not isinstance(bad, str) or not bad:
            assert sent(sink, "delete", {}, bad).result is Result.REJECTED
