"""Stack AI's pure parts: lists that shift under every kind of change, ids that say what they name, masks, answers of any shape."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Read, Record
from connectors.errors import ConfigError, ContractError
from connectors.settings import Secret
from connectors.stack_ai.answers import Listed, listed, made_in, next_token, says_more
from connectors.stack_ai.grants import Subject, grant_id, grants_in, subject_of
from connectors.stack_ai.listing import Listing
from connectors.stack_ai.masks import masked_at, provider_data, refuse_masks
from connectors.stack_ai.settings import StackAiSettings
from connectors.stack_ai.tree import Level, Spot, Walking
from pipelines.config import load_connections

CHANGE = st.tuples(st.sampled_from(["nothing", "insert", "remove"]), st.integers(0, 40))


def moving(
    rows: list[int], changes: list[tuple[str, int]], *, cap: int, told: bool
) -> Callable[[int, int], tuple[list[Record], int | None]]:
    """A list that somebody changes before each page is given."""
    fresh = iter(range(1000, 9000))
    left = iter(changes)

    def ask(offset: int, limit: int) -> tuple[list[Record], int | None]:
        what, where = next(left, ("nothing", 0))
        if what == "insert":
            rows.insert(where % (len(rows) + 1), next(fresh))
        elif what == "remove" and rows:
            del rows[where % len(rows)]
        page: list[Record] = [{"id": f"{row}"} for row in rows[offset : offset + min(limit, cap)]]
        return page, len(rows) if told else None

    return ask


def read_all(listing: Listing) -> tuple[set[str], Any]:
    reading = Read(listing.pages())
    records = [record for page in reading for record in page.records]  # type: ignore[union-attr]
    assert len({record["id"] for record in records}) == len(records) == reading.completeness.count
    return {str(record["id"]) for record in records}, reading.completeness


@given(st.integers(0, 40), st.lists(CHANGE, max_size=30), st.integers(2, 9), st.integers(2, 12), st.booleans(), st.booleans())
def test_a_complete_list_holds_every_record_that_stayed(
    count: int, changes: list[tuple[str, int]], size: int, cap: int, proof: bool, told: bool
) -> None:
    rows = list(range(count))
    start = {str(row) for row in rows}
    ask = moving(rows, changes, cap=cap, told=told)
    met, proven = read_all(Listing(ask, size, proof=proof, believe_total=True, max_pages=2_000))
    if proven.complete:
        assert (start & {str(row) for row in rows}) <= met


@given(st.integers(0, 60), st.integers(2, 9), st.integers(2, 12), st.booleans())
def test_a_list_that_rests_is_read_whole_and_proven(count: int, size: int, cap: int, told: bool) -> None:
    met, proven = read_all(Listing(moving(list(range(count)), [], cap=cap, told=told), size, proof=True, believe_total=True, max_pages=500))
    assert (len(met), proven.complete) == (count, True)


def test_a_list_whose_pages_hold_one_record_each_is_not_taken_for_one_record() -> None:
    _, proven = read_all(Listing(moving([1, 2, 3], [], cap=1, told=False), 10, proof=True, believe_total=True, max_pages=500))
    assert not proven.complete
    assert "pages of one record" in " ".join(proven.reasons)


def test_a_read_stops_after_its_most_pages_and_says_so() -> None:
    _, proven = read_all(Listing(moving(list(range(100)), [], cap=2, told=False), 2, proof=True, believe_total=True, max_pages=7))
    assert not proven.complete
    assert "max_pages" in " ".join(proven.reasons)


@given(st.recursive(st.integers(0, 12), lambda inner: st.lists(inner, max_size=4), max_leaves=40), st.integers(1, 3), st.integers(1, 5))
def test_every_resource_of_any_graph_is_met_once_even_where_folders_hold_each_other(tree: Any, size: int, fan_out: int) -> None:
    below: dict[str | None, list[str]] = {}

    def enter(name: str | None, node: Any) -> None:
        """Integers are links to a name that may be anywhere, lists are folders."""
        for number, child in enumerate(node if isinstance(node, list) else []):
            key = f"{name or ''}{number}" if isinstance(child, list) else str(child)
            if key not in below.setdefault(name, []):  # one folder lists a thing once; twice is a row that moved between pages
                below[name].append(key)
            enter(key, child)

    enter(None, tree)

    def ask(spot: Spot) -> Level:
        start = int(spot.token or 0)
        items = below.get(spot.parent, [])
        following = str(start + size) if start + size < len(items) else None
        return Level([(key, True, {}) for key in items[start : start + size]], following)

    reachable: set[str] = set()
    todo: list[str | None] = [None]
    while todo:
        for key in below.get(todo.pop(), []):
            if key not in reachable:
                reachable.add(key)
                todo.append(key)
    walking = Walking(ask, fan_out=fan_out, max_depth=90, max_pages=5_000, proof=True)
    reading = Read(walking.pages(["c"]))
    records = [record for page in reading for record in page.records]  # type: ignore[union-attr]
    assert sorted(str(record["resource_id"]) for record in records) == sorted(reachable)
    assert reading.completeness.complete


@given(st.uuids().map(str), st.sampled_from(["user", "group", "api/key", "größe"]), st.uuids() | st.none())
def test_the_id_of_a_grant_names_its_subject(connection: str, kind: str, who: Any) -> None:
    subject = Subject(connection, kind, None if who is None else str(who))
    assert subject_of(grant_id(subject)) == subject


@pytest.mark.parametrize(
    "value", [{}, None, "x", 7, {"users": "many"}, [{"subject_id": "u", "role": "r"}], [{"subject_type": "user", "role": "r"}]]
)
def test_what_is_no_list_of_grants_is_no_empty_list(value: Any) -> None:
    with pytest.raises(ContractError):
        grants_in(value, "c", "organization", {})


@pytest.mark.parametrize("value", ["****", "••••••••", "sk-****1234", "xxxxxxxx", "[REDACTED]", "<hidden>", {"a": [{"b": "●●●●"}]}])
def test_a_mask_is_known_wherever_it_stands(value: Any) -> None:
    assert masked_at(value, None) is not None
    with pytest.raises(ConfigError, match="never sent"):
        refuse_masks({"connection_provider_data": value}, None)


@pytest.mark.parametrize("value", ["", "***", "hunter2", "a secret of ours", "x" * 3, None, 7, True, {"k": ["v"]}, "https://host/*"])
def test_what_is_no_mask_is_sent(value: Any) -> None:
    assert masked_at(value, None) is None


def test_the_platforms_own_mask_can_be_named() -> None:
    assert masked_at({"key": "(hidden by us)"}, "(hidden by us)") == "key"


def test_references_are_found_by_name_before_provider() -> None:
    by_name, by_provider = {"k": Secret("1")}, {"k": Secret("2")}
    declared = {"Mine": by_name, "provider:slack": by_provider}
    assert provider_data(declared, "Mine", "slack") is by_name
    assert provider_data(declared, "Other", "slack") is by_provider
    assert provider_data(declared, "Other", "notion") is None


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ([{"a": 1}], "a bare list"),
        ({"data": [{"a": 1}], "warnings": []}, "a list at data"),
        ({"page": {"items": [{"a": 1}]}}, "a list at page.items"),
        ({"things": [{"a": 1}], "tags": ["x"]}, "a list at things"),
    ],
)
def test_the_one_list_of_an_answer_is_found(value: Any, shape: str) -> None:
    found = listed(value, None, "things")
    assert (found.records, found.shape) == ([{"a": 1}], shape)


@pytest.mark.parametrize(
    ("around", "asked", "expected"),
    [
        ({"next_cursor": "b", "current_cursor": "a"}, "a", ("b", True)),
        ({"next_cursor": None, "current_cursor": "a"}, "a", (None, True)),
        ({"nextPageToken": ""}, None, (None, True)),
        ({"cursor": "a"}, "a", (None, False)),
        ({"cursor": "b"}, "a", ("b", True)),
        ({"total": 3}, None, (None, False)),
        ({}, None, (None, False)),
    ],
)
def test_the_next_page_token_is_told_apart_from_this_pages_own(around: dict[str, Any], asked: str | None, expected: Any) -> None:
    assert next_token(Listed([], around=around), asked, None) == expected


@pytest.mark.parametrize(
    ("around", "token", "more"),
    [
        ({"pagination": {"next": "t", "has_more": True, "total": 9}}, "t", True),
        ({"page_info": {"hasNextPage": True, "endCursor": "t"}}, None, True),
        ({"meta": {"next_cursor": None}, "hasMore": False}, None, False),
        ({"next_cursor": "t", "meta": {"next_cursor": "other"}}, "t", False),
    ],
)
def test_what_stands_in_an_object_beside_the_list_is_told_as_well(around: Record, token: str | None, more: bool) -> None:
    page = listed({"results": [{"id": "a"}], **around}, None, "resources")
    assert (next_token(page, None, None)[0], says_more(page)) == (token, more)
    assert page.total == (9 if "pagination" in around else None)
    if "page_info" in around:
        assert next_token(page, None, "page_info.endCursor") == ("t", True)


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ({"id": "a", "name": "n"}, "a"),
        ({"connection_id": "a"}, "a"),
        ({"data": {"id": "a"}}, "a"),
        ("3f0c8a52-5a0e-4d0c-9f6e-0d6c1f2b7a11", "3f0c8a52-5a0e-4d0c-9f6e-0d6c1f2b7a11"),
        ("Created", None),
        ({"ok": True}, None),
        (None, None),
    ],
)
def test_the_connection_that_an_answer_shows_is_found(answer: Any, key: str | None) -> None:
    made = made_in(answer, None)
    assert (made["id"] if made else None) == key


def test_references_inside_provider_data_are_resolved_and_written_out_secrets_noticed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    file = tmp_path / "connections.yaml"
    text = (
        "connections:\n  ai:\n    connector: stack_ai\n    base_url: https://ai.example\n    provider_data:\n      Notes: {{api_key: {}}}\n"
    )
    for written, revealed, noticed in (('"${KEY}"', "k1", 0), ("file:key", "from a file", 0), ("hunter2", "hunter2", 1)):
        file.write_text(text.format(written))
        entry = load_connections(file, tmp_path).entry("ai")
        settings = entry.settings(StackAiSettings, {"KEY": "k1"})
        assert isinstance(settings, StackAiSettings)
        assert settings.provider_data["Notes"]["api_key"].reveal() == revealed
        assert revealed not in f"{settings!r}{settings.model_dump_json()}"
        told = entry.written_out_secrets(StackAiSettings)
        assert (len(told), "hunter2" in str(told)) == (noticed, False)
    file.write_text(text.format("7"))
    with pytest.raises(ConfigError, match="must be text"):
        load_connections(file, tmp_path).entry("ai").settings(StackAiSettings, {})
