"""When two values are the same, against Python's own exact arithmetic, dates and JSON."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.canonical import json_text
from pipelines.diff import diff
from pipelines.fingerprint import KEYLESS, OPAQUE, Index, fingerprints, index
from pipelines.staging import TYPE

JSON = {TYPE: b"json"}
TIMESTAMP = {TYPE: b"timestamp"}


def same(ours: pa.Array, wanted: pa.Field, theirs: pa.Array, held: pa.Field | None = None) -> list[bool]:
    """For each place, whether the two values count as the same under the wanted type."""
    keys = pa.array([str(number) for number in range(len(ours))])
    types = pa.schema([pa.field("k", pa.string()), wanted.with_name("v")])
    left = pa.Table.from_arrays([keys, ours], schema=types)
    right = pa.Table.from_arrays([keys, theirs], schema=pa.schema([types.field("k"), (held or wanted).with_name("v")]))
    first, second = (index(table.to_reader(), ["k"], ["v"], types) for table in (left, right))
    differ = set(diff(first, second).differ.tolist())
    return [number not in differ for number in range(len(ours))]


text = pa.field("v", pa.string())
integer = pa.field("v", pa.int64())
number = pa.field("v", pa.float64())
json_field = pa.field("v", pa.string(), metadata=JSON)
anything = st.text(st.characters(codec="utf-8"), max_size=8)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.decimals(-1000, 1000, places=3) | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)


def dumped(value: Any, spaced: bool = False, backwards: bool = False) -> str:
    """JSON with decimals digit by digit."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        members = [f"{json.dumps(k)}: {dumped(v, spaced, backwards)}" for k, v in value.items()]
        return "{" + (" , " if spaced else ",").join(reversed(members) if backwards else members) + "}"
    if isinstance(value, list):
        return "[" + (" , " if spaced else ",").join(dumped(item, spaced, backwards) for item in value) + "]"
    return json.dumps(value, ensure_ascii=spaced)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(anything, anything), min_size=1, max_size=30))
@example([("a", "a "), ("a", "A"), ("é", "é"), ("\0", ""), ("\x02n", "\x02n"), ("\x02t0", "\x02"), ("", "")])
def test_texts_are_the_same_only_letter_by_letter(pairs: list[tuple[str, str]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    assert same(pa.array(ours), text, pa.array(theirs)) == [a == b for a, b in pairs]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-2, 2)), min_size=1, max_size=30))
def test_integers_are_exact_beyond_2_to_the_53_against_decimals_texts_and_json(pairs: list[tuple[int, int]]) -> None:
    ours = [value for value, _ in pairs]
    others = [value + step for value, step in pairs]
    expected = [a == b for a, b in zip(ours, others, strict=True)]
    mine = pa.array(ours, pa.int64())
    wide = pa.array([Decimal(value) for value in others], pa.decimal128(38, 2))
    assert same(mine, integer, wide, pa.field("v", wide.type)) == expected
    assert same(mine, integer, pa.array([str(value) for value in others]), text) == expected
    assert same(mine, integer, pa.array([f"{value}.00" for value in others]), json_field) == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-1.7e308, 1.7e308), min_size=1, max_size=30))
@example([1e22, 1e37, 1e38, 1.5e-7, 1e-20, 9.9e-21, 5e-324, -0.0, 1e15, 1e16, 0.1, 1.6976931348623157e308, 123456789012345680.0])
def test_a_float_is_the_same_as_its_own_digits_in_any_form(values: list[float]) -> None:
    mine = pa.array(values, pa.float64())
    with localcontext(prec=400):
        shown = [repr(value) for value in values]
        written_out = [format(Decimal(repr(value)), "f") for value in values]
    assert all(same(mine, number, pa.array(shown), json_field))
    assert all(same(mine, number, pa.array(written_out), json_field))
    nearby = [float(np.nextafter(value, np.inf)) for value in values]
    assert not any(same(mine, number, pa.array([repr(value) for value in nearby]), json_field))


@settings(max_examples=15, deadline=None)
@given(st.lists(documents, min_size=1, max_size=12))
def test_json_is_the_same_whatever_the_order_of_its_keys_spaces_and_escapes(values: list[Any]) -> None:
    ours = pa.array([dumped(value) for value in values])
    theirs = pa.array([dumped(value, spaced=True, backwards=True) for value in values])
    assert all(same(ours, json_field, theirs))


@given(documents, documents)
@example({"a": 1, "b": [1, 2]}, {"a": 1, "b": [2, 1]})
@example(1, "1")
@example(["a"], ["A"])
def test_json_texts_are_equal_exactly_where_the_values_are(one: Any, other: Any) -> None:
    def typed(value: Any) -> Any:  # Python takes True for 1
        if isinstance(value, dict):
            return {key: typed(inner) for key, inner in value.items()}
        return [typed(inner) for inner in value] if isinstance(value, list) else (isinstance(value, bool), value)

    assert (json_text(dumped(one)) == json_text(dumped(other, spaced=True))) == (typed(one) == typed(other))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-720, 720), st.integers(0, 1)), min_size=1))  # noqa: DTZ001
def test_full_times_with_an_offset_are_the_same_as_instants(moments: list[tuple[datetime, int, int]]) -> None:
    ours, theirs = [], []
    for moment, offset, later in moments:
        instant = moment.replace(tzinfo=UTC)
        elsewhere = (instant + timedelta(microseconds=later)).astimezone(timezone(timedelta(minutes=offset)))
        ours.append(instant.isoformat().replace("+00:00", "Z"))
        theirs.append(elsewhere.isoformat(" "))
    expected = [not later for _, _, later in moments]
    assert same(pa.array(ours), text, pa.array(theirs)) == expected
    assert same(pa.array(ours), text.with_metadata(TIMESTAMP), pa.array(theirs), text) == expected


def test_times_without_an_offset_and_impossible_times_are_only_texts() -> None:
    ours = ["2024-01-01T10:00:00", "2024-02-30T10:00:00Z", "2024-06-30T23:59:60Z", "2024-01-01"]
    theirs = ["2024-01-01T10:00:00Z", "2024-03-01T10:00:00Z", "2024-07-01T00:00:00Z", "2024-01-01T00:00:00Z"]
    assert not any(same(pa.array(ours), text, pa.array(theirs)))
    assert all(same(pa.array(ours), text, pa.array(ours)))


def test_text_counts_as_a_number_only_where_a_number_is_wanted() -> None:
    assert same(pa.array([42, 42, 42, 42, 7]), integer, pa.array(["42", "42.0", " 42", "042", "n/a"]), text) == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert same(pa.array(["42", "true", "1.5"]), text, pa.array([42, 1, 1]), integer) == [False, False, False]


def test_a_column_of_mixed_values_is_compared_value_by_value() -> None:
    mixed = pa.array(['"42"', "42", '"a"', "null", "true", '"2024-01-01T02:00:00+02:00"'])
    assert same(pa.array(["42", "42", "a", None, "true", "2024-01-01T00:00:00Z"]), text, mixed, json_field) == [
        True,
        False,
        True,
        True,
        False,
        True,
    ]
    assert same(pa.array([42, 42, 1, None, 1, 1]), integer, mixed, json_field) == [True, True, False, True, False, False]


def test_null_absent_and_empty_text() -> None:
    assert same(pa.array([None, "", None]), text, pa.array([None, None, ""])) == [True, False, False]
    types = pa.schema([("k", pa.string()), ("v", pa.string())])
    with_field = pa.table({"k": ["1", "2"], "v": [None, "x"]}, schema=types)
    without = pa.table({"k": ["1", "2"]})
    found = diff(index(with_field.to_reader(), ["k"], ["v"], types), index(without.to_reader(), ["k"], ["v"], types))
    assert found.differ.tolist() == [1]


def test_a_boolean_is_neither_a_number_nor_any_other_text() -> None:
    truth = pa.field("v", pa.bool_())
    assert same(pa.array([True, False, True]), truth, pa.array([1, 0, 2]), integer) == [False, False, False]
    assert same(pa.array([True, False, True]), truth, pa.array(["true", "false", "TRUE"]), text) == [True, True, False]


def table_of(count: int) -> tuple[pa.Table, pa.Schema]:
    types = pa.schema([("a", pa.string()), ("b", pa.int64()), pa.field("j", pa.string(), metadata=JSON)])
    columns = [[f"k{n}" for n in range(count)], [n % 7 for n in range(count)], [json.dumps({"n": n}) for n in range(count)]]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, types, strict=True)], schema=types), types


def test_an_index_does_not_depend_on_how_its_rows_are_chunked() -> None:
    table, types = table_of(150_000)
    whole = index(table.to_reader(), ["a", "b"], types.names, types)
    parts = index(table.to_reader(max_chunksize=7_777), ["a", "b"], types.names, types)
    for name, values in whole.arrays().items():
        np.testing.assert_array_equal(values, parts.arrays()[name])
    assert sorted(whole.position.tolist()) == list(range(150_000))
    np.testing.assert_array_equal(Index.of(whole.arrays()).row, whole.row)


def test_an_index_is_sorted_by_both_words_and_then_by_position() -> None:
    types = pa.schema([("k", pa.string())])
    table = pa.table({"k": ["x", "y", "x", "z", "x"]})
    found = index(table.to_reader(), ["k"], ["k"], types)
    entries = list(zip(found.key_hi.tolist(), found.key_lo.tolist(), found.position.tolist(), strict=True))
    assert entries == sorted(entries)


def test_a_key_is_told_apart_by_its_parts_and_not_by_their_joint_text() -> None:
    types = pa.schema([("a", pa.string()), ("b", pa.string())])
    table = pa.table({"a": ["x", "xy", "x"], "b": ["yz", "z", "yz"]})
    found = index(table.to_reader(), ["a", "b"], [], types)
    assert len(set(found.key_hi.tolist())) == 2


def test_rows_lacking_a_part_of_their_key_come_last_and_share_one_key() -> None:
    types = pa.schema([("a", pa.string()), ("b", pa.int64())])
    table = pa.table({"a": ["x", None, "", "y"], "b": [1, 1, 1, None]}, schema=types)
    found = index(table.to_reader(), ["a", "b"], ["a"], types)
    assert found.position.tolist() == [0, 1, 2, 3]
    assert (found.key_hi[1:] == KEYLESS).all()


def test_rows_with_omitted_fields_have_the_hash_that_equals_nothing() -> None:
    schema = pa.schema([("__omitted", pa.list_(pa.string())), ("k", pa.string())])
    table = pa.table({"__omitted": [None, ["v"]], "k": ["a", "b"]}, schema=schema)
    found = index(table.to_reader(), ["k"], ["k"], pa.schema([("k", pa.string())]))
    assert sorted(found.row.tolist())[0] == OPAQUE
    assert sorted(found.row.tolist())[1] != OPAQUE


def test_the_fingerprint_is_md5_over_lengths_and_texts_and_so_the_same_for_ever() -> None:
    types = pa.schema([("name", pa.string()), ("amount", pa.decimal128(10, 2)), ("note", pa.string())])
    rows = pa.RecordBatch.from_pylist([{"name": "Zoë", "amount": Decimal("12.50"), "note": None}], schema=types)
    names = hashlib.md5(b"amount\0name\0note").hexdigest()[:8]
    digest = hashlib.md5(f"{names}4:12.54:Zoë-".encode()).digest()
    assert fingerprints(rows, types).to_pylist() == [int.from_bytes(digest, "little") & (2**63 - 1)]


def test_the_fingerprint_tells_an_omitted_field_from_null_and_does_not_see_the_order_of_fields() -> None:
    schema = pa.schema([("__omitted", pa.list_(pa.string())), ("a", pa.string()), ("b", pa.int64())])
    rows = pa.RecordBatch.from_pylist([{"__omitted": None, "a": None, "b": 1}, {"__omitted": ["a"], "a": None, "b": 1}], schema=schema)
    forward = fingerprints(rows, pa.schema([("a", pa.string()), ("b", pa.int64())])).to_pylist()
    backward = fingerprints(rows, pa.schema([("b", pa.int64()), ("a", pa.string())])).to_pylist()
    assert forward == backward
    assert forward[0] != forward[1]
