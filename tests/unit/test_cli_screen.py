"""What reaches a terminal is cut and coloured, what reaches a pipe is plain, and no record can play with either."""

import io

import hypothesis.strategies as st
import pytest
from hypothesis import given
from rich.cells import cell_len

from pipelines.commands.keys import key_text, means, spellings
from pipelines.commands.order import in_order
from pipelines.commands.troubles import gathered
from pipelines.spec import SyncSpec
from pipelines.terminal import Screen, shown, visible


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_no_text_moves_the_cursor_or_breaks_a_line(text: str) -> None:
    for seen in (visible(text), shown(text)):
        codes = {ord(character) for character in seen}
        assert not codes & {*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def test_null_nothing_and_text_are_shown_differently() -> None:
    assert [shown(value) for value in (None, "", "null", " x ", True, {"a": [1]})] == ["null", '""', "null", '" x "', "true", '{"a":[1]}']


def test_a_pipe_gets_whole_lines_without_escape_codes() -> None:
    out = io.StringIO()
    screen = Screen(out=out, err=out)
    screen.table(["status", "reason"], [["failed", "x" * 500]])
    screen.line(("green", "green"), "\tplain")
    screen.error("y" * 500)
    assert "\x1b" not in out.getvalue()
    assert "x" * 500 in out.getvalue()
    assert len(out.getvalue().splitlines()) == 4


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=200)), min_size=1, max_size=5), st.integers(40, 120))
def test_a_table_on_a_terminal_never_exceeds_its_width(rows: list[tuple[str, str]], width: int) -> None:
    out = io.StringIO()
    Screen(out=out, err=out, width=width).table(["key", "reason"], [[visible(cell) for cell in row] for row in rows], indent=2)
    assert max(cell_len(line) for line in out.getvalue().split("\n")) <= width


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    Screen(out=out, err=io.StringIO()).line(("x", "red"))
    assert "\x1b[31m" in out.getvalue()


def test_with_json_only_the_answer_reaches_standard_output() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(as_json=True, out=out, err=err)
    screen.line("text")
    screen.table(["a"], [["b"]])
    screen.paragraph("text")
    screen.fact("label", "text")
    screen.error("wrong")
    screen.answer({"a": 1})
    assert out.getvalue() == '{"a":1}\n'
    assert "wrong" in err.getvalue()


def test_a_key_is_found_as_it_is_shown_as_json_and_by_source_id() -> None:
    assert [key_text(key) for key in ('["a@b.c"]', "[1]", '["x",2]')] == ["a@b.c", "1", "x, 2"]
    assert '["a@b.c"]' in spellings(["a@b.c"])
    assert "[1]" in spellings(["1"])
    assert '["1"]' in spellings(["1"])
    assert spellings(['["x",2]'])[0] == '["x",2]'
    assert means("x, 2", '["x",2]', "s1")
    assert means("s1", '["x",2]', "s1")
    assert not means("s2", '["x",2]', "s1")


def test_syncs_run_after_those_they_look_up() -> None:
    def sync(name: str, *looked_up: str) -> SyncSpec:
        fields = {"k": "k", **{f"f{n}": f"lookup('{other}', k)" for n, other in enumerate(looked_up)}}
        return SyncSpec(**{"name": name, "from": "a.b", "to": "c.d", "match": ["k"], "fields": fields})

    chain = {"a": sync("a", "b"), "b": sync("b", "c"), "c": sync("c"), "d": sync("d", "elsewhere")}
    order = in_order(chain)
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("c") < order.index("b") < order.index("a")
    assert in_order({"a": sync("a", "b"), "b": sync("b", "a")}) == ["a", "b"]


def test_syncs_run_after_those_that_write_what_they_read_unless_they_wait_for_each_other() -> None:
    def sync(name: str, source: str, target: str, **fields: str) -> SyncSpec:
        return SyncSpec(**{"name": name, "from": source, "to": target, "match": ["k"], "fields": {"k": "k", **fields}})

    chain = {"a": sync("a", "x.two", "x.three"), "b": sync("b", "x.one", "x.two"), "c": sync("c", "x.one", "x.one")}
    assert in_order(chain) == ["c", "b", "a"]
    both_ways = {"a": sync("a", "x.one", "x.two", o="lookup('b', k)"), "b": sync("b", "x.two", "x.one"), "c": sync("c", "x.two", "x.four")}
    assert in_order(both_ways) == ["b", "c", "a"]  # only the look-up counts


def test_troubles_are_gathered_by_field_the_most_frequent_first() -> None:
    rows = [{"outcome": "invalid", "field": field, "key": f'["{n}"]', "source_id": None, "reason": "r"} for n, field in enumerate("xyyzyx")]
    assert [(one.count, one.field, one.key) for one in gathered(rows)] == [(3, "y", '["1"]'), (2, "x", '["0"]'), (1, "z", '["3"]')]
