"""The fast reader gives what the exact one gives, and what comes in is what staging holds."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.arrow import decode, records_of
from connectors.arrow_exact import records_to_batch
from connectors.arrow_fast import read_flat
from connectors.arrow_types import ABSENT, TYPE, conform, declared, inexact_columns, text_kind, widest_schema
from connectors.base import JsonBody, JsonValue, Record
from connectors.errors import ContractError
from connectors.jsontext import dumps, loads

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "",
        '":',
        '\\":',
        'a":1',
        "\\",
        '"',
        "null",
        "1234567890123456789",
        '": 12345678901234567890',
        "1e-400",
        "[]",
        "]}",
        "\x00\x01\x02",
        "é",
        "\u2028",
    ]
)
INTEGERS = st.integers(-(2**70), 2**70) | st.sampled_from([0, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63)])
FRACTIONS = (
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda x: Decimal(repr(x)))
    | st.sampled_from([Decimal(t) for t in ("0.1234567890123456789", "1E-400", "1E+400", "3E-324", "0.30000000000000004", "1E+22", "-0.0")])
)
NESTED = st.recursive(
    st.none() | st.booleans() | INTEGERS | FRACTIONS | TEXTS, lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXTS, x, max_size=3)
)
COLUMN_VALUES = st.sampled_from(
    [TEXTS, st.integers(-(2**60), 2**60), INTEGERS, FRACTIONS, st.booleans(), st.none(), NESTED, FRACTIONS | INTEGERS]
)
NAMES = st.sampled_from(["sid", "name", "amount", "é", "a.b", "", "x y", 'q"', "back\\", "__position"])


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    """Records of one shape, mostly: fields of one kind each, now and then null, absent or of another kind."""
    columns: dict[str, st.SearchStrategy[Any]] = draw(st.dictionaries(NAMES, COLUMN_VALUES, min_size=1, max_size=4))
    nulls, absences = draw(st.sampled_from([(False, False), (True, False), (False, True), (True, True)]))
    records: list[Record] = []
    for _ in range(draw(st.integers(0, 6))):
        record: Record = {}
        for name, values in columns.items():
            if absences and draw(st.integers(0, 3)) == 0:
                continue
            record[name] = None if nulls and draw(st.integers(0, 3)) == 0 else draw(values)
        records.append(record)
    return records


def body_of(records: list[Record], path: tuple[str, ...], *, spaced: bool = False) -> JsonBody:
    text = dumps(records)
    if spaced:
        text = json.dumps(json.loads(text, parse_float=float), indent=1).encode()
    for key in reversed(path):
        text = b'{"total":1,"' + key.encode() + b'":' + text + b',"note":"a ] and \\": [","next":null}'
    return JsonBody(text, path)


def value_of(field: pa.Field, cell: object) -> JsonValue:
    if cell is None:
        return None
    if text_kind(field) == "json":
        assert isinstance(cell, str)
        return loads(cell)
    return Decimal(repr(cell)) if isinstance(cell, float) else cell  # type: ignore[return-value]


def records_back(batch: pa.RecordBatch) -> list[Record]:
    """The records a batch stands for: absent fields left out."""
    found = []
    for row in batch.to_pylist():
        absent = loads(row.pop(ABSENT, None) or "[]")
        assert isinstance(absent, list)
        found.append({name: value_of(batch.schema.field(name), cell) for name, cell in row.items() if name not in absent})
    return found


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    schema = pa.schema([])
    inexact: set[str] = set()
    for batch in batches:
        inexact |= inexact_columns(batch)
    for batch in batches:
        schema = widest_schema(schema, batch.schema, inexact=inexact)
    table = pa.Table.from_batches([conform(batch, schema) for batch in batches], schema).combine_chunks()
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=schema)


@settings(deadline=None)
@given(record_lists())
def test_decoding_exactly_and_writing_again_gives_the_same_records(records: list[Record]) -> None:
    assert records_back(records_to_batch(records)) == records


@settings(max_examples=300, deadline=None)
@given(record_lists(), record_lists(), st.sampled_from([(), ("records",), ("data", "records")]))
def test_the_fast_reader_gives_what_the_exact_one_gives_or_nothing(
    first: list[Record], second: list[Record], path: tuple[str, ...]
) -> None:
    known = records_to_batch(first).schema
    for pages in ([first], [second], [first, second], [first, [], first]):
        fast = read_flat([body_of(page, path) for page in pages], known)
        if fast is not None:
            fast.validate(full=True)
            exact = records_to_batch([record for page in pages for record in page], known)
            assert fast.equals(exact, check_metadata=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(record_lists(), min_size=1, max_size=4), st.sampled_from([(), ("records",)]))
def test_pages_decoded_in_any_grouping_give_the_same_records(pages: list[list[Record]], path: tuple[str, ...]) -> None:
    everything = [record for page in pages for record in page]
    bodies: list[JsonBody | list[Record]] = [body_of(page, path) for page in pages]
    together = decode(bodies, None)
    one_by_one: list[pa.RecordBatch] = []
    known = None
    for body in bodies:
        found = decode([body], known)
        for batch in found:
            known = batch.schema if known is None else widest_schema(known, batch.schema)
        one_by_one += found
    for batches in (together, one_by_one, decode(list(pages), None)):
        assert [record for batch in batches for record in records_back(batch)] == everything


@settings(deadline=None)
@given(record_lists(), record_lists())
def test_widening_a_batch_changes_no_value_and_no_absence(first: list[Record], second: list[Record]) -> None:
    batches = [records_to_batch(first), records_to_batch(second)]
    whole = joined(batches)
    assert records_back(whole) == first + second


FLAT = {"sid": "a", "amount": 1.5, "name": "Ada"}


def page(*texts: str, path: str = "records") -> JsonBody:
    return JsonBody(('{"%s":[%s],"total":3}' % (path, ",".join(texts))).encode(), (path,))  # noqa: UP031


def kept(body: JsonBody, schema: pa.Schema) -> list[Record]:
    """What the fast way in gives for a body, checked against the exact one."""
    batch = joined(decode([body], schema))
    assert records_back(batch) == records_of(body)
    return records_back(batch)


SCHEMA = pa.schema([("sid", pa.string()), ("amount", pa.float64())])


@pytest.mark.parametrize(
    "number",
    [
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775808",
        "0.1234567890123456789",
        "1e400",
        "1e-400",
        "3e-324",
        "123456789012345678.5",
        "12345678901234567890123456789012345678901234567890",
        "-0.00000000000000000000000000000000000001234567890123456789",
    ],
)
def test_a_number_that_is_no_float_is_kept_exactly_in_a_float_column(number: str) -> None:
    body = page('{"sid":"a","amount":1.5}', f'{{"sid":"b","amount": {number}}}')
    assert read_flat([body], SCHEMA) is None
    assert kept(body, SCHEMA)[1]["amount"] == Decimal(number)


@pytest.mark.parametrize("number", ["0.30000000000000004", "9007199254740992", "1e22", "5e-324", "0", "0.0", "123456789.12345", "-1E+2"])
def test_a_number_that_is_a_float_goes_the_fast_way(number: str) -> None:
    body = page(f'{{"sid":"b","amount":{number}}}')
    assert read_flat([body], SCHEMA) is not None
    assert kept(body, SCHEMA)[0]["amount"] == Decimal(number)


def test_long_digits_in_texts_and_integer_columns_do_not_slow_the_reader() -> None:
    schema = pa.schema([("sid", pa.string()), ("n", pa.int64()), ("amount", pa.float64())])
    body = page('{"sid":"call: 12345678901234567890 or \\": 1e-400","n":1234567890123456789,"amount":0.0}')
    assert read_flat([body], schema) is not None


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_fails_the_page(literal: str) -> None:
    with pytest.raises(ContractError, match=r"Infinity|NaN"):
        decode([page(f'{{"sid":"a","amount":{literal}}}')], SCHEMA)


def test_a_duplicate_key_fails_the_page() -> None:
    with pytest.raises(ContractError, match="twice"):
        decode([page('{"sid":"a","amount":1,"amount":2}')], SCHEMA)


@pytest.mark.parametrize("text", [b'"\xff"', b'"\\ud800"', b'"\\udc00"', b'"a\nb"'])
def test_text_that_is_not_unicode_fails_the_page(text: bytes) -> None:
    with pytest.raises(ContractError):
        decode([JsonBody(b'{"records":[{"sid":' + text + b',"amount":1}]}', ("records",))], SCHEMA)


def test_absent_null_and_empty_are_three_values() -> None:
    body = page('{"sid":"","amount":1}', '{"sid":null,"amount":1}', '{"amount":1}')
    assert kept(body, SCHEMA) == [{"sid": "", "amount": 1}, {"sid": None, "amount": 1}, {"amount": 1}]


def test_fields_left_out_instead_of_null_go_the_fast_way() -> None:
    body = page('{"sid":"a"}', '{"amount":2}', '{"sid":"c","amount":3}')
    batch = read_flat([body], SCHEMA)
    assert batch is not None
    assert batch.column(ABSENT).to_pylist() == ['["amount"]', '["sid"]', None]


def test_an_absent_field_hidden_by_an_escaped_quote_is_seen() -> None:
    body = page('{"sid":"x\\":y"}', '{"sid":"a","amount":null}')
    assert kept(body, SCHEMA) == [{"sid": 'x":y'}, {"sid": "a", "amount": None}]


def test_an_unknown_field_is_kept_and_the_fields_before_it_keep_their_order() -> None:
    batch = joined(decode([page('{"sid":"a","new":[1,2.50],"amount":1}')], SCHEMA))
    assert batch.schema.names == ["sid", "amount", "new"]
    assert batch.column("new").to_pylist() == ["[1,2.50]"]


def test_an_empty_object_is_not_null() -> None:
    schema = pa.schema([("sid", pa.string()), ("nested", pa.null())])
    assert kept(page('{"sid":"a","nested":{}}', '{"sid":"b","nested":null}'), schema)[0]["nested"] == {}


def test_times_stay_the_text_they_came_as() -> None:
    first = joined(decode([page('{"at":"2025-01-01T00:00:00.123456789Z"}', '{"at":"2025-01-01 00:00:00"}')], None))
    assert first.schema.field("at").type == pa.string()
    assert first.column("at").to_pylist() == ["2025-01-01T00:00:00.123456789Z", "2025-01-01 00:00:00"]


def test_a_declared_decimal_is_exact_and_goes_the_fast_way() -> None:
    schema = declared({"price": "decimal(20, 4)"})
    body = page('{"price":1234567890123456.7891}', '{"price":12}', '{"price":null}')
    batch = read_flat([body], schema)
    assert batch is not None
    assert batch.column("price").to_pylist() == [Decimal("1234567890123456.7891"), Decimal(12), None]


@pytest.mark.parametrize(("text", "value"), [('"12.50"', "12.50"), ("1.23456", Decimal("1.23456")), ('"12,50"', "12,50"), ("true", True)])
def test_what_is_no_such_decimal_is_kept_as_it_came(text: str, value: JsonValue) -> None:
    schema = declared({"price": "decimal(20, 4)"})
    assert kept(page('{"price":1.5}', f'{{"price":{text}}}'), schema)[1]["price"] == value


def test_mixed_types_in_one_field_become_json_text() -> None:
    batch = joined(decode([page('{"score":1}', '{"score":"n/a"}', '{"score":null}', '{"score":true}')], None))
    assert batch.schema.field("score").metadata == {TYPE: b"json"}
    assert batch.column("score").to_pylist() == ["1", '"n/a"', None, "true"]


def test_declared_types_say_what_may_be_declared() -> None:
    with pytest.raises(Exception, match=r"'amount' is declared as 'money'.*decimal\(p,s\)"):
        declared({"amount": "money"})
    schema = declared({"at": "timestamp", "on": "date", "tags": "json", "n": "integer"})
    assert [text_kind(field) for field in schema] == ["timestamp", "date", "json", None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"records":null}',
        b'{"records":[1]}',
        b'{"records":[{"sid":"a"},null]}',
        b'{"records":[{"sid":"a"}]',
        b'{"records":[{"sid":"a"}]}x',
        b'{"records":[]}\n{"r":[{"sid":"a"}]}',
        b'{"records":[{"sid":"a"}],"records":[]}',
        b'[{"sid":"a"}]',
    ],
)
def test_a_body_without_its_record_list_fails(body: bytes) -> None:
    with pytest.raises(ContractError):
        decode([JsonBody(body, ("records",))], pa.schema([("sid", pa.string())]))


def test_a_record_may_not_have_a_field_named_as_ours() -> None:
    with pytest.raises(ContractError, match=ABSENT):
        records_to_batch([{ABSENT: 1}])
