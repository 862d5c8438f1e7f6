"""What Stack AI's streams are and can do, with the sentence of the document that shows it. Pure."""

import pyarrow as pa

from connectors.arrow_types import declared
from connectors.base import Capabilities, Delivery, Filled, ReadCapability, Stream, WriteCapability
from connectors.errors import ConfigError
from connectors.settings import StreamSettings
from connectors.stack_ai.operations import OPERATION, OPERATIONS
from connectors.stack_ai.settings import StackAiSettings

__all__ = ["BODY", "OPERATIONS", "SECRETS", "SECRET_FIELD", "STREAMS", "page_size", "stream_of"]

SECRET_FIELD = "connection_provider_data"  # noqa: S105 (a field's name)
SECRETS = "secrets"  # ours: stands for the declared provider_data that a connection is written with
BODY = ("name", "provider_id", "connection_type_id", SECRET_FIELD)  # all that can be written of a connection

_THE_PLATFORMS = frozenset(  # names of fields that no body takes
    {"id", "connection_id", "uuid", "created_at", "updated_at", "created_by", "org_id", "organization_id", "user_id", "owner_id"}
)
_PAGE_SIZES = {"connections": 1000, "resources": 1000}  # the default of `limit`, and the documented most of `page_size`


def _texts(*names: str) -> pa.Schema:
    return pa.schema([pa.field(name, pa.string()) for name in names])


_SCHEMAS = {
    "connections": _texts("id", "name"),  # what every answer must have; anything more a platform may call otherwise
    "available_connections": _texts("id"),
    "resources": _texts("key", "connection_id", "resource_id", "parent_id"),
    "rbac": _texts("id", "connection_id", "subject_type", "subject_id", "role"),
    "health": _texts("connection_id"),
}
_READ_BY = {
    "connections": "list_connections",
    "available_connections": "list_available_connections",
    "resources": "get_children_resources",
    "rbac": "get_connection_rbac",
    "health": "get_connection_health",
}
_ID_FIELDS = {"resources": "key", "health": "connection_id"}
_NATURAL_KEYS = {
    "connections": ("name",),
    "resources": ("connection_id", "resource_id"),
    "rbac": ("connection_id", "subject_type", "subject_id"),
}

STREAMS = tuple(_SCHEMAS)


def stream_of(name: str, settings: StackAiSettings) -> Stream:
    """The stream of that name. Raises ConfigError naming what exists."""
    if name not in _SCHEMAS:
        raise ConfigError(f"Stack AI has no stream {name!r}; there are {', '.join(STREAMS)}")
    told = settings.streams.get(name, StreamSettings())
    schema = _SCHEMAS[name]
    if told.types:
        own = declared(told.types)
        schema = pa.schema([*(field for field in schema if field.name not in own.names), *own])
    writable = name in ("connections", "rbac")
    return Stream(
        name=name,
        id_field=_ID_FIELDS.get(name, "id"),
        capabilities=_capabilities(name, settings),
        schema=schema,
        natural_key=tuple(told.natural_key) or _NATURAL_KEYS.get(name, ()),
        write_only=frozenset({SECRET_FIELD, SECRETS}) if name == "connections" else frozenset(),
        read_only=(_THE_PLATFORMS | {SECRETS} if name == "connections" else frozenset({"id"})) if writable else frozenset(schema.names),
        filled=Filled(SECRETS, by=("name", "provider_id")) if name == "connections" else None,
    )


def page_size(name: str, settings: StackAiSettings) -> int:
    """Records asked for in one answer. One page at least holds two, or it could not overlap the one before."""
    return max(2, min(settings.page_size or 1000, _PAGE_SIZES[name]))


def _capabilities(name: str, settings: StackAiSettings) -> Capabilities:
    read = ReadCapability(
        keys_per_request=1 if name == "rbac" else 0,  # the grants of the connection that a key names
        page_size=page_size(name, settings) if name in _PAGE_SIZES else None,
        total=None if name == "connections" else False,
        evidence=OPERATION["list_connections_v1" if name == "connections" and settings.listing == "v1" else _READ_BY[name]].evidence,
    )
    if name == "connections":
        return Capabilities(read, _one("create_connection"), _one("update_connection"), _one("delete_connection"))
    if name == "rbac":
        given = _one("update_connection_rbac")
        return Capabilities(read, given, given, _one("delete_connection_rbac"))
    return Capabilities(read)


def _one(name: str) -> WriteCapability:
    """One record a call. A sent change of a connection's fields keeps the others: what a PUT needs is read again first."""
    operation = OPERATION[name]
    identifies = operation.delivery is not Delivery.E2  # a create may be answered by nothing
    return WriteCapability(operation.delivery, 1, replaces=False, identifies=identifies, evidence=operation.evidence)
