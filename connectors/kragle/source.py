"""Reading Kragle: our own stacks out of everybody's public ones, and an absence believed only under a login that works."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from connectors.base import Completeness, Finding, JsonValue, Page, Read, ReadRequest, Record, Stream
from connectors.canonical_json import canonical
from connectors.errors import ConfigError, ContractError, CredentialsError, RefusedError
from connectors.http import Answer
from connectors.kragle.checks import findings
from connectors.kragle.client import KragleClient
from connectors.kragle.listing import Listed, Listing, read_list
from connectors.kragle.settings import KragleSettings
from connectors.kragle.streams import STREAMS, stream_of
from connectors.kragle.view import SECRET, Sight, block_records, job_records, lacking, same_id, sight, stack_record
from connectors.settings import Ports, Secret

__all__ = ["KragleSource"]

_NO_SUCH_PAGE = frozenset({400, 404, 410, 422})
_PAGE = 500  # records handed on together
_SHORTEST_SECRET = 8  # hiding a shorter text would garble every message


@dataclass(frozen=True)
class _Ours:
    """The stacks of a read that belong to it, and why what is not there may be there all the same."""

    stacks: list[Record]
    doubts: tuple[str, ...]


class KragleSource:
    """One login that reads. Threads may share it."""

    def __init__(self, settings: KragleSettings, ports: Ports) -> None:
        self._settings = settings
        self._client = KragleClient(settings, ports)
        self._owner: JsonValue = settings.owner

    def streams(self) -> Sequence[Stream]:
        """The three there are."""
        return [stream_of(name, self._settings) for name in STREAMS]

    def stream(self, name: str) -> Stream:
        """The stream of that name. Raises ConfigError naming what exists."""
        return stream_of(name, self._settings)

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        """Start a read. There is no projection and no cursor: all fields come, and `since` reads everything.

        Raises CredentialsError where a stack of ours is shown as to strangers: the login expired, or never worked.
        """
        stream_of(stream.name, self._settings)
        return Read(self._pages(stream, request))

    def check(self) -> Iterator[Finding]:
        """Whether the login works, whose it is, and how the list and a look-up by name behave."""
        return findings(self._settings, self._client, self.listed)

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self._client.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self._client.close()

    def listed(self, page: int) -> Listed | None:
        """One page of the list, or None where there is none; its secrets are forgotten here."""
        try:
            answer = self._client.page(page)
        except RefusedError as refusal:
            if page > 1 and refusal.status in _NO_SUCH_PAGE:
                return None
            raise
        if answer.status == 204:  # "no content": there is no such page
            return None
        told = answer.json()
        stacks = told.get("stacks") if isinstance(told, dict) else None
        if not isinstance(told, dict) or not isinstance(stacks, list) or not all(isinstance(one, dict) for one in stacks):
            raise ContractError("the list of stacks was answered without a list 'stacks'; is base_url the address of Kragle's API?")
        return Listed([self._seen(one) for one in stacks], _number(told.get("count")), _number(told.get("pagesize")), answer.server_date)

    def shown(self, stack: JsonValue) -> Record:
        """One stack by id or name, without its secret. Raises RefusedError (403: private, and not ours as we are seen; 404: none)."""
        return self._seen(_object(self._client.one(stack)))

    def owned(self, stack: Record) -> bool:
        """Whether a stack is ours. Raises CredentialsError where it is, and is shown as to strangers."""
        sees = sight(stack) is Sight.OWNER
        owner = stack.get("owner")
        if sees and self._owner is None and owner is not None:
            self._owner = owner
        if self._owner is None:
            return sees
        ours = same_id(owner, self._owner)
        if ours and not sees:
            raise CredentialsError(
                f"Kragle shows our stack {stack.get('id')} without what only its owner sees: the login expired or was never accepted; "
                "renew the token, or try the other auth (bearer or basic)"
            )
        if sees and not ours:
            raise ConfigError(
                f"the login is the owner of the stack {stack.get('id')}, which belongs to {owner}, but ours are those of {self._owner}; "
                "correct owner, or use the login that goes with it"
            )
        return ours

    def _pages(self, stream: Stream, request: ReadRequest) -> Generator[Page, None, Completeness]:
        before = self.request_counts()["read"]
        keys = request.keys
        if keys is not None and stream.capabilities.read.keys_per_request and all(_direct(key) for key in keys):
            found = self._looked_up(keys)
            if found:
                reasons = (f"{len(keys):,} names were looked up one by one",)
                yield Page(found, len(found))
                return Completeness(True, "by keys", reasons, len(found), requests=self.request_counts()["read"] - before)
        listing = read_list(
            self.listed,
            proof=request.proof,
            believe_count=self._settings.count == "auto",
            max_pages=self._settings.max_pages,
            page_size=self._settings.page_size or 0,
        )
        ours = self._ours(listing)
        records = [record for stack in ours.stacks for record in _records(stream, stack)]
        if keys is not None:
            records = [record for record in records if any(_has(record, key) for key in keys)]
        for at in range(0, len(records), _PAGE):
            part = records[at : at + _PAGE]
            yield Page(part, len(part), server_date=listing.date)
        since = ("nothing can ask for changes only, so everything was read",) if request.since is not None else ()
        whole = stream.name == "stacks" and self._settings.public_stacks == "include"
        return Completeness(
            complete=listing.complete and not ours.doubts,
            method="by keys" if keys is not None else listing.method,
            reasons=(*listing.reasons, *since, *ours.doubts),
            count=len(records),
            total=listing.total if whole else None,
            requests=self.request_counts()["read"] - before,
            doubts=listing.doubts,  # not those about the login: one that expired makes nothing twice, because it makes nothing
            scope=None if self._settings.owner is not None or self._owner is None else f"owner {self._owner}",
        )

    def _ours(self, listing: Listing) -> _Ours:
        """Our stacks of a list, or with `public_stacks: include` all. Raises CredentialsError where the login is not in force."""
        first = next((stack for stack in listing.stacks if sight(stack) is Sight.OWNER), None)
        if first is not None:
            self.owned(first)  # learns who we are before the others are judged by it
        ours = [stack for stack in listing.stacks if self.owned(stack)]
        doubts = [
            f"our stack {stack['id']} is shown without {', '.join(missing)}, which its owner sees: so an absence means nothing "
            "(owner_fields says what must be there)"
            for stack in ours
            if (missing := lacking(stack, self._settings.owner_fields))
        ]
        if not ours and self._settings.expired_login == "shrinks":
            doubts.append(self._without_ours())
        stacks = listing.stacks if self._settings.public_stacks == "include" else ours
        return _Ours(stacks, tuple(doubts[:3]))

    def _without_ours(self) -> str:
        """Why a list without any stack of ours proves nothing. Raises CredentialsError where `own_stack` shows that the login failed."""
        witness = self._settings.own_stack
        if witness is None:
            return (
                "no stack of ours was shown, and an expired login looks just like that: name a stack of yours under own_stack, "
                "or set expired_login: refused"
            )
        try:
            known = self.shown(witness)
        except RefusedError as refusal:
            raise CredentialsError(
                f"Kragle shows no stack of ours, nor the one that own_stack names (status {refusal.status}): the login expired or was "
                "never accepted, or that stack is gone; renew the token, or name another stack of yours"
            ) from None
        if sight(known) is not Sight.OWNER:
            raise CredentialsError(
                "Kragle shows the stack that own_stack names without what only its owner sees: the login expired or was never accepted; "
                "renew the token"
            )
        self.owned(known)
        return "the list does not hold the stack that own_stack names, although it is there"

    def _looked_up(self, keys: Sequence[Mapping[str, JsonValue]]) -> list[Record]:
        """The stacks of ours that names lead to, each once; none where that proves nothing and the list must tell.

        That is so where no stack of ours comes up, because the login may have expired, and where a name leads
        to somebody else's stack or to a private one, because ours may have the same name.
        """
        found: dict[str, Record] = {}
        for key in keys:
            try:
                stack = self.shown(key["name"])
            except RefusedError as refusal:
                if refusal.status != 404:
                    return []
                continue
            if not self.owned(stack):
                return []
            record = stack_record(stack)
            if _has(record, key):
                found[canonical(record["id"])] = record
        return list(found.values())

    def _seen(self, stack: Record) -> Record:
        """The stack without its secret, which is shown nowhere from now on, but for the fact that it has one."""
        token = stack.get(SECRET)
        if isinstance(token, str) and len(token) >= _SHORTEST_SECRET:
            self._client.hide(Secret(token))
        return {**stack, SECRET: None} if SECRET in stack else stack


def _records(stream: Stream, stack: Record) -> Iterator[Record]:
    if stream.name == "blocks":
        return block_records(stack)
    return job_records(stack) if stream.name == "jobs" else iter([stack_record(stack)])


def _direct(key: Mapping[str, JsonValue]) -> bool:
    """Whether a look-up by name can mean nothing else: a name of digits is an id too, and some names cannot stand in a path."""
    name = key.get("name")
    return (
        isinstance(name, str) and bool(name.strip()) and not name.strip().isdigit() and "/" not in name and name.strip() not in (".", "..")
    )


def _has(record: Record, key: Mapping[str, JsonValue]) -> bool:
    return all(name in record and canonical(record[name]) == canonical(value) for name, value in key.items())


def _number(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _object(answer: Answer) -> Record:
    stack = answer.json()
    if not isinstance(stack, dict) or "id" not in stack:
        raise ContractError("a stack was answered as something else than an object with an id; look at what the platform answered")
    return stack
