"""Rows asked for in the order of an index: the same as staging gives, in a few reads however scattered they lie."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from connectors.arrow_lists import from_numpy
from pipelines.inorder import InOrder
from pipelines.staging import ROW_GROUP, Dataset
from pipelines.staging.parquet import ParquetStaging


class _Counting(ParquetStaging):
    taken = 0

    def take(self, *given, **named):  # type: ignore[no-untyped-def]
        self.taken += 1
        return super().take(*given, **named)


def test_rows_in_the_order_of_an_index_are_those_of_staging_and_each_row_group_is_read_once_per_window(tmp_path: Path) -> None:
    count = 2 * ROW_GROUP + 100
    staging = _Counting(tmp_path)
    with staging.begin(Dataset(("rows",))) as writer:
        values = from_numpy(np.arange(count, dtype=np.int64) * 3)
        writer.write(pa.RecordBatch.from_arrays([values, values.cast(pa.string())], names=["n", "t"]))
        batch = writer.commit({})
    order = np.random.default_rng(1).permutation(count)[: count - 50]
    rows = InOrder(batch, order)
    for at in range(0, len(order), 5_000):
        asked = order[at : at + 5_000][::-1]
        assert rows.take(staging, asked, ["n"])["n"].to_pylist() == (asked * 3).tolist()
    assert staging.taken <= 6
    everywhere = np.arange(0, count, 100)  # far apart, and some not in the order at all
    assert rows.take(staging, everywhere)["t"].to_pylist() == [str(3 * n) for n in everywhere]
