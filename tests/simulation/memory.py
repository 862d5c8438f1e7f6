"""Staging in memory, for schedules of a few records: batches appear whole at commit and a crash leaves nothing else."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.arrays import integers
from pipelines.staging import Batch, BatchWriter, Dataset
from pipelines.staging.chunks import Chunks
from pipelines.staging.manifest import note_bytes, note_value

Kept = tuple[Batch, pa.Table, dict[str, dict[str, npt.NDArray[Any]]]]


class MemoryStaging:
    """`pipelines.staging.Staging`. `kept` is all there is: copy it, and a later staging over the copy goes on from there."""

    def __init__(self, kept: Mapping[Dataset, Sequence[Kept]] | None = None, made: int = 0) -> None:
        self.kept: dict[Dataset, list[Kept]] = {dataset: list(rows) for dataset, rows in (kept or {}).items()}
        self.made = made

    def copy(self) -> "MemoryStaging":
        """The same content; neither sees what is done to the other."""
        copied = {dataset: [(batch, rows, dict(arrays)) for batch, rows, arrays in held] for dataset, held in self.kept.items()}
        return MemoryStaging(copied, self.made)

    def begin(self, dataset: Dataset) -> BatchWriter:
        """A batch on its way."""
        return _Writer(self, dataset)

    def batches(self, dataset: Dataset) -> list[Batch]:
        """The committed batches, oldest first."""
        return [batch for batch, _, _ in self.kept.get(dataset, ())]

    def scan(self, batch: Batch, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """All rows in order."""
        rows = self._rows(batch)
        return (rows if columns is None else rows.select(list(columns))).to_reader()

    def take(self, batch: Batch, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows at these positions, in the order asked for."""
        rows = self._rows(batch)
        return (rows if columns is None else rows.select(list(columns))).take(integers(np.asarray(positions, np.int64)))

    def put_index(self, batch: Batch, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep arrays beside the batch."""
        self._found(batch)[2][name] = {each: np.array(values) for each, values in arrays.items()}

    def get_index(self, batch: Batch, name: str) -> Mapping[str, npt.NDArray[Any]] | None:
        """The arrays kept under `name`, or None."""
        return self._found(batch)[2].get(name)

    def drop(self, batch: Batch) -> None:
        """Remove a batch."""
        self.kept[batch.dataset] = [one for one in self.kept.get(batch.dataset, ()) if one[0].id != batch.id]

    def close(self) -> None:
        """Nothing is held open."""

    def _found(self, batch: Batch) -> Kept:
        return next(one for one in self.kept[batch.dataset] if one[0].id == batch.id)

    def _rows(self, batch: Batch) -> pa.Table:
        return self._found(batch)[1]


class _Writer:
    def __init__(self, staging: MemoryStaging, dataset: Dataset) -> None:
        self._staging, self._dataset = staging, dataset
        self._chunks = Chunks()
        self._pieces: list[pa.Table] = []

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """What was not committed never was."""

    def write(self, records: pa.RecordBatch) -> None:
        """Append rows."""
        self._pieces.extend(self._chunks.add(records))

    def commit(self, note: Mapping[str, Any]) -> Batch:
        """Make the batch visible, its note having passed through JSON as everywhere."""
        self._pieces.extend(self._chunks.rest())
        schema = self._chunks.schema
        assert all(piece.schema.equals(schema) for piece in self._pieces), "a batch of the simulation is written in one piece"
        rows = pa.concat_tables(self._pieces).combine_chunks() if self._pieces else schema.empty_table()
        self._staging.made += 1
        batch = Batch(self._dataset, f"{self._staging.made:012d}", schema, rows.num_rows, note_value(note_bytes(note)))
        self._staging.kept.setdefault(self._dataset, []).append((batch, rows, {}))
        return batch
