"""The list of the Celigo emulator: projection by include and exclude, pages, and the Link header between them."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from connectors.celigo.emulator_store import Refused, Store

Json = Any
_PAGE = "pageToken"
_BOTH = "Please provide either include or exclude param in the request query and not both."


def page(store: Store, request: Request) -> tuple[list[Json], str]:
    """The stacks of the page that is asked for, as shown, and the Link header ("" on the last page). Raises Refused."""
    asked = dict(request.query_params)
    if any("[" in name for name in asked):
        raise Refused(500, "Internal error", code="internal")
    if unknown := sorted(set(asked) - {"include", "exclude", _PAGE}):
        raise Refused(400, f"Unknown query param {unknown[0]}", code="invalid_query_params")
    chosen = {name: asked[name] for name in ("include", "exclude") if asked.get(name)}
    if len(chosen) > 1:
        raise Refused(400, _BOTH, code="invalid_query_params")
    if any(not re.fullmatch(r"[A-Za-z0-9._,]+", value) for value in chosen.values()):
        raise Refused(400, "Invalid characters in query params", code="invalid_query_params")
    size, held = int(store.switches["page_size"]), store.listed()
    start = _start(store, asked.get(_PAGE), held)
    here = held[start : start + size]
    more = start + size < len(held) or (store.switches["last_page"] == "empty" and bool(here))
    shown = [_projected(store, store.shown(stack), chosen) for stack in here]
    return shown, _link(store, request, chosen, start, here) if more else ""


def _start(store: Store, token: str | None, held: list[Json]) -> int:
    if token is None:
        return 0
    try:
        kind, _, place = urlsafe_b64decode(token.encode()).decode().partition(":")
        if kind == "offset":
            return int(place)
        if kind != "after":
            raise ValueError("no token of this platform")
    except ValueError:
        raise Refused(400, "Invalid page token", code="invalid_query_params") from None
    return next((number for number, stack in enumerate(held) if str(stack["_id"]) > place), len(held))


def _link(store: Store, request: Request, chosen: dict[str, str], start: int, here: list[Json]) -> str:
    keyset = store.switches["paging"] == "keyset" and here
    place = f"after:{here[-1]['_id']}" if keyset else f"offset:{start + len(here)}"
    way = store.switches["next_link"]
    if way == "repeated":
        place = "offset:0"
    query = "?" + urlencode({**chosen, _PAGE: urlsafe_b64encode(place.encode()).decode()})
    path = request.url.path
    base = "https://elsewhere.example" if way == "other_host" else f"{request.url.scheme}://{request.url.netloc}"
    target = {"rooted": path + query, "relative": query}.get(way, base + path + query)
    first = f"<{base}{path}?sort=a,b;c>"
    return {
        "plain": f'<{target}>; rel="next"',
        "crowded": f'{first}; title="a, <b>; rel=\\"next\\""; rel="first", <{target}>; title="more"; REL="prefetch Next"',
        "unquoted": f"<{target}>;rel=next",
    }[store.switches["link_header"]]


def _projected(store: Store, stack: Json, chosen: dict[str, str]) -> Json:
    if "include" in chosen:
        always = ["_id", "name", *(["type"] if store.switches["identity"] == "richer" else [])]
        kept: dict[str, Json] = {}
        for path in [*always, *chosen["include"].split(",")]:
            name, _, inner = path.partition(".")
            if not inner and name in stack:
                kept[name] = stack[name]
            elif inner and store.switches["dots"] == "work" and isinstance(stack.get(name), dict) and inner in stack[name]:
                kept[name] = {**kept.get(name, {}), inner: stack[name][inner]}
        return kept
    if "exclude" in chosen:
        protected = {"_id", "name"} if store.switches["protected"] == "identity" else {"_id"}
        gone = set(chosen["exclude"].split(",")) - protected
        nested = {name: config for name, config in stack.items() if name not in gone}
        return {
            name: {inner: value for inner, value in held.items() if f"{name}.{inner}" not in gone} if isinstance(held, dict) else held
            for name, held in nested.items()
        }
    return stack
