"""Reading Robostack: one answer holds everything, and nothing documents its shape, its order or a cap.

So an absence is believed only after two equal reads whose count is not suspiciously round.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from hashlib import blake2b

from connectors.base import Completeness, Finding, JsonValue, Page, Read, ReadRequest, Record, Stream
from connectors.canonical_json import canonical
from connectors.errors import ConfigError, ContractError, RefusedError
from connectors.http import ABSENT, Answer
from connectors.robostack.answers import Found, found_in, same
from connectors.robostack.client import RobostackClient
from connectors.robostack.probe import findings
from connectors.robostack.settings import RobostackSettings
from connectors.robostack.streams import stream_of
from connectors.settings import Ports

__all__ = ["RobostackSource", "suspicious"]

_EVERYTHING: dict[str, JsonValue] = {"selection": {"selection": {}}, "empty": {}, "no_body": ABSENT}
_SPELT = {"selection": 'the body {"selection": {}}', "empty": "the body {}", "no_body": "a request without a body"}
_NOT_THIS_WAY = frozenset({400, 405, 406, 411, 415, 422})
_PROOF_READS = 3  # two in a row must agree
_SMALL_CAPS = frozenset({10, 20, 25, 30, 32, 40, 50, 60, 64, 75, 80})  # too common as counts to refuse deletes for
_STRANGERS = 10  # records beside those asked for; with more of them the filter is not believed


class RobostackSource:
    """One application that can be read. Threads may share it."""

    def __init__(self, settings: RobostackSettings, ports: Ports) -> None:
        self._settings = settings
        self._client = RobostackClient(settings, ports)
        self._way: str | None = settings.find_all if settings.find_all != "auto" else None  # how everything is found, once known
        self._answered: set[str] = set()  # resources that exist for certain
        self._blank: dict[str, str] = {}  # resources where asking for everything found nothing, and how another way was refused
        self._selectable: set[tuple[str, ...]] = set()  # resource and fields by which a selection is known to find what is there

    def streams(self) -> Sequence[Stream]:
        """The declared resources; nothing lists them."""
        return [stream_of(name, self._settings) for name in self._settings.streams]

    def stream(self, name: str) -> Stream:
        """The stream of that name, declared or not: only a read can tell whether the resource exists."""
        if not name:
            raise ConfigError("a Robostack stream needs the name of a resource")
        return stream_of(name, self._settings)

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        """Start a read. There is no projection and no cursor: all fields come, and `since` reads everything."""
        return Read(self._by_keys(stream, request) if request.keys is not None else self._everything(stream, request))

    def check(self) -> Iterator[Finding]:
        """Whether the credentials work, which shape answers have, and whether a misspelt resource would be noticed."""
        yield from findings(
            self._settings, self._client, self.streams(), self._find_everything, lambda found: _hiding(found, self._settings)
        )
        if self._way and self._settings.find_all == "auto":
            yield Finding("find all", True, f"{_SPELT[self._way]} finds every record", f"find_all: {self._way}")

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self._client.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self._client.close()

    def _everything(self, stream: Stream, request: ReadRequest) -> Generator[Page, None, Completeness]:
        before = self.request_counts()["read"]
        answer, found = self._find_everything(stream)
        proven = False
        if request.proof:
            for _ in range(_PROOF_READS - 1):
                former, seen = answer, found
                answer, found = self._find_everything(stream)
                proven = former.body == answer.body or _content(seen) == _content(found)
                if proven:
                    break
        yield Page(found.records, found.count, server_date=answer.server_date)
        doubts = _doubts(found, self._settings)
        if not request.proof:
            verdict = "one answer alone does not prove that it holds everything"
        elif proven:
            verdict = "two reads in a row were equal"
        else:
            verdict = f"{_PROOF_READS} reads in a row all differed: the records are changing"
        since = ("nothing can ask for changes only, so everything was read",) if request.since is not None else ()
        return Completeness(
            complete=proven and not doubts,
            method="two equal reads" if request.proof else "single answer",
            reasons=(f"{found.count:,} records came in one answer, as {found.shape}", *doubts, *since, verdict),
            count=found.count,
            total=found.total,
            requests=self.request_counts()["read"] - before,
            doubts=_hiding(found, self._settings),
        )

    def _by_keys(self, stream: Stream, request: ReadRequest) -> Generator[Page, None, Completeness]:
        before = self.request_counts()["read"]
        keys = request.keys or ()
        reasons = [f"{len(keys):,} keys were looked up one by one"]
        doubts: list[str] = []
        whole: list[Record] | None = None
        seen: list[JsonValue] = []
        count = 0
        for key in keys:
            matching: list[Record] = []
            if whole is None:
                found = self._look_up(stream, key)
                rows = found.decoded()
                matching = [record for record in rows if has_key(record, key)]
                if useless := self._useless(stream, key, len(rows) - len(matching), bool(matching)):
                    reasons.append(f"{useless}: everything was read and filtered here")
                    everything = self._find_everything(stream)[1]
                    doubts += _hiding(everything, self._settings)
                    whole = everything.decoded()
                elif matching or (stream.name, *sorted(key)) not in self._selectable:
                    doubts += _doubts(found, self._settings)
            if whole is not None:
                matching = [record for record in whole if has_key(record, key)]
            fresh = [record for record in matching if not any(same(record.get(stream.id_field), other) for other in seen)]
            seen += [record[stream.id_field] for record in fresh if record.get(stream.id_field) is not None]
            count += len(fresh)
            yield Page(list[Record](fresh), len(fresh))
        return Completeness(
            complete=not doubts,
            method="by keys",
            reasons=(*reasons, *dict.fromkeys(doubts)),
            count=count,
            requests=self.request_counts()["read"] - before,
            doubts=tuple(dict.fromkeys(doubts)),
        )

    def _useless(self, stream: Stream, key: Mapping[str, JsonValue], stranger_count: int, found: bool) -> str:
        """Why finding nothing by this key would mean nothing; "" where the platform is known to select by these fields."""
        if stranger_count > _STRANGERS:
            return f"the filter was not kept ({stranger_count:,} other records came)"
        names = (stream.name, *sorted(key))
        if found:
            self._selectable.update(() if stranger_count else {names})
            return ""
        if names in self._selectable and not stranger_count:
            return ""
        everything = self._find_everything(stream)[1].decoded()
        if not everything:
            return ""
        if stranger_count >= len(everything):
            return "the filter was not kept (all records came)"
        known = next((record for record in everything if all(_is_single(record.get(name)) for name in key)), None)
        probe = {name: known[name] for name in key} if known is not None else {}
        if not known or not any(has_key(record, probe) for record in self._look_up(stream, probe).decoded()):
            return f"a selection by {', '.join(key)} did not find a record that is there"
        self._selectable.add(names)
        return ""

    def _look_up(self, stream: Stream, key: Mapping[str, JsonValue]) -> Found:
        try:
            answer = self._client.find(stream.name, {"selection": dict(key)})
        except RefusedError as error:
            if error.status != 404:
                raise
            if self._settings.find_404 == "unknown_resource" and stream.name not in self._answered:
                self._find_everything(stream)  # raises when it is the resource that does not exist
            return Found([], 0, "404")
        self._answered.add(stream.name)
        return self._found(stream, answer)

    def _find_everything(self, stream: Stream) -> tuple[Answer, Found]:
        """Every record in one answer, asked for in the way that this platform understands.

        Which body finds everything is not documented: the ways are tried until one is not refused and
        finds something; that one is kept.
        """
        nothing: tuple[Answer, Found] | None = None
        refusal: RefusedError | None = None
        for way in [self._way] if self._way else list(_EVERYTHING):
            try:
                answer = self._client.find(stream.name, _EVERYTHING[way])
            except RefusedError as error:
                if error.status == 404:
                    answer = self._not_found(stream, error)
                elif error.status in _NOT_THIS_WAY:
                    refusal = refusal or error
                    continue
                else:
                    raise
            self._answered.add(stream.name)
            found = self._found(stream, answer)
            if found.count:
                self._way = way
                self._blank.pop(stream.name, None)
                return answer, found
            nothing = nothing or (answer, found)
        if nothing is not None:
            if refusal is not None:
                self._blank[stream.name] = str(refusal)
            return nothing
        raise ConfigError(f"no way of asking for all records of {stream.name!r} was accepted ({refusal}); set find_all") from None

    def _found(self, stream: Stream, answer: Answer) -> Found:
        try:
            return found_in(answer, stream.id_field, self._settings.records_at)
        except ContractError as error:
            raise ContractError(f"{stream.name!r} cannot be read: {error}") from None

    def _not_found(self, stream: Stream, error: RefusedError) -> Answer:
        if self._settings.find_404 == "no_records":
            return Answer(204, {}, b"", None)
        said = f" ({error.words})" if error.words else ""
        raise ConfigError(
            f"Robostack answered 404{said} for the resource {stream.name!r}: check its name, app_uuid and base_url; "
            "if it exists and is only empty, set find_404: no_records"
        ) from None


def suspicious(count: int, result_cap: str | int) -> str:
    """Why this many records in one answer may be a silent cap and not all of them; "" where it is no cap."""
    if result_cap == "none":
        return ""
    if isinstance(result_cap, int):
        return f"{count:,} records reach the result_cap of {result_cap:,}" if count >= result_cap else ""
    if count and (count % 100 == 0 or count % 250 == 0 or (count >= 128 and count & (count - 1) == 0)):
        return f"{count:,} is a round number that may be a silent cap; set result_cap to none, or to the cap, once that is known"
    return ""


def _doubts(found: Found, settings: RobostackSettings) -> list[str]:
    """Why an answer may not hold everything that was asked for."""
    doubts = list(found.doubts)
    if not found.certain:
        doubts.append(f"the answer was {found.shape}, which may mean something else than no records")
    if found.total is not None and found.total != found.count:
        doubts.append(f"the answer says that there are {found.total:,} records and holds {found.count:,}")
    if found.more:
        doubts.append("the answer says that more records follow, and no document tells how to ask for them")
    cap = suspicious(found.count, settings.result_cap)
    return [*doubts, cap] if cap else doubts


def _hiding(found: Found, settings: RobostackSettings) -> tuple[str, ...]:
    """Why records may well be there that an answer which holds some does not show."""
    if not found.count:
        return ()
    doubts = _doubts(found, settings)
    if found.count in _SMALL_CAPS and settings.result_cap == "unknown":
        doubts.append(f"{found.count:,} may be a silent cap; set result_cap to none, or to the cap, once that is known")
    return tuple(doubts)


def _content(found: Found) -> list[bytes]:
    """What was found, whatever its order."""
    return sorted(blake2b(canonical(record).encode(), digest_size=16).digest() for record in found.decoded())


def has_key(record: Record, key: Mapping[str, JsonValue]) -> bool:
    """Whether a record has all these values."""
    return all(name in record and same(record[name], value) for name, value in key.items())


def _is_single(value: JsonValue) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""
