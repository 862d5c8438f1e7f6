"""One object's search pages: what is asked, and what an answer is found to hold. No decision of paging is made here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from connectors import arrow, jsontext
from connectors.base import JsonBody, JsonValue, Record, Since
from connectors.errors import ConfigError, ContractError, RefusedError
from connectors.stacker.client import StackerClient
from connectors.stacker.pages import Ask, Got
from connectors.stacker.window import unwanted

RECORDS = ("records",)
_ANOTHER_NAME_MAY_HELP = (400, 404, 422)
_TOO_MANY = (400, 413, 422)

Filter = Mapping[str, JsonValue]
T = TypeVar("T")


def where(target: str, operation: str, value: JsonValue) -> Filter:
    """One search filter."""
    return {"target": target, "operation": operation, "value": value}


class ObjectPath:
    """What names an object in a path: its sid or its api_name, whichever the platform turns out to take."""

    def __init__(self, candidates: Sequence[str]) -> None:
        self._candidates = list(candidates)

    @property
    def settled(self) -> str | None:
        """The name that is known to work, or None before the first answer."""
        return self._candidates[0] if len(self._candidates) == 1 else None

    def call(self, request: Callable[[str], T]) -> T:
        """The answer to `request(name)`. While nothing is settled a refusal is tried once more with the other name; only for reads."""
        first: RefusedError | None = None
        for name in self._candidates:
            try:
                answer = request(name)
            except RefusedError as refusal:
                first = first or refusal
                if refusal.status not in _ANOTHER_NAME_MAY_HELP:
                    break
                continue
            self._candidates = [name]
            return answer
        raise first or ContractError("an object has neither sid nor api_name")


@dataclass
class Search:
    """Pages of one object under fixed filters. `fields` asks for these only; dropped for good where the platform cannot do that."""

    client: StackerClient
    path: ObjectPath
    size: int
    filters: Sequence[Filter] = ()
    fields: tuple[str, ...] | None = None
    since: Since | None = None
    witnessed: bool = False  # a record at the very lower bound was seen: the filter lets in what it must
    ignored: bool = False  # a record far below the bound was seen: the filter does nothing
    fields_work: bool = False
    requests: int = 0  # searches sent
    note: str = ""

    def __call__(self, ask: Ask) -> Got:
        """One page for `Reading`."""
        body: dict[str, JsonValue] = {"count": ask.count or self.size}
        filters = [dict(one) for one in self.filters]
        if ask.after is not None:
            filters.append(dict(where("sid", "gt" if ask.way == "ascending" else "lt", ask.after)))
        if filters:
            body["filters"] = filters
        if ask.ordered:
            body["order_by"] = "sid"
        if ask.start:
            body["start"] = ask.start
        try:
            got = self._send(body)
            if got is None:
                self.fields, self.note = None, "the platform cannot select fields, so all were read"
                got = self._send(body)
        except RefusedError as refusal:
            if body.keys() - {"start"} != {"count"} or refusal.status not in _TOO_MANY:
                raise
            advice = f"if the platform gives no {body['count']:,} records at once, set page_size to as many as it gives"
            raise ConfigError(f"{str(refusal).removesuffix('; nothing was changed')}; {advice}") from None
        if got is None:
            raise ContractError("a search answered records without a sid; they cannot be told apart")
        return got

    def _send(self, body: dict[str, JsonValue]) -> Got | None:
        """The answer; None where selecting fields is what fails."""
        if self.fields is not None:
            body = {**body, "include_fields": list(self.fields)}
        self.requests += 1
        try:
            answer = self.path.call(lambda name: self.client.search_page(name, body))
        except RefusedError:
            if self.fields is None or self.fields_work:
                raise
            return None
        page = JsonBody(answer.body, RECORDS)
        try:
            ids = arrow.page_ids(page, "sid")
        except ContractError as error:
            page = JsonBody(b"[]", ())
            ids = arrow.page_ids(page, "sid")
            if not _understood(says_none, answer.body):
                raise ContractError(f"a search of the object {self.path.settled!r} was answered {answer.status}: {error}") from None
        if ids.null_count:
            return None
        self.fields_work = self.fields is not None
        positions = self._look(arrow.records_of(page)) if self.since is not None else ()
        return Got(ids, told_total(answer.body), page, answer.server_date, positions)

    def _look(self, records: Sequence[Record]) -> tuple[int, ...]:
        """Positions outside the window; notes what the records tell about the filter."""
        if self.since is None:
            return ()
        positions = unwanted(records, self.since)
        self.witnessed = self.witnessed or any(record.get(self.since.field) == self.since.value for record in records)
        bounds = [one for one in self.filters if one["operation"] == "gt"]
        if bounds:
            lowest = Since(self.since.field, bounds[0]["value"])  # type: ignore[arg-type]
            self.ignored = self.ignored or bool(unwanted(records, lowest))
        return positions


def _understood(question: Callable[[bytes], bool], body: bytes) -> bool:
    """The answer to a yes-no question about a body; no where it cannot be read at all."""
    try:
        return question(body)
    except ContractError:
        return False


def says_none(body: bytes) -> bool:
    """Whether a search answer without a list means that no record matched: its `records` are null, or left out beside a count of 0."""
    envelope = jsontext.loads(body)
    if not isinstance(envelope, dict) or envelope.get("records") is not None or envelope.get("error") or envelope.get("errors"):
        return False
    return "records" in envelope or any(type(envelope.get(name)) is int and envelope[name] == 0 for name in ("count", "total"))


def told_total(body: bytes) -> int | None:
    """The `total` of a search answer without decoding its records; None where it tells none."""
    first, last = body.find(b"["), body.rfind(b"]")
    try:
        envelope = jsontext.loads(body[:first] + b"[]" + body[last + 1 :])
    except ContractError:
        envelope = None
    if not isinstance(envelope, dict) or envelope.get("records") != []:
        envelope = jsontext.loads(body)
    total = envelope.get("total") if isinstance(envelope, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None
