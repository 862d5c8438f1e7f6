"""Records as a person looks at them: what would change, before → after, and what was not delivered and why. Pure.

Each comes as a list, which wraps in the narrow column of a page and is cut to a length, and as a table for where there is room.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors import jsontext
from connectors.errors import ContractError
from pipelines.metadata import ABSENT, record_link, shown, table, text

__all__ = ["ROWS", "changes_list", "changes_table", "refused_list", "refused_table"]

ROWS = 20
REASON_CHARACTERS = 200


def changes_list(samples: Sequence[Mapping[str, Any]], total: int, characters: int, template: str | None = None) -> str:
    """Planned changes, each with its fields before → after, as many as fit into `characters`. `total` is how many there are.

    `samples` hold op, key, sink_id, before, after as values; `template` is the address of a record's page, with `{id}`.
    """
    if not samples:
        return "Nothing to change."
    return _fitting([_change(sample, template) for sample in samples[:ROWS]], total, "changes", characters)


def changes_table(samples: Sequence[Mapping[str, Any]], total: int, template: str | None = None) -> str:
    """The same as a table, one line per field."""
    rows: list[list[str]] = []
    for sample in samples[:ROWS]:
        for number, field in enumerate(_fields(sample) or [""]):
            head = ["", ""] if number else [sample["op"], _record(sample, template)]
            rows.append([*head, text(field), *(_sides(sample, field) if field else ["", ""])])
    return table(["", "record", "field", "before", "after"], rows) + _more(min(ROWS, len(samples)), total, "changes")


def refused_list(rows: Sequence[Mapping[str, Any]], total: int, characters: int, template: str | None = None) -> str:
    """Records that were not delivered, each with what it came to and why, as many as fit into `characters`.

    `rows` hold source_id, key (values or their JSON text), outcome, field, reason.
    """
    if not rows:
        return "None."
    said = [
        f"- {_key(row)} · {_outcome(row)}: {text(row.get('reason') or '', REASON_CHARACTERS)} ({_source(row, template)})"
        for row in rows[:ROWS]
    ]
    return _fitting(said, total, "records", characters)


def refused_table(rows: Sequence[Mapping[str, Any]], total: int, template: str | None = None) -> str:
    """The same as a table."""
    cells = [
        [
            _source(row, template),
            _key(row),
            str(row["outcome"]),
            text(row.get("field") or ""),
            text(row.get("reason") or "", REASON_CHARACTERS),
        ]
        for row in rows[:ROWS]
    ]
    header = ["source record", "key", "outcome", "field", "reason"]
    return table(header, cells) + _more(min(ROWS, len(rows)), total, "records")


def _change(sample: Mapping[str, Any], template: str | None) -> str:
    """One change of a list: the record, then a line for each field."""
    lines = [f"- **{sample['op']}** {_record(sample, template)}"]
    for field in _fields(sample):
        before, after = _sides(sample, field)
        sides = {"create": after, "delete": before}.get(sample["op"], f"{before} → {after}")
        lines.append(f"  - {text(field)}: {sides}")
    return "\n".join(lines)


def _fields(sample: Mapping[str, Any]) -> list[str]:
    """The fields to show: not those of the match key, which name the record already."""
    named = sample["key"] if isinstance(sample["key"], Mapping) else ()
    return [field for field in (sample.get("after") or sample.get("before") or {}) if field not in named]


def _sides(sample: Mapping[str, Any], field: str) -> list[str]:
    """A field before and after; a side that does not exist is blank."""
    left = "" if sample["op"] == "create" else shown((sample.get("before") or {}).get(field, ABSENT))
    right = "" if sample["op"] == "delete" else shown((sample.get("after") or {}).get(field, ABSENT))
    return [left, f"**{right}**" if sample["op"] == "update" and not right.startswith("*") else right]


def _record(sample: Mapping[str, Any], template: str | None) -> str:
    return record_link(_values(sample["key"]), template, sample.get("sink_id"))


def _source(row: Mapping[str, Any], template: str | None) -> str:
    return record_link(text(str(row["source_id"])), template, row["source_id"])


def _outcome(row: Mapping[str, Any]) -> str:
    """What a record came to, and by which field where its reason does not name it."""
    field = str(row.get("field") or "")
    return str(row["outcome"]) if not field or field in str(row.get("reason")) else f"{row['outcome']} by {text(field)}"


def _key(row: Mapping[str, Any]) -> str:
    """The match key of a row, which the ledger keeps as JSON text."""
    key = row.get("key")
    try:
        return _values(jsontext.loads(key) if isinstance(key, str) else key)
    except ContractError:
        return shown(key)


def _values(key: Any) -> str:
    """A match key: the values alone, joined."""
    values: Iterable[Any] = key.values() if isinstance(key, Mapping) else key if isinstance(key, list) else [key]
    return " · ".join(shown(value) for value in values)


def _fitting(items: Sequence[str], total: int, what: str, characters: int) -> str:
    """As many items as fit, at least one, and how many there are if that is not all."""
    for kept in range(len(items), 0, -1):
        made = "\n".join(items[:kept]) + _more(kept, total, what)
        if len(made) <= characters or kept == 1:
            break
    return made


def _more(listed: int, total: int, what: str) -> str:
    return "" if listed >= total else f"\n\nThe first {listed:,} of {total:,} {what}."
