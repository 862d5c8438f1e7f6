"""What Stacker's streams are and can do, with the sentence of the document that shows it. Pure."""

import pyarrow as pa

from connectors.arrow_types import declared as declared_schema
from connectors.base import Capabilities, Delivery, ReadCapability, Record, Stream, WriteCapability
from connectors.stacker.operations import OPERATION, OPERATIONS
from connectors.stacker.settings import StackerSettings

__all__ = ["LISTS", "OPERATIONS", "list_stream", "object_stream"]

PAGE_SIZE = 1000  # the default of `count`; whether more is allowed is not documented

LISTS = {"objects": "sid", "accounts": "id", "action_buttons": "sid"}  # read-only streams and their id fields

_LIST_SCHEMAS = {
    "objects": ("sid", "name", "api_name"),
    "accounts": ("id", "name"),
    "action_buttons": ("sid", "name", "object_sid"),
}


def object_stream(described: Record, settings: StackerSettings) -> Stream:
    """The stream of one object, named by its api_name (or its sid, where it has none)."""
    name = str(described.get("api_name") or described["sid"])
    declared = settings.streams.get(name) or settings.streams.get(str(described["sid"]))
    return Stream(
        name=name,
        id_field="sid",
        capabilities=capabilities(settings),
        schema=declared_schema(declared.types) if declared and declared.types else None,
        natural_key=tuple(declared.natural_key) if declared else (),
        cursors=(declared.cursor,) if declared and declared.cursor else (),
        read_only=frozenset({"sid"}),
    )


def list_stream(name: str) -> Stream:
    """One of `LISTS`: everything in a single answer, read-only."""
    evidence = OPERATION["list_" + name].evidence
    schema = pa.schema([pa.field(field, pa.string()) for field in _LIST_SCHEMAS[name]])
    return Stream(name, LISTS[name], Capabilities(ReadCapability(evidence=evidence)), schema=schema, read_only=frozenset(schema.names))


def capabilities(settings: StackerSettings) -> Capabilities:
    """What every object allows."""
    bulk = OPERATION["bulk_upsert_records"].evidence
    by_sid = settings.bulk_updates == "by_sid"
    return Capabilities(
        read=ReadCapability(
            filters=frozenset({"eq", "neq", "contains", "gt", "lt"}),
            keyset=None if settings.keyset == "auto" else False,
            since=None,
            keys_per_request=1,
            page_size=settings.page_size or PAGE_SIZE,
            total=None,
            evidence=OPERATION["search_records"].evidence + " Comparison operator (e.g., eq, neq, contains, gt, lt)",
        ),
        create=WriteCapability(Delivery.E2, 1000, replaces=False, identifies=False, evidence=bulk),
        update=WriteCapability(
            Delivery.E1,
            1000 if by_sid else 1,
            replaces=False,
            identifies=True,
            evidence=bulk if by_sid else OPERATION["update_record"].evidence,
        ),
        delete=WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence=OPERATION["delete_record"].evidence),
    )
