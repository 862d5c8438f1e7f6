"""What Robostack's streams are and can do, with the sentence of the document that shows it. Pure."""

from connectors.arrow_types import declared
from connectors.base import Capabilities, Delivery, ReadCapability, Stream, WriteCapability
from connectors.robostack.operations import CREATE, DELETE, FIND, OPERATIONS, UPDATE
from connectors.robostack.settings import ID_FIELD, RobostackSettings
from connectors.settings import StreamSettings

__all__ = ["OPERATIONS", "stream_of"]


def stream_of(name: str, settings: RobostackSettings) -> Stream:
    """The stream of one resource. Nothing lists resources: what is not declared may exist all the same, with `id` as its id field."""
    told = settings.streams.get(name, StreamSettings())
    return Stream(
        name=name,
        id_field=settings.keys_of(name)[0],
        capabilities=_capabilities(settings),
        schema=declared(told.types) if told.types else None,
        natural_key=tuple(told.natural_key),
        cursors=(told.cursor,) if told.cursor else (),
        read_only=frozenset({ID_FIELD}),
    )


def _capabilities(settings: RobostackSettings) -> Capabilities:
    one_by_id = WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence=UPDATE.evidence)
    return Capabilities(
        read=ReadCapability(
            filters=frozenset({"eq"}),
            keyset=False,
            since=False,
            keys_per_request=1,
            page_size=None,
            total=None,
            evidence=FIND.evidence,
        ),
        create=WriteCapability(Delivery.E2, settings.create_batch, replaces=False, identifies=False, evidence=CREATE.evidence),
        update=one_by_id,
        delete=WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence=DELETE.evidence),
    )
