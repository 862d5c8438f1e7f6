"""Checkpoints of a long read: what is staged so far, so that a read that is killed goes on at its page.

A *part* is a committed batch of the dataset being read, marked as such in its note; it holds the records of the pages up
to its token. A finished read joins its parts into one batch and drops them.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import pyarrow as pa

from connectors.base import ReadRequest
from pipelines.staging import Batch, BatchWriter, Dataset, Staging

PART = "part"
FRESH = timedelta(hours=6)  # an older part says too little of what the source holds now


def finished(staging: Staging, dataset: Dataset) -> list[Batch]:
    """The batches of reads that came to their end, oldest first."""
    return [batch for batch in staging.batches(dataset) if batch.note.get("mode") != PART]


def parts_of(staging: Staging, dataset: Dataset, request: ReadRequest, now: datetime) -> list[Batch]:
    """The parts of an interrupted read for this very request, oldest first; parts of any other are dropped."""
    parts = [batch for batch in staging.batches(dataset) if batch.note.get("mode") == PART]
    wanted = [batch for batch in parts if batch.note["request"] == _name(request) and _age(batch, now) <= FRESH]
    while wanted and not wanted[-1].note["token"]:  # the end was reached, but what it proved is lost
        wanted.pop()
    drop(staging, [batch for batch in parts if batch not in wanted])
    return wanted


def commit_part(writer: BatchWriter, request: ReadRequest, token: str, now: datetime) -> Batch:
    """Keep what was written as the part that ends at this page token."""
    return writer.commit({"mode": PART, "request": _name(request), "token": token, "at": now.isoformat()})


def rows_of(staging: Staging, parts: Sequence[Batch]) -> Iterator[pa.RecordBatch]:
    """The records of the parts, in the order they were read."""
    for part in parts:
        yield from staging.scan(part)


def drop(staging: Staging, parts: Sequence[Batch]) -> None:
    """Remove parts that are joined, stale or of no use."""
    for part in parts:
        staging.drop(part)


def _name(request: ReadRequest) -> str:
    """What tells one request from another; where a read stopped does not."""
    asked = {name: value for name, value in asdict(request).items() if name != "resume"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _age(batch: Batch, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(batch.note["at"])
