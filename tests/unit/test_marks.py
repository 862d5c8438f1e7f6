"""Marks of secrets: equal for equal secrets of one place, and for nothing else that a person would try."""

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.marks import mark


@settings(max_examples=8, deadline=None)
@given(st.text(), st.text(), st.sampled_from(["https://a.example", "https://b.example"]))
def test_a_mark_tells_one_secret_of_one_place_from_another(one: str, other: str, place: str) -> None:
    assert (mark(one, place) == mark(other, place)) is (one == other)
    assert mark(one, place) != mark(one, place + "/eu")
    assert len(mark(one, place)) == 8
