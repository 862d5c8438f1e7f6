"""The `Link` header of a list: where the next page is (RFC 8288, which replaced RFC 5988). Pure."""

import re
from urllib.parse import urljoin

from connectors.errors import ContractError

__all__ = ["next_link", "relative_to"]

_LINK = re.compile(r"""\s*<([^<>]*)>((?:[^",]|"(?:[^"\\]|\\.)*")*)(?:,|$)""")
_PARAMETER = re.compile(r""";\s*([^\s=;"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*)))?""")


def next_link(header: str) -> str | None:
    """The target of the link whose relation is `next`, as it stands there; None where there is none.

    Raises ContractError for a header that cannot be read, or one that names two different next pages: a
    list cut short without notice would look like records that are gone.
    """
    targets: set[str] = set()
    rest = header.strip()
    while rest:
        found = _LINK.match(rest)
        if found is None:
            raise ContractError(f"a Link header of {len(header)} characters cannot be read, so whether more follows is not known")
        relation = next((quoted or bare for name, quoted, bare in _PARAMETER.findall(found[2]) if name.lower() == "rel"), "")
        if "next" in relation.strip("'").lower().split():  # some quote with ' as HTML may
            targets.add(found[1].strip())
        rest = rest[found.end() :].strip().lstrip(",").strip()
    if len(targets) > 1:
        raise ContractError(f"a Link header names {len(targets)} different next pages; look at what the platform answered")
    return targets.pop() if targets else None


def relative_to(path: str, link: str) -> str | None:
    """The path of a link written relative to the page that it stands on (`?page=2`); None where it is absolute or rooted."""
    if link.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link):
        return None
    return urljoin(path, link)
