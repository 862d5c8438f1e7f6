"""What an expression may not say: each refused before a record is read, naming the field and what would be right."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import ConfigError
from pipelines.mapping import compile_mapping
from pipelines.spec import SyncSpec
from pipelines.staging import TYPE

SCHEMA = pa.schema(
    [("sid", pa.string()), ("email", pa.string()), ("age", pa.int64()), pa.field("address", pa.string(), metadata={TYPE: b"json"})]
)


def refusal(expression: str) -> str:
    spec = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["email"], "fields": {"email": "email", "x": expression}})
    with pytest.raises(ConfigError) as caught:
        compile_mapping(spec, SCHEMA, "sid")
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("emial", "reads emial, but the source has no such field; did you mean email?"),
        ("lowr(email)", 'Did you mean "lower"?'),
        ("CAST(age AS INTEGR)", "there is no type INTEGR; did you mean integer?"),
        ("lower(", "is not SQL: syntax error"),
        ("", "is not SQL"),
        ("email + age::json", "does not work"),
        ("email.city", "the source field email holds no nested values"),
        ("email.lower()", "write the function first: lower(email"),
        ("lookup(email)", "lookup('name of a sync', value)"),
        ("lookup(email, email)", "lookup('name of a sync', value)"),
        ("'ab'::BLOB", "gives BLOB, which no platform takes"),
    ],
)
def test_a_mistake_is_named_with_the_field_and_what_would_be_right(expression: str, words: str) -> None:
    message = refusal(expression)
    assert words in message
    assert "the expression for x" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT 1)",
        "EXISTS (SELECT 1)",
        "email IN (SELECT 'a')",
        "age = ANY([1, 2])",
        "email, age",
        "email FROM duckdb_settings()",
        "1; SELECT 2",
        "1; DROP TABLE chunk",
        "email WHERE true",
        "email ORDER BY 1",
        "email LIMIT 1",
        "DISTINCT email",
        "1 UNION SELECT 2",
        "sum(age)",
        "count(*)",
        "first(email)",
        "row_number() OVER ()",
        "unnest([1, 2])",
        "*",
        "COLUMNS(*)",
        "?",
        "$1",
        "now()",
        "current_date",
        "current_timestamp",
        "random()",
        "uuid()",
        "nextval('s')",
        "current_setting('memory_limit')",
        "getvariable('x')",
        "read_text('/etc/passwd')",
        "read_csv('/etc/passwd')",
        "getenv('HOME')",
        "glob('/*')",
        "error('x')",
    ],
)
def test_an_expression_sees_its_record_and_nothing_else(expression: str) -> None:
    assert "x" in refusal(expression)


@pytest.mark.parametrize("comment", ["email -- the address", "email /* the address */", " email "])
def test_comments_and_spaces_are_no_statements(comment: str) -> None:
    spec = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["email"], "fields": {"email": comment}})
    assert compile_mapping(spec, SCHEMA, "sid").types.names == ["email"]


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("selct from1,;()*'\"|-/$?email\n\0\\"), max_size=20))
def test_whatever_is_written_is_compiled_or_refused_in_one_sentence(written: str) -> None:
    spec = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["email"], "fields": {"email": "email", "x": written}})
    try:
        names = compile_mapping(spec, SCHEMA, "sid").types.names
        said = ""
    except ConfigError as refused:
        names, said = ["email", "x"], str(refused)
    assert names == ["email", "x"]
    assert not said or "the expression for x" in said


def test_a_condition_must_be_true_or_false() -> None:
    spec = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["email"], "where": "age + 1"})
    with pytest.raises(ConfigError, match="gives BIGINT, not true or false"):
        compile_mapping(spec, SCHEMA, "sid")


def test_a_match_field_that_the_source_lacks_is_named() -> None:
    spec = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["e_mail"]})
    with pytest.raises(ConfigError, match=r"match names e_mail, but shop.contacts has no such field; did you mean email\?"):
        compile_mapping(spec, SCHEMA, "sid")


def test_a_missing_id_field_is_named() -> None:
    spec = SyncSpec(**{"from": "shop.contacts", "to": "crm.people", "match": ["email"]})
    with pytest.raises(ConfigError, match=r"has no field id, the id that tells its records apart; did you mean sid\?"):
        compile_mapping(spec, SCHEMA, "id")


def test_the_syncs_looked_up_are_known_without_records_and_with_a_function() -> None:
    fields = {"email": "email", "a": "lookup('orgs', email)", "b": "lookup_or_null('teams', lookup('orgs', email))"}
    spec = {"from": "shop.contacts", "to": "crm.people", "match": ["email"], "fields": fields}
    assert set(compile_mapping(SyncSpec(**spec), SCHEMA, "sid").lookups) == {"orgs", "teams"}
    assert set(compile_mapping(SyncSpec(**spec, python="json:loads"), SCHEMA, "sid").lookups) == {"orgs", "teams"}
