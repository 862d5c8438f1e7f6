"""What pages show: nothing that a record holds becomes markup, and every kind of nothing looks different."""

import html
import re
import xml.etree.ElementTree as ElementTree
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import metadata

HOSTILE = [
    "a|b",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/track.png)",
    "`code` **bold** _it_ ~~no~~ # head",
    "line\nbreak\r\nand\ttab",
    "back\\slash \\| pipe",
    "&amp; &lt;",
    "\u202eevil\u0000\u200b",
    "| a | b |\n| --- | --- |",
]


@given(st.text(max_size=50))
def test_text_reads_back_as_it_was_where_every_character_can_be_seen(value: str) -> None:
    if value.isprintable():
        assert html.unescape(re.sub(r"\\([*_~])", r"\1", metadata.text(value))) == value


@given(st.text())
def test_no_character_of_a_value_is_left_that_markdown_gives_a_meaning(value: str) -> None:
    left = re.sub(r"&#\d+;|\\[*_~]", "", metadata.text(value))
    assert not set(left) & set("\\`*_~[]<>|&!\r\n\u202e\u200b\u0000")


@pytest.mark.parametrize("value", ["- a", "+ a", "# a", "1. a", "12) a", "=", "> a", "    code", "\ta"])
def test_no_value_begins_a_list_a_heading_or_a_block(value: str) -> None:
    assert metadata.text(value).startswith("&#")


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=5))
def test_a_table_has_as_many_lines_and_columns_as_it_was_given_whatever_the_cells_hold(rows: list[list[str]]) -> None:
    made = metadata.table(["a", "b"], [[metadata.shown(cell) for cell in row] for row in rows])
    lines = made.split("\n")
    assert len(lines) == len(rows) + 2
    assert {line.count("|") for line in lines} == {3}


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_text(value: str) -> None:
    for made in (metadata.bullets([value]), metadata.shown(value), metadata.shown({value: [value]})):
        assert "<" not in made
        assert "](" not in made
        assert value not in made


def test_null_empty_absent_and_the_texts_that_say_so_all_look_different() -> None:
    shown = [metadata.shown(value) for value in (None, "", metadata.ABSENT, "null", "empty", "absent", "*null*", 0, "0", False)]
    assert len(set(shown)) == len(shown) - 1  # 0 and "0" look alike, as they do for a person


def test_a_record_is_linked_to_its_page_and_its_id_cannot_leave_the_path() -> None:
    template = "https://app.example/records/{id}"
    assert metadata.record_link("Ada", template, "rec_1") == "[Ada](https://app.example/records/rec_1)"
    assert metadata.record_link("Ada", template, "../x?y#z)") == "[Ada](https://app.example/records/..%2Fx%3Fy%23z%29)"
    assert metadata.record_link("Ada", "javascript:{id}", "1") == "Ada"
    assert metadata.record_link("Ada", None, "1") == "Ada"


def test_counts_show_their_sum_and_leave_out_what_did_not_occur() -> None:
    made = metadata.counts_table({"created": 1200, "unchanged": 34, "rejected": 0})
    assert "rejected" not in made
    assert "| **all** | **1,234** |" in made


@given(st.lists(st.dictionaries(st.sampled_from(list(metadata.OUTCOMES)), st.integers(0, 10**9)), max_size=30))
def test_the_chart_is_one_well_formed_drawing_inside_its_frame(runs: list[dict[str, int]]) -> None:
    made = metadata.outcomes_chart(runs)
    if made.startswith("Nothing changed"):
        assert not any(count for run in runs for name, count in run.items() if name not in {"unchanged", "skipped"})
        return
    address = re.match(r"!\[[^]]*\]\(data:image/svg\+xml,([^)\s]+)\)", made)
    assert address is not None
    drawing = ElementTree.fromstring(unquote(address[1]))
    _, top, width, height = (float(number) for number in drawing.attrib["viewBox"].split())
    for path in drawing:
        for x, low, high in re.findall(r"M(\d+),(-?\d+)V(-?\d+)", path.attrib["d"]):
            assert top <= float(high) < float(low) <= height
            assert 0 <= float(x) <= width


def test_a_chart_of_thirty_usual_runs_is_short_enough_to_be_shown_in_place() -> None:
    runs = [{"created": 20 * (n % 3), "updated": 500 + n, "invalid": 20, "unchanged": 49_000} for n in range(30)]
    assert len(metadata.outcomes_chart(runs)) <= 2 * metadata.INLINE
    assert len(metadata.outcomes_chart(runs[:12])) <= metadata.INLINE


def test_the_chart_leaves_out_what_needed_nothing_and_says_the_highest_column() -> None:
    made = metadata.outcomes_chart([{"created": 7, "unchanged": 1_000_000}])
    assert made.endswith("created green; 7 at most in one run")
