"""A window of a cursor field: which records lie in it, and how to ask a platform for it. Pure.

Times without an offset count as UTC; numbers are times only where `epoch` says what they count. A value that is no time lies in no window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors import jsontext
from connectors.arrow_types import text_kind
from connectors.base import Since
from pipelines.cursor import instant
from pipelines.lag import spelled_like
from pipelines.spec import Epoch

_MARGIN = timedelta(days=1)  # where nobody knows how the platform spells its times, and it may compare them as text
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT = {"seconds": timedelta(seconds=1), "milliseconds": timedelta(milliseconds=1)}


@dataclass(frozen=True)
class Window:
    """The records whose `field` lies at or after `start` and before `end` (both aware).

    `epoch`: the field holds numbers, which count these units since 1970; None: it holds texts.
    """

    field: str
    start: datetime
    end: datetime
    epoch: Epoch | None = None

    def since(self, like: object) -> Since:
        """What to ask a platform for: at least this window, spelled like a value that it gave (None: no such value is known)."""
        if self.epoch is not None:
            return Since(self.field, *self._numbers(self.epoch))
        sample = like if isinstance(like, str) else None
        margin = timedelta() if sample is not None else _MARGIN
        return Since(self.field, spelled_like(self.start - margin, sample), spelled_like(self.end + margin, sample))

    def covers(self, other: "Window") -> bool:
        """Whether every record of the other window is one of this."""
        return self.field == other.field and self.start <= other.start and other.end <= self.end

    def holds(self, records: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Which of the records lie in the window."""
        inside: npt.NDArray[np.bool_] = self._places(records)[0]
        return inside

    def untimed_count(self, records: pa.RecordBatch) -> int:
        """How many of the records have no time in the field, and so lie in no window at all."""
        return int(self._places(records)[1].sum())

    def as_json(self) -> dict[str, str]:
        """The window for a note; `window_of` gives it back."""
        note = {"field": self.field, "start": self.start.isoformat(), "end": self.end.isoformat()}
        return note if self.epoch is None else {**note, "epoch": self.epoch}

    def __str__(self) -> str:
        return f"{self.field} from {_short(self.start)} to before {_short(self.end)}"

    def _places(self, records: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which records lie in it, and which have no time."""
        position = records.schema.get_field_index(self.field)
        nowhere = np.zeros(records.num_rows, np.bool_), np.ones(records.num_rows, np.bool_)
        if position >= 0 and self.epoch is not None:
            return self._counted(records.column(position), text_kind(records.schema.field(position)) == "json", self.epoch)
        if position < 0 or not pa.types.is_string(records.column(position).type):
            return nowhere
        texts = records.column(position)
        if text_kind(records.schema.field(position)) == "json":
            texts = pa.array([value if isinstance(value, str) else None for value in map(_loaded, texts.to_pylist())], pa.string())
        times = _times(texts)
        if times is not None:
            first, end = (pa.scalar(bound.astimezone(UTC).replace(tzinfo=None), pa.timestamp("us")) for bound in (self.start, self.end))
            inside = pc.and_(pc.greater_equal(times, first), pc.less(times, end))
            return np.array(pc.fill_null(inside, False).to_pylist(), np.bool_), np.array(pc.is_null(times).to_pylist(), np.bool_)
        return self._one_by_one(texts)

    def _counted(self, values: pa.Array, as_json: bool, epoch: Epoch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        first, end = self._numbers(epoch)
        found = map(_loaded, values.to_pylist()) if as_json else values.to_pylist()
        numbers = [value if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None for value in found]
        inside = [number is not None and first <= number < end for number in numbers]
        nowhere = [number is None or number != number for number in numbers]  # what is not a number is no time
        return np.array(inside, np.bool_), np.array(nowhere, np.bool_)

    def _numbers(self, epoch: Epoch) -> tuple[int, int]:
        """The bounds as such a field counts them."""
        return (self.start - _1970) // _UNIT[epoch], (self.end - _1970) // _UNIT[epoch]

    def _one_by_one(self, texts: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        first, end = (((bound - _YEAR_ONE) // timedelta(seconds=1), bound.microsecond) for bound in (self.start, self.end))
        base = _YEAR_ONE.toordinal() * 86_400
        places = [None if text is None else instant(text) for text in texts.to_pylist()]
        found = [place is not None and first <= (place[0] - base, place[1] * 1_000_000) < end for place in places]
        return np.array(found, np.bool_), np.array([place is None for place in places], np.bool_)


def window_of(note: Mapping[str, Any]) -> Window:
    """The window that `as_json` gave."""
    return Window(note["field"], datetime.fromisoformat(note["start"]), datetime.fromisoformat(note["end"]), note.get("epoch"))


def _times(texts: pa.Array) -> pa.Array | None:
    """The texts as instants in UTC without a zone, where Arrow takes all of them for times of one kind."""
    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            return texts.cast(kind).cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            continue
    return None


def _loaded(text: str | None) -> Any:
    return None if text is None else jsontext.loads(text)


def _short(moment: datetime) -> str:
    return moment.date().isoformat() if moment.time() == moment.min.time() else moment.replace(tzinfo=None).isoformat(" ", "minutes")
