"""From compared rows to plan rows: what is written, what is left alone, and that JSON keeps every value."""

import itertools
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors import jsontext
from pipelines.changes import PLAN_SCHEMA, Updates, create_rows, delete_rows, digest, key_texts, update_rows
from pipelines.fingerprint import fingerprints
from pipelines.staging import TYPE

JSON = {TYPE: b"json"}
OWN = pa.schema([("__position", pa.int64()), ("__source_id", pa.string()), ("__key", pa.string()), ("__omitted", pa.list_(pa.string()))])
TYPES = pa.schema([("email", pa.string()), ("phone", pa.string()), ("age", pa.int64())])

texts = st.text(st.characters(codec="utf-8"), max_size=6)


def desired(rows: list[dict[str, Any]], types: pa.Schema = TYPES) -> pa.Table:
    numbered = [{"__position": n, "__source_id": f"s{n}", "email": f"{n}@x", **row} for n, row in enumerate(rows)]
    return pa.Table.from_pylist(numbered, schema=pa.schema([*OWN, *types]))


def existing(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> pa.Table:
    numbered = [{"id": n + 100, "email": f"{n}@x", **row} for n, row in enumerate(rows)]
    return pa.Table.from_pylist(numbered, schema=schema or pa.schema([("id", pa.int64()), *TYPES]))


def updates(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], applied: list[str | None] | None = None, **settings: Any) -> Updates:
    last = None if applied is None else pa.array(applied, pa.string())
    return update_rows(desired(ours), existing(theirs), last, match=["email"], types=TYPES, id_field="id", **settings)


def afters(found: Updates) -> list[Any]:
    return [json.loads(row["after"]) for row in found.rows.to_pylist()]


# creates

EVERY_KIND = pa.schema(
    [
        ("email", pa.string()),
        ("whole", pa.int64()),
        ("wide", pa.decimal128(38, 0)),
        ("money", pa.decimal128(20, 4)),
        ("share", pa.float64()),
        ("flag", pa.bool_()),
        pa.field("nested", pa.string(), metadata=JSON),
        pa.field("seen", pa.string(), metadata={TYPE: b"timestamp"}),
        ('odd "name"\0é', pa.string()),
    ]
)


@settings(max_examples=20, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "whole": st.integers(-(2**63), 2**63 - 1),
            "wide": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(n)),
            "money": st.decimals("-9999999999999999", "9999999999999999", places=4),
            "share": st.floats(allow_nan=False, allow_infinity=False),
            "flag": st.booleans(),
            "nested": st.sampled_from(['{"b":1.50,"a":[null,"\\u0000"]}', "[]", '"text"', "12345678901234567890.10"]),
            "seen": st.just("2024-01-01T00:00:00.5Z"),
            'odd "name"\0é': texts,
        },
    )
)
@example({'odd "name"\0é': '\0\x01\x02\x1f"\\/\u2028😀', "share": -0.0, "money": Decimal("0.1000")})
def test_the_json_of_a_create_holds_every_value_exactly(values: dict[str, Any]) -> None:
    (row,) = create_rows(desired([values], EVERY_KIND), match=["email"], types=EVERY_KIND).to_pylist()
    after = jsontext.loads(row["after"])
    assert isinstance(after, dict)
    assert list(after) == EVERY_KIND.names == row["fields"]
    for name in set(EVERY_KIND.names) - {"email", "nested"}:
        given_value = values.get(name)
        assert after[name] == (Decimal(repr(given_value)) if isinstance(given_value, float) else given_value), name
    assert after["nested"] == (jsontext.loads(values["nested"]) if "nested" in values else None)
    assert jsontext.loads(row["key"]) == {"email": "0@x"}
    assert (row["op"], row["source_id"], row["sink_id"], row["before"]) == ("create", "s0", None, "{}")


def test_a_create_leaves_omitted_fields_out_and_nulls_too_where_they_are_skipped() -> None:
    table = desired([{"__omitted": ["phone"]}, {"phone": "1", "age": None}])
    written = create_rows(table, match=["email"], types=TYPES)
    assert [row["fields"] for row in written.to_pylist()] == [["email", "age"], ["email", "phone", "age"]]
    skipped = create_rows(table, match=["email"], types=TYPES, nulls="skip")
    assert [row["after"] for row in skipped.to_pylist()] == ['{"email":"0@x"}', '{"email":"1@x","phone":"1"}']


def test_plan_rows_are_numbered_from_where_the_caller_is() -> None:
    table = desired([{}, {}])
    assert create_rows(table, match=["email"], types=TYPES, start=7).column("seq").to_pylist() == [7, 8]
    assert updates([{"age": 1}, {}, {"age": 1}], [{}, {}, {}], start=5).rows.column("seq").to_pylist() == [5, 6]
    assert create_rows(table.slice(0, 0), match=["email"], types=TYPES).schema == PLAN_SCHEMA


def test_the_fingerprint_in_a_plan_is_that_of_the_desired_row() -> None:
    table = desired([{"phone": "1"}, {"__omitted": ["age"]}])
    expected = fingerprints(table.to_batches()[0], TYPES).to_pylist()
    assert create_rows(table, match=["email"], types=TYPES).column("fingerprint").to_pylist() == expected
    found = update_rows(table, existing([{"age": 9}, {"phone": "x"}]), None, match=["email"], types=TYPES, id_field="id")
    assert found.rows.column("fingerprint").to_pylist() == expected


# updates

PHONES = (None, "", "1", "2")
AGES = (None, 1, 2)
NOT_WRITTEN = object()


def every_case() -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]]:
    """Desired, existing and last applied values in every combination of one text field, those of a number going round beside it."""
    ages = itertools.cycle(itertools.product(AGES, AGES, (NOT_WRITTEN, *AGES)))
    cases: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = []
    for ours, theirs, last, omitted in itertools.product(PHONES, PHONES, (NOT_WRITTEN, *PHONES), (None, ["phone"])):
        age, existing_age, last_age = next(ages)
        applied = {name: value for name, value in (("phone", last), ("age", last_age)) if value is not NOT_WRITTEN}
        row = ({"phone": ours, "age": age, "__omitted": omitted}, {"phone": theirs, "age": existing_age})
        cases += [(*row, applied), (*row, None)]
    return cases


def model(
    ours: dict[str, Any], theirs: dict[str, Any], applied: dict[str, Any] | None, nulls: str, policy: str, drift: str
) -> dict[str, Any] | str:
    """The fields to write, or "conflict"."""
    changed, conflict = {}, False
    for name in ("phone", "age"):
        if name in (ours["__omitted"] or []) or (nulls == "skip" and ours[name] is None) or ours[name] == theirs[name]:
            continue
        if policy == "keep" or (policy == "fill_empty" and theirs[name] not in (None, "")):
            continue
        if applied is not None and name in applied and applied[name] != theirs[name]:
            conflict |= drift == "conflict"
            if drift == "keep":
                continue
        changed[name] = ours[name]
    return "conflict" if conflict else changed


@pytest.mark.parametrize("nulls", ["write", "skip"])
@pytest.mark.parametrize("policy", ["overwrite", "fill_empty", "keep"])
@pytest.mark.parametrize("drift", ["overwrite", "keep", "conflict"])
def test_every_row_is_written_unchanged_or_a_conflict_as_the_settings_say(nulls: str, policy: str, drift: str) -> None:
    rows = every_case()
    ours, theirs = [row[0] for row in rows], [row[1] for row in rows]
    applied = [None if row[2] is None else json.dumps(row[2]) for row in rows]
    found = updates(ours, theirs, applied, nulls=nulls, existing_policy=policy, drift=drift)
    expected = [model(*row, nulls, policy, drift) for row in zip(ours, theirs, [row[2] for row in rows], strict=True)]
    assert found.positions.tolist() == [n for n, change in enumerate(expected) if change and change != "conflict"]
    assert found.unchanged.tolist() == [n for n, change in enumerate(expected) if not change]
    assert found.conflicts.column("position").to_pylist() == [n for n, change in enumerate(expected) if change == "conflict"]
    for position, row in zip(found.positions.tolist(), found.rows.to_pylist(), strict=True):
        assert json.loads(row["after"]) == expected[position]
        assert row["fields"] == list(json.loads(row["after"]))
        assert json.loads(row["before"]) == {name: theirs[position][name] for name in row["fields"]}
        assert (row["sink_id"], row["source_id"], row["op"]) == (str(position + 100), f"s{position}", "update")


def test_values_that_differ_only_in_form_are_no_change() -> None:
    types = pa.schema([("email", pa.string()), ("n", pa.decimal128(10, 2)), pa.field("j", pa.string(), metadata=JSON), ("t", pa.string())])
    ours = desired([{"n": Decimal("1.00"), "j": '{"a":1.0,"b":[]}', "t": "2024-01-01T00:00:00Z"}], types)
    theirs = pa.table({"id": ["x"], "email": ["0@x"], "n": ["1"], "j": ['{"b": [], "a": 1}'], "t": ["2024-01-01T01:00:00.000+01:00"]})
    theirs = theirs.cast(pa.schema([f.with_metadata(JSON) if f.name == "j" else f for f in theirs.schema]))
    found = update_rows(ours, theirs, None, match=["email"], types=types, id_field="id")
    assert found.unchanged.tolist() == [0]


def test_what_the_sink_lacks_altogether_is_null_and_not_in_before() -> None:
    theirs = pa.table({"id": [100, 101], "email": ["0@x", "1@x"], "age": [1, 2], "__absent": [None, '["age"]']})
    theirs = theirs.set_column(2, "age", pa.array([1, None]))
    found = update_rows(desired([{"phone": "5", "age": 2}, {"age": 3}]), theirs, None, match=["email"], types=TYPES, id_field="id")
    assert afters(found) == [{"phone": "5", "age": 2}, {"age": 3}]
    assert [row["before"] for row in found.rows.to_pylist()] == ['{"age":1}', "{}"]


def test_write_only_fields_are_never_compared() -> None:
    assert updates([{"phone": "secret"}], [{"phone": "******"}], write_only={"phone"}).unchanged.tolist() == [0]


def test_before_holds_the_whole_record_where_whole_objects_must_be_sent() -> None:
    found = updates([{"age": 1}], [{"phone": "7"}], whole=True)
    assert found.rows.to_pylist()[0]["before"] == '{"id":100,"email":"0@x","phone":"7","age":null}'


def test_a_conflict_names_every_field_that_others_changed() -> None:
    found = updates([{"phone": "1", "age": 1}], [{"phone": "2", "age": 2}], ['{"phone":"3","age":3}'], drift="conflict")
    assert found.conflicts.to_pylist()[0]["field"] == "phone, age"
    assert "phone, age was changed in the sink" in found.conflicts.to_pylist()[0]["reason"]


def test_rows_stay_aligned_however_the_tables_are_chunked() -> None:
    count = 150_000
    ours = desired([{"age": n} for n in range(count)])
    theirs = existing([{"age": n if n % 3 else -1} for n in range(count)])
    chunked = [pa.Table.from_batches(table.to_batches(size)) for table, size in ((ours, 1_000), (theirs, 33_333))]
    found = update_rows(chunked[0], chunked[1], None, match=["email"], types=TYPES, id_field="id")
    np.testing.assert_array_equal(found.positions, np.arange(0, count, 3))
    assert found.rows.column("sink_id").to_pylist() == [str(n + 100) for n in range(0, count, 3)]


# deletes, keys, digest


def test_a_delete_keeps_the_whole_record_and_names_it_by_the_desired_types() -> None:
    schema = pa.schema([("id", pa.string()), ("email", pa.string()), ("age", pa.string()), ("__absent", pa.string())])
    table = pa.Table.from_pylist([{"id": "é", "email": "a", "age": "5.0"}, {"id": "2", "email": "b", "__absent": '["age"]'}], schema=schema)
    rows = delete_rows(table, match=["email", "age"], types=TYPES, id_field="id", start=3).to_pylist()
    assert [row["before"] for row in rows] == ['{"id":"é","email":"a","age":"5.0"}', '{"id":"2","email":"b"}']
    assert rows[0]["key"] == '{"email":"a","age":5}'
    assert (rows[0]["sink_id"], rows[0]["op"], rows[0]["after"], rows[0]["fields"], rows[0]["seq"]) == ('"é"', "delete", None, [], 3)


def test_both_sides_write_the_same_key_for_the_same_record() -> None:
    theirs = pa.table({"age": ["5.0", "6", None], "email": ["a", "", "c"]})
    assert key_texts(theirs, ["email", "age"], TYPES).to_pylist() == ['["a",5]', None, None]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.fixed_dictionaries({"phone": st.none() | texts}), min_size=1, max_size=20), st.integers(1, 7))
def test_a_digest_is_of_the_rows_and_not_of_their_chunks(rows: list[dict[str, Any]], size: int) -> None:
    plan = create_rows(desired(rows), match=["email"], types=TYPES)
    assert digest([plan]) == digest(plan.slice(start, size) for start in range(0, len(rows), size))


@pytest.mark.parametrize("column", ["op", "key", "source_id", "sink_id", "before", "after"])
def test_any_change_of_a_plan_changes_its_digest(column: str) -> None:
    plan = create_rows(desired([{}]), match=["email"], types=TYPES)
    changed = plan.set_column(plan.schema.get_field_index(column), column, pa.array(["other"]))
    assert digest([changed]) != digest([plan])
    assert len(digest([])) == 64
