"""Records that were not delivered, gathered by what is wrong with them. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

_VALUES = re.compile(r"\"(?:[^\"\\\\]|\\\\.)*\"|'[^']*'|\d+")  # what differs from record to record in the same reason

__all__ = ["Trouble", "gathered"]


@dataclass(frozen=True)
class Trouble:
    """`count` records have the same outcome for the same reason, but for the values in it; key, source id and reason are of one.

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
    found: dict[tuple[str, str, str], Trouble] = {}
    for row in rows:
        outcome, field = row["outcome"] or "", row["field"] or ""
        shape = _VALUES.sub("…", row["reason"] or "")
        known = found.get((outcome, field, shape))
        if known is None:
            found[outcome, field, shape] = Trouble(1, outcome, field, row["key"] or "", row["source_id"] or "", row["reason"] or "")
        else:
            found[outcome, field, shape] = replace(known, count=known.count + 1)
    return sorted(found.values(), key=lambda one: (-one.count, one.outcome, one.field))
