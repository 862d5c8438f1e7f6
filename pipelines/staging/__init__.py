"""Staging: where batches of records lie between the steps. One protocol; Parquet and Postgres behind it.

A *dataset* is a named place (a stream as read, a sync's desired records, a plan); a *batch* is one
complete, immutable set of rows in it. A batch exists only once it is committed: a reader never sees
half of one, and a killed writer leaves nothing that counts.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.errors import ConfigError

TYPE = b"crossdock.type"  # field metadata: "json", "timestamp" or "date" where a text column holds one
ABSENT = "__absent"  # nullable JSON list of the fields that a record does not have, as opposed to null
ROW_GROUP = 65_536  # rows that are read and written in one piece


class StagingError(ConfigError):
    """Staging cannot be written, or what lies there is not what was written. The message is one sentence with the next step."""


@dataclass(frozen=True)
class Dataset:
    """A place in staging, named by its parts, e.g. ("raw", "stacker_demo", "contacts"). Any text is a safe name."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """A committed batch. `id` sorts by age within the dataset. `note` is what its writer wanted to remember (JSON)."""

    dataset: Dataset
    id: str
    schema: pa.Schema
    count: int
    note: Mapping[str, Any] = field(default_factory=dict)


class BatchWriter(AbstractContextManager["BatchWriter"], Protocol):
    """Rows on their way into a batch. Leaving the `with` block without `commit` discards them. One thread at a time."""

    def write(self, records: pa.RecordBatch) -> None:
        """Append rows. The schema may gain columns or wider types from one call to the next; the batch takes the widest.

        Rows written before a column was known have it null, and named in their `__absent`.
        """
        ...

    def commit(self, note: Mapping[str, Any]) -> Batch:
        """Make the batch durable and visible, in one step."""
        ...


class Staging(Protocol):
    """Where batches lie. Positions are row numbers in the order written, from 0."""

    def begin(self, dataset: Dataset) -> BatchWriter:
        """Start a batch, newer than every other of the dataset."""
        ...

    def batches(self, dataset: Dataset) -> list[Batch]:
        """The committed batches, oldest first."""
        ...

    def scan(self, batch: Batch, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """All rows in order, in bounded memory."""
        ...

    def take(self, batch: Batch, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows at these positions, in the order asked for."""
        ...

    def put_index(self, batch: Batch, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep equally long arrays beside the batch under `name`, replacing what was there."""
        ...

    def get_index(self, batch: Batch, name: str) -> Mapping[str, npt.NDArray[Any]] | None:
        """The arrays kept under `name` (memory-mapped where the store can), or None."""
        ...

    def drop(self, batch: Batch) -> None:
        """Remove a batch and what lies beside it. Dropping twice is no error."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


def batch_of(staging: Staging, dataset: Dataset, batch_id: str | None) -> Batch | None:
    """The committed batch with that id, or None where it is not there any more."""
    return next((batch for batch in staging.batches(dataset) if batch.id == batch_id), None)


def kept_batch(staging: Staging, dataset: Dataset, batch_id: str) -> Batch:
    """The same, where it must be there. Raises StagingError where it is not."""
    batch = batch_of(staging, dataset, batch_id)
    if batch is None:
        raise StagingError(f"batch {batch_id} of {'/'.join(dataset.parts)} is not in staging any more; plan the sync again")
    return batch
