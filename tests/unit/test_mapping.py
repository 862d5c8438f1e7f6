"""What the sink should hold, from what the source gave: values, bad cells, absence, look-ups, functions."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import ConfigError, ContractError
from pipelines.mapping import Mapped, compile_mapping, map_records
from pipelines.spec import SyncSpec
from pipelines.staging import TYPE

SCHEMA = pa.schema(
    [
        ("sid", pa.string()),
        ("email", pa.string()),
        ("score", pa.string()),
        ("age", pa.int64()),
        ("amount", pa.decimal128(12, 2)),
        ("big", pa.decimal128(38, 0)),
        pa.field("seen", pa.string(), metadata={TYPE: b"timestamp"}),
        pa.field("born", pa.string(), metadata={TYPE: b"date"}),
        pa.field("address", pa.string(), metadata={TYPE: b"json"}),
        ("never", pa.null()),
        ("__absent", pa.string()),
    ]
)


def mapped(
    records: list[dict[str, Any]],
    *,
    lookups: dict[str, pa.Table] | None = None,
    schema: pa.Schema = SCHEMA,
    chunk: int | None = None,
    sink_fields: list[str] | None = None,
    read_only: tuple[str, ...] = (),
    **spec: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Desired rows, invalid rows and the count of skipped ones."""
    chunks = list(run(records, lookups or {}, schema, chunk, sink_fields, read_only, spec))
    return (
        [row for one in chunks for row in one.desired.to_pylist()],
        [row for one in chunks for row in one.invalid.to_pylist()],
        sum(one.skipped for one in chunks),
    )


def run(
    records: list[dict[str, Any]],
    lookups: dict[str, pa.Table],
    schema: pa.Schema,
    chunk: int | None,
    sink_fields: list[str] | None,
    read_only: tuple[str, ...],
    spec: dict[str, Any],
) -> list[Mapped]:
    rows = pa.Table.from_pylist([{"sid": f"s{n}", "email": f"{n}@x", **record} for n, record in enumerate(records)], schema=schema)
    settings = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["email"], **spec})
    mapping = compile_mapping(settings, schema, "sid", sink_fields=sink_fields, read_only=read_only)
    found = list(map_records(mapping, rows.to_reader(max_chunksize=chunk), lookups))
    assert all(one.desired.schema.names[4:] == mapping.types.names for one in found)
    return found


def value(expression: str, **record: Any) -> Any:
    desired, invalid, _ = mapped([record], fields={"email": "email", "x": expression})
    assert not invalid
    return desired[0]["x"]


def test_each_expression_gives_its_field_from_typed_columns() -> None:
    assert value("lower(trim(score))", score=" AB ") == "ab"
    assert value("age + 1", age=2**53) == 2**53 + 1
    assert value("amount * 2", amount=Decimal("0.10")) == Decimal("0.20")
    assert value("big", big=Decimal(10**30 + 1)) == Decimal(10**30 + 1)
    assert value("seen", seen="2024-03-31T01:30:00.250+01:00") == "2024-03-31T00:30:00.25Z"
    assert value("seen + INTERVAL 1 DAY", seen="2024-02-28T10:00:00Z") == "2024-02-29T10:00:00Z"
    assert value("born", born="2024-02-29") == "2024-02-29"
    assert value("year(born)", born="2024-02-29") == 2024
    assert value("address->>'$.city'", address='{"city": "Köln"}') == "Köln"
    assert value("address.city", address='{"city": "Köln"}') == '"Köln"'
    assert (
        value("address", address='{"n": 1.50, "big": 123456789012345678901234567890}')
        == '{"n": 1.50, "big": 123456789012345678901234567890}'
    )
    assert value("[score, upper(score)]", score="a") == '["a","A"]'
    assert value("list_transform([score], lambda s: s || '!')", score="a") == '["a!"]'
    assert value("never") is None
    assert value("address.nothing", address="{}") is None
    assert value("score", score="a\0\x01\x02é") == "a\0\x01\x02é"


def test_a_row_tells_its_position_id_and_key() -> None:
    desired, _, _ = mapped([{"age": 1}, {"age": 2}], fields={"email": "email", "age": "age"}, match=["age", "email"])
    assert [(row["__position"], row["__source_id"], row["__key"]) for row in desired] == [(0, "s0", '[1,"0@x"]'), (1, "s1", '[2,"1@x"]')]


def test_without_fields_the_same_named_ones_are_mapped_but_for_ids_and_what_the_sink_says_is_its_own() -> None:
    desired, _, _ = mapped([{"age": 1}], sink_fields=["age", "sid", "score"], read_only=("score",))
    assert set(desired[0]) == {"__position", "__source_id", "__key", "__omitted", "email", "age"}


def test_what_where_leaves_out_is_counted() -> None:
    desired, invalid, skipped = mapped([{"age": 1}, {"age": 5}, {"age": None}], where="age > 2")
    assert ([row["__position"] for row in desired], invalid, skipped) == ([1], [], 2)


def test_a_cell_that_cannot_be_converted_makes_only_its_record_invalid_and_is_shown() -> None:
    records = [{"score": "1"}, {"score": "n/a"}, {"score": "x" * 500}, {"score": None}]
    desired, invalid, _ = mapped(records, fields={"email": "email", "score": "CAST(score AS INTEGER)"})
    assert [row["score"] for row in desired] == [1, None]
    assert [(row["__source_id"], row["__key"], row["field"]) for row in invalid] == [("s1", '["1@x"]', "score"), ("s2", '["2@x"]', "score")]
    assert invalid[0]["reason"] == "cannot be computed from score = 'n/a': Could not convert string 'n/a' to INT32"
    assert all(len(row["reason"]) < 300 for row in invalid)


@pytest.mark.parametrize(
    ("expression", "cell"),
    [
        ("seen", {"seen": "2024-02-30T00:00:00Z"}),
        ("born", {"born": "yesterday"}),
        ("address->>'$.a'", {"address": "{broken"}),
        ("CAST(score AS DECIMAL(4, 2))", {"score": "12345.678"}),
        ("age + 9223372036854775807", {"age": 1}),
        ("strptime(score, '%d.%m.%Y')", {"score": "2024-01-01"}),
        ("1 / (age - 1)", {"age": 1}),
        ("CAST(score AS DOUBLE)", {"score": "NaN"}),
        ("CAST(score AS TIMESTAMPTZ)", {"score": "infinity"}),
        ("CAST(score AS DATE)", {"score": "20000-01-01"}),
    ],
)
def test_what_no_platform_can_be_given_is_a_bad_cell(expression: str, cell: dict[str, Any]) -> None:
    desired, invalid, _ = mapped([{}, cell], fields={"email": "email", "x": expression})
    assert [row["__source_id"] for row in desired] == ["s0"]
    assert [(row["__source_id"], row["field"]) for row in invalid] == [("s1", "x")]


def test_a_branch_that_is_not_taken_cannot_fail() -> None:
    assert value("CASE WHEN age > 0 THEN CAST(score AS INTEGER) ELSE 0 END", age=0, score="n/a") == 0


def test_a_condition_that_cannot_be_computed_makes_the_record_invalid() -> None:
    desired, invalid, skipped = mapped([{"score": "3"}, {"score": "n/a"}, {"score": "1"}], where="CAST(score AS INTEGER) > 2")
    assert [row["__position"] for row in desired] == [0]
    assert [(row["__position"], row["field"]) for row in invalid] == [(1, "where")]
    assert skipped == 1


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_match_value_makes_the_record_invalid(empty: str | None) -> None:
    desired, invalid, _ = mapped([{"email": empty}, {}])
    assert [row["__position"] for row in desired] == [1]
    assert [(row["field"], row["reason"]) for row in invalid] == [("email", "match field email is empty")]


def test_a_record_without_an_id_is_invalid() -> None:
    _, invalid, _ = mapped([{"sid": None}])
    assert invalid[0]["reason"] == "the record has no sid, its id"


def test_absent_is_not_null() -> None:
    fields = {"email": "email", "both": "age + coalesce(amount, 0)", "age": "age", "shown": "coalesce(age, 7)", "other": "score"}
    records = [{"__absent": '["age"]'}, {"age": None}, {"__absent": '["score","age"]', "amount": 1}]
    desired, _, _ = mapped(records, fields=fields)
    assert [row["__omitted"] for row in desired] == [["both", "age"], None, ["both", "age", "other"]]
    assert [row["shown"] for row in desired] == [7, 7, 7]


def crosswalk(*rows: tuple[str, str, str]) -> pa.Table:
    return pa.table(
        {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(("source_id", "key", "sink_id"))}
    )


LOOKUP = {"email": "email", "company": "lookup('companies', score)"}


def test_a_lookup_gives_the_sinks_id_by_source_id_else_by_a_key_of_one_field() -> None:
    known = crosswalk(
        ("cmp_1", '["acme.com"]', "11"), ("cmp_2", '["x","y"]', "22"), ("acme.com", '["other"]', "33"), ("cmp_4", "[42]", "44")
    )
    records = [{"score": score} for score in ("cmp_1", "cmp_2", "acme.com", "other", "42", None)]
    desired, invalid, _ = mapped(records, lookups={"companies": known}, fields=LOOKUP)
    assert not invalid
    assert [row["company"] for row in desired] == [11, 22, 33, 33, 44, None]


def test_a_lookup_without_a_hit_makes_the_record_invalid_and_lookup_or_null_does_not() -> None:
    fields = {**LOOKUP, "maybe": "lookup_or_null('companies', score)"}
    desired, invalid, _ = mapped(
        [{"score": "a"}, {"score": "zz"}], lookups={"companies": crosswalk(("a", '["k"]', '"ORG-1"'))}, fields=fields
    )
    assert [(row["company"], row["maybe"]) for row in desired] == [("ORG-1", "ORG-1")]
    assert [(row["field"], row["reason"]) for row in invalid] == [
        ("company", "companies has written no record with the source id or key 'zz'")
    ]
    desired, invalid, _ = mapped([{"score": "zz"}], lookups={"companies": crosswalk()}, fields={"email": "email", "maybe": fields["maybe"]})
    assert (desired[0]["maybe"], invalid) == (None, [])


def test_a_lookup_in_a_branch_that_is_not_taken_cannot_miss_and_lookups_nest() -> None:
    tables = {"companies": crosswalk(("b", '["k"]', "5")), "parents": crosswalk(("a", '["k"]', '"b"'))}
    fields = {"email": "email", "x": "CASE WHEN age = 1 THEN lookup('companies', lookup('parents', score)) ELSE -1 END"}
    desired, invalid, _ = mapped([{"age": 1, "score": "a"}, {"age": 2, "score": "z"}], lookups=tables, fields=fields)
    assert ([row["x"] for row in desired], invalid) == ([5, -1], [])


def test_ids_of_both_kinds_keep_theirs() -> None:
    known = crosswalk(("a", '["k"]', "5"), ("b", '["l"]', '"five"'))
    desired, _, _ = mapped([{"score": "a"}, {"score": "b"}], lookups={"companies": known}, fields=LOOKUP)
    assert [row["company"] for row in desired] == ["5", '"five"']


def test_lookups_keep_the_order_of_the_records() -> None:
    count = 70_000
    known = pa.table({"source_id": [str(n) for n in range(500)], "key": ["[]"] * 500, "sink_id": [str(n) for n in range(500)]})
    desired, _, _ = mapped([{"score": str(n % 500)} for n in range(count)], lookups={"companies": known}, fields=LOOKUP)
    assert [row["company"] for row in desired] == [n % 500 for n in range(count)]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 50))
def test_two_runs_give_the_same_bytes_however_the_records_are_chunked(chunk: int) -> None:
    records = [{"age": n, "score": "bad" if n % 9 == 0 else str(n)} for n in range(50)]
    fields = {"email": "email", "n": "CAST(score AS INTEGER)"}
    assert mapped(records, fields=fields, chunk=chunk) == mapped(records, fields=fields)


def test_no_records_still_tell_the_fields_and_types() -> None:
    (only,) = run([], {}, SCHEMA, None, None, (), {"fields": {"email": "email", "n": "age * 2"}})
    assert (only.desired.num_rows, only.invalid.num_rows, only.skipped) == (0, 0, 0)
    assert only.desired.schema.field("n").type == pa.int64()


def test_fields_whose_names_differ_only_in_case_and_hostile_names_are_kept_apart() -> None:
    schema = pa.schema(
        [("sid", pa.string()), ("Name", pa.string()), ("name", pa.string()), ('c0"; --', pa.string()), ("__position", pa.int64())]
    )
    rows = [{"sid": "1", "Name": "A", "name": "a", 'c0"; --': "z", "__position": 9}]
    mapping = compile_mapping(SyncSpec(**{"from": "a.b", "to": "c.d", "match": ["Name"]}), schema, "sid")
    (found,) = map_records(mapping, pa.Table.from_pylist(rows, schema=schema).to_reader(), {})
    assert found.desired.slice(0, 1).columns[4].to_pylist() == ["A"]
    assert found.desired.column("name").to_pylist() == ["a"]
    assert found.desired.column('c0"; --').to_pylist() == ["z"]
    with pytest.raises(ConfigError, match="reads NAME, which could be Name or name"):
        compile_mapping(SyncSpec(**{"from": "a.b", "to": "c.d", "match": ["x"], "fields": {"x": "NAME"}}), schema, "sid")


# python: module:function


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    assert isinstance(frame["age"].dtype, pd.ArrowDtype)
    return frame.assign(age=frame["age"] * 2, label=frame["email"].str.upper())


def shorter(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[1:]


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[::-1]


def anonymous(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="sid")


def failing(frame: pd.DataFrame) -> pd.DataFrame:
    return frame["no such column"]


def nothing(frame: pd.DataFrame) -> None:
    return None


def this(function: Any) -> str:
    return f"{__name__}:{function.__name__}"


def test_a_function_goes_before_the_expressions_or_is_the_whole_mapping() -> None:
    desired, _, _ = mapped([{"age": 2}, {"age": None}], python=this(doubled), fields={"email": "lower(label)", "age": "age + 1"})
    assert [(row["email"], row["age"]) for row in desired] == [("0@x", 5), ("1@x", None)]
    desired, _, _ = mapped([{"age": 2, "seen": "2024-01-01T01:00:00+01:00"}], python=this(doubled), sink_fields=["age", "label", "seen"])
    assert {name: desired[0][name] for name in ("email", "age", "label", "seen")} == {
        "email": "0@x",
        "age": 4,
        "label": "0@X",
        "seen": "2024-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (shorter, ContractError, "gave 1 rows for 2"),
        (shuffled, ContractError, "changed the id column sid"),
        (anonymous, ContractError, "left out the id column sid"),
        (failing, ConfigError, "failing failed on 2 records: KeyError"),
        (nothing, ContractError, "gave a NoneType, not a DataFrame"),
    ],
)
def test_a_function_that_loses_records_or_fails_is_named(function: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mapped([{}, {}], python=this(function))


@pytest.mark.parametrize(
    ("path", "words"),
    [("no_such_module:f", "cannot be imported"), (f"{__name__}:missing", "has no function missing"), ("json.loads", "module:function")],
)
def test_a_function_that_does_not_exist_is_refused_before_any_record(path: str, words: str) -> None:
    spec = SyncSpec(**{"from": "a.b", "to": "c.d", "match": ["email"], "python": path})
    with pytest.raises(ConfigError, match=words):
        compile_mapping(spec, SCHEMA, "sid")


def test_mapping_does_not_import_pandas(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, str(probe)], check=True, env={**os.environ, "PYTHONPATH": str(root)})


PROBE = """
import sys
import pyarrow as pa
from pipelines.arrays import texts
from pipelines.changes import create_rows, digest, update_rows
from pipelines.diff import diff
from pipelines.fingerprint import index
from pipelines.mapping import compile_mapping, map_records
from pipelines.spec import SyncSpec

schema = pa.schema([("sid", pa.string()), ("email", pa.string())])
rows = pa.Table.from_arrays([texts(["1"]), texts(["a"])], schema=schema)
mapping = compile_mapping(SyncSpec(**{"from": "a.b", "to": "c.d", "match": ["email"]}), schema, "sid")
(found,) = map_records(mapping, rows.to_reader(), {})
table = pa.Table.from_batches([found.desired])
made = index(table.to_reader(), ["email"], ["email"], mapping.types)
assert diff(made, made).same_count == 1
digest([create_rows(table, match=["email"], types=mapping.types)])
update_rows(table, rows, None, match=["email"], types=mapping.types, id_field="sid")
assert "pandas" not in sys.modules
"""
