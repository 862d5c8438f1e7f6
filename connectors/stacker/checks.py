"""What `crossdock check` finds out about a Stacker connection, by reading only."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from connectors.base import Finding, Stream
from connectors.errors import ConnectorError, RefusedError
from connectors.paging import direction, follows
from connectors.stacker.pages import Ask, Got
from connectors.stacker.search import Search, where
from connectors.stacker.streams import LISTS

if TYPE_CHECKING:
    from connectors.stacker.source import StackerSource

_SAMPLE = 5
_LOOK = 50  # records of an object, to see which has most
_OBJECTS = 20  # the first of them, among which the one with most records is tried


def findings(source: "StackerSource") -> Iterator[Finding]:
    """One finding after the other; the first that fails for the whole connection is the last."""
    try:
        source.client.hello()
        yield Finding("platform", True, "it answers and takes the integration key")
        account = source.client.account_id()
        yield Finding("account", True, account, "" if source.settings.account_id else f"account_id: {account}")
        streams = [stream for stream in source.streams() if stream.name not in LISTS]
        names = ", ".join(stream.name for stream in streams)
        yield Finding(
            "objects", bool(streams), f"{len(streams)}: {names}", "" if streams else "look at stack_id: this stack shows no object"
        )
        sizes = {stream.name: _size(source.search(stream)(Ask(ordered=False, count=_LOOK))) for stream in streams[:_OBJECTS]}
        largest = max(streams[:_OBJECTS], key=lambda stream: sizes[stream.name], default=None)
        if largest is None or sizes[largest.name] < 3:
            yield Finding("reading", True, "no object has records to try on")
            return
        yield from _reading(source, largest)
        yield _page(source, largest)
    except ConnectorError as error:
        yield Finding("connection", False, str(error), "correct the setting that the message names, then check again")


def _reading(source: "StackerSource", stream: Stream) -> Iterator[Finding]:
    """How this object orders, filters and counts. Whatever comes out, reading works: only its cost differs."""
    search = source.search(stream)
    by_position = "" if source.settings.keyset == "no" else "keyset: no"
    try:
        first = search(Ask(count=_SAMPLE))
    except RefusedError as refusal:
        told = f"ordering by sid is refused (status {refusal.status}): {stream.name} is read by position with overlap"
        yield Finding("order", True, told, by_position)
        return
    way = direction(first.ids)
    if way is None:
        yield Finding("order", True, f"ordering by sid does nothing: {stream.name} is read by position with overlap", by_position)
    else:
        last = first.ids[-2].as_py()
        link = None
        try:
            link = follows(search(Ask(after=last, way=way, count=_SAMPLE)).ids, last, way)
            detail = "works: pages are chained by sid" if link == "beyond" else "does not work as needed: records are read by position"
        except RefusedError as refusal:
            detail = f"is refused (status {refusal.status}): records are read by position with overlap"
        yield Finding("keyset", True, f"{way} order by sid and filtering beyond it {detail}", "" if link == "beyond" else by_position)
    yield _total(source, search, first)
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


def _size(got: Got) -> int:
    return max(len(got.ids), got.total or 0)


def _total(source: "StackerSource", search: Search, first: Got) -> Finding:
    """What the told total is worth: one that leaves out records that are there is known to be wrong."""
    if first.total is None:
        return Finding("total", True, "not told: a proof reads twice")
    beyond = len(search(Ask(start=first.total, ordered=False, count=1)).ids)
    if not beyond:
        return Finding("total", True, f"{first.total} records told")
    advice = "" if source.settings.total == "ignore" else "total: ignore"
    return Finding("total", True, f"{first.total} records told, and there are more: it is not believed", advice)


def _page(source: "StackerSource", stream: Stream) -> Finding:
    """Whether a page holds as many records as are asked for."""
    search = source.search(stream)
    came = len(search(Ask(ordered=False)).ids)
    if came < search.size and len(search(Ask(start=came, ordered=False, count=1)).ids):
        return Finding(
            "page cap", True, f"{came:,} records came when {search.size:,} were asked for, and there are more", f"page_size: {came}"
        )
    return Finding(
        "page cap", True, f"{came:,} records came when {search.size:,} were asked for" + (", which are all" if came < search.size else "")
    )
