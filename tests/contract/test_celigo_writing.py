"""Writing Celigo: secrets from references alone, masks never, updates on top of what is there now, deletes after a look."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.base import Change, Receipt, Record, Result
from connectors.celigo.demo import user
from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import SWITCHES, Store
from connectors.errors import ConfigError, CredentialsError
from tests.contract.celigo_platform import KEY_ID, SECRET, CeligoPlatform
from tests.contract.connector_suite import opened
from tests.loopback import serving

MASK = "******"
SERVER: Record = {"name": "Hooks", "type": "server", "server.hostURI": "https://hooks.example/a", "server.ipRanges": ["192.0.2.1"]}
LAMBDA: Record = {
    **{"name": "Split", "type": "lambda", "framework": "twoDotZero", "endpoint": "split", "lambda.functionName": "split"},
    **{"lambda.accessKeyId": KEY_ID, "lambda.awsRegion": "eu-west-1", "lambda.language": "Java", "server.hostURI": None},
}
WRITING = [(name, value) for name in SWITCHES for value in SWITCHES[name] if list(SWITCHES).index(name) >= list(SWITCHES).index("put")]


@contextmanager
def connected(kind: str = "server", switches: dict[str, str] | None = None, **settings: Any) -> Iterator[tuple[CeligoPlatform, Any]]:
    store = Store(**(switches or {}))
    with serving(create_app(store)) as base_url:
        platform = CeligoPlatform(base_url, store, kind)
        with opened(platform, **settings) as sink:
            yield platform, sink


def change(sink: Any, op: Any, fields: Record | None = None, sink_id: Any = None) -> Receipt:
    (receipt,) = sink.write(sink.stream("stacks"), [Change(1, op, {}, fields or {}, sink_id)])
    assert receipt.seq == 1
    return receipt  # type: ignore[no-any-return]


def sent(store: Store) -> list[str]:
    return [entry["method"] for entry in store.log if entry["method"] != "GET"]


def test_a_lambda_stack_is_created_with_the_secret_of_its_access_key_id() -> None:
    with connected("lambda") as (platform, sink):
        receipt = change(sink, "create", LAMBDA)
    assert receipt.result is Result.APPLIED
    assert platform.store.stacks[str(receipt.sink_id)]["lambda"]["secretAccessKey"] == SECRET
    assert SECRET not in repr(receipt)
    assert MASK not in repr(receipt)


@pytest.mark.parametrize("op", ["create", "update"])
def test_a_lambda_stack_whose_secret_is_not_given_is_refused_and_not_sent(op: str) -> None:
    with connected("lambda") as (platform, sink):
        held = platform.put(platform.values(1))
        receipt = change(sink, op, {**LAMBDA, "lambda.accessKeyId": "AKIAOTHER"}, held if op == "update" else None)
    assert receipt.result is Result.REJECTED
    assert "AKIAOTHER" in receipt.reason
    assert "secret_access_keys" in receipt.reason
    assert sent(platform.store) == []


@pytest.mark.parametrize("switch", SWITCHES["put_without_secret"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("choice", ["refuse", "send"])
def test_an_update_never_loses_a_secret_unless_a_person_said_that_it_is_kept(switch: str, given: bool, choice: str) -> None:
    keys = {KEY_ID: SECRET} if given else {}
    with connected("lambda", {"put_without_secret": switch}, secret_access_keys=keys, update_without_secret=choice) as (platform, sink):
        held = platform.put(platform.values(1))
        receipt = change(sink, "update", {"name": "Renamed"}, held)
    config = platform.store.stacks[held]["lambda"]
    applied = given or (choice == "send" and switch != "refused")
    assert receipt.result is (Result.APPLIED if applied else Result.REJECTED)
    assert (platform.store.stacks[held]["name"] == "Renamed") is applied
    assert config.get("secretAccessKey") == (None if (not given and choice == "send" and switch == "clears") else SECRET)


@pytest.mark.parametrize("put", SWITCHES["put"])
def test_an_update_keeps_what_others_changed_meanwhile(put: str) -> None:
    with connected(switches={"put": put}) as (platform, sink):
        held = platform.put(platform.values(1))
        before = platform.records()[0]
        theirs = platform.store.stacks[held]
        platform.store.replace({**theirs, "server": {**theirs["server"], "ipRanges": ["198.51.100.1"]}})
        (receipt,) = sink.write(sink.stream("stacks"), [Change(1, "update", {}, {"name": "Renamed"}, held, before)])
    now = platform.store.stacks[held]
    assert receipt.result is Result.APPLIED
    assert (now["name"], now["server"]["ipRanges"], now["framework"]) == ("Renamed", ["198.51.100.1"], "twoDotZero")
    assert now["server"]["systemToken"] == theirs["server"]["systemToken"]


@pytest.mark.parametrize(
    ("nulls", "switches", "cleared"),
    [
        ("omit", {}, True),
        ("omit", {"put": "merges"}, False),
        ("send", {"null_values": "clears"}, True),
        ("send", {"put": "merges", "null_values": "clears"}, True),
    ],
)
def test_a_field_is_cleared_or_the_receipt_says_that_it_was_not(nulls: str, switches: dict[str, str], cleared: bool) -> None:
    with connected(switches=switches, put_nulls=nulls) as (platform, sink):
        held = platform.put(platform.values(1))
        receipt = change(sink, "update", {"server.ipRanges": None}, held)
    assert receipt.result is Result.APPLIED
    assert ("ipRanges" not in platform.store.stacks[held]["server"]) is cleared
    assert ("did not clear server.ipRanges" in receipt.reason) is not cleared


def test_null_for_a_field_that_takes_none_is_the_platforms_refusal_in_its_words() -> None:
    with connected(put_nulls="send") as (platform, sink):
        receipt = change(sink, "update", {"server.ipRanges": None}, platform.put(platform.values(1)))
    assert (receipt.result, receipt.reason) == (Result.REJECTED, "server.ipRanges: server.ipRanges is of the wrong type")


@pytest.mark.parametrize("op", ["create", "update"])
@pytest.mark.parametrize("field", ["name", "server.hostURI", "server.ipRanges"])
def test_a_mask_is_never_sent(op: str, field: str) -> None:
    value: Any = ["192.0.2.1", MASK] if field == "server.ipRanges" else MASK
    with connected() as (platform, sink):
        held = platform.put(platform.values(1))
        receipt = change(sink, op, {**SERVER, field: value}, held if op == "update" else None)
    assert receipt.result is Result.REJECTED
    assert "mask" in receipt.reason
    assert MASK not in receipt.reason
    assert sent(platform.store) == []


def test_a_masked_access_key_id_cannot_be_written_back_by_an_update() -> None:
    with connected("lambda", {"masks_key_ids": "yes"}) as (platform, sink):
        held = platform.put(platform.values(1))
        refused, given = change(sink, "update", {"name": "x"}, held), change(sink, "update", {"lambda.accessKeyId": KEY_ID}, held)
    assert (refused.result, given.result) == (Result.REJECTED, Result.APPLIED)
    assert platform.store.stacks[held]["lambda"]["accessKeyId"] == KEY_ID


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"name": "n", "type": "server", "server": {"hostURI": MASK}}, "mask"),
        ({"name": "n", "type": "server", "notes": [{"by": "•••••"}]}, "mask"),
        ({"_id": "1", "name": "n", "type": "server"}, "no body to write"),
        ({"name": "n", "type": "lambda", "lambda": {"accessKeyId": KEY_ID, "secretAccessKey": "in the clear"}}, "by reference"),
        ({"name": "n"}, "always required"),
    ],
)
def test_the_client_itself_refuses_whoever_calls(body: Any, why: str) -> None:
    with connected() as (platform, sink):
        for call in (lambda: sink.client.create_stack(body), lambda: sink.client.update_stack("1" * 24, body)):
            with pytest.raises(ConfigError, match=why) as refused:
                call()
            assert "in the clear" not in str(refused.value)
    assert platform.store.log == []


@pytest.mark.parametrize("shape", ["listed", "included", "excluded", "looked up"])
def test_a_stack_as_it_was_read_or_projected_is_never_written_back(shape: str) -> None:
    with connected() as (platform, sink):
        held = platform.put(platform.values(1))
        reads = {
            "listed": lambda: sink.client.list_stacks()[0],
            "included": lambda: sink.client.list_stacks(include="type")[0],
            "excluded": lambda: sink.client.list_stacks(exclude="server")[0],
            "looked up": lambda: sink.client.get_stack_by_id(held),
        }
        with pytest.raises(ConfigError, match="no body to write"):
            sink.client.update_stack(held, reads[shape]())
    assert sent(platform.store) == []


def test_the_type_of_a_stack_is_not_changed() -> None:
    with connected() as (platform, sink):
        receipt = change(sink, "update", {"type": "lambda"}, platform.put(platform.values(1)))
    assert receipt.result is Result.REJECTED
    assert sent(platform.store) == []


@pytest.mark.parametrize("fields", [{"nothing": 1}, {"_id": "x"}, {"lambda.language": "Java"}, {"lambda.secretAccessKey": "in the clear"}])
def test_what_a_server_stack_does_not_take_is_refused_by_name(fields: Record) -> None:
    with connected() as (platform, sink):
        receipt = change(sink, "create", {**SERVER, **fields})
    assert receipt.result is Result.REJECTED
    assert next(iter(fields)) in receipt.reason
    assert "in the clear" not in receipt.reason
    assert platform.store.log == []


@pytest.mark.parametrize("used", SWITCHES["used"])
def test_a_stack_that_others_use_is_not_deleted_and_says_who_uses_it(used: str) -> None:
    with connected(switches={"used": used}) as (platform, sink):
        held, free = platform.put(platform.values(1)), platform.put(platform.values(2))
        platform.store.use(held, {"flows": [user(str(n), f"Flow {n}") for n in range(4)], "imports": [user("i", "Größen")]})
        kept, gone = change(sink, "delete", sink_id=held), change(sink, "delete", sink_id=free)
    assert (kept.result, gone.result) == (Result.REJECTED, Result.APPLIED)
    assert kept.reason.startswith("5 resources still use it (flows Flow 0; flows Flow 1; flows Flow 2 and 2 more)")
    assert list(platform.store.stacks) == [held]


def test_a_stack_whose_dependents_may_not_be_seen_is_not_deleted_and_the_way_on_is_named() -> None:
    with connected(switches={"dependencies": "forbidden"}) as (platform, sink):
        held = [platform.put(platform.values(n)) for n in range(2)]
        receipts = [change(sink, "delete", sink_id=one) for one in held]
    assert [receipt.result for receipt in receipts] == [Result.REJECTED] * 2
    assert "dependents: ignore deletes it all the same" in receipts[0].reason
    assert "No access to dependencies" in receipts[0].reason
    assert list(platform.store.stacks) == held


def test_dependents_may_be_ignored_where_a_person_says_so() -> None:
    with connected(dependents="ignore") as (platform, sink):
        held = platform.put(platform.values(1))
        platform.store.use(held, {"flows": [user("f", "Flow")]})
        assert change(sink, "delete", sink_id=held).result is Result.APPLIED
    assert [entry["method"] for entry in platform.store.log] == ["DELETE"]


@pytest.mark.parametrize("deleted_again", SWITCHES["deleted_again"])
@pytest.mark.parametrize("deleted_get", SWITCHES["deleted_get"])
def test_a_stack_in_the_recycle_bin_is_gone_for_updates_and_deletes(deleted_again: str, deleted_get: str) -> None:
    with connected(switches={"deleted_again": deleted_again, "deleted_get": deleted_get}) as (platform, sink):
        held = platform.put(platform.values(1))
        change(sink, "delete", sink_id=held)
        assert change(sink, "delete", sink_id=held).result is Result.APPLIED
        assert change(sink, "update", {"name": "x"}, held).result is Result.MISSING
    assert platform.store.stacks == {}


FAULTS = ("500_before", "500_after", "html_200", "error_200")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("count", ["1", "99"])
def test_a_create_without_a_trustworthy_answer_is_unknown_and_sent_once(fault: str, count: str) -> None:
    with connected(switches={"fault": fault, "fault_count": count}) as (platform, sink):
        receipt = change(sink, "create", SERVER)
    assert receipt.result is Result.UNKNOWN
    assert sent(platform.store) == ["POST"]
    assert len(platform.store.stacks) == (0 if fault == "500_before" else 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_update_may_be_repeated_and_is_applied_or_unknown(fault: str) -> None:
    with connected(switches={"fault": fault}) as (platform, sink):
        held = platform.put(platform.values(1))
        receipt = change(sink, "update", {"name": "Renamed"}, held)
    assert receipt.result is (Result.APPLIED if fault.startswith("500") else Result.UNKNOWN)
    assert platform.store.stacks[held]["name"] == "Renamed"


def test_a_delete_whose_answer_was_lost_is_done() -> None:
    with connected(switches={"fault": "500_after"}) as (platform, sink):
        receipt = change(sink, "delete", sink_id=platform.put(platform.values(1)))
    assert (receipt.result, platform.store.stacks) == (Result.APPLIED, {})


def test_a_create_that_was_told_to_wait_is_sent_again() -> None:
    with connected(switches={"fault": "429"}) as (platform, sink):
        assert change(sink, "create", SERVER).result is Result.APPLIED
    assert (sent(platform.store), len(platform.store.stacks)) == (["POST", "POST"], 1)


def test_a_token_revoked_between_the_read_and_the_write_stops_the_call() -> None:
    with connected() as (platform, sink):
        held = platform.put(platform.values(1))
        platform.store.token = "another"
        with pytest.raises(CredentialsError):
            change(sink, "update", {"name": "x"}, held)


def test_words_of_the_platform_show_no_secret() -> None:
    with connected("lambda") as (_, sink):
        receipt = change(sink, "create", {**LAMBDA, "lambda.awsRegion": SECRET})
    assert receipt.result is Result.REJECTED
    assert SECRET not in receipt.reason
    assert "[secret] is not a valid awsRegion" in receipt.reason


def test_a_system_token_once_shown_is_hidden_from_then_on() -> None:
    with connected("lambda") as (platform, sink):
        platform.kind = "server"
        token = str(sink.client.get_stack_system_token(platform.put(platform.values(1)))["systemToken"])
        receipt = change(sink, "create", {**LAMBDA, "lambda.awsRegion": token})
    assert token not in receipt.reason


def test_a_rotation_is_never_repeated() -> None:
    with connected(switches={"fault": "500_after", "fault_count": "9"}) as (platform, sink):
        held = platform.put(platform.values(1))
        with pytest.raises(Exception, match="whether the write took effect is not known"):
            sink.client.recycle_stack_system_token(held)
    assert sent(platform.store) == ["DELETE"]


@pytest.mark.parametrize("sink_id", [None, "", " ", 7])
@pytest.mark.parametrize("op", ["update", "delete"])
def test_without_an_id_nothing_is_sent(op: str, sink_id: Any) -> None:
    with connected() as (platform, sink):
        assert change(sink, op, {"name": "x"}, sink_id).result is Result.REJECTED
    assert platform.store.log == []


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, v in WRITING if "…" not in v and n not in ("fault", "fault_count", "latency_ms", "dependencies")]
)
@pytest.mark.parametrize("kind", ["server", "lambda"])
def test_whatever_the_silence_a_claimed_write_is_there_and_keeps_the_secret(kind: str, name: str, value: str) -> None:
    with connected(kind, {name: value}) as (platform, sink):
        made = change(sink, "create", platform.values(1))
        updated = change(
            sink, "update", {"name": " Renamed ", f"{kind}.{'hostURI' if kind == 'server' else 'functionName'}": "https://b"}, made.sink_id
        )
        stack = platform.store.stacks[str(made.sink_id)]
        assert (made.result, updated.result) == (Result.APPLIED, Result.APPLIED)
        assert updated.answer is not None
        assert updated.answer["name"] == stack["name"]
        assert stack[kind]["systemToken" if kind == "server" else "secretAccessKey"]
        assert kind == "server" or stack["lambda"]["secretAccessKey"] == SECRET
        assert change(sink, "delete", sink_id=made.sink_id).result is Result.APPLIED
    assert platform.store.stacks == {}
