"""What Kragle's streams are and can do, with the sentence of the document that shows it. Pure."""

from connectors.arrow_types import declared
from connectors.base import Capabilities, Delivery, ReadCapability, Stream, WriteCapability
from connectors.errors import ConfigError
from connectors.kragle.operations import CREATE, LIST, OPERATIONS, UPDATE
from connectors.kragle.settings import KragleSettings
from connectors.kragle.view import SECRET
from connectors.settings import StreamSettings

__all__ = ["OPERATIONS", "OPTIONS", "STREAMS", "WRITTEN", "stream_of"]

STREAMS = {"stacks": "id", "blocks": "place", "jobs": "id"}  # and their id fields
WRITTEN = ("name", "blocks", "webhook", "webhook_method")  # what is written and reads back
OPTIONS = ("schedule_id", "enabled", "needs_approval", "block_options")  # what is written and never shown

_READ = f"{LIST.evidence} Pagination is supported via the page parameter."
_PRIVATE = "the jobs and webhook_token elements, are ONLY included for Blocks which you own, and only if the request is authenticated."


def stream_of(name: str, settings: KragleSettings) -> Stream:
    """The stream of that name. Raises ConfigError naming what there is."""
    if name not in STREAMS:
        raise ConfigError(f"Kragle has no stream {name!r}; there are {', '.join(STREAMS)}")
    told = settings.streams.get(name, StreamSettings())
    stacks = name == "stacks"
    return Stream(
        name=name,
        id_field=STREAMS[name],
        capabilities=_capabilities(settings, writable=stacks and settings.public_stacks == "leave_out"),
        schema=declared(told.types) if told.types else None,
        natural_key=tuple(told.natural_key) or (("name",) if stacks else ()),
        cursors=(told.cursor,) if told.cursor else (),
        write_only=frozenset(OPTIONS) if stacks else frozenset(),
        read_only=frozenset({"id", "owner", "jobs", SECRET}) if stacks else frozenset({STREAMS[name]}),
    )


def _capabilities(settings: KragleSettings, *, writable: bool) -> Capabilities:
    read = ReadCapability(
        keys_per_request=1 if settings.name_lookup == "direct" and writable else 0,
        page_size=settings.page_size or 0,
        total=None if settings.count == "auto" else False,
        evidence=f"{_READ} {_PRIVATE}",
    )
    if not writable:
        return Capabilities(read)
    return Capabilities(
        read=read,
        create=WriteCapability(Delivery.E2, 1, replaces=False, identifies=True, evidence=CREATE.evidence),
        update=WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence=UPDATE.evidence),
    )
