"""What `crossdock check` looks at in Kragle, by reading only."""

from collections.abc import Callable, Iterator

from connectors.base import Finding, Record
from connectors.errors import ConnectorError, CredentialsError, RefusedError
from connectors.kragle.client import KragleClient
from connectors.kragle.listing import Listed
from connectors.kragle.settings import KragleSettings
from connectors.kragle.view import Sight, lacking, same_id, sight

__all__ = ["findings"]

_PAGES = 20  # looked through for a stack of ours
_RENEW = "renew the token, or try the other auth (bearer or basic)"


def findings(settings: KragleSettings, client: KragleClient, listed: Callable[[int], Listed | None]) -> Iterator[Finding]:
    """One finding after the other; the first that fails for the whole connection is the last."""
    try:
        first = listed(1)
        assert first is not None
        told = f"{first.count:,} stacks" if first.count is not None else "no count"
        size = f"{first.size:,} on a page" if first.size is not None else "no page size"
        yield Finding("platform", True, f"it answers, and tells {told}, {size}")
        seen, known = _look_for_ours(settings, client, first, listed)
    except CredentialsError as error:
        yield Finding("login", False, str(error), _RENEW)
        return
    except ConnectorError as error:
        yield Finding("connection", False, str(error), "correct the setting that the message names, then check again")
        return
    if known is None:
        yield _unproven(settings, seen)
        return
    yield from _about(settings, known)
    yield _look_up(settings, client, known)


def _look_for_ours(
    settings: KragleSettings, client: KragleClient, first: Listed, listed: Callable[[int], Listed | None]
) -> tuple[int, Record | None]:
    """How many stacks were looked at, and one that shows what only its owner sees (else: one that is ours and does not)."""
    seen, strange = 0, None
    if settings.own_stack is not None:
        known = _named(client, settings.own_stack)
        if known is not None:
            return 1, known
    page: Listed | None = first
    for number in range(2, _PAGES + 2):
        if page is None or not page.stacks:
            break
        seen += len(page.stacks)
        for stack in page.stacks:
            if sight(stack) is Sight.OWNER:
                return seen, stack
            strange = stack if same_id(stack.get("owner"), settings.owner) else strange
        page = listed(number)
    return seen, strange


def _named(client: KragleClient, name: str) -> Record | None:
    try:
        stack = client.get_stack(name)
    except RefusedError as refusal:
        if refusal.status == 403:
            raise CredentialsError("Kragle does not show the stack that own_stack names: the login expired, or it is not ours") from None
        return None
    return stack if isinstance(stack, dict) and sight(stack) is Sight.OWNER else None


def _unproven(settings: KragleSettings, seen: int) -> Finding:
    if settings.expired_login == "refused" and settings.own_stack is None:
        return Finding("login", True, f"accepted; none of {seen:,} stacks is ours")
    detail = f"none of the first {seen:,} stacks shows what only its owner sees, so an expired login cannot be told from an empty account"
    return Finding("login", False, detail, "name a stack of yours under own_stack; where it is shown incompletely, " + _RENEW)


def _about(settings: KragleSettings, known: Record) -> Iterator[Finding]:
    """Whose login it is, and whether our stacks show all that an absence is trusted by."""
    owner = known.get("owner")
    if settings.owner is not None and not same_id(owner, settings.owner):
        yield Finding("owner", False, f"the login belongs to {owner}, not to {settings.owner}", f"owner: {owner}, or another login")
        return
    if sight(known) is not Sight.OWNER:
        yield Finding("login", False, f"our stack {known.get('id')} is shown as to strangers: the login is not in force", _RENEW)
        return
    yield Finding("login", True, f"in force: our stack {known.get('id')} shows what only its owner sees")
    unset = settings.owner is None
    told = f"{owner}; where it is set, an expired login is noticed at once" if unset else f"{owner}"
    yield Finding("owner", True, told, f"owner: {owner}" if unset else "")
    missing = lacking(known, settings.owner_fields)
    yield Finding(
        "owner's fields",
        not missing,
        f"our stack {known.get('id')} lacks {', '.join(missing)}" if missing else "all are shown",
        f"if Kragle always leaves out {', '.join(missing)}, take it out of owner_fields" if missing else "",
    )


def _look_up(settings: KragleSettings, client: KragleClient, known: Record) -> Finding:
    """Whether a name leads to its stack. Whatever comes out, reading works: only its cost differs."""
    subject, name = "look-up by name", known.get("name")
    if not isinstance(name, str) or not name.strip() or name.strip().isdigit() or "/" in name:
        return Finding(subject, True, "not tried: the stack at hand has no name to try it with")
    try:
        found = client.get_stack(name)
    except ConnectorError as error:
        return Finding(subject, True, f"does not work ({error}): names are looked up in the list")
    right = isinstance(found, dict) and same_id(found.get("id"), known.get("id"))
    if not right:
        return Finding(subject, True, "finds another stack of the same name", "" if settings.name_lookup == "list" else "name_lookup: list")
    advice = "name_lookup: direct, if no two stacks that are seen share a name" if settings.name_lookup == "list" else ""
    return Finding(subject, True, "finds the stack in one request", advice)
