"""Masks: what a platform shows in place of a secret. Such a value is never written anywhere: it would destroy what it hides. Pure.

Connectors leave out what they know to be masked; this is for every other field that shows a row of signs and nothing else.
"""

import re

import pyarrow as pa
import pyarrow.compute as pc

_BEGINNINGS = ("******", "••••", "●●●●")
_MASK = re.compile(r"\*{6,}|[•●]{4,}")  # five stars are a rating

REASON = "shows a mask and not a value, and a mask is never written; map the field to something else, or leave it out"


def masked(rows: pa.RecordBatch) -> dict[int, str]:
    """The rows with a text that is nothing but a mask: row number → its field, the last one where there are several."""
    found: dict[int, str] = {}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_string(column.type) and not name.startswith("__"):
            found |= {row: name for row in _beginning_like_one(column) if _MASK.fullmatch(column[row].as_py())}
    return found


def _beginning_like_one(column: pa.StringArray) -> list[int]:
    return [row for beginning in _BEGINNINGS for row in pc.indices_nonzero(pc.starts_with(column, beginning)).to_pylist()]
