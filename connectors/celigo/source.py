"""Reading Celigo: the list of stacks, one stack by its id, and for each stack what depends on it."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace

from connectors.base import Completeness, Finding, JsonValue, Page, Read, ReadRequest, Record, Stream
from connectors.celigo.checks import findings
from connectors.celigo.client import CeligoClient
from connectors.celigo.reading import listing
from connectors.celigo.settings import CeligoSettings
from connectors.celigo.stacks import ID, dependents_of, record_of, trimmed
from connectors.celigo.streams import DEPENDENCY_STREAM, streams_of
from connectors.errors import ConfigError, RefusedError
from connectors.settings import Ports

__all__ = ["CeligoSource"]

Keys = Sequence[Mapping[str, JsonValue]]


class CeligoSource:
    """One account that can be read. Threads may share it.

    Projections of the platform (include, exclude) are not used: a field that it drops silently would look like one
    that has no value. Fields that were not asked for are left out here.
    """

    def __init__(self, settings: CeligoSettings, ports: Ports) -> None:
        self.settings = settings
        self.client = CeligoClient(settings, ports)

    def streams(self) -> Sequence[Stream]:
        """`stacks` and `dependencies`, without asking the platform."""
        return streams_of(self.settings)

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises ConfigError naming what exists."""
        for stream in self.streams():
            if stream.name == name:
                return stream
        raise ConfigError(f"Celigo has no stream {name!r}; there are {' and '.join(stream.name for stream in self.streams())}")

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        """Start a read; `since` reads everything, since nothing can be asked for changes only."""
        if stream.name == DEPENDENCY_STREAM:
            return Read(self._dependencies(request))
        if request.keys is not None and all(set(key) == {ID} for key in request.keys):
            return Read(self._by_id(request.keys, request.fields))
        return Read(self._stacks(request))

    def check(self) -> Iterator[Finding]:
        """Credentials, region, and what the first page of the list shows, by one read."""
        return findings(self.settings, self.client)

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self.client.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self.client.close()

    def live(self, stack: Record) -> Record | None:
        """The stack as a record, or None for one in the recycle bin. Raises ContractError for what is no stack."""
        mark = self.settings.deleted_mark
        if mark and stack.get(mark):
            return None
        return record_of(stack, undocumented=self.settings.undocumented_fields == "read")

    def _stacks(self, request: ReadRequest) -> Generator[Page, None, Completeness]:
        listed = self._listing(request.proof)
        count = 0
        for page in listed:
            wanted = [trimmed(record, request.fields) for record in _records(page) if _asked_for(record, request.keys)]
            count += len(wanted)
            if wanted:
                yield Page(wanted, len(wanted), server_date=page.server_date)
        return listed.completeness if request.keys is None else replace(listed.completeness, method="by keys", count=count)

    def _by_id(self, keys: Keys, fields: tuple[str, ...] | None) -> Generator[Page, None, Completeness]:
        before = self.request_counts()["read"]
        count = 0
        for name in dict.fromkeys(str(key[ID]) for key in keys if isinstance(key[ID], str) and key[ID]):
            try:
                record = self.live(self.client.get_stack_by_id(name))
            except RefusedError as refusal:
                if refusal.status != 404:
                    raise
                continue
            if record is not None and record[ID] == name:
                count += 1
                yield Page([trimmed(record, fields)], 1)
        reasons = (f"{len(keys):,} stacks were looked up by their {ID}",)
        return Completeness(True, "by keys", reasons, count, None, self.request_counts()["read"] - before)

    def _dependencies(self, request: ReadRequest) -> Generator[Page, None, Completeness]:
        """One request for each stack. Complete where the list of stacks is: each stack's own answer is whole."""
        before = self.request_counts()["read"]
        listed = self._listing(request.proof)
        count = asked = 0
        for page in listed:
            for stack in _records(page):
                if request.keys is not None and all(key.get("stackId", stack[ID]) != stack[ID] for key in request.keys):
                    continue
                asked += 1
                users = dependents_of(stack, self.client.list_stack_dependencies(str(stack[ID])))
                wanted = [trimmed(user, request.fields, "key") for user in users if _asked_for(user, request.keys)]
                count += len(wanted)
                if wanted:
                    yield Page(wanted, len(wanted), server_date=page.server_date)
        reasons = (*listed.completeness.reasons, f"{asked:,} stacks were asked one by one who depends on them")
        return replace(listed.completeness, reasons=reasons, count=count, requests=self.request_counts()["read"] - before)

    def _listing(self, proof: bool) -> Read:
        agree = proof or self.settings.second_read == "always"
        return Read(listing(self.client.list_page, self.live, agree=agree, max_pages=self.settings.max_pages))


def _records(page: Page) -> list[Record]:
    return page.records if isinstance(page.records, list) else []


def _asked_for(record: Record, keys: Keys | None) -> bool:
    return keys is None or any(all(name in record and record[name] == value for name, value in key.items()) for key in keys)
