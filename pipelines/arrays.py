"""numpy and Arrow arrays into one another through their buffers. Pure.

`pyarrow.array`, `.to_numpy()`, `Table.from_pydict` and `Schema.empty_table` import pandas the first time (0.9 s, more than an
unchanged sync takes); buffers do not.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.arrow_lists import array, from_numpy


def numbers(column: pa.Array | pa.ChunkedArray, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """The values of a fixed-width column without nulls. Copies only where there are several chunks."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [np.frombuffer(c.buffers()[1], dtype)[c.offset : c.offset + len(c)] for c in chunks if len(c)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def integers(values: npt.NDArray[np.int64]) -> pa.Array:
    """An int64 column over these values, without nulls."""
    return from_numpy(values.astype(np.int64, copy=False))


def texts(values: Sequence[str | None]) -> pa.Array:
    """A text column. At most 2 GiB of UTF-8 together."""
    return array(values, pa.string())


def single(table: pa.Table) -> pa.RecordBatch:
    """The table as one batch (a copy only where it has several chunks)."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else no_rows(table.schema)


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of these columns without rows."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def rebatch(batches: Iterable[pa.RecordBatch], row_count: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `row_count` (the last may be shorter), however they came."""
    held: list[pa.RecordBatch] = []
    held_count = 0
    for batch in batches:
        while held_count + batch.num_rows >= row_count:
            part = batch.slice(0, row_count - held_count)
            batch = batch.slice(part.num_rows)
            yield single(pa.Table.from_batches([*held, part]))
            held, held_count = [], 0
        if batch.num_rows:
            held.append(batch)
            held_count += batch.num_rows
    if held:
        yield single(pa.Table.from_batches(held))
