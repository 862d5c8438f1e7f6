"""Lists and tables of records: before → after, reasons, lengths, and nothing that a value could turn into markup."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import listings, metadata
from tests.unit.test_metadata import HOSTILE

UPDATE = {"op": "update", "key": {"email": "ada"}, "before": {"name": "Ada", "phone": None}, "after": {"name": "Ada L", "phone": "1"}}
CREATE = {"op": "create", "key": {"email": "bob"}, "before": None, "after": {"email": "bob", "name": "Bob"}}
DELETE = {"op": "delete", "key": {"email": "eve"}, "before": {"email": "eve", "name": "Eve"}, "after": None}


def test_a_list_shows_each_field_before_and_after_and_not_the_key_twice() -> None:
    assert listings.changes_list([UPDATE, CREATE, DELETE], 3, 1000).split("\n") == [
        "- **update** ada",
        "  - name: Ada → **Ada L**",
        "  - phone: *null* → **1**",
        "- **create** bob",
        "  - name: Bob",
        "- **delete** eve",
        "  - name: Eve",
    ]


def test_a_table_has_a_line_for_each_field() -> None:
    assert listings.changes_table([UPDATE, CREATE], 2).split("\n")[2:] == [
        "| update | ada | name | Ada | **Ada L** |",
        "|  |  | phone | *null* | **1** |",
        "| create | bob | name |  | Bob |",
    ]


def test_a_record_that_was_not_delivered_says_why_and_which_it_is() -> None:
    row = {"source_id": "r1", "key": '["A", 12.50]', "outcome": "rejected", "field": "amount", "reason": "too much"}
    assert listings.refused_list([row], 1, 1000) == "- A · 12.50 · rejected by amount: too much (r1)"
    assert "| r1 | A · 12.50 | rejected | amount | too much |" in listings.refused_table([row], 1)


def test_a_key_that_is_no_json_is_shown_as_it_is() -> None:
    row = {"source_id": "r1", "key": "[broken", "outcome": "invalid", "field": "", "reason": "x"}
    assert "&#91;broken" in listings.refused_list([row], 1, 1000)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_text_in_every_listing(value: str) -> None:
    sample = {"op": "update", "key": {"email": value}, "sink_id": value, "before": {value: value}, "after": {value: [value]}}
    refused = {"source_id": value, "key": f'["{value}"]', "outcome": "invalid", "field": value, "reason": value}
    for made in (
        listings.changes_list([sample], 1, 10_000),
        listings.changes_table([sample], 1),
        listings.refused_list([refused], 1, 10_000),
        listings.refused_table([refused], 1),
    ):
        assert "<" not in made
        assert "](" not in made
        assert value not in made


@given(st.lists(st.dictionaries(st.text(max_size=8), st.none() | st.text() | st.integers(), max_size=4), min_size=2, max_size=30))
def test_a_list_is_as_long_as_it_may_be_or_one_record_and_counts_what_it_shows(fields: list[dict[str, Any]]) -> None:
    samples = [{"op": "create", "key": {"\u0000id": n}, "before": None, "after": after} for n, after in enumerate(fields)]
    made = listings.changes_list(samples, len(samples), metadata.INLINE)
    shown = made.count("**create**")
    assert len(made) <= metadata.INLINE or shown == 1
    assert shown == len(samples) or made.endswith(f"The first {shown} of {len(samples)} changes.")


def test_what_is_empty_says_so() -> None:
    assert listings.changes_list([], 0, 1000) == "Nothing to change."
    assert listings.refused_list([], 0, 1000) == "None."


def test_the_record_links_to_its_page_where_the_platform_has_one() -> None:
    sample = {**UPDATE, "sink_id": 7}
    assert "[ada](https://app.example/7)" in listings.changes_list([sample], 1, 1000, "https://app.example/{id}")
    assert "](" not in listings.changes_list([CREATE], 1, 1000, "https://app.example/{id}")
