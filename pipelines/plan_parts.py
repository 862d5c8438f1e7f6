"""Plan parts: the creates and updates of a large plan made by many, each a bucket of their keys' hashes, and joined to the same plan.

Who plans keeps what all need beside the batches: both indexes. Parts are staged, and their rows come in the order of one process.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import changes
from pipelines.arrays import no_rows, single
from pipelines.desired import INVALID_SCHEMA, Desired
from pipelines.diff import diff
from pipelines.engine import Engine, Progress, is_full, silent
from pipelines.fingerprint import Index
from pipelines.observe import Observation
from pipelines.plan_rows import REFUSED_SCHEMA, SAMPLES, PlanRows
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging, kept_batch

__all__ = ["LEAST", "given_to_all", "joined", "make_part", "part_dataset"]

LEAST = 20_000  # rows of a plan that are worth other workers' looking for them
_INDEX = "planned"


def part_dataset(spec: SyncSpec) -> Dataset:
    """Where parts of this sync's plans lie until they are joined."""
    return Dataset(("part", spec.name))


def given_to_all(rows: PlanRows) -> dict[str, Any]:
    """Keep what every part is made from; gives where it lies."""
    staging = rows.engine.staging
    staging.put_index(rows.desired.batch, _INDEX, rows.desired.index.arrays())
    staging.put_index(rows.existing.batch, _INDEX, rows.existing.index.arrays())
    return {"desired": _name(rows.desired.batch), "existing": _name(rows.existing.batch)}


def make_part(
    engine: Engine, spec: SyncSpec, given: Mapping[str, Any], number: int, count: int, *, progress: Progress = silent
) -> dict[str, Any]:
    """Make and stage part `number` of `count` of a plan's creates and updates. Gives what `joined` needs to know of it."""
    rows = _rows(engine, spec, given)
    with engine.staging.begin(part_dataset(spec)) as writer:
        writer.write(no_rows(changes.PLAN_SCHEMA))
        creates = updates = 0
        for made in rows.creates(_bucket(rows.found.create, number, count)):
            writer.write(made)
            creates += made.num_rows
            progress("plan", made.num_rows)
        ours, theirs = _bucket(rows.found.differ, number, count), _bucket(rows.found.differ_existing, number, count)
        for made in rows.updates(ours, theirs, {}):
            writer.write(made)
            updates += made.num_rows
            progress("plan", made.num_rows)
        batch = writer.commit({"creates": creates, "updates": updates, "samples": rows.samples, "warnings": rows.warnings})
    engine.staging.put_index(batch, "desired", {"position": np.concatenate([*rows.at, np.empty(0, np.int64)])})
    with engine.staging.begin(part_dataset(spec)) as writer:
        writer.write(single(pa.concat_tables([pa.Table.from_batches([], REFUSED_SCHEMA), *rows.refused])))
        refused = writer.commit({})
    return {"part": batch.id, "refused": refused.id, "counts": rows.counts}


def joined(rows: PlanRows, parts: Sequence[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    """The rows of all parts as one process would make them: creates, then updates. What else came of making them joins `rows`."""
    staging, dataset = rows.engine.staging, part_dataset(rows.spec)
    staged = {batch.id: batch for batch in staging.batches(dataset)}
    batches = [staged[part["part"]] for part in parts]
    for part, batch in zip(parts, batches, strict=True):
        for outcome, count in part["counts"].items():
            rows.counts[outcome] = rows.counts.get(outcome, 0) + count
        rows.warnings += batch.note["warnings"]
        rows.refused += [pa.Table.from_batches(list(staging.scan(staged[part["refused"]])), REFUSED_SCHEMA)]
    places = [_places(staging, batch) for batch in batches]
    for op, first in (("create", True), ("update", False)):
        rows.samples += [sample for batch in batches for sample in batch.note["samples"] if sample["op"] == op][:SAMPLES]
        for batch, position in zip(batches, places, strict=True):
            cut = batch.note["creates"]
            rows.at.append(position[:cut] if first else position[cut:])
            yield from _between(staging, batch, *((0, cut) if first else (cut, batch.count)))
    for part in parts:
        staging.drop(staged[part["part"]])
        staging.drop(staged[part["refused"]])


def _rows(engine: Engine, spec: SyncSpec, given: Mapping[str, Any]) -> PlanRows:
    """The rows to be made, from what the whole run found."""
    wanted, shown = _batch(engine.staging, given["desired"]), _batch(engine.staging, given["existing"])
    types = pa.schema([column for column in wanted.schema if not column.name.startswith("__")])
    desired = Desired(wanted, _index(engine.staging, wanted), types, pa.Table.from_batches([], INVALID_SCHEMA), 0, 0)
    existing = Observation(shown, _index(engine.staging, shown), is_full(shown))
    failures, stream = engine.ledger.failures(spec.name), engine.sink(spec.target_connection).stream(spec.target_stream)
    waits = [failure for failure in failures if failure.outcome == "quarantined" and not failure.released]
    return PlanRows(
        engine,
        spec,
        stream,
        desired,
        existing,
        diff(desired.index, existing.index),
        owned=np.empty(0, np.int64),  # about deletes and moved records, which are not made in parts
        held=frozenset(failure.key for failure in waits),
        waiting={failure.source_id: failure.key for failure in waits if failure.source_id},
        released=frozenset(failure.key for failure in failures if failure.released),
        dismissed={failure.key: failure.request for failure in engine.ledger.failures(spec.name, dismissed=True)},
        deletes=False,
        unproven=frozenset(),
    )


def _bucket(positions: Any, number: int, count: int) -> Any:
    """Positions in the order of their keys' hashes, cut evenly."""
    return positions[len(positions) * number // count : len(positions) * (number + 1) // count]


def _between(staging: Staging, batch: Batch, first: int, last: int) -> Iterator[pa.RecordBatch]:
    """The rows numbered from `first` to before `last`."""
    at = 0
    for part in staging.scan(batch):
        start, end = max(first - at, 0), min(last - at, part.num_rows)
        if start < end:
            yield part.slice(start, end - start)
        at += part.num_rows


def _places(staging: Staging, batch: Batch) -> Any:
    arrays = staging.get_index(batch, "desired")
    return np.array(arrays["position"]) if arrays is not None else np.empty(0, np.int64)


def _name(batch: Batch) -> dict[str, Any]:
    return {"dataset": list(batch.dataset.parts), "id": batch.id}


def _batch(staging: Staging, name: Mapping[str, Any]) -> Batch:
    return kept_batch(staging, Dataset(tuple(name["dataset"])), name["id"])


def _index(staging: Staging, batch: Batch) -> Index:
    arrays = staging.get_index(batch, _INDEX)
    if arrays is None:
        raise LookupError(f"the index of batch {batch.id} is not in this staging")
    return Index.of(arrays)
