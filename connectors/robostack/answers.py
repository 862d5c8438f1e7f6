"""What an undocumented answer tells: where the records are, how many there are, whether it is an error after all. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from connectors.arrow import page_ids, records_of
from connectors.base import JsonBody, JsonValue, Record
from connectors.errors import ContractError
from connectors.http_messages import Answer
from connectors.http_words import words_of
from connectors.jsontext import dumps

__all__ = ["Found", "Told", "error_words", "found_in", "same", "told_by"]

_TOTALS = {"total", "totalcount", "totalrecords", "recordstotal", "totalitems"}
_MORE = {"hasmore", "next", "nextpage", "nextpagetoken", "nextcursor"}
_MATCHED = {"matched", "matchedcount", "nmatched", "found"}
_COUNTS = {
    *("count", "total", "affected", "affectedrows", "rowcount", "rows", "records", "n", "result", "data", "ids"),
    *("inserted", "insertedcount", "insertedids", "created", "createdcount", "createdids"),
    *("updated", "updatedcount", "deleted", "deletedcount", "removed", "removedcount"),
}


@dataclass(frozen=True)
class Found:
    """The records of one answer to a find. `certain` is False where an empty answer might mean something else than none."""

    records: JsonBody | list[Record]
    count: int
    shape: str
    certain: bool = True
    total: int | None = None
    more: bool = False
    doubts: tuple[str, ...] = ()

    def decoded(self) -> list[Record]:
        """The records as values."""
        return records_of(self.records) if isinstance(self.records, JsonBody) else self.records


def found_in(answer: Answer, id_field: str, records_at: str | None) -> Found:
    """The records of an answer to a find, in whichever of the usual shapes they come.

    A bare list, an object with one list of objects in it (also one level deeper), a single record as
    an object with an id, or nothing. Raises ContractError for anything else, with the platform's words.
    """
    body = answer.body.strip()
    if not body:
        return Found([], 0, f"nothing ({answer.status})", certain=answer.status == 204)
    if body[:1] == b"[" and not records_at:
        return _listed(JsonBody(answer.body, ()), id_field, "a bare list", {})
    value = answer.json()
    if value is None or value == {}:
        return Found([], 0, dumps(value).decode(), certain=False)
    if isinstance(value, dict) and not records_at and _is_scalar(value.get(id_field)):
        return Found([value], 1, "a single record")
    path = tuple(records_at.split(".")) if records_at else _path(value)
    if path is None:
        words = error_words(value) or "it holds no one list of records"
        raise ContractError(
            f"a find was answered {answer.status} in a shape that is not understood ({words}); set records_at if the records are in it"
        )
    parts = [value]
    for name in path:
        inner = parts[-1].get(name) if isinstance(parts[-1], dict) else None
        if inner is None:
            raise ContractError(f"a find was answered without anything at {'.'.join(path)}; correct records_at")
        parts.append(inner)
    hints = {name: hint for part in parts if isinstance(part, dict) for name, hint in part.items()}
    return _listed(JsonBody(answer.body, path), id_field, f"a list at {'.'.join(path)}", hints)


@dataclass(frozen=True)
class Told:
    """What an answer to a write tells: the records it shows, how many it says were concerned, or that it failed."""

    records: list[Record] | None = None
    count: int | None = None
    failed: str = ""


def told_by(value: JsonValue, id_field: str) -> Told:
    """What the answer to a write says about the records. Nothing that is understood: all None."""
    if isinstance(value, bool):
        return Told(failed="" if value else "false")
    if isinstance(value, int):
        return Told(count=value)
    if isinstance(value, list):
        return _told_by_list(value, id_field)
    if not isinstance(value, dict):
        return Told()
    if _is_scalar(value.get(id_field)):
        return Told(records=[value], count=1)
    failed = error_words(value)
    if failed:
        return Told(failed=failed)
    for inner in value.values():
        if isinstance(inner, list) and inner and all(isinstance(item, dict) and _is_scalar(item.get(id_field)) for item in inner):
            return Told(records=inner, count=len(inner))
        if isinstance(inner, dict) and _is_scalar(inner.get(id_field)):
            return Told(records=[inner], count=1)
    return Told(count=_count(value))


def error_words(value: JsonValue) -> str:
    """What an answer that calls itself a success says about having failed; "" where it does not say so."""
    if not isinstance(value, dict):
        return ""
    flags = {_plain(name): flag for name, flag in value.items()}
    failed = flags.get("success") is False or flags.get("ok") is False or flags.get("status") in ("error", "failed", "fail")
    if failed or flags.get("error") or flags.get("errors"):
        return words_of(dumps(value), ()) or "it says that it failed"
    return ""


def same(one: JsonValue, other: JsonValue) -> bool:
    """Equal as JSON: true is not 1, but 1 is 1.0; objects regardless of their order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _listed(page: JsonBody, id_field: str, shape: str, hints: Mapping[str, JsonValue]) -> Found:
    ids = page_ids(page, id_field)
    doubts = []
    if ids.null_count:
        doubts.append(f"{ids.null_count:,} of {len(ids):,} records have no {id_field}")
    repeated = len(ids) - ids.null_count - len(pc.unique(ids.drop_null()))
    if repeated:
        doubts.append(f"{repeated:,} of {len(ids):,} records have the {id_field} of another one")
    totals = [hint for name, hint in hints.items() if _plain(name) in _TOTALS and isinstance(hint, int) and not isinstance(hint, bool)]
    more = any(_plain(name) in _MORE and hint not in (None, False, "", 0) for name, hint in hints.items())
    return Found(page, len(ids), shape, total=totals[0] if totals else None, more=more, doubts=tuple(doubts))


def _path(value: JsonValue) -> tuple[str, ...] | None:
    """Where the one list of records is: the shallowest level that has exactly one list of objects, else exactly one empty list."""
    levels = [list(_lists(value, ())), [found for name, inner in _members(value) for found in _lists(inner, (name,))]]
    for level in levels:
        paths = [path for path, items in level if items and all(isinstance(item, dict) for item in items)]
        if paths:
            return paths[0] if len(paths) == 1 else None
    empty = [path for level in levels for path, items in level if not items]
    return empty[0] if len(empty) == 1 else None


def _lists(value: JsonValue, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    for name, inner in _members(value):
        if isinstance(inner, list):
            yield (*path, name), inner


def _members(value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()


def _told_by_list(items: list[Any], id_field: str) -> Told:
    if all(isinstance(item, dict) and _is_scalar(item.get(id_field)) for item in items):
        return Told(records=items, count=len(items))
    return Told(count=len(items)) if all(map(_is_scalar, items)) or all(isinstance(item, dict) for item in items) else Told()


def _count(value: dict[str, JsonValue]) -> int | None:
    """How many records a write says it concerned. What it matched counts; what it modified may be fewer and says nothing."""
    numbers: dict[str, int] = {}
    for name, hint in value.items():
        size = len(hint) if isinstance(hint, list) else hint
        if isinstance(size, int) and not isinstance(size, bool):
            numbers[_plain(name)] = size
    for names in (_MATCHED, _COUNTS):
        told = {numbers[name] for name in names & numbers.keys()}
        if told:
            return told.pop() if len(told) == 1 else None
    return None


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _is_scalar(value: JsonValue) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""
