"""The nouns every connector speaks: streams, capabilities, pages, changes, receipts. Pure.

The engine knows platforms only through this module. What a platform can do is data
(`Capabilities`), so that no platform's name and no `if` about one appears in the engine.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

JsonValue: TypeAlias = bool | int | float | Decimal | str | list[Any] | dict[str, Any] | None
Record: TypeAlias = dict[str, JsonValue]
Op: TypeAlias = Literal["create", "update", "delete"]


class Delivery(StrEnum):
    """What resending one operation does: a fact about the operation, never about its HTTP verb."""

    READ = "read"  # changes nothing
    E1 = "E1"  # the same call twice leaves the same state
    E2 = "E2"  # not resend-safe, but its effect can be looked up by key afterwards
    E3 = "E3"  # at most once: no look-up, or every call has a new effect


@dataclass(frozen=True)
class Operation:
    """One documented endpoint, as `crossdock call` and the generated tables list it.

    `name` is also the name of the client's method. `evidence` is the document's own sentence.
    `dangerous` operations are called only after a confirmation. `sources` names the streams whose reads
    use it, and `sinks` the changes that do, as `stream:op`; a stream in braces stands for every one that the platform
    holds under a name of its own. To write a stream, its own reads may be used as well without being named here.
    """

    name: str
    method: str
    path: str
    delivery: Delivery
    summary: str
    evidence: str
    dangerous: bool = False
    sources: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteCapability:
    """How one kind of change is written. `None` in `Capabilities` means the platform cannot do it."""

    delivery: Delivery
    max_batch: int  # records in one call
    replaces: bool  # True: fields left out are lost; False: only the given fields change
    identifies: bool  # the answer tells which record each result belongs to
    evidence: str


@dataclass(frozen=True)
class ReadCapability:
    """What a read may use. None means the document is silent and only a probe or the read itself can tell."""

    filters: frozenset[str] = frozenset()  # operators: "eq", "neq", "gt", "lt", "contains"
    keyset: bool | None = False  # order by the id and continue after the last one
    since: bool | None = False  # can be asked for records changed since a cursor
    keys_per_request: int = 0  # how many keys one look-up can name; 0: none
    page_size: int | None = None  # records in one answer at most; None: everything in a single answer; 0: the platform does not tell
    total: bool | None = None  # the answer tells how many records there are
    provable: bool = True  # False: no way of reading can show that every record was seen
    evidence: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What a stream can do, each with the sentence of the platform's document that shows it."""

    read: ReadCapability
    create: WriteCapability | None = None
    update: WriteCapability | None = None
    delete: WriteCapability | None = None

    def write(self, op: Op) -> WriteCapability | None:
        """The capability for `op`, or None where the platform cannot do it."""
        return {"create": self.create, "update": self.update, "delete": self.delete}[op]


@dataclass(frozen=True)
class Filled:
    """Secrets that the connector itself adds to what it writes, from references in its settings; see `Filling`.

    `field` stands for them in a plan; the platform has no such field. `by` are the fields of a record that decide which ones.
    """

    field: str
    by: tuple[str, ...]


@dataclass(frozen=True)
class Stream:
    """One collection of records that a connection can read, and perhaps write.

    `id_field` is the platform's own identifier, unique in the stream. `schema` holds declared
    types only (None: all are inferred from the records). `write_only` fields never read back
    and are compared with what was last written only; `read_only` fields are the platform's and are never written. A field that
    is both is a secret that only the connector itself writes, from its settings; `filled` stands for those.
    `url` is a template with `{id}` for a page where a person can look at a record.
    """

    name: str
    id_field: str
    capabilities: Capabilities
    schema: pa.Schema | None = None
    natural_key: tuple[str, ...] = ()
    cursors: tuple[str, ...] = ()
    write_only: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    filled: Filled | None = None
    url: str | None = None


@dataclass(frozen=True)
class Since:
    """Read only records whose `field` is at or after `value`, and before `until` where given.

    Both bounds are the platform's own cursor text (or number), never rounded. The lower bound is
    inclusive: a connector that only has "greater than" must ask from before it.
    """

    field: str
    value: str | int | float | None
    until: str | int | float | None = None


@dataclass(frozen=True)
class ReadRequest:
    """What to read. Without any argument: every record, every field.

    `keys` asks only for the records having these field values (each a mapping field → scalar).
    `proof` asks for a read whose completeness certificate can carry deletes, at whatever extra
    requests that costs. `resume` is the token of the last page that was staged.
    """

    since: Since | None = None
    keys: tuple[Mapping[str, JsonValue], ...] | None = None
    fields: tuple[str, ...] | None = None
    proof: bool = False
    resume: str | None = None


@dataclass(frozen=True)
class JsonBody:
    """An answer still in its bytes: the records are the list at `path` (`()`: the whole body is the list)."""

    body: bytes
    path: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One answer of a read. `count` is the number of records in it, counted, never believed.

    `records` is a decoded list where the connector had to look at every record anyway, else the
    bytes for the columnar path. `drop` gives positions in this page that an earlier page already
    had (an overlap). `token` resumes the read after this page; None: it cannot be resumed here.
    """

    records: JsonBody | list[Record]
    count: int
    token: str | None = None
    drop: tuple[int, ...] = ()
    server_date: datetime | None = None


@dataclass(frozen=True)
class Completeness:
    """What a finished read can prove. Without `complete`, absence means nothing.

    `method` is how the pages were chained ("keyset", "offset with overlap", "two equal reads",
    "single answer", "by keys", "since"); `reasons` are sentences that say why it is or is not complete.
    `doubts` are those of them that make it likely that records are there which were not seen: what was
    not seen is then looked up before anything is made of its absence.
    `scope` is whose records the platform says these are, where that can change behind the connection's back (a user's
    current organization): two reads of different scopes are never compared.
    """

    complete: bool
    method: str
    reasons: tuple[str, ...]
    count: int
    total: int | None = None
    requests: int = 0
    doubts: tuple[str, ...] = ()
    scope: str | None = None


class Read:
    """The pages of one read, in order; after the last one `completeness` tells what the read proved."""

    def __init__(self, pages: Generator[Page, None, Completeness]) -> None:
        self._pages = pages
        self._completeness: Completeness | None = None

    def __iter__(self) -> Iterator[Page]:
        self._completeness = yield from self._pages

    @property
    def completeness(self) -> Completeness:
        """The certificate. Asking before the last page was taken is an error of the caller's."""
        if self._completeness is None:
            raise RuntimeError("the read is not finished: take all pages before asking what it proved")
        return self._completeness


@dataclass(frozen=True)
class Change:
    """One record's write. `seq` is its number in the plan and names it in the receipt.

    `key` holds the match fields. `fields` holds every field for a create, only the changed ones for
    an update, and nothing for a delete. `before` holds the sink's values as last seen (for a
    connector that must send whole objects); `sink_id` is None only for a create.
    """

    seq: int
    op: Op
    key: Mapping[str, JsonValue]
    fields: Mapping[str, JsonValue]
    sink_id: JsonValue = None
    before: Mapping[str, JsonValue] = field(default_factory=dict)


class Result(StrEnum):
    """What one write came to, as far as the answer tells."""

    APPLIED = "applied"  # this record, definitely; an id is known
    ACCEPTED = "accepted"  # the call succeeded, but does not say which record is which: read back by key
    REJECTED = "rejected"  # the platform refused this record; nothing changed
    MISSING = "missing"  # an update or delete found no such record
    NOT_SENT = "not_sent"  # nothing was changed and it may be tried again
    REFUSED_BATCH = "refused_batch"  # the whole call was refused because of some record in it; nothing changed
    UNKNOWN = "unknown"  # sent, and no trustworthy answer came


@dataclass(frozen=True)
class Receipt:
    """The platform's answer to one change. `reason` is in its words, shortened and redacted.

    `answer` is the record as the platform gave it back, where it did: what it normalised shows there.
    """

    seq: int
    result: Result
    sink_id: JsonValue = None
    reason: str = ""
    answer: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True)
class Finding:
    """One line of `crossdock check`: what was looked at, whether it is fine, and what to set where it is not."""

    subject: str
    ok: bool
    detail: str
    suggestion: str = ""


@runtime_checkable
class Source(Protocol):
    """A connection that can be read."""

    def streams(self) -> Sequence[Stream]:
        """Every stream that can be read. May ask the platform once; raises ConnectorError."""
        ...

    def stream(self, name: str) -> Stream:
        """The stream of that name. Asks the platform as little as it can; raises ConfigError naming what exists."""
        ...

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        """Start a read. Nothing is requested before the first page is taken. Raises ConnectorError while iterating."""
        ...

    def check(self) -> Iterator[Finding]:
        """Credentials, reachability and probed behaviour, by read-only means."""
        ...

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far by this connection: {"read": n, "write": n}."""
        ...

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        ...


@runtime_checkable
class Sink(Source, Protocol):
    """A connection that can also be written. The target is read with the code that reads a source."""

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """Write changes of one op, at most `max_batch` of them, in one call or one each: exactly one receipt per change.

        Never raises for one record and never resends what is not E1. Raises ConfigError (refused
        credentials) or RetryableError only when nothing of these changes was sent.
        """
        ...


@runtime_checkable
class Filling(Sink, Protocol):
    """A sink with streams whose records it writes with secrets of its settings (`Stream.filled`)."""

    def mark(self, stream: Stream, deciding: Mapping[str, JsonValue]) -> str | None:
        """A one-way mark of the secrets that a record with these values of `filled.by` is written with; None: none.

        Equal secrets have equal marks. A change has the mark under `filled.field` where others are to be sent than last time.
        """
        ...


class Clock(Protocol):
    """The port to time, so that a simulation can own it."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Wait. Returns at once for zero or less."""
        ...


class Rng(Protocol):
    """The port to chance: jitter and nonces."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def token(self) -> str:
        """32 hexadecimal digits that no other process will draw."""
        ...
