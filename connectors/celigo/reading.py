"""A list followed link by link until it proves itself: one page is the whole list, several are read until two reads agree.

Pure but for the `ask` it is given. Links are opaque and no order is promised, so nothing in the pages tells
whether a record slipped between two of them; only another read of the whole list can.
"""

from collections.abc import Callable, Generator

from connectors.base import Completeness, Page, Record
from connectors.celigo.client import Listed
from connectors.celigo.stacks import ID
from connectors.errors import ContractError
from connectors.paging import new_positions

__all__ = ["listing"]

_SWEEPS = 4  # reads of a list of several pages before giving up on two that agree


def listing(
    ask: Callable[[str | None], Listed], keep: Callable[[Record], Record | None], *, agree: bool, max_pages: int
) -> Generator[Page, None, Completeness]:
    """The records that `keep` makes of the stacks (None: left out), each once, and what the read proved.

    `agree`: read a list of several pages again until two reads in a row hold the same stacks. Where one comes back on a later
    page, the list moved and another one may have been missed. Raises ContractError for a list that does not end.
    """
    given: set[str | int] = set()
    before: set[str | int] | None = None
    requests = left_out = 0
    for sweep in range(1, _SWEEPS + 1):
        ids: set[str | int] = set()
        came_back = 0
        pages, link, asked = 0, None, set[str]()
        while True:
            page = ask(link)
            requests, pages = requests + 1, pages + 1
            records = [record for stack in page.stacks if (record := keep(stack)) is not None]
            left_out += len(page.stacks) - len(records) if sweep == 1 else 0
            here = [str(record[ID]) for record in records]
            fresh = [records[position] for position in new_positions(here, given)]
            came_back += len(ids.intersection(here))
            ids.update(here)
            given.update(here)
            if fresh:
                yield Page(fresh, len(fresh), server_date=page.server_date)
            if page.next is None:
                break
            link = page.next
            if link in asked or requests >= max_pages:
                why = "its next link leads back to a page already read" if link in asked else "max_pages is reached"
                raise ContractError(f"the list of stacks did not end after {requests:,} pages: {why}; look at the platform")
            asked.add(link)
        told = (f"{left_out:,} stacks in the recycle bin were left out",) if left_out else ()
        if pages == 1 and sweep == 1 and not came_back:
            return Completeness(True, "single answer", ("the whole list came in one answer", *told), len(given), None, requests)
        if before == ids and not came_back:
            same = f"two reads in a row, of {pages:,} pages each, held the same {len(ids):,} stacks"
            gone = (f"{len(given) - len(ids):,} stacks vanished while reading",) if len(given) > len(ids) else ()
            return Completeness(True, "two equal reads", (same, *gone, *told), len(given), None, requests)
        before = None if came_back else ids
        if not agree:
            reason = f"{pages:,} pages were read once, and records may move between pages: only a second read could prove it"
            return Completeness(False, "links", (reason, *told), len(given), None, requests)
    differed = f"{_SWEEPS} reads in a row all differed: stacks come and go, or the list keeps no order"
    return Completeness(False, "links", (differed, *told), len(given), None, requests, doubts=(differed,))
