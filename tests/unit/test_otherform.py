"""Other forms of one value."""

from pipelines.otherform import folded


def test_one_value_in_two_spellings_is_one_and_two_long_numbers_are_two() -> None:
    assert folded(" Ada ") == folded("ada")
    assert folded("1.50") == folded(1.5)
    assert folded("2026-01-01T00:00:00Z") == folded("2026-01-01T01:00:00+01:00")
    assert folded("1" * 40 + "2") != folded("1" * 40 + "3")
    assert len({folded("1e9999999"), folded("1e99999999999999999999"), folded("9" * 2_000)}) == 3
