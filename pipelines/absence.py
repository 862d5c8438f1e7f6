"""Absence: what a read of the sink may hide is looked up by key before anything is made of its not being there."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from connectors.base import JsonValue, ReadRequest, Stream
from pipelines.engine import Engine, Progress, completeness, increments, silent
from pipelines.extract import extract
from pipelines.observe import Observation, observation, seen_dataset
from pipelines.spec import SyncSpec
from pipelines.staging import Batch

LOOK_UPS = 5_000  # requests at most; what needs more is left to a person, who may know the platform's limits


@dataclass(frozen=True)
class LookedUp:
    """What was seen together with what the look-ups found. `proven`: a key it still does not have is not in the sink."""

    observed: Observation
    proven: bool


def can_look_up(stream: Stream, key_count: int) -> bool:
    """Whether so many keys can be looked up one by one at a bearable cost."""
    at_once = stream.capabilities.read.keys_per_request
    return at_once > 0 and -(-key_count // at_once) <= LOOK_UPS


def look_up(
    engine: Engine,
    spec: SyncSpec,
    stream: Stream,
    observed: Observation,
    keys: Sequence[Mapping[str, JsonValue]],
    types: pa.Schema,
    *,
    progress: Progress = silent,
) -> LookedUp:
    """Ask the sink for the records with each of these values, none of which `observed` has. Raises ConnectorError."""
    found = extract(
        engine.sink(spec.target_connection),
        stream,
        ReadRequest(keys=tuple(keys)),
        engine.staging,
        seen_dataset(spec),
        clock=engine.clock,
        note={"mode": "keys"},
        progress=increments(progress, "observe"),
    )
    proven = completeness(found).complete
    if not found.count:
        return LookedUp(observed, proven)
    said = f"{len(keys):,} keys were looked up that it did not show, and {found.count:,} records found"
    return LookedUp(observation(engine.staging, spec, stream, _together(engine, spec, observed.batch, found, said), types), proven)


def _together(engine: Engine, spec: SyncSpec, seen: Batch, found: Batch, said: str) -> Batch:
    """One batch of both, under the certificate of the first."""
    proof = completeness(seen)
    proof = replace(proof, reasons=(*proof.reasons, said))
    with engine.staging.begin(seen_dataset(spec)) as writer:
        for batch in (seen, found):
            for part in engine.staging.scan(batch):
                writer.write(part)
        return writer.commit({**seen.note, "completeness": asdict(proof)})
