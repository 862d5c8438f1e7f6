"""Records by key: one request per key, verified; where the platform's `eq` proves useless, one full read instead.

`eq` may ignore case or trim, may be ignored itself, or may find nothing: an answer is filtered again here, and
"no such record" is believed only after `eq` has found a record that is known to be there.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from connectors.arrow import records_of
from connectors.base import Completeness, JsonValue, Page, Record
from connectors.errors import ConfigError, ContractError, RefusedError
from connectors.paging import may_be_cap
from connectors.stacker.pages import Ask
from connectors.stacker.reading import Reading
from connectors.stacker.search import Filter, Search, where

Key: TypeAlias = Mapping[str, JsonValue]

_CREDIBLE_CAP = 10  # no server cuts its pages below this many records
_SAMPLE = 20
_PAGE = 500


class Useless(Exception):
    """Filtering by equality cannot be relied on here; the sentence says what was seen."""


@dataclass
class Lookup:
    """Looks up keys of one object. `search(filters, fields)` gives its pages; `proven` remembers for which fields `eq` works."""

    search: Callable[[Sequence[Filter], tuple[str, ...] | None], Search]
    reading: Callable[[Search], Reading]
    get: Callable[[JsonValue], Record | None]
    proven: set[tuple[str, ...]] = field(default_factory=set)
    _searches: list[Search] = field(default_factory=list)

    def pages(self, keys: Sequence[Key], fields: tuple[str, ...] | None) -> Generator[Page, None, Completeness]:
        """The records having one of these keys, each once."""
        if fields is not None:
            fields = tuple(dict.fromkeys(("sid", *fields, *(name for key in keys for name in key))))
        found: dict[JsonValue, Record] = {}
        reason, method, complete, doubts = "every key was looked up", "by keys", True, tuple[str, ...]()
        try:
            for key in keys:
                for record in self._find(key, fields):
                    found[_hashable(record["sid"])] = record
            self._prove(keys, found.values())
        except Useless as doubt:
            reason, method = f"{doubt}, so everything was read", "full read"
            search = self._search((), fields)
            pages = self.reading(search).pages()
            while True:
                try:
                    page = next(pages)
                except StopIteration as end:
                    complete, doubts = end.value.complete, end.value.doubts
                    reason += "; " + "; ".join(end.value.reasons)
                    break
                assert not isinstance(page.records, list)
                for record in records_of(page.records):
                    if any(matches(record, key) for key in keys):
                        found[_hashable(record["sid"])] = record
        records = list(found.values())
        for start in range(0, len(records), _PAGE):
            part = records[start : start + _PAGE]
            yield Page(part, len(part))
        requests = sum(search.requests for search in self._searches) + sum(set(key) == {"sid"} for key in keys)
        return Completeness(complete, method, (reason,), len(records), None, requests, doubts)

    def _search(self, filters: Sequence[Filter], fields: tuple[str, ...] | None) -> Search:
        self._searches.append(self.search(filters, fields))
        return self._searches[-1]

    def _find(self, key: Key, fields: tuple[str, ...] | None) -> Iterator[Record]:
        """The records having this key. Raises Useless."""
        if not key or not all(_is_scalar(value) for value in key.values()):
            raise ConfigError(f"a key must name fields with single values; this one names {', '.join(key) or 'none'}")
        if set(key) == {"sid"}:
            record = self.get(key["sid"])
            yield from [record] if record is not None else []
            return
        filters = [where(name, "eq", value) for name, value in key.items() if value is not None]
        if not filters:
            raise Useless("a key of nulls cannot be searched for")
        search = self._search(filters, fields)
        try:
            got = search(Ask(ordered=False))
        except RefusedError as refusal:
            raise Useless(f"the platform refuses to filter by {', '.join(key)} with eq (status {refusal.status})") from None
        records = records_of(got.body)
        hits = [record for record in records if matches(record, key)]
        whole = len(records) < _CREDIBLE_CAP or (got.total == len(records) and not may_be_cap(len(records)))
        if len(records) < search.size and whole:
            yield from hits
        elif len(hits) < len(records) / 2:
            raise Useless(
                f"filtering by {', '.join(key)} with eq let in {len(records) - len(hits)} of {len(records)} records it should not have"
            )
        else:
            for page in self.reading(search).pages():
                assert not isinstance(page.records, list)
                yield from (record for record in records_of(page.records) if matches(record, key))

    def _prove(self, keys: Sequence[Key], found: Any) -> None:
        """Make sure that keys without a record were looked for in a way that finds records. Raises Useless."""
        for names in {tuple(sorted(key)) for key in keys if set(key) != {"sid"}} - self.proven:
            mine = [key for key in keys if tuple(sorted(key)) == names]
            if any(matches(record, key) for record in found for key in mine):
                self.proven.add(names)
                continue
            records = records_of(self._search((), None)(Ask(ordered=False, count=_SAMPLE)).body)
            known = [record for record in records if all(record.get(name) is not None and _is_scalar(record[name]) for name in names)]
            if not records:
                continue  # an empty object has no key, whatever eq does
            if not known:
                raise Useless(f"none of {len(records)} sampled records has all of {', '.join(names)}")
            probe = {name: known[0][name] for name in names}
            try:
                hit = any(record["sid"] == known[0]["sid"] for record in self._find(probe, None))
            except RefusedError:
                hit = False
            if not hit:
                raise Useless(f"filtering by {', '.join(names)} with eq did not find a record that is there")
            self.proven.add(names)


def matches(record: Record, key: Key) -> bool:
    """Whether a record has exactly these values; absent counts as null, numbers by value, text by every character."""
    return all(_comparable(record.get(name)) == _comparable(value) for name, value in key.items())


def _comparable(value: JsonValue) -> tuple[str, JsonValue]:
    if isinstance(value, bool) or value is None:
        return "constant", str(value)
    return ("number", Decimal(str(value))) if isinstance(value, int | float | Decimal) else (type(value).__name__, value)


def _is_scalar(value: JsonValue) -> bool:
    return not isinstance(value, list | dict)


def _hashable(sid: JsonValue) -> JsonValue:
    if not isinstance(sid, str | int):
        raise ContractError("a record has a sid that is neither text nor an integer")
    return sid
