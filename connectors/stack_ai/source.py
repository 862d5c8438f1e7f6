"""Stack AI as a source: connections, their types, the trees behind them, who may use them, and how they are.

What is shown of a connection's secrets never leaves this module: `connection_provider_data` is taken out of every record.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace

from connectors.base import Completeness, Finding, JsonValue, Page, Read, ReadRequest, Record, Stream
from connectors.canonical_json import canonical
from connectors.errors import ConfigError, ContractError, RefusedError
from connectors.settings import Ports
from connectors.stack_ai.answers import RESOURCE_IDS, id_in, listed, next_token, says_more
from connectors.stack_ai.checks import findings
from connectors.stack_ai.children import Behind, connection_id
from connectors.stack_ai.client import StackAiClient
from connectors.stack_ai.grants import subject_of
from connectors.stack_ai.listing import Listing
from connectors.stack_ai.organization import Organization
from connectors.stack_ai.settings import StackAiSettings
from connectors.stack_ai.streams import SECRET_FIELD, STREAMS, page_size, stream_of
from connectors.stack_ai.tree import Level, Spot, Walking

__all__ = ["StackAiSource"]

_V1_PAGE = 100  # its default is 10 and its most is not documented
_DEFAULT_PAGE = 50  # of children, where page_size is ignored
_TYPE_IDS = ("connection_type_id", "provider_id", "id", "type", "key", "name")

Pages = Generator[Page, None, Completeness]


class StackAiSource:
    """One user's connections in the current organization. Threads may share it."""

    def __init__(self, settings: StackAiSettings, ports: Ports) -> None:
        self.settings = settings
        self.client = StackAiClient(settings, ports)
        self.organization = Organization(settings.organization, settings.organization_at)
        self.behind = Behind(self.client, settings)
        self._tells_tokens = False  # some answer told a next page token: where none is told, nothing follows

    def streams(self) -> Sequence[Stream]:
        """All there are; nothing is asked."""
        return [stream_of(name, self.settings) for name in STREAMS]

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises ConfigError naming what exists."""
        return stream_of(name, self.settings)

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        """Start a read. Nothing can ask for changes only, so `since` reads everything."""
        ways = {
            "connections": self._connections,
            "available_connections": self._available,
            "resources": self._resources,
            "rbac": self._rbac,
            "health": self._health,
        }
        pages = ways[stream_of(stream.name, self.settings).name](request)
        return Read(self._marked(stream, request, pages))

    def check(self) -> Iterator[Finding]:
        """Credentials, the organization, and what the answers show, by reading alone."""
        return findings(self)

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self.client.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self.client.close()

    def page_of_connections(self, offset: int, limit: int) -> tuple[list[Record], int | None]:
        """One page as the platform gives it, each connection with its `id`, and the total told.

        Raises ConfigError where it is about another organization.
        """
        try:
            answer = self._list(limit, offset)
        except RefusedError as refusal:
            if offset:
                raise
            raise ConfigError(f"{refusal}; if the platform takes no limit of {limit}, set page_size to one that it takes") from None
        page = listed(answer, self.settings.records_at, "connections")
        for record in page.records:
            self.organization.see(record)
        return [{**record, "id": connection_id(record, self.settings.id_at)} for record in page.records], page.total

    def _list(self, limit: int, offset: int) -> JsonValue:
        if self.settings.listing == "v1":
            return self.client.list_connections_v1(min(limit, self.settings.page_size or _V1_PAGE), offset, sort_dir="asc")
        return self.client.list_connections(limit, offset)

    def _connections(self, request: ReadRequest) -> Pages:
        return (yield from self._listing(request.proof or request.keys is not None).pages())

    def _listing(self, proof: bool) -> Listing:
        def page(offset: int, limit: int) -> tuple[list[Record], int | None]:
            records, total = self.page_of_connections(offset, limit)
            return [{name: value for name, value in record.items() if name != SECRET_FIELD} for record in records], total

        size = page_size("connections", self.settings)
        size = min(size, _V1_PAGE) if self.settings.listing == "v1" and not self.settings.page_size else size
        believe = self.settings.list_total == "auto"
        return Listing(page, size, proof=proof, believe_total=believe, max_pages=self.settings.max_pages)

    def _available(self, request: ReadRequest) -> Pages:
        answer = self.client.list_available_connections()
        if isinstance(answer, dict) and answer and all(isinstance(one, dict) for one in answer.values()):
            page = listed([{"id": key, **one} for key, one in answer.items() if isinstance(one, dict)], None, "connection types")
        else:
            page = listed(answer, None, "connection types")
        records: dict[str, Record] = {}
        doubts = []
        for record in page.records:
            records.setdefault(key := _type_id(record), {**record, "id": key})
        if len(records) < len(page.records):
            doubts.append(f"{len(page.records) - len(records)} types have the id of another one")
        if next_token(page, None, None)[0] is not None or page.total not in (None, len(page.records)):
            doubts.append("the answer says that there are more types than it holds")
        if records:
            yield Page(list(records.values()), len(records))
        reasons = (f"{len(records)} types came in one answer, as {page.shape}", *doubts)
        return Completeness(not doubts, "single answer", reasons, len(records), page.total, 1, tuple(doubts))

    def _resources(self, request: ReadRequest) -> Pages:
        among, proof = self._among(request)
        walking = Walking(
            self._level,
            fan_out=self.settings.concurrency,
            max_depth=self.settings.max_depth,
            max_pages=self.settings.max_pages,
            proof=request.proof,
        )
        done = yield from walking.pages([key for key, _ in among], request.resume)
        return replace(
            done,
            complete=done.complete and proof.complete,
            reasons=(*done.reasons, *proof.reasons),
            requests=done.requests + proof.requests,
        )

    def _level(self, spot: Spot) -> Level:
        size = page_size("resources", self.settings)
        answer = self.client.get_children_resources(spot.connection, spot.parent, spot.token, size)
        page = listed(answer, self.settings.resources_at, "resources")
        following, paged = next_token(page, spot.token, self.settings.next_token_at)
        self._tells_tokens |= following is not None
        items = []
        for record in page.records:
            key = id_in(record, self.settings.resource_id_at, RESOURCE_IDS, "a resource")
            items.append((key, self.settings.files == "ask" or not _is_file(record), record))
        doubt = ""
        if not paged and not self._tells_tokens and (len(items) >= size or len(items) == _DEFAULT_PAGE):
            doubt = f"a page of {len(items):,} resources tells no next page token, and may not be the last; set next_token_at"
        if following is None and says_more(page):
            doubt = "an answer says that more resources follow, and tells no next page token that is known; set next_token_at"
        return Level(items, following, doubt)

    def _rbac(self, request: ReadRequest) -> Pages:
        among, proof = self._among(request)
        return (yield from self.behind.read(self.behind.grants, among, proof, "grants"))

    def _health(self, request: ReadRequest) -> Pages:
        among, proof = self._among(request)
        return (yield from self.behind.read(self.behind.health, among, proof, "answers"))

    def _among(self, request: ReadRequest) -> tuple[list[tuple[str, Record | None]], Completeness]:
        """The connections to look behind, as the list shows them where it was needed, and what is known of them."""
        named = () if request.resume is not None else _connections_named(request)  # a page token names them itself
        if named is not None or self.settings.connection_ids:
            keys = list(dict.fromkeys(self.settings.connection_ids if named is None else named))
            return [(key, None) for key in keys], Completeness(True, "by keys", ("the connections were named",), len(keys))
        listing = self._listing(request.proof)
        reading = Read(listing.pages())
        for _ in reading:
            pass
        return list(listing.records.items()), reading.completeness

    def _marked(self, stream: Stream, request: ReadRequest, pages: Pages) -> Pages:
        """The pages with what was asked for only, and a certificate that tells whose records they are."""
        count = 0
        while True:
            try:
                page = next(pages)
            except StopIteration as end:
                proof: Completeness = end.value
                break
            records = [record for record in _decoded(page) if _matches(record, request.keys)]
            if request.fields is not None:
                wanted = {stream.id_field, *request.fields}
                records = [{name: value for name, value in record.items() if name in wanted} for record in records]
            count += len(records)
            if records or page.token is not None:
                yield replace(page, records=records, count=len(records))
        scope = None if self.settings.organization else self.organization.seen
        whose = (
            f"they belong to the organization {self.organization.seen}" if self.organization.seen else "no answer tells the organization"
        )
        everything = ("nothing can ask for changes only, so everything was read",) if request.since is not None else ()
        method = proof.method if request.keys is None else "by keys"
        return replace(proof, method=method, reasons=(*proof.reasons, *everything, whose), count=count, scope=scope)


def _decoded(page: Page) -> list[Record]:
    if not isinstance(page.records, list):
        raise ContractError("a page of Stack AI is always decoded")
    return page.records


def _matches(record: Record, keys: Sequence[Mapping[str, JsonValue]] | None) -> bool:
    return keys is None or any(
        all(name in record and canonical(record[name]) == canonical(value) for name, value in key.items()) for key in keys
    )


def _connections_named(request: ReadRequest) -> Sequence[str] | None:
    """The connections that the keys of a read name; None where some key names none."""
    if request.keys is None:
        return None
    found = []
    for key in request.keys:
        subject = subject_of(key.get("id"))
        named = key.get("connection_id") or (subject.connection if subject else None) or str(key.get("key") or "").partition("/")[0]
        if not isinstance(named, str) or not named:
            return None
        found.append(named)
    return found


def _type_id(record: Record) -> str:
    provider, kind = record.get("provider_id"), record.get("connection_type_id")
    return f"{provider}/{kind}" if provider and kind else id_in(record, None, _TYPE_IDS, "a connection type")


def _is_file(record: Record) -> bool:
    """Whether a resource says that it is a file, below which the document promises nothing."""
    if record.get("is_file") is True or record.get("is_directory") is False or record.get("is_folder") is False:
        return True
    return any(str(record.get(name, "")).lower() == "file" for name in ("inode_type", "type", "kind", "resource_type"))
