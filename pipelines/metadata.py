"""What a person sees of a run, as markdown: escaped values, tables, counts, a small chart. Pure.

Everything that came from a record or a platform is escaped, so that no value can become markup, a link, or a
second column.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors import jsontext

__all__ = [
    "ABSENT",
    "INLINE",
    "OUTCOMES",
    "bullets",
    "counts_table",
    "image",
    "link",
    "outcomes_chart",
    "record_link",
    "shown",
    "table",
    "text",
]

ABSENT = object()
"""Stands where a record has no such field, which is neither null nor empty."""

CELL_CHARACTERS = 60
INLINE = 980
"""Dagster shows markdown of less than 1,000 characters in place, and anything longer behind a button."""

_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`|<>[]&!"} | {ord(c): f"\\{c}" for c in "*_~"}
_LINE_START = re.compile(r"[#=>\s]|---|([-+]|\d+[.)])(\s|$)")

OUTCOMES = {
    "created": ("green", "#2a5"),
    "updated": ("blue", "#36e"),
    "deleted": ("violet", "#84d"),
    "unchanged": ("", ""),
    "skipped": ("", ""),
    "invalid": ("yellow", "#eb3"),
    "rejected": ("red", "#d33"),
    "conflicts": ("orange", "#e70"),
    "unknown": ("black", "#333"),
    "quarantined": ("brown", "#853"),
}
"""Every outcome in the order it is listed and stacked, with its colour in charts in words and in figures (none: not drawn)."""

PLOT = 60
_IN_ADDRESS = ":/?=,;'-._~"


def text(value: str, limit: int = CELL_CHARACTERS) -> str:
    """`value` as it reads, safe anywhere in markdown, on one line, cut to `limit` characters."""
    cut = "".join(_visible(character) for character in value[:limit]) + ("…" if len(value) > limit else "")
    safe = cut.translate(_MARKUP)
    return f"&#{ord(cut[0])};{cut[1:].translate(_MARKUP)}" if _LINE_START.match(cut) else safe


def _visible(character: str) -> str:
    """Line ends as ⏎; what cannot be seen or reorders its neighbours as its number."""
    if character in "\r\n":
        return "⏎"
    return f"\\u{ord(character):04x}" if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} else character


def shown(value: Any) -> str:
    """A field's value for a table cell: null, absent and empty text look different from each other and from any text."""
    if value is ABSENT:
        return "*absent*"
    if value is None:
        return "*null*"
    if value == "":
        return "*empty*"
    if isinstance(value, str):
        return text(value)
    return text(jsontext.dumps(value).decode())


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A markdown table of cells that are already escaped. `right` gives the columns that are numbers."""
    numbers = set(right)
    rule = ["---:" if position in numbers else ":---" for position in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def link(label: str, url: str) -> str:
    """A markdown link. An address that is not http(s) gives the label alone."""
    if not url.startswith(("https://", "http://")):
        return label
    return f"[{label}]({quote(url, safe=':/?&=%#@+,;~-._')})"


def record_link(label: str, template: str | None, record_id: Any) -> str:
    """The label, linked to the record's page where the stream has one (`template` with `{id}`) and the id is known."""
    if template is None or record_id is None:
        return label
    return link(label, template.replace("{id}", quote(str(record_id), safe="")))


def counts_table(counts: Mapping[str, int]) -> str:
    """Outcomes and their numbers, those that did not occur left out, with their sum."""
    rows = [[name, f"{counts[name]:,}"] for name in OUTCOMES if counts.get(name)]
    total = sum(counts.get(name, 0) for name in OUTCOMES)
    return table(["outcome", "records"], [*rows, ["**all**", f"**{total:,}**"]], right=[1])


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return "\n".join(f"- {text(sentence, 400)}" for sentence in sentences) or "–"


def image(svg: str, alternative: str) -> str:
    """An SVG drawing as a markdown image that needs no file."""
    return f"![{text(alternative, 200)}](data:image/svg+xml,{quote(svg, safe=_IN_ADDRESS)})"


def outcomes_chart(runs: Sequence[Mapping[str, int]]) -> str:
    """Stacked columns of the outcomes of the last runs, oldest first, with their legend. Records that needed nothing are left out,
    since they would hide all others.
    """
    drawn = {name: colours for name, colours in OUTCOMES.items() if colours[1]}
    tallest = max((sum(counts.get(name, 0) for name in drawn) for counts in runs), default=0)
    if not tallest:
        return f"Nothing changed in the last {len(runs)} runs."
    paths: dict[str, list[str]] = {}
    for position, counts in enumerate(runs):
        reached = 0
        for name in drawn:
            foot, reached = reached, reached + counts.get(name, 0)
            if reached > foot:
                low, high = PLOT - round(foot / tallest * PLOT), PLOT - max(round(reached / tallest * PLOT), 1)
                paths.setdefault(name, []).append(f"M{position * 10 + 5},{low}V{min(high, low - 1)}")
    lines = "".join(f"<path d='{''.join(path)}' stroke='{drawn[name][1]}'/>" for name, path in paths.items())
    width = max(len(runs), 12) * 10
    frame = f"viewBox='0 -1 {width} {PLOT + 2}' width='{width * 2}' height='{PLOT * 2}' stroke-width='8'"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {frame}>{lines}</svg>"
    legend = " · ".join(f"{name} {drawn[name][0]}" for name in paths)
    return f"{image(svg, f'outcomes of the last {len(runs)} runs')}\n\n{legend}; {tallest:,} at most in one run"
