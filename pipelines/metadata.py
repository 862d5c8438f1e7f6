"""What a person sees of a run: markdown tables and small charts of plain values. Pure.

Everything that came from a record or a platform is escaped, so that no value can become markup, a link, or a
second column. Tables show a few rows and say how many there are in all.
"""

import base64
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from html import escape as html_escape
from typing import Any
from urllib.parse import quote

from connectors import jsontext
from connectors.errors import ContractError

__all__ = [
    "bullets",
    "changes_table",
    "counts_table",
    "image",
    "link",
    "outcomes_chart",
    "record_link",
    "refused_table",
    "shown",
    "table",
    "text",
]

ABSENT = object()
"""Stands where a record has no such field, which is neither null nor empty."""

CELL_CHARACTERS = 60
ROWS = 20
_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*_{}[]()<>#+-.!|~:@&\"'$^="}
OUTCOME_COLOURS = {
    "unchanged": "#cbd5e1",
    "created": "#16a34a",
    "updated": "#2563eb",
    "deleted": "#7c3aed",
    "skipped": "#94a3b8",
    "invalid": "#f59e0b",
    "rejected": "#dc2626",
    "conflicts": "#ea580c",
    "unknown": "#be185d",
    "quarantined": "#831843",
}
"""Every outcome and the colour it has in charts, in the order they are stacked and listed."""


def text(value: str, limit: int = CELL_CHARACTERS) -> str:
    """`value` as it reads, safe anywhere in markdown, on one line, cut to `limit` characters."""
    visible = "".join(_visible(character) for character in value[: limit + 1])
    cut = visible if len(value) <= limit else visible[:limit] + "…"
    return cut.translate(_MARKUP)


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


def _of(rows: str, listed: int, total: int, what: str) -> str:
    return rows if total <= listed else f"{rows}\n\nThe first {listed} of {total:,} {what}."


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


_OPS = {"create": "🟢 create", "update": "🔵 update", "delete": "🟣 delete"}


def changes_table(samples: Sequence[Mapping[str, Any]], total: int, template: str | None = None, limit: int = ROWS) -> str:
    """Planned changes, one line per field, before → after. `samples` hold op, key, sink_id, before, after, as values.

    `total` is how many changes the plan has.
    """
    if not samples:
        return "Nothing to change."
    rows: list[list[str]] = []
    for sample in samples[:limit]:
        before, after = sample.get("before") or {}, sample.get("after") or {}
        label = record_link(_key(sample["key"]), template, sample.get("sink_id"))
        lines = [[_OPS[sample["op"]], label], *[["", ""]] * max(len(before | after) - 1, 0)]
        for head, field in zip(lines, (after | before) or [""], strict=False):
            rows.append([*head, text(field), *_sides(sample["op"], field, before, after)])
    return _of(table(["", "record", "field", "before", "after"], rows), min(limit, len(samples)), total, "changes")


def _sides(op: str, field: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    left = "" if op == "create" else shown(before.get(field, ABSENT))
    right = "" if op == "delete" else shown(after.get(field, ABSENT))
    return [left, f"**{right}**" if op == "update" and right else right]


def _key(key: Any) -> str:
    """A record's match key: the values alone, joined."""
    values = list(key.values()) if isinstance(key, Mapping) else key if isinstance(key, list) else [key]
    return " · ".join(shown(value) for value in values)


def refused_table(rows: Sequence[Mapping[str, Any]], total: int, template: str | None = None, limit: int = ROWS) -> str:
    """Records that were not delivered, each with what it came to, the field and the reason.

    `rows` hold source_id, key, outcome, field, reason.
    """
    if not rows:
        return "None."
    cells = [
        [
            record_link(text(str(row["source_id"])), template, row["source_id"]),
            _key(_parsed(row.get("key"))),
            str(row.get("outcome", "")),
            text(row.get("field") or ""),
            text(row.get("reason") or "", 160),
        ]
        for row in rows[:limit]
    ]
    return _of(table(["source record", "key", "outcome", "field", "reason"], cells), min(limit, len(rows)), total, "records")


def _parsed(key: Any) -> Any:
    """A key that may be JSON text, as the ledger keeps it, as values."""
    if not isinstance(key, str):
        return key
    try:
        return jsontext.loads(key)
    except ContractError:
        return key


def counts_table(counts: Mapping[str, int]) -> str:
    """Outcomes and their numbers, those that did not occur left out, with their sum."""
    rows = [[name, f"{counts[name]:,}"] for name in OUTCOME_COLOURS if counts.get(name)]
    total = sum(counts.get(name, 0) for name in OUTCOME_COLOURS)
    return table(["outcome", "records"], [*rows, ["**all**", f"**{total:,}**"]], right=[1])


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return "\n".join(f"- {text(sentence, 400)}" for sentence in sentences) or "–"


def image(svg: str, alternative: str) -> str:
    """An SVG drawing as a markdown image that needs no file."""
    return f"![{text(alternative, 200)}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def outcomes_chart(runs: Sequence[tuple[str, Mapping[str, int]]], width: int = 640, height: int = 160) -> str:
    """Stacked columns of the outcomes of the last runs, oldest first: (label, {outcome: count}) each. Unchanged records are left out,
    since they would hide everything else.
    """
    names = [name for name in OUTCOME_COLOURS if name not in {"unchanged", "skipped"}]
    tallest = max((sum(counts.get(name, 0) for name in names) for _, counts in runs), default=0)
    plot = height - 40
    slot = width / max(len(runs), 12)
    drawn = []
    for position, (label, counts) in enumerate(runs):
        x, y = position * slot + slot * 0.15, float(height - 22)
        drawn.append(_label(x + slot * 0.35, height - 8, label, "middle"))
        for name in names:
            part = counts.get(name, 0) / tallest * plot if tallest else 0.0
            if part:
                y -= part
                drawn.append(_column(x, y, slot * 0.7, max(part, 1.0), OUTCOME_COLOURS[name], f"{label}: {counts[name]:,} {name}"))
    used = [name for name in names if any(counts.get(name) for _, counts in runs)]
    legend = [
        _column(width - 96 * (len(used) - n), 3, 9, 9, OUTCOME_COLOURS[name], name) + _label(width - 96 * (len(used) - n) + 13, 12, name)
        for n, name in enumerate(used)
    ]
    scale = [_label(0, 12, f"{tallest:,} changes at most" if tallest else "no changes in these runs")]
    axis = f'<line x1="0" x2="{width}" y1="{height - 21.5}" y2="{height - 21.5}" stroke="#94a3b8"/>'
    body = "".join([axis, *drawn, *legend, *scale])
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">{body}</svg>'
    return image(svg, f"outcomes of the last {len(runs)} runs")


def _column(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {at} rx="1.5" fill="{colour}"><title>{html_escape(title)}</title></rect>'


def _label(x: float, y: float, words: str, anchor: str = "start") -> str:
    style = f'text-anchor="{anchor}" font-family="sans-serif" font-size="10" fill="#64748b"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{html_escape(words)}</text>'
