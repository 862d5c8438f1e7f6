"""What a person or a program sees: one JSON object, coloured tables on a terminal, or plain text in a pipe."""

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

__all__ = ["Screen", "screen", "show_on", "shown", "style_of", "visible"]

_LABEL = 10  # letters of the labels that facts stand beside
_NARROWEST = 8  # columns are not cut below this
_UNCUT = 1_000_000  # the width of a pipe: whoever reads it cuts for himself
_STYLES = {
    "created": "green",
    "create": "green",
    "updated": "yellow",
    "update": "yellow",
    "deleted": "red",
    "delete": "red",
    "ok": "green",
    "partial": "yellow",
    "refused": "red",
    "failed": "red",
    "running": "cyan",
    "invalid": "magenta",
    "rejected": "red",
    "conflict": "red",
    "conflicts": "red",
    "unknown": "red",
    "quarantined": "red",
}
_COLOURED = ("status", "outcome", "op", "last")  # columns whose words are ours; a record's own values stay plain


def visible(text: str) -> str:
    """The text with everything that could move a cursor, colour a terminal or turn its reading direction written out."""
    if text.isprintable():
        return text
    return "".join(_written_out(character) for character in text)


def shown(value: Any) -> str:
    """A record's value in one line: null, "", text, a number as it stands, JSON for what is nested."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return visible(value) if value and value == value.strip() else f'"{visible(value)}"'
    if isinstance(value, bool | dict | list | tuple):
        from connectors.jsontext import dumps

        return visible(dumps(list(value) if isinstance(value, tuple) else value).decode())
    return visible(str(value))


class Screen:
    """Standard output and standard error of one command.

    With `as_json`, only `answer` writes to standard output, once. Otherwise a terminal gets colours and lines cut
    to its width; anything else gets the same text without escape codes, uncut.
    """

    def __init__(self, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None, width: int | None = None) -> None:
        self.as_json = as_json
        self._out = _console(out or sys.stdout, width)
        self._err = _console(err or sys.stderr, width)
        self._stdout = out or sys.stdout

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: nothing is asked of a program."""
        return not self.as_json and self._err.is_terminal and sys.stdin.isatty()

    @property
    def live(self) -> Console | None:
        """Where progress may move, or None where nobody looks."""
        return self._err if self._err.is_terminal else None

    @property
    def width(self) -> int:
        """Columns of a line on standard output."""
        return self._out.width

    @property
    def on_terminal(self) -> bool:
        """Whether standard output is looked at by a person."""
        return self._out.is_terminal

    def answer(self, value: Mapping[str, Any]) -> None:
        """The one JSON object. Values are exact: a Decimal is the number it is."""
        from connectors.jsontext import dumps

        self._stdout.write(dumps(dict(value)).decode() + "\n")
        self._stdout.flush()

    def line(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """One line of text and (text, style) parts, cut to the terminal's width. Silent with `as_json`."""
        if not self.as_json:
            _print(self._out, _assembled(parts, indent), cut=True)

    def paragraph(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """The same, wrapped instead of cut: for sentences."""
        if not self.as_json:
            _print(self._out, _assembled(parts, indent), cut=False, indent=indent)

    def whole(self, text: str) -> None:
        """One line that is neither cut nor wrapped, so that it can be copied."""
        if not self.as_json:
            self._out.print(Text(text), soft_wrap=True)

    def fact(self, label: str, *parts: str | tuple[str, str], style: str = "") -> None:
        """A label and a sentence beside it, wrapped under itself; an empty label goes on with the one before."""
        if not self.as_json:
            head = Text(f"  {label:<{_LABEL}}", style=style)
            _print(self._out, head.append_text(_assembled(parts, 0)), cut=False, indent=2 + _LABEL, hanging=True)

    def note(self, *parts: str | tuple[str, str]) -> None:
        """A remark on standard error, wrapped."""
        _print(self._err, _assembled(parts, 0), cut=False)

    def error(self, sentence: str) -> None:
        """What went wrong, on standard error; with `as_json` too, where a person may still look."""
        _print(self._err, _assembled([("error: ", "bold red"), visible(sentence)], 0), cut=False)

    def fits(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> bool:
        """Whether a table of these cells is shown without cutting any."""
        return sum(_widths(columns, rows)) + 2 * (len(columns) - 1) + indent <= self._out.width

    def trace(self, text: str) -> None:
        """A traceback, as it is, on standard error."""
        self._err.file.write(text)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: int = 0, right: Sequence[str] = (), verbatim: bool = False
    ) -> None:
        """Aligned columns; the widest ones give way on a narrow terminal. Columns named in `right` are aligned
        right; `verbatim` headings are shown as they are spelled, and no word of a record is coloured.
        """
        if self.as_json or not rows:
            return
        cells = [[cell if isinstance(cell, str) else shown(cell) for cell in row] for row in rows]
        widths = _widths(columns, cells)
        room = self._out.width - indent - 2 * (len(columns) - 1)
        while sum(widths) > room and max(widths) > _NARROWEST:
            widest = max(range(len(widths)), key=widths.__getitem__)
            widths[widest] -= max(1, min(sum(widths) - room, widths[widest] - _second(widths)))
        head = [
            _fitted(column if verbatim else column.upper(), width, column in right) for column, width in zip(columns, widths, strict=True)
        ]
        _print(self._out, _assembled([("  ".join(head).rstrip(), "bold dim")], indent), cut=True)
        for row in cells:
            parts: list[str | tuple[str, str]] = []
            for column, cell, width in zip(columns, row, widths, strict=True):
                parts.append((_fitted(cell, width, column in right), style_of(cell) if column in _COLOURED and not verbatim else ""))
                parts.append("  ")
            _print(self._out, _assembled(parts[:-1], indent), cut=True)


def style_of(word: str) -> str:
    """The colour that goes with an outcome, an operation or a status."""
    return _STYLES.get(word, "")


_current: list[Screen] = []


def screen() -> Screen:
    """The screen of the command that runs."""
    return _current[-1] if _current else Screen()


@contextmanager
def show_on(chosen: Screen) -> Iterator[Screen]:
    """Make `chosen` the screen until the block ends."""
    _current.append(chosen)
    try:
        yield chosen
    finally:
        _current.pop()


def _console(file: TextIO, width: int | None) -> Console:
    console = Console(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and width is None:
        console = Console(file=file, width=_UNCUT, highlight=False, markup=False, emoji=False, color_system=None, force_terminal=False)
    return console


def _assembled(parts: Sequence[str | tuple[str, str]], indent: int) -> Text:
    return Text(" " * indent).append_text(Text.assemble(*parts))


def _print(console: Console, text: Text, *, cut: bool, indent: int = 0, hanging: bool = False) -> None:
    """Cut to one line, or wrapped with every line indented; `hanging`: all but the first, whose first `indent` letters stand out."""
    if not console.is_terminal:
        console.file.write(text.plain.rstrip() + "\n")
        console.file.flush()
    elif cut:
        text.rstrip()
        console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        head, body = (text[:indent], text[indent:]) if indent else (Text(), text)
        for number, line in enumerate(body.wrap(console, max(20, console.width - indent))):
            line.rstrip()
            before = head if number == 0 or not hanging else Text(" " * indent)
            console.print(before.copy().append_text(line), no_wrap=True, overflow="ignore", crop=False)


def _fitted(cell: str, width: int, right: bool) -> str:
    length = cell_len(cell)
    if length > width:
        return set_cell_size(cell, width - 1) + "…"
    return " " * (width - length) + cell if right else cell + " " * (width - length)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max([cell_len(column), *(cell_len(row[at]) for row in rows)]) for at, column in enumerate(columns)]


def _second(widths: Sequence[int]) -> int:
    """The second largest width, but at least the narrowest: what the largest may shrink to before others do."""
    largest = sorted(widths)[-2:]
    if len(largest) < 2:
        return _NARROWEST
    return max(_NARROWEST, largest[0] - (1 if largest[0] == largest[1] else 0))


def _written_out(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character == " " or (character.isprintable() and unicodedata.category(character) != "Cf"):
        return character
    if unicodedata.category(character) in ("Zs", "Mn", "Mc") or character == "\u200d":
        return character
    return character.encode("unicode_escape").decode()
