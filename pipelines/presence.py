"""Which fields the records of a read have at all, null or not. Pure."""

import json
from collections.abc import Iterable

import pyarrow as pa

from connectors.arrow_types import ABSENT
from connectors.errors import ContractError


class Presence:
    """The fields that at least one record had."""

    def __init__(self) -> None:
        self._present: set[str] = set()

    def see(self, batch: pa.RecordBatch) -> None:
        """Take a batch into account."""
        if batch.num_rows:
            self._present |= set(batch.schema.names) - _absent_from_all(batch)

    def require(self, fields: Iterable[str], stream: str, count: int) -> None:
        """Raises ContractError naming the fields that no record had, out of `count` records of a whole stream."""
        missing = [name for name in fields if name not in self._present]
        if missing:
            names = ", ".join(map(repr, missing))
            raise ContractError(
                f"none of the {count} records of {stream!r} has the field {names} any more: removed or renamed at the source; "
                "change the sync or the declared schema, or bring the field back"
            )


def _absent_from_all(batch: pa.RecordBatch) -> set[str]:
    position = batch.schema.get_field_index(ABSENT)
    if position < 0 or batch.column(position).null_count:
        return set()
    lists: list[set[str]] = [set(json.loads(text)) for text in batch.column(position).unique().to_pylist()]
    return set.intersection(*lists)
