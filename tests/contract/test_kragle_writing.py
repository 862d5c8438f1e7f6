"""Writing Kragle whatever its undocumented answers turn out to be: what is claimed happened, and nothing is sent that was not meant."""

import json
from typing import Any

import pytest

from connectors.base import Change, ReadRequest, Receipt, Record, Result
from connectors.errors import ConfigError, CredentialsError, RetryableError
from connectors.kragle.emulator_store import SWITCHES, Store
from connectors.kragle.sink import KragleSink
from tests.contract.test_kragle_reading import OURS, THEIRS, connected, expire

TWEET = ["Post to Twitter", {"tweet_body": "\u0001/input/screen_name\u0002 says\u0001\u0002 \\u0001 Größe 🚲"}]
FEED = ["Read RSS Feed", {"url": "https://news.example/feed.xml"}]
LIVE = {"input": {}, "output": {"last_guid": "guid-77"}}
WRITING = list(SWITCHES)[list(SWITCHES).index("visibility") :]
FLIPS = [(name, value) for name in WRITING for value in SWITCHES[name] if "…" not in value and name not in ("latency_ms", "fault_count")]


def store_with(own: int = 3, **switches: str) -> Store:
    store = Store(own=0, others=0, **switches)
    for n in range(own):
        blocks = [{"type": "Read RSS Feed", "conversion": FEED[1], "state": LIVE}, {"type": TWEET[0], "conversion": TWEET[1]}]
        store.add(owner=OURS, name=f"ours {n}", blocks=blocks, webhook="user", webhook_method="GET", schedules=[432], enabled=True)
    return store


def creates(*values: Record) -> list[Change]:
    return [Change(n, "create", {"name": one.get("name")}, one) for n, one in enumerate(values)]


def update(sink_id: Any, fields: Record, seq: int = 0) -> Change:
    return Change(seq, "update", {"name": "ours"}, fields, sink_id)


def written(sink: KragleSink, *changes: Change) -> list[Receipt]:
    receipts = list(sink.write(sink.stream("stacks"), changes))
    assert [receipt.seq for receipt in receipts] == [change.seq for change in changes]
    return receipts


def sent(store: Store, method: str = "PUT") -> list[Any]:
    return [json.loads(entry["body"]) for entry in store.log if entry["method"] == method]


def held(store: Store, number: int = 0) -> dict[str, Any]:
    return list(store.stacks.values())[number]


# creates


@pytest.mark.parametrize(("switch", "value"), FLIPS)
def test_a_create_that_is_claimed_stands_under_the_claimed_id_and_was_sent_once(switch: str, value: str) -> None:
    store = store_with(2, **{switch: value})
    with connected(store) as sink:
        try:
            (receipt,) = written(sink, *creates({"name": "new", "blocks": [FEED, TWEET], "webhook": "token", "webhook_method": "POST"}))
        except RetryableError:
            assert len(store.stacks) == 2
            return
    assert len(sent(store, "POST")) == (2 if value == "429" else 1)
    made = [stack for stack in store.stacks.values() if stack["name"] == "new"]
    if receipt.result is Result.APPLIED:
        assert [stack["id"] for stack in made] == [receipt.sink_id]
        assert [[block["type"], block["conversion"]] for block in made[0]["blocks"]] == [FEED, TWEET]
    elif receipt.result is Result.ACCEPTED:
        assert len(made) == 1
    else:
        assert receipt.result is Result.UNKNOWN, receipt
        assert switch == "fault"
        assert len(made) == (0 if value == "500_before" else 1)


def test_control_characters_of_a_conversion_arrive_and_come_back_unchanged() -> None:
    store = store_with(0)
    whole = "".join(map(chr, range(1, 32))) + "\u007f\u2028\u0001/input/x\u0002"
    with connected(store) as sink:
        written(sink, *creates({"name": "new", "blocks": [["Filter", {"a": whole, whole: [whole]}]]}))
        (page,) = sink.read(sink.stream("stacks"), ReadRequest())
    assert held(store)["blocks"][0]["conversion"] == {"a": whole, whole: [whole]}
    assert isinstance(page.records, list)
    assert page.records[0]["blocks"] == [["Filter", {"a": whole, whole: [whole]}]]


def test_a_new_stack_takes_its_job_its_names_and_its_states_along() -> None:
    store = store_with(0)
    options = [{"name": "the feed", "state": LIVE}, None]
    fields: Record = {"name": "new", "blocks": [FEED, [*TWEET, {"name": "the tweet"}]], "block_options": options}
    with connected(store) as sink:
        written(
            sink, *creates({**fields, "schedule_id": 433, "enabled": True, "needs_approval": None, "webhook": None, "webhook_method": None})
        )
    (body,) = sent(store, "POST")
    assert body == {
        "name": "new",
        "schedule_id": 433,
        "enabled": True,
        "webhook": None,
        "blocks": [[*FEED, {"name": "the feed", "state": LIVE}], [*TWEET, {"name": "the tweet"}]],
    }
    assert [(job["schedule_id"], job["do_run"]) for job in held(store)["jobs"]] == [(433, True)]
    assert held(store)["blocks"][0]["state"] == LIVE


UNFIT: list[Record] = [
    {"name": "no blocks"},
    {"blocks": [FEED]},
    {"name": "", "blocks": [FEED]},
    {"name": 7, "blocks": [FEED]},
    {"name": "x", "blocks": '[["Filter", {}]]'},
    {"name": "x", "blocks": [{"type": "Filter", "conversion": {}}]},
    {"name": "x", "blocks": [["Filter"]]},
    {"name": "x", "blocks": [["", {}]]},
    {"name": "x", "blocks": [["Filter", {}, {"id": 1}]]},
    {"name": "x", "blocks": [["Filter", {}, None, 4]]},
    {"name": "x", "blocks": [FEED], "block_options": []},
    {"name": "x", "blocks": [FEED], "webhook": "private"},
    {"name": "x", "blocks": [FEED], "webhook_method": "PATCH"},
    {"name": "x", "blocks": [FEED], "schedule_id": "432"},
    {"name": "x", "blocks": [FEED], "schedule_id": True},
    {"name": "x", "blocks": [FEED], "enabled": 1},
    {"name": "x", "blocks": [FEED], "webhook_token": "1234567890ABCDEF"},
    {"name": "x", "blocks": [FEED], "owner": 7},
    {"name": "x", "blocks": [FEED], "jobs": []},
    {"name": "x", "blocks": [FEED], "colour": "red"},
    {"name": "\ud800", "blocks": [FEED]},
]


@pytest.mark.parametrize("values", UNFIT, ids=repr)
def test_what_cannot_be_a_stack_is_one_rejected_record_and_is_not_sent(values: Record) -> None:
    store = store_with(0)
    with connected(store) as sink:
        bad, good = written(sink, *creates(values, {"name": "good", "blocks": [FEED]}))
    assert (bad.result, good.result) == (Result.REJECTED, Result.APPLIED)
    assert bad.reason
    assert "1234567890ABCDEF" not in bad.reason
    assert len(sent(store, "POST")) == 1


@pytest.mark.parametrize("shape", SWITCHES["error_body"])
@pytest.mark.parametrize("status", SWITCHES["error_status"])
def test_a_stack_that_kragle_refuses_is_rejected_in_its_words(shape: str, status: str) -> None:
    store = store_with(0, error_body=shape, error_status=status)
    with connected(store) as sink:
        bad, good = written(sink, *creates({"name": "bad", "blocks": [["No Such Block", {}]]}, {"name": "good", "blocks": [FEED]}))
    assert (bad.result, good.result) == (Result.REJECTED, Result.APPLIED)
    assert status in bad.reason
    assert "No Such Block" in bad.reason or shape == "empty"


@pytest.mark.parametrize("fault", ["500_after", "html_200", "error_200", "cut"])
def test_a_create_whose_answer_is_lost_is_unknown_and_never_sent_again(fault: str) -> None:
    store = store_with(0, fault=fault, fault_count="99")
    with connected(store) as sink:
        (receipt,) = written(sink, *creates({"name": "new", "blocks": [FEED]}))
    assert receipt.result is Result.UNKNOWN
    assert receipt.reason
    assert len(store.log) == len(store.stacks) == 1


# updates


@pytest.mark.parametrize(("switch", "value"), FLIPS)
def test_an_update_that_is_claimed_changed_what_was_given_and_nothing_else(switch: str, value: str) -> None:
    store = store_with(2, **{switch: value})
    first, before = held(store)["id"], json.loads(json.dumps(held(store)))
    other = json.dumps(held(store, 1))
    with connected(store) as sink:
        (receipt,) = written(sink, update(first, {"webhook_method": "POST"}))
    assert receipt.result in (Result.APPLIED, Result.ACCEPTED) or switch == "fault"
    if receipt.result in (Result.APPLIED, Result.ACCEPTED):
        assert held(store) == {**before, "webhook_method": "POST"}
    assert json.dumps(held(store, 1)) == other
    assert all(body == {"webhook_method": "POST"} for body in sent(store))
    assert "webhook_token" not in (receipt.answer or {})


@pytest.mark.parametrize("way", SWITCHES["put_blocks"])
def test_blocks_that_stay_keep_their_state_when_others_change(way: str) -> None:
    store = store_with(1, put_blocks=way)
    with connected(store) as sink:
        (receipt,) = written(
            sink, update(held(store)["id"], {"blocks": [["Delay", {"seconds": 1}], FEED, ["Post to Twitter", {"tweet_body": "x"}]]})
        )
    assert receipt.result is Result.APPLIED
    delay, feed, tweet = held(store)["blocks"]
    assert (delay["type"], feed["state"], tweet["conversion"]) == ("Delay", LIVE, {"tweet_body": "x"})


def test_a_state_that_is_given_counts_more_than_the_live_one() -> None:
    store, mine = store_with(1), {"input": {}, "output": {"last_guid": "mine"}}
    with connected(store) as sink:
        written(sink, update(held(store)["id"], {"blocks": [[*FEED, {"state": mine}], ["Delay", {}]]}))
    assert held(store)["blocks"][0]["state"] == mine


def test_state_is_left_to_the_platform_where_that_is_wanted() -> None:
    store = store_with(1)
    with connected(store, block_state="reset") as sink:
        written(sink, update(held(store)["id"], {"blocks": [FEED, ["Delay", {}]]}))
    assert sent(store) == [{"blocks": [FEED, ["Delay", {}]]}]
    assert held(store)["blocks"][0]["state"]["output"] == {"last_guid": None}


def test_blocks_that_are_there_already_are_not_sent_again() -> None:
    store = store_with(1)
    before = json.dumps(held(store)["blocks"])
    with connected(store) as sink:
        (alone,) = written(sink, update(held(store)["id"], {"blocks": [[*FEED, {"name": "cannot be compared"}], TWEET]}))
        (both,) = written(sink, update(held(store)["id"], {"blocks": [FEED, TWEET], "webhook": "public"}))
    assert (alone.result, both.result) == (Result.APPLIED, Result.APPLIED)
    assert "not sent" in alone.reason
    assert sent(store) == [{"webhook": "public"}]
    assert json.dumps(held(store)["blocks"]) == before


def test_a_null_webhook_is_sent_and_other_nulls_only_where_that_is_wanted() -> None:
    store = store_with(1, nulls="taken")
    key = held(store)["id"]
    with connected(store) as sink:
        taken, refused = written(sink, update(key, {"webhook": None, "webhook_method": None}), update(key, {"webhook_method": None}, 1))
    with connected(store, nulls_in_update="send") as sink:
        allowed, name = written(sink, update(key, {"webhook_method": None}), update(key, {"name": None}, 1))
    assert [one.result for one in (taken, refused, allowed, name)] == [Result.APPLIED, Result.REJECTED, Result.APPLIED, Result.REJECTED]
    assert "nulls_in_update" in refused.reason
    assert sent(store) == [{"webhook": None}, {"webhook_method": None}]


def test_a_schedule_in_an_update_is_refused_because_it_may_add_a_job_each_time() -> None:
    store = store_with(1)
    key = held(store)["id"]
    with connected(store) as sink:
        (refused,) = written(sink, update(key, {"schedule_id": 433}))
    assert refused.result is Result.REJECTED
    assert sent(store) == []
    with connected(store, schedule_in_update="send") as sink:
        written(sink, update(key, {"schedule_id": 433}))
    assert [job["schedule_id"] for job in held(store)["jobs"]] == [432, 433]


@pytest.mark.parametrize("fault", ["500_after", "cut"])
def test_a_lost_answer_is_asked_for_again_except_where_a_schedule_would_count_twice(fault: str) -> None:
    store = store_with(1, fault=fault)
    key = held(store)["id"]
    with connected(store, schedule_in_update="send") as sink:
        (plain,) = written(sink, update(key, {"name": "renamed"}))
        store.switches["fault_count"] = "1"
        (with_schedule,) = written(sink, update(key, {"schedule_id": 433}))
    assert (plain.result, with_schedule.result) == (Result.APPLIED, Result.UNKNOWN)
    assert len(sent(store)) == 3
    assert [job["schedule_id"] for job in held(store)["jobs"]] == [432, 433]


@pytest.mark.parametrize("fields", [{"name": "x"}, {"blocks": [["Delay", {}]]}], ids=repr)
def test_an_update_of_a_stack_that_is_gone_is_missing_and_makes_none(fields: Record) -> None:
    store = store_with(1)
    with connected(store) as sink:
        (receipt,) = written(sink, update(999, fields))
    assert receipt.result is Result.MISSING
    assert len(store.stacks) == 1


@pytest.mark.parametrize("public", [True, False])
@pytest.mark.parametrize("fields", [{"name": "x"}, {"blocks": [["Delay", {}]]}], ids=repr)
def test_a_stack_of_somebody_else_is_never_changed_and_stops_no_other(fields: Record, public: bool) -> None:
    store = store_with(2)
    theirs = store.add(owner=THEIRS, name="theirs", public=public, blocks=[{"type": "Filter", "conversion": {}}])
    before = json.dumps(theirs)
    with connected(store, owner=OURS) as sink:
        if public:
            receipts = written(sink, update(theirs["id"], fields), update(held(store)["id"], {"name": "mine"}, 1))
            assert [receipt.result for receipt in receipts] == [Result.REJECTED, Result.APPLIED]
        else:  # a private stack that was ours when it was read: only an expired login hides it
            with pytest.raises(CredentialsError):
                written(sink, update(theirs["id"], fields))
    assert json.dumps(theirs) == before


@pytest.mark.parametrize("sink_id", [None, "", "  ", True, {}, [], 1.5, ".."])
def test_an_update_without_an_id_is_rejected_before_it_is_sent(sink_id: Any) -> None:
    store = store_with(1)
    with connected(store) as sink:
        (receipt,) = written(sink, update(sink_id, {"name": "x"}))
    assert receipt.result is Result.REJECTED
    assert store.log == []


def test_an_answer_about_another_stack_is_unknown() -> None:
    store = store_with(1, lookup="name_first")
    other = store.add(owner=OURS, name=str(held(store)["id"]), blocks=[])
    with connected(store) as sink:
        (receipt,) = written(sink, update(held(store)["id"], {"webhook": None}))
        (blocks,) = written(sink, update(held(store)["id"], {"blocks": [["Delay", {}]]}))
    assert receipt.result is Result.UNKNOWN
    assert str(other["id"]) in receipt.reason
    assert blocks.result is Result.NOT_SENT
    assert other["blocks"] == []


# the login, and what cannot be done at all


@pytest.mark.parametrize("needed", SWITCHES["login_needed"])
def test_a_login_that_expires_leaves_the_rest_unsent(needed: str) -> None:
    store = store_with(3, login_needed=needed)
    changes = [update(key, {"webhook": None}, n) for n, key in enumerate(store.stacks)]
    with connected(store) as sink:
        receipts = sink.write(sink.stream("stacks"), changes)
        first = next(receipts)
        expire(store)
        rest = list(receipts)
        with pytest.raises(CredentialsError):
            written(sink, *creates({"name": "new", "blocks": [FEED]}))
    assert first.result is Result.APPLIED
    assert [receipt.result for receipt in rest] == [Result.NOT_SENT, Result.NOT_SENT]


@pytest.mark.parametrize("stream", ["stacks", "blocks", "jobs"])
def test_nothing_is_ever_deleted(stream: str) -> None:
    store = store_with(1)
    with connected(store) as sink:
        assert sink.stream(stream).capabilities.delete is None
        with pytest.raises(ConfigError, match="delete"):
            list(sink.write(sink.stream(stream), [Change(0, "delete", {}, {}, held(store)["id"])]))
    assert store.log == []


def test_changes_of_several_kinds_are_not_mixed() -> None:
    store = store_with(1)
    with connected(store) as sink, pytest.raises(ConfigError, match="apart"):
        written(sink, *creates({"name": "x", "blocks": []}), update(1, {"name": "y"}, 1))
