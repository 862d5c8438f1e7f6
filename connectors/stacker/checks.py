"""What `crossdock check` finds out about a Stacker connection, by reading only."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from connectors.base import Finding, Stream
from connectors.errors import ConnectorError, RefusedError
from connectors.paging import direction, follows
from connectors.stacker.pages import Ask
from connectors.stacker.search import where
from connectors.stacker.streams import LISTS

if TYPE_CHECKING:
    from connectors.stacker.source import StackerSource

_SAMPLE = 5


def findings(source: "StackerSource") -> Iterator[Finding]:
    """One finding after the other; the first that fails for the whole connection is the last."""
    try:
        source.client.hello()
        yield Finding("platform", True, "it answers and takes the integration key")
        yield Finding("account", True, source.client.account_id())
        streams = [stream for stream in source.streams() if stream.name not in LISTS]
        names = ", ".join(stream.name for stream in streams)
        yield Finding(
            "objects", bool(streams), f"{len(streams)}: {names}", "" if streams else "look at stack_id: this stack shows no object"
        )
        for stream in streams:
            if len(source.search(stream)(Ask(ordered=False, count=_SAMPLE)).ids) > 2:
                yield from _reading(source, stream)
                return
        yield Finding("reading", True, "no object has records to try on")
    except ConnectorError as error:
        yield Finding("connection", False, str(error), "correct the setting that the message names, then check again")


def _reading(source: "StackerSource", stream: Stream) -> Iterator[Finding]:
    """How this object orders, filters and counts. Whatever comes out, reading works: only its cost differs."""
    search = source.search(stream)
    try:
        first = search(Ask(count=_SAMPLE))
    except RefusedError as refusal:
        yield Finding(
            "order", True, f"ordering by sid is refused (status {refusal.status}): {stream.name} is read by position with overlap"
        )
        return
    way = direction(first.ids)
    if way is None:
        yield Finding("order", True, f"ordering by sid does nothing: {stream.name} is read by position with overlap")
    else:
        last = first.ids[-2].as_py()
        try:
            link = follows(search(Ask(after=last, way=way, count=_SAMPLE)).ids, last, way)
            detail = "works: pages are chained by sid" if link == "beyond" else "does not work as needed: records are read by position"
        except RefusedError as refusal:
            detail = f"is refused (status {refusal.status}): records are read by position with overlap"
        yield Finding("keyset", True, f"{way} order by sid and filtering beyond it {detail}")
    told = first.total is not None
    yield Finding("total", True, f"{first.total} records told" if told else "not told: a proof reads twice")
    sid = first.ids[0].as_py()
    try:
        exact = source.search(stream, [where("sid", "eq", sid)])(Ask(ordered=False)).ids.to_pylist() == [sid]
    except RefusedError:
        exact = False
    yield Finding(
        "look-up",
        True,
        "filtering with eq finds exactly one record" if exact else "filtering with eq does not work: look-ups read everything",
    )
