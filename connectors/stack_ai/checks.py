"""What `crossdock check` finds out about a Stack AI connection, by reading only."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from connectors.base import Finding, Record
from connectors.errors import ConfigError, ConnectorError, CredentialsError, RefusedError, RetryableError
from connectors.stack_ai.answers import listed, next_token, organization_of
from connectors.stack_ai.masks import masked_at
from connectors.stack_ai.streams import SECRET_FIELD

if TYPE_CHECKING:
    from connectors.stack_ai.source import StackAiSource

_SAMPLE = 20


def findings(source: "StackAiSource") -> Iterator[Finding]:
    """One finding after the other; the first that fails for the whole connection is the last."""
    try:
        records, total = source.page_of_connections(0, _SAMPLE)
    except CredentialsError as error:
        yield Finding("credentials", False, str(error), "token_url, username and password, or access_token")
        return
    except RetryableError as error:
        yield Finding("reachability", False, str(error), "base_url and token_url")
        return
    except ConfigError as error:
        yield Finding("configuration", False, str(error), "the setting that the message names")
        return
    except ConnectorError as error:
        yield Finding("connections", False, str(error), "base_url, and records_at where the answer holds several lists")
        return
    yield Finding("credentials", True, "accepted")
    yield _organization(source, records)
    told = f"{total:,} in all" if total is not None else "no total is told: a proof reads twice"
    yield Finding("connections", True, f"{len(records)} came when {_SAMPLE} were asked for; {told}", _cap(source, records))
    if records:
        yield _secrets(source, records)
        yield _children(source, str(records[0]["id"]))
        yield _roles(source, str(records[0]["id"]), records[0])
    try:
        types = len(listed(source.client.list_available_connections(), None, "connection types").records)
        yield Finding("available connections", True, f"{types} types")
    except ConnectorError as error:
        yield Finding("available connections", True, f"cannot be read as a list ({error})")


def _cap(source: "StackAiSource", records: list[Record]) -> str:
    """The page size to set, where fewer connections came than were asked for and more follow."""
    if not 2 <= len(records) < _SAMPLE or (source.settings.page_size or _SAMPLE) <= len(records):
        return ""
    following, _ = source.page_of_connections(len(records), 1)
    known = {record["id"] for record in records}
    return f"page_size: {len(records)}" if any(record["id"] not in known for record in following) else ""


def _organization(source: "StackAiSource", records: list[Record]) -> Finding:
    seen = organization_of(records[0], source.settings.organization_at) if records else None
    if seen is None:
        return Finding(
            "organization", True, "no answer tells it: a change of the user's current organization would look like other records"
        )
    suggestion = "" if source.settings.organization else f"organization: {seen}"
    return Finding("organization", True, f"the user's current one is {seen}", suggestion)


def _secrets(source: "StackAiSource", records: list[Record]) -> Finding:
    """How the platform shows secrets; they are never staged either way."""
    data = next((one[SECRET_FIELD] for one in records if one.get(SECRET_FIELD)), None)
    if data is None:
        return Finding("secrets", True, f"{SECRET_FIELD} is not shown")
    if masked_at(data, source.settings.mask) is None:
        return Finding("secrets", True, f"{SECRET_FIELD} is shown without a mask that is known; it is not read", "mask")
    return Finding("secrets", True, f"{SECRET_FIELD} is shown masked; it is not read")


def _children(source: "StackAiSource", key: str) -> Finding:
    try:
        page = listed(source.client.get_children_resources(key, page_size=2), source.settings.resources_at, "resources")
    except RefusedError as error:
        return Finding("resources", True, f"those of the first connection are refused (status {error.status}): a read is then incomplete")
    except ConnectorError as error:
        return Finding("resources", False, str(error), "resources_at")
    paged = next_token(page, None, source.settings.next_token_at)[1]
    detail = "pages tell the next page token" if paged else "pages tell no next page token that is known"
    return Finding("resources", True, f"{len(page.records)} came when 2 were asked for; {detail}", "" if paged else "next_token_at")


def _roles(source: "StackAiSource", key: str, shown: Record) -> Finding:
    try:
        found = source.behind.grants(key, shown)
    except RefusedError as error:
        return Finding("rbac", True, f"that of the first connection is refused (status {error.status}): a read is then incomplete")
    except ConnectorError as error:
        return Finding("rbac", False, str(error), "look at what get_connection_rbac answers")
    if found.role_told or source.settings.organization_roles == "hidden":
        return Finding("rbac", True, f"{len(found.records)} grants on the first connection")
    detail = f"{len(found.records)} grants on the first connection; the organization's role is not told"
    return Finding("rbac", True, detail, "organization_roles: hidden")
