"""Observe: see what the sink holds, by the fewest requests, as a batch and its index."""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors import jsontext
from connectors.arrow import records_to_batch
from connectors.base import Completeness, ReadRequest, Record, Stream
from connectors.errors import ConfigError
from pipelines.engine import Engine, Progress, completeness, increments, is_full, silent
from pipelines.extract import extract
from pipelines.fingerprint import Index, index
from pipelines.inorder import InOrder
from pipelines.keys import key_values
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging

CHUNK = 5_000
LOOKS = 5  # before giving up on two in a row that miss the same


@dataclass(frozen=True)
class Observation:
    """What the sink showed, or is remembered to hold. `full` is False where only certain keys were asked for."""

    batch: Batch
    index: Index
    full: bool

    @property
    def completeness(self) -> Completeness:
        """What the read of the sink proved."""
        return completeness(self.batch)

    @cached_property
    def rows(self) -> InOrder:
        """Its rows, to be asked for in the order of their keys."""
        return InOrder(self.batch, self.index.position)

    def hashes_of(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The key hashes (as the ledger keeps them) of the rows at these positions."""
        return key_hashes(self.index)[_places(self.index, positions)]


def key_hashes(rows: Index) -> npt.NDArray[np.int64]:
    """The high word of each entry's key hash, as the signed number that a ledger can hold."""
    return np.ascontiguousarray(rows.key_hi).view(np.int64)


def seen_dataset(spec: SyncSpec) -> Dataset:
    """Where what was read of the sync's target lies."""
    return Dataset(("seen", spec.target_connection, spec.target_stream))


def see(
    engine: Engine, spec: SyncSpec, stream: Stream, keys: Sequence[str] | None, *, proof: bool = False, progress: Progress = silent
) -> Batch:
    """Read the sink into staging: the records with these keys (JSON lists of the match values), or all of them (None).

    Keys are looked up one by one only where that takes fewer requests than reading everything. `proof` asks for
    a read that can show that nothing else is there.
    """
    dataset = seen_dataset(spec)
    request = ReadRequest(proof=proof)
    if keys is not None and _look_up_is_cheaper(engine.staging, dataset, stream, len(keys)):
        request = ReadRequest(keys=tuple(key_values(key, spec.match) for key in keys))
    return extract(
        engine.sink(spec.target_connection),
        stream,
        request,
        engine.staging,
        dataset,
        clock=engine.clock,
        note={"mode": "keys" if request.keys is not None else "full"},
        progress=increments(progress, "observe"),
    )


def see_what_is_missing(
    engine: Engine,
    spec: SyncSpec,
    stream: Stream,
    keys: Sequence[str] | None,
    first: Observation,
    missing: Callable[[Observation], Set[int]],
    types: pa.Schema,
    *,
    progress: Progress = silent,
) -> tuple[Observation, bool]:
    """Look again until two looks in a row miss the same: one answer that shows too little must not make anything a second time.

    `missing` names what an observation lacks. Gives the last look, and whether what it misses is proven not to be there.
    """
    lacking = missing(first)
    for _ in range(LOOKS - 1):
        if not lacking:
            return first, True
        batch = see(engine, spec, stream, keys, proof=True, progress=progress)
        again = observation(engine.staging, spec, stream, batch, types)
        before, lacking, first = lacking, missing(again), again
        if before == lacking:
            return again, again.completeness.complete
    return first, not lacking


def compared(sink: Stream, types: pa.Schema) -> list[str]:
    """The desired fields that can be compared with what the sink shows: not those it never gives back."""
    return [name for name in types.names if name not in sink.write_only]


def observation(staging: Staging, spec: SyncSpec, stream: Stream, batch: Batch, types: pa.Schema) -> Observation:
    """A batch of sink records, indexed under the types that are desired. Raises ConfigError where none shows its id."""
    if batch.count and stream.id_field not in batch.schema.names:
        shown = ", ".join(name for name in batch.schema.names if not name.startswith("__"))
        raise ConfigError(
            f"none of {batch.count:,} records of {spec.target} shows its id, the field {stream.id_field!r}; they show {shown}; "
            f"name the field that holds it as key of {spec.target_stream} under streams of {spec.target_connection}"
        )
    return Observation(batch, index(staging.scan(batch), spec.match, compared(stream, types), types), is_full(batch))


def ids_at(staging: Staging, observed: Observation, stream: Stream, positions: npt.NDArray[np.int64]) -> list[str]:
    """The sink's ids at these positions, as JSON text."""
    if not len(positions):
        return []
    values = observed.rows.take(staging, positions, [stream.id_field])[stream.id_field].to_pylist()
    return [jsontext.dumps(value).decode() for value in values]


def remembered(engine: Engine, spec: SyncSpec, stream: Stream, types: pa.Schema) -> Observation | None:
    """What the ledger knows the sink to hold, as if it had been read. None where it does not know enough of some record."""
    with engine.staging.begin(Dataset(("remembered", spec.name))) as writer:
        for chunk in _remembered(engine, spec, stream):
            if chunk is None:
                return None
            writer.write(records_to_batch(chunk, None))
        batch = writer.commit({"mode": "ledger", "completeness": _NOT_READ})
    return observation(engine.staging, spec, stream, batch, types) if batch.count else None


_NOT_READ = {
    "complete": False,
    "method": "ledger",
    "reasons": ["the sink was not read: compare is ledger"],
    "count": 0,
    "total": None,
    "requests": 0,
}


def _remembered(engine: Engine, spec: SyncSpec, stream: Stream) -> Iterator[list[Record] | None]:
    chunk: list[Record] = []
    for match in engine.ledger.matches(spec.name):
        if match.applied is None:
            yield None
            return
        values = jsontext.loads(match.applied)
        record: Record = {**values} if isinstance(values, dict) else {}
        if any(name not in record for name in spec.match):  # the sync matches by other fields than when it wrote this
            yield None
            return
        record[stream.id_field] = jsontext.loads(match.sink_id)
        chunk.append(record)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def known_fields(staging: Staging, spec: SyncSpec, stream: Stream) -> list[str] | None:
    """The sink's fields as far as they are declared or were ever seen, or None where nothing is known."""
    names = list(stream.schema.names) if stream.schema is not None else []
    for batch in reversed(staging.batches(seen_dataset(spec))):
        if batch.count:
            return list(dict.fromkeys([*names, *(name for name in batch.schema.names if not name.startswith("__"))]))
    return None


def _places(rows: Index, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where in the index the rows with these positions stand."""
    order = np.argsort(rows.position, kind="stable")
    return order[np.searchsorted(rows.position, positions, sorter=order)]


def _look_up_is_cheaper(staging: Staging, dataset: Dataset, stream: Stream, key_count: int) -> bool:
    read = stream.capabilities.read
    if not read.keys_per_request:
        return False
    requests = -(-key_count // read.keys_per_request)
    if not read.page_size:
        return requests <= 1
    known = next((batch.count for batch in reversed(staging.batches(dataset)) if is_full(batch)), None)
    return requests < (10 if known is None else max(1, -(-known // read.page_size)))
