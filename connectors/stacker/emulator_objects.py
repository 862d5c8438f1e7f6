"""What the Stacker emulator's objects are: records by sid, findable by order and by value; and JSON."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import simplejson

Json = Any


class Refused(Exception):
    """A request the platform answers with `status` and these words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def encode(value: Json) -> bytes:
    """JSON in UTF-8, decimals exact."""
    return simplejson.dumps(value, ensure_ascii=False, use_decimal=True, separators=(",", ":")).encode()


def decode(body: bytes) -> Json:
    """JSON with fractions as Decimal. Raises ValueError."""
    return simplejson.loads(body.decode(), use_decimal=True)


@dataclass
class Object:
    """One object (table): its records by sid in the order made, kept findable by sid order and by value."""

    sid: str
    name: str
    api_name: str
    records: dict[str, dict[str, Json]] = field(default_factory=dict)
    fields: dict[str, None] = field(default_factory=dict)
    sids: list[str] = field(default_factory=list)
    encoded: dict[str, bytes] = field(default_factory=dict)
    indexes: dict[str, dict[Json, dict[str, None]]] = field(default_factory=dict)
    made: int = 0

    def put(self, sid: str, values: dict[str, Json]) -> None:
        """Store the whole record under its sid."""
        old = self.records.get(sid)
        if old is None:
            if self.sids and sid < self.sids[-1]:
                insort(self.sids, sid)
            else:
                self.sids.append(sid)
        self._unindex(sid, old)
        self.records[sid] = values
        self.encoded.pop(sid, None)
        for name, index in self.indexes.items():
            if _indexable(values.get(name)):
                index.setdefault(values.get(name), {})[sid] = None

    def remove(self, sid: str) -> None:
        """Forget a record."""
        self._unindex(sid, self.records.pop(sid))
        del self.sids[bisect_left(self.sids, sid)]
        self.encoded.pop(sid, None)

    def with_value(self, name: str, value: Json) -> Iterable[str]:
        """The sids of records whose field has exactly this scalar value."""
        if name == "sid":
            return [value] if value in self.records else []
        if name not in self.indexes:
            index: dict[Json, dict[str, None]] = {}
            for sid, values in self.records.items():
                if _indexable(values.get(name)):
                    index.setdefault(values.get(name), {})[sid] = None
            self.indexes[name] = index
        return list(self.indexes[name].get(value, ()))

    def _unindex(self, sid: str, old: dict[str, Json] | None) -> None:
        for name, index in self.indexes.items():
            if old is not None and _indexable(old.get(name)):
                index.get(old.get(name), {}).pop(sid, None)


def _indexable(value: Json) -> bool:
    return value is not None and not isinstance(value, list | dict | bool)


def comparable(value: Json) -> Json:
    """A value as a number where it is one (text included), for the switch that compares numerically."""
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None
