"""Records that were not delivered, gathered by what is wrong with them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

__all__ = ["Trouble", "gathered"]


@dataclass(frozen=True)
class Trouble:
    """`count` records have the same outcome because of the same field; key, source id and reason are of one of them.

    `key` is the ledger's JSON list, "" where the record has none.
    """

    count: int
    outcome: str
    field: str
    key: str
    source_id: str
    reason: str


def gathered(rows: Iterable[Mapping[str, str | None]]) -> list[Trouble]:
    """The troubles in rows of outcome, field, key, source_id and reason; the most frequent first."""
    found: dict[tuple[str, str], Trouble] = {}
    for row in rows:
        outcome, field = row["outcome"] or "", row["field"] or ""
        known = found.get((outcome, field))
        if known is None:
            found[outcome, field] = Trouble(1, outcome, field, row["key"] or "", row["source_id"] or "", row["reason"] or "")
        else:
            found[outcome, field] = replace(known, count=known.count + 1)
    return sorted(found.values(), key=lambda one: (-one.count, one.outcome, one.field))
