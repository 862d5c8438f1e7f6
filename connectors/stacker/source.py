"""Stacker as a source: objects as streams, read whole, since a cursor, or by keys.

What the documents leave open is never assumed: order, filters and totals are believed only as far as
the pages of this very read bear them out, and the completeness says so.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from connectors.arrow import records_of
from connectors.base import Completeness, Finding, JsonValue, Page, Read, ReadRequest, Record, Since, Stream
from connectors.errors import ConfigError, ContractError, RefusedError
from connectors.settings import Ports
from connectors.stacker.checks import findings
from connectors.stacker.client import StackerClient, listed
from connectors.stacker.lookup import Lookup, matches
from connectors.stacker.pages import Ask, Resume
from connectors.stacker.reading import Reading
from connectors.stacker.search import Filter, ObjectPath, Search, where
from connectors.stacker.settings import StackerSettings
from connectors.stacker.streams import LISTS, PAGE_SIZE, list_stream, object_stream
from connectors.stacker.window import shifted

_SAMPLE = 50


class StackerSource:
    """A connection read. Threads may share it; each read keeps its own state."""

    def __init__(self, settings: StackerSettings, ports: Ports) -> None:
        self.settings = settings
        self.client = StackerClient(settings, ports)
        self._objects: list[Record] | None = None
        self._paths: dict[str, ObjectPath] = {}
        self._lookups: dict[str, set[tuple[str, ...]]] = {}
        self._proven_cursors: set[tuple[str, str, bool]] = set()

    def streams(self) -> Sequence[Stream]:
        """Every object of the stack, then the read-only lists."""
        objects = [object_stream(described, self.settings) for described in self._described()]
        return [*objects, *(list_stream(name) for name in LISTS)]

    def stream(self, name: str) -> Stream:
        """A list by its name, or an object by api_name or sid. Raises ConfigError naming what exists."""
        return list_stream(name) if name in LISTS else object_stream(self._object(name), self.settings)

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        """Start a read; see `connectors.base.Source.read`."""
        if stream.name in LISTS:
            return Read(self._list(stream, request))
        if request.keys is not None:
            return Read(self.lookup(stream).pages(request.keys, request.fields))
        if request.since is not None and (request.since.value is not None or request.since.until is not None):
            return Read(self._since(stream, request, request.since))
        return Read(self._whole(stream, request))

    def check(self) -> Iterator[Finding]:
        """Credentials, reachability, and how the first object with records orders, filters and counts."""
        return findings(self)

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self.client.request_counts()

    def close(self) -> None:
        """Give back sockets."""
        self.client.close()

    def path(self, stream: Stream) -> ObjectPath:
        """What names the stream's object in a path."""
        if stream.name not in self._paths:
            described = self._object(stream.name)
            names = {"sid": described.get("sid"), "api_name": described.get("api_name")}
            wanted = names.values() if self.settings.path_id == "auto" else [names[self.settings.path_id]]
            self._paths[stream.name] = ObjectPath([str(name) for name in wanted if name])
        return self._paths[stream.name]

    def search(
        self, stream: Stream, filters: Sequence[Filter] = (), fields: tuple[str, ...] | None = None, since: Since | None = None
    ) -> Search:
        """Pages of the stream's object under these filters."""
        if fields is not None:
            fields = tuple(dict.fromkeys(("sid", *fields, *([since.field] if since else []))))
        return Search(self.client, self.path(stream), self.settings.page_size or PAGE_SIZE, filters, fields, since)

    def lookup(self, stream: Stream) -> Lookup:
        """The stream's records by key."""
        return Lookup(
            lambda filters, fields: self.search(stream, filters, fields),
            lambda search: self._reading(search, ReadRequest()),
            lambda sid: self._get(stream, sid),
            self._lookups.setdefault(stream.name, set()),
        )

    def _whole(self, stream: Stream, request: ReadRequest) -> Generator[Page, None, Completeness]:
        search = self.search(stream, (), request.fields)
        resume = None if request.resume is None else Resume.parse(request.resume)
        proof = yield from self._reading(search, request, resumable=True).pages(resume)
        return _with(proof, search.note)

    def _since(self, stream: Stream, request: ReadRequest, since: Since) -> Generator[Page, None, Completeness]:
        """The records of the window, and perhaps others: a filter that fails shows as more records, never as fewer."""
        filters = _bounds(since)
        if filters is None:
            doubt = f"no bound can be asked for that surely lies before or after a cursor such as {since.value or since.until!r}"
        else:
            search = self.search(stream, filters, request.fields, since)
            try:
                proof = yield from self._reading(search, request).pages()
                if search.ignored:
                    return _with(proof, f"the filter by {since.field!r} is ignored, so everything was read", search.note)
                if search.witnessed or self._lets_in(stream, since):
                    nulls = f"records without a value in {since.field!r} cannot be found by a read since a cursor"
                    return replace(_with(proof, nulls, search.note), method="since")
                doubt = f"the filter by {since.field!r} does not let in a record that it must"
            except RefusedError as refusal:
                doubt = f"the platform refuses to filter by {since.field!r} (status {refusal.status})"
        proof = yield from self._reading(self.search(stream, (), request.fields, since), request).pages()
        return _with(proof, doubt + ", so everything was read")

    def _lets_in(self, stream: Stream, since: Since) -> bool:
        """Whether the filter, asked for a record that is known to be there, gives it.

        Needed only where the read met no record at the very bound; asked once per connection, field and kind of window.
        """
        asked = (stream.name, since.field, since.until is not None)
        if asked in self._proven_cursors:
            return True
        records = records_of(self.search(stream)(Ask(ordered=False, count=_SAMPLE)).body)
        for record in records:
            value = record.get(since.field)
            if not isinstance(value, str | int | Decimal):
                continue
            filters = _bounds(Since(since.field, value, None if since.until is None else value))  # type: ignore[arg-type]
            if filters is None:
                continue
            try:
                got = self.search(stream, [*filters, where("sid", "eq", record["sid"])])(Ask(ordered=False))
            except RefusedError:
                return False
            if record["sid"] not in got.ids.to_pylist():
                return False
            self._proven_cursors.add(asked)
            return True
        return not records

    def _list(self, stream: Stream, request: ReadRequest) -> Generator[Page, None, Completeness]:
        if stream.name == "accounts":
            records = listed(self.client.list_accounts(), "accounts", "id")
        elif stream.name == "objects":
            records = self._described(again=True)
        else:
            records = []
            for described in self._described():
                path = self.path(object_stream(described, self.settings))
                buttons = listed(path.call(self.client.list_action_buttons), "action_buttons", "sid")
                records += [{**button, "object_sid": described["sid"]} for button in buttons]
        if request.keys is not None:
            records = [record for record in records if any(matches(record, key) for key in request.keys)]
        if records:
            yield Page(list(records), len(records))
        return Completeness(True, "single answer", ("the platform lists all of them in one answer",), len(records), None, 1)

    def _reading(self, search: Search, request: ReadRequest, *, resumable: bool = False) -> Reading:
        return Reading(
            search,
            size=search.size,
            keyset=self.settings.keyset == "auto",
            believe_total=self.settings.total == "auto",
            proof=request.proof,
            max_pages=self.settings.max_pages,
            resumable=resumable,
        )

    def _get(self, stream: Stream, sid: JsonValue) -> Record | None:
        """One record by its sid, or None."""
        if sid is None or sid == "":
            return None
        self.settle(stream)
        name = self.path(stream).settled or ""
        try:
            record = self.client.get_record(name, str(sid))
        except RefusedError as refusal:
            if refusal.status == 404:
                return None
            raise
        if record["sid"] != sid:
            raise ContractError(f"GET of one record of {stream.name} was answered with another record; look at what the platform answered")
        return record

    def settle(self, stream: Stream) -> None:
        """Make sure that a 404 can only mean a record: find out what names the object in a path."""
        if self.path(stream).settled is None:
            self.search(stream)(Ask(ordered=False, count=1))

    def _described(self, *, again: bool = False) -> list[Record]:
        if self._objects is None or again:
            self._objects = listed(self.client.list_objects(), "objects", "sid")
        return self._objects

    def _object(self, name: str) -> Record:
        for field in ("api_name", "sid"):
            found = [one for one in self._described() if one.get(field) == name]
            if len(found) > 1:
                raise ConfigError(f"{len(found)} objects of this stack have the {field} {name!r}; name the one you mean by its sid")
            if found:
                return found[0]
        known = ", ".join(sorted(str(one.get("api_name") or one["sid"]) for one in self._described())) or "none"
        raise ConfigError(f"this stack has no object {name!r}; there are {known}, and {', '.join(LISTS)}")


def _bounds(since: Since) -> list[Filter] | None:
    """The filters that let in the whole window, and a little more; None where a bound is of no form that can be widened."""
    filters = []
    for operation, value, steps in (("gt", since.value, -1), ("lt", since.until, 1)):
        if value is not None:
            bound = shifted(value, steps)
            if bound is None:
                return None
            filters.append(where(since.field, operation, bound))
    return filters


def _with(proof: Completeness, *reasons: str) -> Completeness:
    """The same certificate with further reasons."""
    added = (*proof.reasons, *(reason for reason in reasons if reason))
    return replace(proof, reasons=added)
