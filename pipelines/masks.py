"""Masks: what a platform shows in place of a secret. Such a value is never written anywhere: it would destroy what it hides. Pure.

Connectors leave out what they know to be masked; this is for every other field that shows a row of signs and nothing else, also
somewhere within an object or a list.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.canonical import kind_or_none

_BEGINNINGS = ("******", "••••", "●●●●")
_MASK = re.compile(r"\*{6,}|[•●]{4,}")  # five stars are a rating
_WITHIN = f'"({_MASK.pattern})"'  # JSON text: a whole member

REASON = "shows a mask and not a value, and a mask is never written; map the field to something else, or leave it out"


def masked(rows: pa.RecordBatch) -> dict[int, str]:
    """The rows with a text that is nothing but a mask: row number → its field, the last one where there are several."""
    found: dict[int, str] = {}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if not pa.types.is_string(column.type) or field.name.startswith("__"):
            continue
        if kind_or_none(field) == "json":
            within = pc.indices_nonzero(pc.match_substring_regex(column, _WITHIN)).to_pylist()
        else:
            within = [row for row in _beginning_like_one(column) if _MASK.fullmatch(column[row].as_py())]
        found |= dict.fromkeys(within, field.name)
    return found


def _beginning_like_one(column: pa.StringArray) -> list[int]:
    return [row for beginning in _BEGINNINGS for row in pc.indices_nonzero(pc.starts_with(column, beginning)).to_pylist()]
