"""What the sink never shows (write-only fields, marks of secrets), compared with what was last written. Reads staging and ledger only."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from connectors.arrow_lists import from_numpy
from connectors.base import Stream
from pipelines import changes
from pipelines.canonical import members
from pipelines.desired import Desired
from pipelines.engine import Engine
from pipelines.fingerprint import OPAQUE
from pipelines.spec import SyncSpec

CHUNK = 20_000

__all__ = ["recalled", "unseen"]


def unseen(stream: Stream, types: pa.Schema) -> list[str]:
    """The desired fields that the sink never gives back."""
    return [name for name in types.names if name in stream.write_only]


def recalled(engine: Engine, spec: SyncSpec, stream: Stream, desired: Desired) -> Desired:
    """The same, with the rows whose unseen fields are not as last written equal to nothing: they are looked at by value."""
    names = unseen(stream, desired.types)
    if not names or not desired.count:
        return desired
    index = desired.index
    changed = np.isin(index.position, np.fromiter(_changed(engine, spec, desired, names), np.int64))
    return replace(desired, index=replace(index, row=np.where(changed, np.uint64(OPAQUE), index.row)))


def _changed(engine: Engine, spec: SyncSpec, desired: Desired, names: list[str]) -> Iterator[int]:
    """The positions of rows that were written before, with another value of one of these fields."""
    types = pa.schema([field for field in desired.types if field.name in (*names, *spec.match)])
    positions = np.sort(desired.index.position)
    for at in range(0, len(positions), CHUNK):
        chunk = positions[at : at + CHUNK]
        rows = engine.staging.take(desired.batch, chunk)
        keys = rows["__key"].to_pylist()
        known = {match.key: match.applied for match in engine.ledger.matches(spec.name, keys) if match.applied}
        there = np.array([key in known for key in keys], bool)
        rows, chunk = rows.filter(from_numpy(there)), chunk[there]
        wanted = changes.create_rows(rows, match=spec.match, types=types)["after"].to_pylist()
        for position, key, now in zip(chunk.tolist(), rows["__key"].to_pylist(), wanted, strict=True):
            pairs = zip(members(now, names), members(known[key], names), strict=True)
            if any(new not in (None, "null", old) and old is not None for new, old in pairs):
                yield position
