"""Extract: a read's pages into a staged batch. Fetching, parsing and writing each in a thread; I/O only through what it is given.

What is held in memory does not grow with the number of records: pages wait in bounded pipes, and batches leave for
staging as they come. The batch is committed only after the read has ended and said what it proved.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.arrow import decode
from connectors.arrow_lists import from_numpy
from connectors.arrow_types import ABSENT, staged, widest_schema
from connectors.base import Clock, Completeness, JsonBody, Page, Read, ReadRequest, Source, Stream
from connectors.errors import ConfigError, ConnectorError, ContractError, RetryableError
from pipelines.checkpoint import commit_part, drop, parts_of, rows_of
from pipelines.cursor import HighWater
from pipelines.pipe import Pipe
from pipelines.presence import Presence
from pipelines.staging import Batch, BatchWriter, Dataset, Staging

_GROUP_PAGES = 16  # parsing one page per call doubles the wall time
_GROUP_BYTES = 8 << 20
_LINGER_S = 0.1  # how long a group waits for its next page
_JOIN_S = 5.0  # then the thread is left to end by itself


def extract(
    source: Source,
    stream: Stream,
    request: ReadRequest,
    staging: Staging,
    dataset: Dataset,
    *,
    clock: Clock,
    progress: Callable[[int], None] | None = None,
    note: Mapping[str, Any] | None = None,
    cursor_field: str | None = None,
    known: pa.Schema | None = None,
    alone: Callable[[], AbstractContextManager[None]] | None = None,
    checkpoint_s: float = 60.0,
) -> Batch:
    """Read into a new batch of `dataset`, and commit it with a note of what the read was and proved.

    The note holds `completeness` (all its fields), `mode` (full | since | keys), `cursor_field` and `cursor` (the
    largest value of that field as the platform spelled it; None where there is none to trust), `started_at`,
    `finished_at` and `server_date` (ISO, the first one told), `requests`, `bytes`, `stream`, and whatever `note` adds.
    `progress` is called in the caller's thread with the number of records staged so far. `known` is the schema of an
    earlier batch: its fields keep their place, and in a partial read their types.

    With `alone` (a lock on this stream) a read that takes longer than `checkpoint_s`, or that the platform asks to come back later,
    keeps what it has as parts, and one that finds the parts of an interrupted read goes on at their page. While somebody else
    holds the lock it does neither.

    Whatever the read raises comes through unchanged, and no batch is committed then. Raises ContractError
    also when a field that is declared or known is missing from every record of a complete full read, and
    ConfigError when the records belong to another scope than those of the batch before.
    """
    reading = _Reading(source, stream, request, staging, dataset, clock, progress or _silent, cursor_field, known, dict(note or {}))
    with ExitStack() as held:
        if alone is None or not _entered(held, alone):
            return reading.read([], None)
        parts = parts_of(staging, dataset, request, clock.now())
        if parts:
            try:
                return reading.read(parts, checkpoint_s)
            except (ConfigError, _NotProven):  # the page cannot be gone on from, or the whole cannot be proven so
                drop(staging, parts_of(staging, dataset, request, clock.now()))
        return reading.read([], checkpoint_s)


def require_scope(proof: Completeness, staged: Sequence[Batch], stream: Stream) -> None:
    """Raises ConfigError where records are of another account, organization, … than those staged: they are no news about them."""
    scopes = (batch.note.get("completeness", {}).get("scope") for batch in reversed(staged))
    before = next((scope for scope in scopes if scope), None)
    if proof.scope and before and proof.scope != before:
        raise ConfigError(
            f"{stream.name} now shows records of {proof.scope}, and those read before were of {before}; nothing was staged: "
            "put the account back, or declare in the connection which of them it is for"
        )


class _NotProven(Exception):
    """A read that went on after an interruption proves less than one from the start."""


@dataclass(frozen=True)
class _Mark:
    """All records up to this page token were given; None: no read can go on from here."""

    token: str | None


@dataclass
class _Tally:
    """What is learnt from the records on their way."""

    field: str | None
    count: int = 0
    high: HighWater = dataclass_field(default_factory=HighWater)
    presence: Presence = dataclass_field(default_factory=Presence)

    def see(self, batch: pa.RecordBatch) -> None:
        self.presence.see(batch)
        if self.field is not None:
            self.high.see(batch, self.field)
        self.count += batch.num_rows


@dataclass
class _Reading:
    source: Source
    stream: Stream
    request: ReadRequest
    staging: Staging
    dataset: Dataset
    clock: Clock
    progress: Callable[[int], None]
    cursor_field: str | None
    known: pa.Schema | None
    note: dict[str, Any]

    def read(self, parts: list[Batch], checkpoint_s: float | None) -> Batch:
        """Read everything, or on after these parts; with `checkpoint_s` what a long read has so far is kept as further parts."""
        request, resumed = self.request, len(parts)
        field = self.cursor_field or (request.since.field if request.since is not None else None)
        full = request.since is None and request.keys is None and request.resume is None
        start = _start_schema(self.stream, request, self.known, keep_types=not full)
        started_at = parts[0].note["at"] if resumed else self.clock.now().isoformat()
        read = self.source.read(self.stream, replace(request, resume=parts[-1].note["token"]) if resumed else request)
        work = _Work(read, start)
        tally, before = _Tally(field), sum(part.count for part in parts)
        with ExitStack() as writers:
            writers.callback(work.stop)
            writer = self._begin(writers, start)
            last_s, fresh, reached = self.clock.monotonic(), False, _Mark(None)
            try:
                for item in work.items():
                    if isinstance(item, pa.RecordBatch):
                        writer.write(item)
                        tally.see(item)
                        fresh, reached = True, _Mark(None)
                        self.progress(before + tally.count)
                        continue
                    reached = item
                    if fresh and item.token and checkpoint_s is not None and self.clock.monotonic() - last_s >= checkpoint_s:
                        parts.append(commit_part(writer, request, item.token, self.clock.now()))
                        writer = self._begin(writers, start)
                        last_s, fresh = self.clock.monotonic(), False
            except RetryableError as error:  # a quota that ran out: else a read that takes more than one would never end
                if fresh and reached.token and checkpoint_s is not None and error.retry_after_s is not None:
                    commit_part(writer, request, reached.token, self.clock.now())
                raise
            if parts:
                parts.append(commit_part(writer, request, "", self.clock.now()))
                writer, tally = self._begin(writers, start), _Tally(field)
                for batch in rows_of(self.staging, parts):
                    writer.write(batch)
                    tally.see(batch)
            proof = _sound(read.completeness, tally.count, full=full)
            require_scope(proof, self.staging.batches(self.dataset), self.stream)
            if resumed and full and not proof.complete:
                raise _NotProven
            if full and proof.complete and tally.count:
                tally.presence.require(_wanted(start, request), self.stream.name, tally.count)
            batch = writer.commit(
                {
                    "completeness": {**asdict(proof), "reasons": list(proof.reasons), "count": tally.count if parts else proof.count},
                    "mode": "keys" if request.keys is not None else "since" if request.since is not None else "full",
                    "cursor_field": field,
                    "cursor": tally.high.value,
                    "started_at": started_at,
                    "finished_at": self.clock.now().isoformat(),
                    "server_date": None if work.server_date is None else work.server_date.isoformat(),
                    "requests": proof.requests,
                    "bytes": work.bytes,
                    "resumed": bool(resumed),
                    "stream": {"id_field": self.stream.id_field, "url": self.stream.url},
                    **self.note,
                }
            )
        drop(self.staging, parts)
        return batch

    def _begin(self, writers: ExitStack, start: pa.Schema) -> BatchWriter:
        writer = writers.enter_context(self.staging.begin(self.dataset))
        writer.write(pa.RecordBatch.from_arrays([pa.nulls(0, column.type) for column in start], schema=start))
        return writer


def _entered(held: ExitStack, alone: Callable[[], AbstractContextManager[None]]) -> bool:
    """Whether the stream is ours alone now: somebody else who reads it keeps parts of their own."""
    try:
        held.enter_context(alone())
    except RetryableError:
        return False
    return True


def _silent(count: int) -> None:
    """Nobody asked how far it is."""


class _Work:
    """The two threads that fetch and parse. `bytes` and `server_date` are complete when `items` has ended."""

    def __init__(self, read: Read, schema: pa.Schema) -> None:
        self._read = read
        self._schema = schema
        self._pages: Pipe[Page] = Pipe(_GROUP_PAGES, _GROUP_BYTES)
        self._batches: Pipe[pa.RecordBatch | _Mark] = Pipe(4, 2 * _GROUP_BYTES)
        self.bytes = 0
        self.server_date: Any = None
        self._threads = [self._pages.feed(self._fetch, "crossdock-fetch"), self._batches.feed(self._parse, "crossdock-parse")]

    def items(self) -> Iterator[pa.RecordBatch | _Mark]:
        """The records as they are parsed, in the order of the read, and after each group of pages how far that is."""
        while (item := self._batches.get()) is not None:
            yield item

    def stop(self) -> None:
        """End both threads; one that waits for the platform ends when its answer comes."""
        self._pages.stop()
        self._batches.stop()
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _fetch(self) -> None:
        for page in self._read:
            size = len(page.records.body) if isinstance(page.records, JsonBody) else 0
            self.bytes += size
            self.server_date = self.server_date or page.server_date
            self._pages.put(page, size)

    def _parse(self) -> None:
        try:
            while group := self._next_group():
                for batch in self._decode(group):
                    self._batches.put(batch, batch.nbytes)
                self._batches.put(_Mark(group[-1].token), 0)
        finally:
            self._pages.stop()

    def _next_group(self) -> list[Page]:
        group: list[Page] = []
        size = 0
        page = self._pages.get()
        while page is not None:
            group.append(page)
            size += len(page.records.body) if isinstance(page.records, JsonBody) else 0
            if len(group) >= _GROUP_PAGES or size >= _GROUP_BYTES:
                break
            try:
                page = self._pages.get(_LINGER_S)
            except ConnectorError:  # what came before it first; asked for the next group, the pipe raises it again
                break
        return group

    def _decode(self, group: Sequence[Page]) -> list[pa.RecordBatch]:
        batches = decode([page.records for page in group], self._schema)
        found, told = sum(batch.num_rows for batch in batches), sum(page.count for page in group)
        if found != told:
            raise ContractError(f"{len(group)} pages said to hold {told} records hold {found}; which ones to leave out cannot be told")
        for batch in batches:
            self._schema = widest_schema(self._schema, batch.schema)
        return _without(batches, _dropped(group))


def _start_schema(stream: Stream, request: ReadRequest, known: pa.Schema | None, *, keep_types: bool) -> pa.Schema:
    """What is expected of the records: what is declared, then what earlier batches had."""
    fields = {field.name: field for field in staged(stream.schema)} if stream.schema is not None else {}
    for field in known or ():
        fields.setdefault(field.name, field if keep_types else pa.field(field.name, pa.null()))
    fields.pop(ABSENT, None)
    wanted = fields if request.fields is None else {stream.id_field, *request.fields}
    return pa.schema([field for name, field in fields.items() if name in wanted])


def _wanted(start: pa.Schema, request: ReadRequest) -> list[str]:
    return [name for name in start.names if request.fields is None or name in request.fields]


def _sound(proof: Completeness, count: int, *, full: bool) -> Completeness:
    """The certificate, unless fewer records were staged than it counts."""
    if not full or not proof.complete or count >= proof.count:
        return proof
    reason = f"only {count} records reached staging of {proof.count} that the read counted"
    return replace(proof, complete=False, reasons=(*proof.reasons, reason))


def _dropped(group: Sequence[Page]) -> list[int]:
    """The positions, over all pages of the group, of records that an earlier page had."""
    positions, first = [], 0
    for page in group:
        positions += [first + position for position in page.drop]
        first += page.count
    return positions


def _without(batches: list[pa.RecordBatch], dropped: Sequence[int]) -> list[pa.RecordBatch]:
    if not dropped:
        return batches
    keep = np.ones(sum(batch.num_rows for batch in batches), np.bool_)
    keep[list(dropped)] = False
    left, first = [], 0
    for batch in batches:
        left.append(batch.filter(from_numpy(keep[first : first + batch.num_rows])))
        first += batch.num_rows
    return left
