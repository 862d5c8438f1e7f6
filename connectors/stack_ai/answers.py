"""What an undocumented answer tells: where its records are, their ids and organization, the next page token, a failure. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.base import JsonValue, Record
from connectors.errors import ContractError
from connectors.http_words import words_of
from connectors.jsontext import dumps

__all__ = ["CONNECTION_IDS", "RESOURCE_IDS", "Listed", "error_words", "id_in", "listed", "made_in", "next_token", "organization_of"]

CONNECTION_IDS = ("id", "connection_id", "uuid")
RESOURCE_IDS = ("resource_id", "id")

_LISTS = ("data", "items", "results", "records", "connections", "resources", "children")
_TOTALS = {"total", "totalcount", "totalitems", "totalrecords", "totalresults"}
_TOKENS = ("nextcursor", "nextpagetoken", "nextpage", "nexttoken", "next", "cursor", "pagetoken")
_MORE = ("hasmore", "hasnext", "hasnextpage", "more", "istruncated")
_ORGANIZATIONS = ("org_id", "organization_id", "orgId", "organizationId")


@dataclass(frozen=True)
class Listed:
    """The records of one answer, and what stood around them (empty where the list was bare). `shape` says where they were."""

    records: list[Record]
    shape: str = "a bare list"
    total: int | None = None
    around: Mapping[str, JsonValue] = field(default_factory=dict)


def listed(value: JsonValue, at: str | None, what: str) -> Listed:
    """The list of `what` in an answer: bare, at the dotted place `at`, or the one list that an object (or an object in it) holds.

    Raises ContractError, with the platform's words, for anything else.
    """
    if isinstance(value, list) and not at:
        return Listed(_objects(value, what))
    path = tuple(at.split(".")) if at else _path(value)
    found: JsonValue = value
    around: dict[str, JsonValue] = {}
    for name in path or ():
        around = {**around, **{key: one for key, one in found.items() if key != name}} if isinstance(found, dict) else around
        found = found.get(name) if isinstance(found, dict) else None
    if not path or not isinstance(found, list):
        words = error_words(value) or "it holds no one list of them"
        raise ContractError(f"the answer about {what} is not understood ({words}); if the list is in it, name its place in the settings")
    for name, inner in list(around.items()):  # {"pagination": {"next": …}} tells as much as {"next": …}
        if isinstance(inner, dict):
            around = {**inner, **around, **{f"{name}.{key}": one for key, one in inner.items()}}
    totals = [one for name, one in around.items() if _plain(name) in _TOTALS and type(one) is int]
    return Listed(_objects(found, what), f"a list at {'.'.join(path)}", totals[0] if len(totals) == 1 else None, around)


def id_in(record: Mapping[str, JsonValue], at: str | None, usual: Sequence[str], what: str) -> str:
    """The id of a record, as text. Raises ContractError where it has none at the named place (None: at none of the usual ones)."""
    found = next((record[name] for name in ([at] if at else usual) if record.get(name) not in (None, "")), None)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ContractError(f"{what} came without an id at {at or ', '.join(usual)}; name the field that holds it in the settings")
    return str(found)


def organization_of(record: Mapping[str, JsonValue], at: str | None) -> str | None:
    """The organization that a connection says it belongs to, where it does."""
    found = next((record[name] for name in ([at] if at else _ORGANIZATIONS) if record.get(name) not in (None, "")), None)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


def next_token(page: Listed, asked: str | None, at: str | None) -> tuple[str | None, bool]:
    """The token of the page after this one (None: this was the last), and whether the answer speaks of such tokens at all."""
    if at:
        token = page.around.get(at)
        return (token or None, at in page.around) if isinstance(token, str | None) else (str(token), True)
    names = {_plain(name): name for name in page.around}
    for plain in _TOKENS:
        if plain in names:
            token = page.around[names[plain]]
            if isinstance(token, dict | list) or (plain == "cursor" and token == asked and asked is not None):
                continue  # the token of this very page
            return (str(token) if token not in (None, "", False) else None), True
    return None, False


def says_more(page: Listed) -> bool:
    """Whether an answer says in so many words that this was not the last page."""
    return any(value is True for name, value in page.around.items() if _plain(name) in _MORE)


def is_uuid(value: JsonValue) -> bool:
    """Whether this is written as the ids of connections are said to be."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F-]{32,36}", value) is not None


def made_in(value: JsonValue, at: str | None) -> Record | None:
    """The connection that the answer to a write shows, with its `id`; None where it shows none."""
    if isinstance(value, str) and value.strip():
        return {"id": value} if is_uuid(value) else None
    for one in (value, *(value.values() if isinstance(value, dict) else ())):
        if isinstance(one, dict):
            try:
                return {**one, "id": id_in(one, at, CONNECTION_IDS, "a connection")}
            except ContractError:
                continue
    return None


def error_words(value: JsonValue) -> str:
    """What an answer that calls itself a success says about having failed; "" where it does not say so."""
    if not isinstance(value, dict):
        return ""
    failed = value.get("success") is False or value.get("ok") is False or value.get("status") in ("error", "failed")
    if failed or value.get("error") or value.get("errors") or value.get("detail"):
        return words_of(dumps(value), ()) or "it says that it failed"
    return ""


def _path(value: JsonValue) -> tuple[str, ...] | None:
    if not isinstance(value, dict):
        return None
    inner = {(outer, name): one for outer, part in value.items() if isinstance(part, dict) for name, one in part.items()}
    for level in ({(name,): one for name, one in value.items()}, inner):
        lists = {path: one for path, one in level.items() if isinstance(one, list)}
        known = [path for path in lists if _plain(path[-1]) in _LISTS]
        full = [path for path, one in lists.items() if one and all(isinstance(item, dict) for item in one)]
        for found in (known, full, list(lists)):
            if len(found) == 1:
                return found[0]
    return None


def _objects(items: Iterable[JsonValue], what: str) -> list[Record]:
    records = list(items)
    if not all(isinstance(item, dict) for item in records):
        raise ContractError(f"a list of {what} holds something that is no object; look at what the platform answered")
    return records  # type: ignore[return-value]


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
