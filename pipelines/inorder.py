"""Rows of a staged batch that are asked for in the order of an index, read a row group's worth at a time however scattered they lie.

Asked for a few thousand at a time, rows in the order of their keys lie in every row group of a batch in the order of its source:
a million of them would be decoded hundreds of times over.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.arrow_lists import from_numpy
from pipelines.staging import ROW_GROUP, Batch, Staging

__all__ = ["InOrder"]

_FEW = 500  # rows for which no more than they is read


class InOrder:
    """A batch whose rows at the positions `order` are asked for in about that order. Holds ROW_GROUP of them. One thread at a time."""

    def __init__(self, batch: Batch, order: npt.NDArray[np.int64]) -> None:
        self._batch, self._order = batch, order
        self._start, self._held = 0, pa.table({})

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        """Where in the order each position comes; -1 where it does not."""
        places = np.full(self._batch.count, -1, np.int64)
        places[self._order] = np.arange(len(self._order))
        return places

    def take(self, staging: Staging, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows at these positions, as `Staging.take` gives them."""
        if self._batch.count <= ROW_GROUP or len(positions) < _FEW:
            return staging.take(self._batch, positions, columns)
        places = self._places[positions]
        first, last = int(places.min()), int(places.max())
        if first < 0 or last - first >= ROW_GROUP:
            return staging.take(self._batch, positions, columns)
        if first < self._start or last >= self._start + self._held.num_rows:
            self._held = staging.take(self._batch, np.asarray(self._order[first : first + ROW_GROUP]))
            self._start = first
        held = self._held if columns is None else self._held.select(list(columns))
        return held.take(from_numpy(places - self._start))
