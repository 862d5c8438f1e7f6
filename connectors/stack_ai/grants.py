"""Grants: who may use a connection, as records; what their ids say; and where the organization's role stands. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connectors.base import JsonValue, Record
from connectors.errors import ContractError
from connectors.stack_ai.answers import error_words

__all__ = ["EVERYONE", "Grants", "Subject", "grant_id", "grants_in", "subject_of"]

EVERYONE = "*"  # the subject_id of everyone in the organization, in records: a key cannot be null
_NO_KIND = {"data", "items", "results", "records", "grants", "rbac", "permissions", "roles", "access", "subjects", "members"}
_ORGANIZATION_ROLES = ("organization_role", "org_role", "organization_level_role", "organizationRole", "orgRole")


@dataclass(frozen=True)
class Subject:
    """Who has a role on which connection. `id` None: everyone in the organization."""

    connection: str
    kind: str
    id: str | None


@dataclass(frozen=True)
class Grants:
    """The grants of one connection; `organization_told` where the answer speaks of the organization's role, be it that there is none."""

    records: list[Record]
    organization_told: bool


def grant_id(subject: Subject) -> str:
    """The id of a grant: connection, kind of subject, subject."""
    return f"{subject.connection}/{subject.kind}/{subject.id or EVERYONE}"


def subject_of(key: JsonValue) -> Subject | None:
    """Whose grant an id names, or None for what is no grant's id."""
    parts = key.split("/") if isinstance(key, str) else []
    if len(parts) < 3 or not all(parts):
        return None
    return Subject(parts[0], "/".join(parts[1:-1]), None if parts[-1] == EVERYONE else parts[-1])


def grants_in(value: JsonValue, connection: str, organization: str, listed_role: Mapping[str, JsonValue]) -> Grants:
    """The grants that the answer about one connection shows; `listed_role` is the connection as the list shows it.

    Knows a list of grants, bare or in an object, and lists by kind of subject (`users`, `groups`).
    Raises ContractError for anything else.
    """
    words = error_words(value)
    parts = [value, *_inner(value)] if isinstance(value, dict) else []
    understood = isinstance(value, list) or any(
        name in _ORGANIZATION_ROLES or isinstance(inner, list) for part in parts for name, inner in part.items()
    )
    if words or not understood:
        raise ContractError(f"the grants of connection {connection} are not understood ({words or 'there is no list'}); look at its rbac")
    entries = [_grant(entry, kind, connection, organization) for kind, entry in _entries(value)]
    told = any(entry["subject_id"] == EVERYONE for entry in entries)
    records = {str(entry["id"]): entry for entry in entries if entry["role"] is not None}
    for shown in (value if isinstance(value, dict) else {}, *(_inner(value)), listed_role):
        name = next((name for name in _ORGANIZATION_ROLES if name in shown), None)
        if name is not None and not told:
            told, role = True, shown[name]
            if isinstance(role, str) and role:
                own = _grant({"role": role}, organization, connection, organization)
                records[str(own["id"])] = own
    return Grants(list(records.values()), told)


def _inner(value: JsonValue) -> list[Mapping[str, JsonValue]]:
    return [one for one in value.values() if isinstance(one, dict)] if isinstance(value, dict) else []


def _entries(value: JsonValue) -> Iterator[tuple[str | None, Mapping[str, JsonValue]]]:
    """Each entry of each list, with the kind of subject that the list's name may tell."""
    lists = {"": value} if isinstance(value, list) else dict(value) if isinstance(value, dict) else {}
    for inner in _inner(value):
        lists.update({name: one for name, one in inner.items() if isinstance(one, list)})
    for name, entries in lists.items():
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield (None if not name or name in _NO_KIND else name.removesuffix("s")), entry


def _grant(entry: Mapping[str, JsonValue], kind: str | None, connection: str, organization: str) -> Record:
    told = entry.get("subject_type")
    kind = str(told) if told not in (None, "") else kind
    who = next((entry[name] for name in ("subject_id", f"{kind}_id", "id") if entry.get(name) not in (None, "")), None)
    if not kind or (who is None and kind != organization) or "role" not in entry:
        raise ContractError(f"a grant of connection {connection} came without subject_type, subject_id or role; look at its rbac")
    subject = Subject(connection, kind, None if who is None else str(who))
    rest = {name: value for name, value in entry.items() if name not in ("id", "connection_id")}
    own: Record = {"id": grant_id(subject), "connection_id": connection, "subject_type": kind, "subject_id": subject.id or EVERYONE}
    return {**rest, **own, "role": entry["role"]}
