"""Kragle in memory over real HTTP on loopback, written from its document; imports nothing of ours but its own parts.

Strict: an unknown path, method or query parameter, a trailing slash or a bad body is refused, nothing
is redirected. `python -m connectors.kragle.emulator --help` starts it.
"""

import argparse
import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from connectors.kragle.emulator_bodies import after_put, apply, as_id, checked, shown
from connectors.kragle.emulator_control import control_routes
from connectors.kragle.emulator_store import SWITCHES, Json, Refused, Store

Handler = Callable[[Store, Request, int | None, bytes], Response]
_PATH = "/blockstacks"


def create_app(store: Store | None = None, *, control: bool = False) -> Starlette:
    """The platform around a store, which is `app.state.store`. `control` adds `/_control/…`, which no platform has."""
    store = store or Store()
    routes = [
        _route("GET", _PATH, _list, store),
        _route("POST", _PATH, _create, store),
        _route("GET", _PATH + "/{stack:path}", _get, store),
        _route("PUT", _PATH + "/{stack:path}", _update, store),
        *(control_routes(store) if control else []),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _nothing_here(store), 405: _nothing_here(store)})
    app.router.redirect_slashes = False
    app.state.store = store
    return app


def _route(method: str, path: str, handler: Handler, store: Store) -> Route:
    async def endpoint(request: Request) -> Response:
        if delay := int(store.switches["latency_ms"]):
            await asyncio.sleep(delay / 1000)
        raw = await request.body()
        try:
            user = _user(store, request)
            answer = _served(store, request, handler, user, raw)
        except Refused as refusal:
            answer = _error(store, refusal.status, refusal.words)
        name = handler.__name__.strip("_")
        store.counters[name] = store.counters.get(name, 0) + 1
        _note(store, request, answer.status_code, raw)
        return answer

    return Route(path, endpoint, methods=[method])


def _served(store: Store, request: Request, handler: Handler, user: int | None, raw: bytes) -> Response:
    write = handler in (_create, _update)
    if write and user is None:
        raise Refused(int(store.switches["login_needed"]), "Authentication is required")
    fault = store.fault() if write else "none"
    if fault == "500_before":
        raise Refused(500, "Internal error")
    if fault == "429":
        refused = _error(store, 429, "Too many requests")
        refused.headers["retry-after"] = "1"
        return refused
    answer = handler(store, request, user, raw)
    if fault == "500_after":
        raise Refused(500, "Internal error")
    if fault == "html_200":
        return Response("<html><body>Maintenance</body></html>", media_type="text/html")
    if fault == "error_200":
        return _json({"error": "Something went wrong"})
    return _cut() if fault == "cut" else answer


def _user(store: Store, request: Request) -> int | None:
    """Who asks; None for anybody. Raises Refused where a bad login is."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    way, _, value = given.partition(" ")
    user = None
    if way.lower() == store.switches["auth"]:
        user = store.logins.get(value if way.lower() == "bearer" else _pair(value))
    if user is None and store.switches["bad_login"] != "anonymous":
        raise Refused(int(store.switches["bad_login"]), "The login is not valid")
    return user


def _pair(value: str) -> tuple[str, str]:
    try:
        name, _, password = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return ("", "")
    return (name, password)


def _list(store: Store, request: Request, user: int | None, raw: bytes) -> Response:
    if store.before_page is not None:
        store.before_page()
    asked = request.query_params.get("page", "1")
    if set(request.query_params) - {"page"} or not asked.isdigit() or int(asked) < 1:
        raise Refused(400, "The only parameter is page, an integer from 1")
    size = int(store.switches["pagesize"])
    stacks = store.listed(user)
    pages = max(1, -(-len(stacks) // size))
    page = 1 if store.switches["page"] == "ignored" else int(asked)
    if page > pages and store.switches["beyond_end"] == "404":
        raise Refused(404, "No such page")
    if page > pages and store.switches["beyond_end"] == "last":
        page = pages
    part = [stack for stack in stacks[(page - 1) * size : page * size] if store.may_see(stack, user)]
    total = sum(store.may_see(stack, user) for stack in stacks)
    counts = {"total": total, "page": len(part), "low": total // 2, "high": total + 7, "pages": pages}
    told: dict[str, Json] = {"count": counts[store.switches["count"]]} if store.switches["count"] != "absent" else {}
    if store.switches["page_fields"] == "told":
        told |= {"pagesize": size, "page": page}
    return _json({**told, "stacks": [shown(store, stack, user) for stack in part]})


def _get(store: Store, request: Request, user: int | None, raw: bytes) -> Response:
    return _json(shown(store, store.find(_asked(store, request), user), user))


def _create(store: Store, request: Request, user: int | None, raw: bytes) -> Response:
    body = checked(store, _decoded(raw), create=True)
    _unique(store, body, user)
    public = store.switches["visibility"] == "public"
    stack = store.add(owner=user or 0, name=body["name"], public=public)
    apply(store, stack, body)
    store.put(stack)
    status, way = int(store.switches["create_status"]), store.switches["create_answers"]
    if way == "nothing":
        return Response(status_code=status)
    return _json(shown(store, stack, user) if way == "whole" else {"id": as_id(store, stack["id"])}, status)


def _update(store: Store, request: Request, user: int | None, raw: bytes) -> Response:
    stack = store.find(_asked(store, request), user)
    if stack["owner"] != user:
        raise Refused(403, "Forbidden")
    body = checked(store, _decoded(raw), create=False)
    _unique(store, body, user, but=stack["id"])
    apply(store, stack, body)
    store.put(stack)
    way = store.switches["put_answers"]
    if way == "nothing":
        return Response(status_code=204)
    return _json(shown(store, stack, user) if way == "whole" else after_put(store, stack))


def _unique(store: Store, body: dict[str, Json], user: int | None, but: int | None = None) -> None:
    names = {stack["name"] for stack in store.stacks.values() if stack["owner"] == user and stack["id"] != but}
    if store.switches["unique_names"] == "yes" and body.get("name") in names:
        raise Refused(409, "A stack has this name already")


def _asked(store: Store, request: Request) -> str:
    asked: str = request.path_params["stack"]
    if asked.endswith("/"):
        if store.switches["trailing_slash"] == "refused":
            raise Refused(404, "Not found")
        asked = asked.rstrip("/")
    return asked


def _decoded(raw: bytes) -> Json:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Refused(400, "The body is not JSON") from error


def _json(body: Json, status: int = 200) -> Response:
    return Response(json.dumps(body).encode(), status, media_type="application/json")


def _cut() -> Response:
    """An answer that ends in its middle: the server closes the connection."""

    async def half() -> AsyncIterator[bytes]:
        yield b'{"id":'

    return StreamingResponse(half(), headers={"content-length": "4000"}, media_type="application/json")


def _error(store: Store, status: int, words: str) -> Response:
    shape = store.switches["error_body"]
    if shape == "html":
        return Response(f"<html><body><h1>{status}</h1><p>{words}</p></body></html>", status, media_type="text/html")
    if shape == "empty":
        return Response(status_code=status)
    return _json({"errors": [{"code": status, "message": words}]} if shape == "errors" else {shape: words}, status)


def _note(store: Store, request: Request, status: int, raw: bytes = b"") -> None:
    entry = {"method": request.method, "path": request.url.path, "query": request.url.query, "status": status}
    store.log.append({**entry, "body": raw[:20_000].decode("utf-8", "replace")})
    del store.log[:-10_000]


def _nothing_here(store: Store) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _: Exception) -> Response:
        _note(store, request, 404)
        return _error(store, 404, "Not found")

    return answer


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Kragle block stacks, emulated on loopback from their document.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8704)
    parser.add_argument("--state", type=Path, help="a file that keeps every change across restarts")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--own", type=int, default=45, help="stacks of the demo's own user")
    parser.add_argument("--others", type=int, default=30, help="public stacks of other people")
    parser.add_argument("--control", action="store_true", help="add /_control/… for tests")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="one of " + ", ".join(SWITCHES))
    given = parser.parse_args()
    if given.state is not None:
        given.state.parent.mkdir(parents=True, exist_ok=True)
    try:
        switches = dict(entry.split("=", 1) for entry in given.switch)
        store = Store(seed=given.seed, own=given.own, others=given.others, state=given.state, **switches)
    except ValueError as e:
        parser.error(str(e))
    uvicorn.run(create_app(store, control=given.control), host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
