"""What the steps of a sync are given to reach the world, and the first step: reading the source into staging."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from connectors.base import Clock, Completeness, ReadRequest, Rng, Since, Sink, Source
from connectors.errors import ConfigError
from connectors.settings import ConnectionSettings
from pipelines.checkpoint import finished
from pipelines.extract import extract
from pipelines.lag import lagged
from pipelines.ledger import Ledger
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging

Progress = Callable[[str, int], None]
"""Told the step's name and how many records it finished since it was told last."""


def silent(step: str, count: int) -> None:
    """The progress nobody looks at."""


def increments(progress: Progress, step: str) -> Callable[[int], None]:
    """Takes a running total and tells `progress` what came since."""
    before = 0

    def tell(total: int) -> None:
        nonlocal before
        progress(step, total - before)
        before = total

    return tell


@dataclass(frozen=True)
class Engine:
    """The ports of one process. `open` gives a connection by name, the same object each time; `lock` is exclusive by name."""

    clock: Clock
    rng: Rng
    ledger: Ledger
    staging: Staging
    open: Callable[[str], Source]
    settings: Callable[[str], ConnectionSettings]
    lock: Callable[[str], AbstractContextManager[None]]

    def sink(self, connection: str) -> Sink:
        """The connection as a sink. Raises ConfigError where it can only be read."""
        source = self.open(connection)
        if not isinstance(source, Sink):
            raise ConfigError(f"{connection} can only be read; a sync cannot write to it")
        return source

    @contextmanager
    def counting(self, connection: str, into: dict[str, int]) -> Iterator[None]:
        """Add the requests this connection sends meanwhile to `into`."""
        source = self.open(connection)
        before = dict(source.request_counts())
        try:
            yield
        finally:
            for kind, count in source.request_counts().items():
                into[kind] = into.get(kind, 0) + count - before.get(kind, 0)


def spec_hash(spec: SyncSpec) -> str:
    """A digest of everything in the spec that decides what is desired. 16 hexadecimal digits."""
    decisive = spec.model_dump(mode="json", include={"source", "target", "match", "where", "fields", "python"})
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def raw_dataset(spec: SyncSpec) -> Dataset:
    """Where the source stream's batches lie, shared by all syncs that read it."""
    return Dataset(("raw", spec.source_connection, spec.source_stream))


def completeness(batch: Batch) -> Completeness:
    """The certificate of the read that made this batch."""
    kept = batch.note["completeness"]
    return Completeness(**{**kept, "reasons": tuple(kept["reasons"]), "doubts": tuple(kept.get("doubts", ()))})


def is_full(batch: Batch) -> bool:
    """Whether the batch came from a read of the whole stream."""
    return batch.note.get("mode") == "full"


def extract_source(engine: Engine, spec: SyncSpec, *, full: bool = False, progress: Progress = silent) -> Batch:
    """Read the sync's source stream into staging: everything, or what changed since the newest staged cursor.

    The cursor lies in the note of the batch it came from, so that both become durable together.
    Raises ConnectorError; then nothing is staged.
    """
    source = engine.open(spec.source_connection)
    stream = source.stream(spec.source_stream)
    dataset = raw_dataset(spec)
    staged = finished(engine.staging, dataset)
    request = ReadRequest(proof=spec.mode == "mirror")
    last = newest_with_cursor(staged, spec.read.cursor) if spec.read.mode == "incremental" and not full and unbroken(staged) else None
    if last is not None:
        request = ReadRequest(since=Since(str(spec.read.cursor), lagged(last.note["cursor"], spec.read.lag, spec.cursor_epoch)))
    known = None  # a full read starts afresh: a field that the source does not have any more must not seem to be there
    if request.since is not None:
        known = next((batch.schema for batch in reversed(staged) if is_full(batch) and batch.count), None)
    return extract(
        source,
        stream,
        request,
        engine.staging,
        dataset,
        clock=engine.clock,
        cursor_field=spec.read.cursor,
        known=known,
        note={"mode": "since", "after": last.id} if last is not None else {"mode": "full"},
        alone=lambda: engine.lock(f"read {spec.source}"),
        progress=increments(progress, "extract"),
    )


def newest_with_cursor(staged: list[Batch], field: str | None) -> Batch | None:
    """The batch whose cursor a next incremental read starts from: the newest one that followed this field, or None.

    Not one whose read is in doubt: increments from there would never meet what it may have missed.
    """
    followed = (batch for batch in reversed(staged) if batch.note.get("cursor_field") == field and batch.note.get("cursor") is not None)
    return next((batch for batch in followed if not completeness(batch).doubts), None)


def unbroken(staged: list[Batch]) -> bool:
    """Whether there is a full read, and every increment since goes on from a batch that is still there (somebody may remove one)."""
    there = {batch.id for batch in staged}
    for batch in reversed(staged):
        if is_full(batch):
            return True
        if batch.note.get("after", batch.id) not in there:
            return False
    return False
