"""JSON text: what was read is what is written, and what could be understood in two ways is refused."""

import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ContractError
from connectors.jsontext import MAX_DEPTH, dumps, loads

texts = st.text(st.characters(exclude_categories=("Cs",)))
decimals = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 400)
scalars = st.none() | st.booleans() | st.integers() | decimals | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20)


def same(one: Any, other: Any) -> bool:
    """Equal in value and kind: True is not 1, though 5 and 5.0 may change places (JSON has one kind of number)."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@given(values)
def test_what_was_written_reads_back_equal(value: Any) -> None:
    assert same(loads(dumps(value)), value)


@given(values)
def test_a_second_round_changes_no_byte(value: Any) -> None:
    once = dumps(value)
    assert dumps(loads(once)) == once


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_contract_error(body: bytes) -> None:
    try:
        value = loads(body)
    except ContractError:
        return
    assert same(loads(dumps(value)), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", Decimal("0.1")),
        ("2.50", Decimal("2.50")),
        ("1e400", Decimal("1e400")),
        ("9007199254740993", 2**53 + 1),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ('"\\u0000\\u0001\\u0002"', "\x00\x01\x02"),
        ('"\\ud83d\\ude00"', "😀"),
        ('\ufeff{"a":null}', {"a": None}),
        (' {"a" : [ ] } \n', {"a": []}),
    ],
)
def test_numbers_and_characters_are_exact(text: str, value: Any) -> None:
    assert loads(text) == value
    assert type(loads(text)) is type(value)
    assert loads(text.encode()) == value


def test_an_integer_of_five_thousand_digits_round_trips() -> None:
    assert loads("9" * 5000) == 10**5000 - 1
    assert dumps({"n": [10**5000 - 1]}) == b'{"n":[' + b"9" * 5000 + b"]}"


def test_trailing_zeros_of_a_fraction_survive() -> None:
    assert dumps(loads(b"[2.50,-0.0,1E+2]")) == b"[2.50,-0.0,1E+2]"


def test_control_characters_are_escaped_when_written() -> None:
    assert dumps({"a\x01": "\x00\x02\n"}) == b'{"a\\u0001":"\\u0000\\u0002\\n"}'


def test_text_is_written_as_utf8() -> None:
    assert dumps("zoë 😀") == '"zoë 😀"'.encode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":1,"b":2,"a":3}', "'a' twice"),
        (b'[{"x":{"a":1,"a":1}}]', "'a' twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a":', "not JSON"),
        (b"", "not JSON"),
        (b"<html></html>", "not JSON"),
        (b"[1] [2]", "extra data"),
        (b'["a\nb"]', "control character"),
        (b'["\xff"]', "not UTF-8"),
        (b'["\xed\xa0\x80"]', "not UTF-8"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'["' + b"9" * 20 + b'\\uDC00", ' + b"9" * 5000 + b"]", "surrogate"),
        (b"1e99999", "exponent"),
        (b"1e-99999999999999999999", "exponent"),
        (b"9" * 100_001, "digits"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "deeper"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        loads(body)


def test_the_deepest_allowed_text_round_trips() -> None:
    body = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert dumps(loads(body)) == body


def test_depth_does_not_depend_on_who_calls() -> None:
    body = b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)
    errors: list[str] = []

    def read() -> None:
        try:
            loads(body)
        except ContractError as error:
            errors.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    read()
    assert len(set(errors)) == 1
    assert len(errors) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity"), "\ud800", object(), {"a": {1, 2}}])
def test_what_json_cannot_say_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        dumps(value)


def test_a_value_that_contains_itself_is_not_written() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match=r"."):
        dumps(value)
