"""What `crossdock check` finds out about a Celigo account, by one read."""

from collections import Counter
from collections.abc import Iterator, Sequence

from connectors.base import Finding, Record
from connectors.celigo.client import CeligoClient, Listed
from connectors.celigo.settings import CeligoSettings
from connectors.celigo.stacks import ENDPOINT, UNDOCUMENTED, record_of
from connectors.errors import ConnectorError, CredentialsError, RetryableError

__all__ = ["findings"]

_REGIONS = "US accounts live at https://api.integrator.io, EU accounts at https://api.eu.integrator.io"


def findings(settings: CeligoSettings, client: CeligoClient) -> Iterator[Finding]:
    """One finding after the other; the first that fails for the whole connection is the last."""
    try:
        page = client.list_page()
        records = [record_of(stack, undocumented=True) for stack in page.stacks]
    except CredentialsError as error:
        yield Finding("credentials", False, str(error), f"token, and base_url: a token works in its own region only ({_REGIONS})")
        return
    except RetryableError as error:
        yield Finding("reachability", False, str(error), "base_url")
        return
    except ConnectorError as error:
        yield Finding("stacks", False, str(error), f"base_url ({_REGIONS})")
        return
    yield Finding("credentials", True, "the token is accepted")
    yield _size(page, settings)
    yield from _names(records)
    yield from _shown(page, settings, records)
    yield from _references(records, settings)


def _size(page: Listed, settings: CeligoSettings) -> Finding:
    if page.next is None:
        return Finding("stacks", True, f"{len(page.stacks):,}, all in one answer: a read needs one request and proves itself")
    twice = "twice, until both agree" if settings.second_read == "always" else "once, and twice where a deletion rests on it"
    return Finding("stacks", True, f"{len(page.stacks):,} on the first page, and more follow: the list is read {twice}")


def _names(records: Sequence[Record]) -> Iterator[Finding]:
    for fields in (("name",), ("name", "type", ENDPOINT)):
        often = Counter(tuple(str(record.get(field)) for field in fields) for record in records)
        shared = sum(count for count in often.values() if count > 1)
        if shared:
            advice = f"match: [name, type, {ENDPOINT}]" if len(fields) == 1 else "rename the duplicates: a sync cannot tell them apart"
            yield Finding("names", True, f"{shared:,} of {len(records):,} stacks share their {', '.join(fields)} with another one", advice)


def _shown(page: Listed, settings: CeligoSettings, records: Sequence[Record]) -> Iterator[Finding]:
    binned = sum(bool(settings.deleted_mark and stack.get(settings.deleted_mark)) for stack in page.stacks)
    if binned:
        yield Finding("recycle bin", True, f"{binned:,} stacks of the first page carry {settings.deleted_mark} and are left out")
    names = sorted({name for record in records if isinstance(found := record.get(UNDOCUMENTED), dict) for name in found})
    if names:
        told = f"{len(names):,} fields are in no document: {', '.join(names[:10])}"
        chosen = settings.undocumented_fields == "leave_out"
        yield Finding("fields", True, told + (", and are left out" if chosen else ""), "undocumented_fields: read" if chosen else "")


def _references(records: Sequence[Record], settings: CeligoSettings) -> Iterator[Finding]:
    lambdas = [record for record in records if record.get("type") == "lambda"]
    without = [record for record in lambdas if str(record.get("lambda.accessKeyId")) not in settings.secret_access_keys]
    if without:
        detail = f"{len(without):,} of {len(lambdas):,} lambda stacks have no secret here: they can be read, not written"
        yield Finding("secrets", True, detail, "secret_access_keys, by reference, where this account is written")
    elif lambdas:
        yield Finding("secrets", True, f"each of {len(lambdas):,} lambda stacks finds its secret by reference")
