"""Reading Stack AI: lists that shift, trees that change, answers of any shape; right, or declared incomplete with the setting to change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.base import Completeness, ReadRequest, Record
from connectors.errors import ConfigError, ContractError, CredentialsError
from connectors.stack_ai import CONNECTOR
from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import Store
from connectors.stack_ai.sink import StackAiSink
from tests.contract.connector_suite import ports, read
from tests.loopback import RawServer, answer, serving

DATA = {"provider_id": "gdrive", "connection_type_id": "oauth2", "connection_provider_data": {"refresh_token": "canary-secret-44"}}
USER, GROUP = "9d2c1d3e-0000-4000-8000-00000000000b", "9d2c1d3e-0000-4000-8000-00000000000c"
PROOF = ReadRequest(proof=True)


@contextmanager
def opened(store: Store, **settings: Any) -> Iterator[StackAiSink]:
    with serving(create_app(store)) as url:
        given = {"connector": "stack_ai", "base_url": url, "token_url": "/token", "username": "demo", "password": "demo", **settings}
        sink = CONNECTOR.open(CONNECTOR.settings(**given), ports())
        assert isinstance(sink, StackAiSink)
        try:
            yield sink
        finally:
            sink.close()


def taken(sink: StackAiSink, stream: str, request: ReadRequest = PROOF) -> tuple[list[Record], Completeness]:
    return read(sink, sink.stream(stream), request)


def filled(count: int = 1, **switches: str) -> Store:
    store = Store(**switches)
    for n in range(count):
        store.create({"name": f"Drive {n}", **DATA})
    return store


def grow(store: Store, key: str, count: int, every: int = 25) -> None:
    """So many resources behind a connection: folders of folders of files."""
    folders: list[str | None] = [None]
    for n in range(count):
        folder = n % every == 0
        made = store.add_resource(key, store.rng.choice(folders), f"r{n}", folder=folder)
        if folder:
            folders.append(made)


# connections


def test_nothing_of_a_connections_secrets_is_read_whether_masked_or_plain() -> None:
    for shown in ("masked", "plain"):
        with opened(filled(2, provider_data=shown)) as sink:
            records, _ = taken(sink, "connections")
        assert [set(record) & {"connection_provider_data"} for record in records] == [set(), set()]
        assert "canary" not in repr(records)


@pytest.mark.parametrize("envelope", ["list", "data", "connections", "items", "total"])
@pytest.mark.parametrize("id_name", ["id", "connection_id"])
def test_any_envelope_and_either_name_of_the_id_give_the_same_connections(envelope: str, id_name: str) -> None:
    store = filled(7, envelope=envelope, id_name=id_name)
    with opened(store, page_size=3) as sink:
        records, proof = taken(sink, "connections")
    assert [record["id"] for record in records] == list(store.connections)
    assert proof.complete


def test_a_told_total_spares_the_second_read() -> None:
    store = filled(7, envelope="total")
    with opened(store, page_size=5) as sink:
        _, proof = taken(sink, "connections", ReadRequest())
        lists = [entry for entry in store.log if entry["path"] == "/connections"]
    assert proof.complete
    assert proof.requests == len(lists) == 3


def test_a_limit_that_is_lowered_without_a_word_loses_nothing() -> None:
    store = filled(23, limit_cap="5")
    with opened(store) as sink:
        records, proof = taken(sink, "connections")
    assert len(records) == 23
    assert proof.complete


def test_a_limit_that_is_refused_names_the_setting_that_lowers_it() -> None:
    store = filled(23, limit_cap="5", limit_above_cap="refused")
    with opened(store) as sink, pytest.raises(ConfigError, match="set page_size"):
        taken(sink, "connections")
    with opened(store, page_size=5) as sink:
        records, proof = taken(sink, "connections")
    assert (len(records), proof.complete) == (23, True)


def test_a_list_without_order_is_declared_incomplete() -> None:
    with opened(filled(30, order="shuffled"), page_size=5) as sink:
        _, proof = taken(sink, "connections")
    assert not proof.complete
    assert "keeps no order" in " ".join(proof.doubts)


def test_a_list_that_ignores_offset_is_complete_only_where_it_cannot_be_cut_off() -> None:
    for count, size, complete in ((7, 20, True), (20, 20, False), (10, 20, False)):
        with opened(filled(count, offset="ignored"), page_size=size) as sink:
            records, proof = taken(sink, "connections")
        assert len(records) == count
        assert proof.complete is complete, proof.reasons


@pytest.mark.parametrize("listing", ["connections", "v1"])
@pytest.mark.parametrize("churn", [3, 12, 1000])
def test_connections_that_stay_are_read_while_others_come_and_go_or_the_read_is_incomplete(listing: str, churn: int) -> None:
    store = filled(60)
    start, left = set(store.connections), iter(range(churn))

    def happens() -> None:
        if next(left, None) is not None:
            for _ in range(2):
                store.create({"name": "new", **DATA})
            store.remove(store.rng.choice(list(store.connections)))
            store.remove(next(iter(store.connections)))

    store.before_list = happens
    with opened(store, page_size=7, listing=listing) as sink:
        records, proof = taken(sink, "connections")
    met = {record["id"] for record in records}
    assert (start & set(store.connections)) <= met or not proof.complete
    if churn != 12:
        assert proof.complete is (churn == 3)


def test_another_current_organization_stops_the_read() -> None:
    store = filled(3)
    with opened(store) as sink:
        _, proof = taken(sink, "connections")
        assert proof.scope == store.organization
        first, store.organization = store.organization, "7a1f0d8c-0000-4000-8000-000000000002"
        store.create({"name": "elsewhere", **DATA})
        with pytest.raises(ConfigError, match=f"for the organization {store.organization}, and this connection is for {first}"):
            taken(sink, "connections")
        store.organization = first
        assert taken(sink, "connections")[1].complete


def test_a_declared_organization_is_the_only_one_that_is_read() -> None:
    store = filled(3)
    with opened(store, organization=store.organization) as sink:
        _, proof = taken(sink, "connections")
        assert (proof.complete, proof.scope) == (True, None)
    with opened(store, organization="another") as sink, pytest.raises(ConfigError, match="this connection is for another"):
        taken(sink, "connections")


def test_answers_that_tell_no_organization_say_so() -> None:
    with opened(filled(3, organization_name="none")) as sink:
        _, proof = taken(sink, "connections")
    assert (proof.scope, proof.reasons[-1]) == (None, "no answer tells the organization")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "go away"}', "go away"),
        (b'{"a": [{"id": 1}], "b": [{"id": 2}]}', "no one list"),
        (b"<html>sorry</html>", "cannot be understood"),
        (b'[{"name": "no id"}]', "without an id"),
        (b'["text"]', "no object"),
        (b"null", "no one list"),
    ],
)
def test_an_answer_that_is_no_list_of_connections_is_no_empty_list(body: bytes, words: str) -> None:
    with RawServer(lambda number, request: answer(200, body)) as server:
        settings = CONNECTOR.settings(connector="stack_ai", base_url=server.base_url, access_token="t")
        source = CONNECTOR.open(settings, ports())
        with pytest.raises(ContractError, match=words):
            read(source, source.stream("connections"), PROOF)
        source.close()


def test_the_place_of_the_list_can_be_named() -> None:
    body = b'{"pinned": [{"id": 1}], "page": {"all": [{"key": "a"}, {"key": "b"}]}}'
    with RawServer(lambda number, request: answer(200, body)) as server:
        given = {"base_url": server.base_url, "access_token": "t", "records_at": "page.all", "id_at": "key"}
        source = CONNECTOR.open(CONNECTOR.settings(connector="stack_ai", **given), ports())
        records, _ = read(source, source.stream("connections"), ReadRequest())
        source.close()
    assert [record["id"] for record in records] == ["a", "b"]


# types


@pytest.mark.parametrize("shape", ["list", "data", "by_name"])
def test_types_are_read_in_any_shape(shape: str) -> None:
    with opened(Store(available=shape)) as sink:
        records, proof = taken(sink, "available_connections")
    assert "slack/oauth2" in {record["id"] for record in records}
    assert (len(records), proof.complete) == (6, True)


# resources


@pytest.mark.parametrize("kind", ["keyset", "offset"])
@pytest.mark.parametrize(
    ("switches", "settings"),
    [
        ({}, {}),
        ({"children_envelope": "items", "token_name": "next_page_token", "last_page": "absent"}, {"page_size": 20}),
        ({"children_envelope": "items", "token_name": "cursor", "last_page": "empty", "resource_id_name": "id"}, {"page_size": 7}),
        ({"page_cap": "9", "resource_types": "none"}, {}),
        ({"empty_pages": "3", "resource_types": "is_directory"}, {"page_size": 11}),
        ({"children_envelope": "list", "resource_types": "type"}, {"page_size": 1000}),
    ],
)
def test_every_resource_of_every_tree_is_read_once(kind: str, switches: dict[str, str], settings: dict[str, Any]) -> None:
    store = filled(3, page_tokens=kind, **switches)
    first, second, _ = store.connections
    grow(store, first, 160)
    grow(store, second, 40)
    with opened(store, **settings) as sink:
        records, proof = taken(sink, "resources")
    assert sorted(str(record["key"]) for record in records) == sorted(
        f"{key}/{node}" for key, tree in store.trees.items() for node in tree.nodes
    )
    assert {record["resource_id"]: record["parent_id"] for record in records} == {
        node.id: node.parent for tree in store.trees.values() for node in tree.nodes.values()
    }
    assert proof.complete, proof.reasons


def test_files_are_not_asked_for_children_unless_wanted() -> None:
    store = filled(1)
    key = next(iter(store.connections))
    store.add_resource(key, None, "a.txt")
    for files, expected in (("skip", 1), ("ask", 2)):
        store.log.clear()
        with opened(store, files=files) as sink:
            taken(sink, "resources", ReadRequest())
        assert sum(entry["path"].endswith("/children") for entry in store.log) == expected


def test_a_folder_that_holds_itself_is_walked_once() -> None:
    store = filled(1)
    key = next(iter(store.connections))
    outer = store.add_resource(key, None, "outer", folder=True)
    inner = store.add_resource(key, outer, "inner", folder=True)
    store.trees[key].nodes[inner].children[outer] = None
    store.trees[key].nodes[outer].children[outer] = None
    with opened(store) as sink:
        records, proof = taken(sink, "resources")
    assert [record["resource_id"] for record in records] == [outer, inner]
    assert proof.complete


def test_a_level_whose_pages_keep_no_order_is_never_called_complete() -> None:
    store = filled(1, page_tokens="offset")
    key = next(iter(store.connections))
    for n in range(9):
        store.add_resource(key, None, f"{n}")

    def shuffled() -> None:
        names = list(store.trees[key].roots)
        store.rng.shuffle(names)
        store.trees[key].roots = dict.fromkeys(names)

    store.before_children = shuffled
    with opened(store, page_size=3) as sink:
        records, proof = taken(sink, "resources")
    assert len(records) == 9 or not proof.complete
    assert any("keep no order" in doubt for doubt in proof.doubts)


def test_a_page_token_that_comes_back_ends_the_level_and_the_claim_to_be_complete() -> None:
    store = filled(1, tokens_repeat="yes")
    grow(store, next(iter(store.connections)), 60)
    with opened(store, page_size=5) as sink:
        _, proof = taken(sink, "resources")
    assert not proof.complete
    assert "came back" in " ".join(proof.reasons)


@pytest.mark.parametrize("count", [50, 20])
def test_a_bare_page_that_may_be_cut_off_is_incomplete(count: int) -> None:
    store = filled(1, children_envelope="list", page_cap="50")
    key = next(iter(store.connections))
    for n in range(count):
        store.add_resource(key, None, f"{n}")
    with opened(store, page_size=1000 if count == 50 else 20) as sink:
        _, proof = taken(sink, "resources")
    assert not proof.complete
    assert "next_token_at" in " ".join(proof.reasons)


def test_a_tree_deeper_than_allowed_is_incomplete() -> None:
    store = filled(1)
    key = next(iter(store.connections))
    parent = None
    for n in range(6):
        parent = store.add_resource(key, parent, f"level {n}", folder=True)
    with opened(store, max_depth=4) as sink:
        records, proof = taken(sink, "resources")
    assert len(records) == 4
    assert "max_depth" in " ".join(proof.reasons)


def test_one_broken_provider_leaves_the_other_trees_and_the_claim_to_be_complete_behind() -> None:
    store = filled(2, broken_provider="notion")
    broken = store.create({"name": "Notes", "provider_id": "notion", "connection_type_id": "api_key", "connection_provider_data": {}})
    healthy = [key for key in store.connections if key != broken]
    for key in healthy:
        grow(store, key, 10)
    with opened(store) as sink:
        records, proof = taken(sink, "resources")
    assert len(records) == 20
    assert f"connection {broken} was refused with status 400" in " ".join(proof.doubts)
    with opened(store, connection_ids=healthy) as sink:
        assert taken(sink, "resources")[1].complete


def test_a_walk_goes_on_from_any_page_token_of_an_earlier_one() -> None:
    store = filled(2)
    for key in store.connections:
        grow(store, key, 90)
    with opened(store, page_size=10) as sink:
        stream = sink.stream("resources")
        pages = list(sink.read(stream, ReadRequest()))
        whole = {record["key"] for page in pages for record in page.records}  # type: ignore[union-attr]
        for number in (0, len(pages) // 2, len(pages) - 1):
            before = {record["key"] for page in pages[: number + 1] for record in page.records}  # type: ignore[union-attr]
            after, proof = taken(sink, "resources", ReadRequest(resume=pages[number].token))
            assert before | {record["key"] for record in after} == whole
            assert not proof.complete
        with pytest.raises(ConfigError, match="start the read anew"):
            taken(sink, "resources", ReadRequest(resume="nonsense"))


@pytest.mark.parametrize("kind", ["keyset", "offset"])
@pytest.mark.parametrize("changes", [0, 15, 100_000])
def test_ten_thousand_resources_that_change_meanwhile_are_read_right_or_declared_incomplete(kind: str, changes: int) -> None:
    store = filled(1, page_tokens=kind)
    key = next(iter(store.connections))
    grow(store, key, 10_000, every=100)
    start, left = set(store.trees[key].nodes), iter(range(changes))
    stays = [node.id for node in store.trees[key].nodes.values() if node.folder]

    files = [node.id for node in store.trees[key].nodes.values() if not node.folder]
    store.rng.shuffle(files)

    def happens() -> None:
        if next(left, None) is not None:
            store.add_resource(key, store.rng.choice(stays), "new")
            for _ in range(2):
                store.remove_resource(key, files.pop())

    store.before_children = happens
    with opened(store, page_size=100) as sink:
        records, proof = taken(sink, "resources")
    met = {str(record["resource_id"]) for record in records}
    assert len(met) == len(records)
    assert proof.complete is (changes < 100_000), proof.reasons
    if proof.complete:
        assert (start & set(store.trees[key].nodes)) <= met
        assert set(store.trees[key].nodes) <= met


def test_no_read_makes_the_platform_refresh_its_tokens() -> None:
    store = filled(2)
    for key in store.connections:
        grow(store, key, 5)
    with opened(store) as sink:
        for stream in sink.streams():
            taken(sink, stream.name)
        assert sink.request_counts()["write"] == 0
    assert len(store.log) > 10
    assert not any("refresh" in str(entry["query"]) for entry in store.log)


def test_asking_for_one_connection_reads_no_other() -> None:
    store = filled(3)
    for key in store.connections:
        grow(store, key, 5)
    wanted = list(store.connections)[1]
    with opened(store) as sink:
        for stream, key in (("resources", {"connection_id": wanted}), ("health", {"connection_id": wanted})):
            store.log.clear()
            records, proof = taken(sink, stream, ReadRequest(keys=(key,)))
            assert {record["connection_id"] for record in records} == {wanted}
            assert all(wanted in str(entry["path"]) for entry in store.log if entry["path"] != "/token")
            assert proof.method == "by keys"


# grants and health


@pytest.mark.parametrize("shape", ["list", "data", "by_type", "grants"])
@pytest.mark.parametrize("role_at", ["in_rbac", "in_connection", "omitted"])
def test_grants_are_read_in_any_shape_with_the_organizations_role(shape: str, role_at: str) -> None:
    store = filled(2, rbac_answers=shape, organization_role=role_at)
    first, second = store.connections
    store.put(first, {**store.connections[first], "grants": {f"user/{USER}": "editor", f"group/{GROUP}": "viewer"}})
    store.put(second, {**store.connections[second], "organization_role": "viewer"})
    with opened(store) as sink:
        records, proof = taken(sink, "rbac")
    assert {(r["connection_id"], r["subject_type"], r["subject_id"], r["role"]) for r in records} == {
        (first, "user", USER, "editor"),
        (first, "group", GROUP, "viewer"),
        (second, "organization", "*", "viewer"),
    }
    assert proof.complete, proof.reasons


def test_hidden_organization_roles_prove_no_absence_until_a_person_says_that_they_are_hidden() -> None:
    store = filled(2, organization_role="hidden")
    with opened(store) as sink:
        _, proof = taken(sink, "rbac")
        assert "organization_roles" in " ".join(proof.reasons)
        assert (proof.complete, proof.doubts) == (False, ())  # nothing makes it likely that a user's grant was not seen
    with opened(store, organization_roles="hidden") as sink:
        assert taken(sink, "rbac")[1].complete


def test_a_connection_that_vanishes_meanwhile_is_a_reason_and_no_failure() -> None:
    store = filled(4, envelope="total")
    asked: list[int] = []

    def happens() -> None:
        asked.append(1)
        if len(asked) == 3:
            store.remove(list(store.connections)[-1])

    store.before_list = happens
    with opened(store, concurrency=1) as sink:
        _, proof = taken(sink, "rbac", ReadRequest())
    assert not proof.complete
    assert "vanished" in " ".join(proof.reasons)


@pytest.mark.parametrize(("shape", "said"), [("object", "OK"), ("boolean", True), ("text", "OK"), ("null", None)])
def test_health_is_one_record_of_whatever_the_platform_says(shape: str, said: Any) -> None:
    store = filled(3, health_answers=shape)
    with opened(store) as sink:
        records, proof = taken(sink, "health")
    assert [record["connection_id"] for record in records] == list(store.connections)
    assert [record["message" if shape == "object" else "health"] for record in records] == [said] * 3
    assert proof.complete


# logging in


def test_a_token_that_wears_out_is_renewed_whenever_it_does() -> None:
    store = filled(20, token_lives="10")
    with opened(store, concurrency=1) as sink:
        records, _ = taken(sink, "health")
    assert len(records) == 20
    assert store.log_ins == 3


def test_threads_that_meet_an_expired_token_log_in_once() -> None:
    store = filled(20)
    with opened(store, concurrency=8) as sink:
        taken(sink, "connections")
        store.tokens.clear()
        assert len(taken(sink, "health", ReadRequest(keys=tuple({"connection_id": key} for key in store.connections)))[0]) == 20
    assert store.log_ins == 2


@pytest.mark.parametrize("status", ["400", "401", "403", "422"])
def test_a_refused_password_is_tried_once_and_shown_nowhere(status: str) -> None:
    store = filled(1, token_error=status)
    with opened(store, password="canary-wrong") as sink:
        for _ in range(3):
            with pytest.raises(CredentialsError) as refused:
                taken(sink, "connections")
            assert "canary" not in f"{refused.value}{refused.value!r}"
    assert [entry["path"] for entry in store.log] == ["/token"]


def test_a_token_alone_is_used_and_its_refusal_said() -> None:
    store = filled(1)
    token = store.issue()
    with opened(store, username=None, password=None, token_url=None, access_token=token) as sink:
        assert len(taken(sink, "connections")[0]) == 1
        store.tokens.clear()
        with pytest.raises(CredentialsError, match="access_token was refused"):
            taken(sink, "connections")


def test_an_old_token_is_renewed_where_there_is_a_password() -> None:
    with opened(filled(1), access_token="old") as sink:
        assert len(taken(sink, "connections")[0]) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token_url": None}, "set token_url"),
        ({"token_url": "token"}, "must be written as"),
        ({"token_url": "/elsewhere"}, "correct token_url"),
    ],
)
def test_a_connection_that_cannot_log_in_says_what_to_set(settings: dict[str, Any], words: str) -> None:
    with opened(filled(1), **settings) as sink, pytest.raises(ConfigError, match=words):
        taken(sink, "connections")


def test_the_token_may_come_from_another_host() -> None:
    issuer = Store()
    store = filled(1)
    token = store.issue()
    issuer.issue = lambda: token  # type: ignore[method-assign]
    with serving(create_app(issuer)) as elsewhere, opened(store, token_url=elsewhere + "/token") as sink:
        assert len(taken(sink, "connections")[0]) == 1
    assert [entry["path"] for entry in issuer.log] == ["/token"]


def test_a_check_suggests_what_the_answers_tell() -> None:
    store = filled(2, organization_role="hidden")
    with opened(store) as sink:
        found = {finding.subject: finding for finding in sink.check()}
        assert sink.request_counts()["write"] == 0
    assert all(finding.ok for finding in found.values())
    assert found["organization"].suggestion == f"organization: {store.organization}"
    assert found["rbac"].suggestion == "organization_roles: hidden"
    assert "masked" in found["secrets"].detail
