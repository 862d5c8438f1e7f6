"""Ids and the record list are found in a page as it came."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.arrow import page_ids, records_path
from connectors.base import JsonBody
from connectors.errors import ContractError

IDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8) | st.none()) | st.lists(st.integers(-(2**80), 2**80) | st.none())
PATHS = st.sampled_from([(), ("records",), ("data", "records")])


def body_of(records: list[dict[str, object]], path: tuple[str, ...]) -> JsonBody:
    answer: object = records
    for key in reversed(path):
        answer = {"total": 3, "other": {"records": [{"sid": "wrong"}]}, key: answer}
    return JsonBody(json.dumps(answer).encode(), path)


@settings(deadline=None)
@given(IDS, PATHS)
def test_the_ids_of_a_page_are_exact_and_in_order(ids: list[str | int | None], path: tuple[str, ...]) -> None:
    records: list[dict[str, object]] = [{"n": {"sid": "inner"}, "sid": value, "list": [{"sid": 7}]} for value in ids]
    found = page_ids(body_of(records, path), "sid").to_pylist()
    assert found == ids
    assert all(type(one) is type(other) or isinstance(one, Decimal) for one, other in zip(found, ids, strict=True))


def test_a_record_without_id_still_counts() -> None:
    assert page_ids(JsonBody(b'[{"sid":"a"},{},{"sid":null}]', ()), "sid").to_pylist() == ["a", None, None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"records":null}',
        b'{"records":{}}',
        b'{"records":[1]}',
        b'{"records":[{"sid":"a"},null]}',
        b'{"records":[{"sid":"\xff"}]}',
        b'{"records":[{"sid":"a","sid":"b"}]}',
        b'{"records":[{"sid":"a"},{"sid":1}]}',
        b'{"records":[{"sid":"a"}]}{"records":[{"sid":"a"}]}',
    ],
)
def test_a_page_without_such_ids_is_refused(body: bytes) -> None:
    with pytest.raises(ContractError):
        page_ids(JsonBody(body, ("records",)), "sid")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", ()),
        (b'[{"a":1}]', ()),
        (b'{"records":[],"total":0}', ("records",)),
        (b'{"records":[{"a":1}],"errors":[]}', ("records",)),
        (b'{"errors":["x"],"items":[{"a":[{"b":1}]}]}', ("items",)),
        (b'{"data":{"records":[{"a":1}],"ids":[1]},"ok":true}', ("data", "records")),
        (b'{"data":{"rows":[{"a":1}]},"list":[{"a":1}]}', ("list",)),
    ],
)
def test_the_list_of_records_is_found(body: bytes, path: tuple[str, ...]) -> None:
    assert records_path(body) == path


@pytest.mark.parametrize(
    "body", [b"{}", b"7", b"[1]", b'{"a":{"b":{"c":[{}]}}}', b'{"a":[{"x":1}],"b":[{"x":1}]}', b'{"a":[],"b":[]}', b'{"a":[1]}']
)
def test_an_answer_without_one_list_of_records_is_refused(body: bytes) -> None:
    with pytest.raises(ContractError):
        records_path(body)
