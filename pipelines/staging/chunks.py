"""Rows gathered into pieces of one schema, which widens from piece to piece and never narrows. Pure."""

from collections.abc import Iterator

import pyarrow as pa

from connectors.arrow_types import conform, inexact_columns, widest_schema
from pipelines.staging import ROW_GROUP

_MAX_BYTES = 64 << 20  # a piece of huge records is cut before it reaches a row group's rows


class Chunks:
    """Batches in, pieces of at most a row group out. `schema` is what all rows so far fit into."""

    def __init__(self) -> None:
        self.schema: pa.Schema = pa.schema([])
        self._inexact: set[str] = set()
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Take a batch; give the pieces that are now full."""
        if not batch.num_rows:
            self.schema = widest_schema(self.schema, batch.schema, inexact=self._inexact)
            return
        position = 0
        while position < batch.num_rows:
            piece = batch.slice(position, ROW_GROUP - self._rows)
            position += piece.num_rows
            self._waiting.append(piece)
            self._rows += piece.num_rows
            self._bytes += piece.nbytes
            if self._rows >= ROW_GROUP or self._bytes >= _MAX_BYTES:
                yield self._pour()

    def rest(self) -> Iterator[pa.Table]:
        """Give what is left, if anything."""
        if self._waiting:
            yield self._pour()

    def _pour(self) -> pa.Table:
        for batch in self._waiting:
            self._inexact |= inexact_columns(batch)
        for batch in self._waiting:
            self.schema = widest_schema(self.schema, batch.schema, inexact=self._inexact)
        pieces = [conform(batch, self.schema) for batch in self._waiting]
        self._waiting, self._rows, self._bytes = [], 0, 0
        return pa.Table.from_batches(pieces, self.schema)
