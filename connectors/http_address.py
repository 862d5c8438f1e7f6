"""Where requests may go and what secrets look like: checks made once, before anything is sent. No I/O."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import quote, unquote, urlsplit

import httpx

from connectors.errors import ConfigError, ContractError
from connectors.settings import Secret

__all__ = ["address", "base_address", "own_path", "secret_spellings"]


def base_address(base_url: str) -> httpx.URL:
    """The connection's address, path prefix included. Raises ConfigError unless it is https, or http on this machine."""
    try:
        urlsplit(base_url)  # notices broken brackets, which httpx overlooks
        url = httpx.URL(base_url.strip().rstrip("/"))
    except (httpx.InvalidURL, ValueError):
        raise ConfigError("base_url is not an address; write it as https://host or https://host/prefix") from None
    if url.userinfo:
        raise ConfigError("base_url contains a user name or password; put credentials into the connection's own settings")
    if url.query or url.fragment or not url.host or url.scheme not in ("http", "https"):
        raise ConfigError("base_url must be written as https://host or https://host/prefix, without ? and #")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigError(f"base_url goes to {url.host} without encryption; use https (http is only for 127.0.0.1 and localhost)")
    return url


def address(base: httpx.URL, path: str) -> httpx.URL:
    """The address of one request. Raises ConfigError when the path would leave the connection's host or prefix."""
    segments = unquote(path.partition("?")[0]).split("/")
    if not path.startswith("/") or any(segment in (".", "..") for segment in segments) or "#" in path:
        raise ConfigError(f"the path {path[:120]!r} cannot be used: names in it must not be '.' or '..' nor contain '#'")
    try:
        url = httpx.URL(str(base).rstrip("/") + path)
    except httpx.InvalidURL:
        raise ConfigError(f"the path {path[:120]!r} holds characters that an address cannot have") from None
    if (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port):
        raise ConfigError(f"the path {path[:120]!r} leads away from {base.host}")
    return url


def own_path(base: httpx.URL, link: str) -> str:
    """The path, for a request of the same connection, that an absolute or rooted link of an answer names; query included.

    Raises ContractError when it leads to another origin or out of the connection's prefix: credentials go nowhere else.
    """
    try:
        urlsplit(link)
        target = httpx.URL(str(base)).join(link)
    except (httpx.InvalidURL, ValueError):
        raise ContractError("the answer links to something that is no address; look at the platform") from None
    if (target.scheme, target.host, target.port) != (base.scheme, base.host, base.port) or target.userinfo:
        found, own = (f"{url.scheme}://{url.netloc.decode('ascii')}" for url in (target.copy_with(userinfo=b""), base))
        raise ContractError(f"the answer links to {found[:120]}, away from {own}, which is not followed; check base_url and the platform")
    whole, prefix = target.raw_path.decode("ascii"), base.raw_path.decode("ascii").rstrip("/")
    path = whole.removeprefix(prefix)
    if not whole.startswith(prefix + "/"):
        raise ContractError(f"the answer links to a path outside {prefix}, which is not followed; check base_url")
    try:
        address(base, path)
    except ConfigError:
        raise ContractError("the answer links to a path that cannot be used; look at the platform") from None
    return path


def secret_spellings(auth: Mapping[str, Secret]) -> frozenset[str]:
    """Every way a credential may show up in a text: whole, in its words (`Bearer …`), percent-encoded.

    Raises ConfigError for a credential that is empty or cannot be a header's value.
    """
    found: set[str] = set()
    for name, secret in auth.items():
        value = secret.reveal()
        if not value:
            raise ConfigError(f"the credential for {name} is empty; set it in connections.yaml or in the environment variable named there")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ConfigError(
                f"the credential for {name} holds a line break, an outer space or a letter that a header cannot carry; copy it again"
            )
        found |= {value, quote(value, safe="")} | {word for word in value.split() if word.lower() not in ("bearer", "basic")}
    return frozenset(found)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
