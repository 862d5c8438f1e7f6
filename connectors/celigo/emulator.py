"""Celigo's stacks in memory over real HTTP on loopback, written from the document; imports nothing of ours but its own parts.

Strict: an unknown path, a trailing slash, a missing token or a body outside the schema is refused, nothing is
redirected. `python -m connectors.celigo.emulator --help` starts it.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from connectors.celigo.demo import user
from connectors.celigo.emulator_bodies import created, updated
from connectors.celigo.emulator_list import page
from connectors.celigo.emulator_store import SWITCHES, Refused, Store

Json = Any
Handler = Callable[[Store, Request, Json], Response]
_ONE = "/v1/stacks/{stack_id}"


def create_app(store: Store | None = None, *, control: bool = False, eu: Store | None = None) -> Starlette:
    """The platform around a store, which is `app.state.store`. `control` adds `/_control/…`, which no platform has.

    `eu` is another region's account below the path prefix `/eu`, in place of a host of its own.
    """
    store = store or Store()
    routes = [
        _route("GET", "/v1/stacks", _list, store),
        _route("POST", "/v1/stacks", _create, store),
        _route("GET", _ONE, _get, store),
        _route("PUT", _ONE, _update, store),
        _route("DELETE", _ONE, _delete, store),
        _route("GET", _ONE + "/systemToken", _token, store),
        _route("DELETE", _ONE + "/systemToken", _rotate, store),
        _route("GET", _ONE + "/dependencies", _dependencies, store),
        *(_control_routes(store) if control else []),
        *([Mount("/eu", create_app(eu, control=control))] if eu is not None else []),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _nothing_here(store), 405: _nothing_here(store)})
    app.router.redirect_slashes = False
    app.state.store = store
    return app


def _route(method: str, path: str, handler: Handler, store: Store) -> Route:
    async def endpoint(request: Request) -> Response:
        if request.method != method:  # Starlette answers HEAD where GET is routed
            return await _nothing_here(store)(request, Exception())
        if delay := int(store.switches["latency_ms"]):
            await asyncio.sleep(delay / 1000)
        raw = await request.body()
        try:
            _authorize(store, request)
            answer = _served(store, request, handler, raw)
        except Refused as refusal:
            answer = _error(store, refusal)
        name = handler.__name__.strip("_")
        store.counters[name] = store.counters.get(name, 0) + 1
        _note(store, request, answer.status_code, raw)
        return answer

    return Route(path, endpoint, methods=[method])


def _served(store: Store, request: Request, handler: Handler, raw: bytes) -> Response:
    fault = store.fault() if handler in (_create, _update, _delete, _rotate) else "none"
    if fault == "500_before":
        raise Refused(500, "Internal error", code="500")
    if fault == "429":
        refused = _error(store, Refused(429, "Too many requests", code="rate_limit"))
        refused.headers["retry-after"] = "1"
        return refused
    try:
        body = json.loads(raw) if raw else None
    except ValueError as e:
        raise Refused(400, "The body is not JSON", code="invalid_json") from e
    answer = handler(store, request, body)
    if fault == "500_after":
        raise Refused(500, "Internal error", code="500")
    if fault == "html_200":
        return Response("<html><body>Maintenance</body></html>", media_type="text/html")
    return _json({"errors": [{"message": "Something went wrong", "code": 500}]}) if fault == "error_200" else answer


def _authorize(store: Store, request: Request) -> None:
    given = request.headers.get("authorization")
    if given is None:
        raise Refused(401, "Unauthorized", bare=True)
    if given != f"Bearer {store.token}":
        raise Refused(401, "Bearer Authentication Failed", bare=True)


def _list(store: Store, request: Request, body: Json) -> Response:
    if store.before_list is not None:
        store.before_list()
    stacks, link = page(store, request)
    if not stacks and store.switches["none"] == "204":
        return Response(status_code=204)
    answer = _json(stacks)
    if link:
        answer.headers["link"] = link
    return answer


def _create(store: Store, request: Request, body: Json) -> Response:
    return _json(store.shown(store.create(created(store, body))), 201)


def _get(store: Store, request: Request, body: Json) -> Response:
    return _json(store.shown(_held(store, request, reading=True)))


def _update(store: Store, request: Request, body: Json) -> Response:
    return _json(store.shown(store.replace(updated(store, _held(store, request), body))))


def _delete(store: Store, request: Request, body: Json) -> Response:
    stack_id = request.path_params["stack_id"]
    if stack_id in store.deleted and store.switches["deleted_again"] == "204":
        return Response(status_code=204)
    _held(store, request)
    if store.users.get(stack_id) and store.switches["used"] == "refused":
        raise Refused(422, "The stack is in use", code="has_dependencies")
    store.remove(stack_id)
    return Response(status_code=204)


def _token(store: Store, request: Request, body: Json) -> Response:
    return _json({"systemToken": _server(store, request)["server"]["systemToken"]})


def _rotate(store: Store, request: Request, body: Json) -> Response:
    stack = _server(store, request)
    store.replace({**stack, "server": {**stack["server"], "systemToken": store.new_token()}})
    return Response(status_code=204)


def _dependencies(store: Store, request: Request, body: Json) -> Response:
    stack_id = request.path_params["stack_id"]
    if not re.fullmatch(r"[0-9a-f]{24}", stack_id):
        raise Refused(400, "Invalid _id", code="invalid_ref", field="_id")
    if store.switches["dependencies"] == "forbidden":
        raise Refused(403, "No access to dependencies", code="forbidden")
    return _json(store.users.get(stack_id, {}) if stack_id in store.stacks else {})


def _held(store: Store, request: Request, *, reading: bool = False) -> Json:
    stack_id = request.path_params["stack_id"]
    found = store.stacks.get(stack_id)
    if found is None and reading and store.switches["deleted_get"] == "200":
        found = store.deleted.get(stack_id)
    if found is None:
        raise Refused(404, "Stack not found", code="invalid_ref", field="_id")
    return found


def _server(store: Store, request: Request) -> Json:
    found = _held(store, request)
    if found["type"] != "server":
        raise Refused(404, "Not a server stack", code="invalid_ref", field="_id")
    return found


def _json(value: Json, status: int = 200) -> Response:
    return Response(json.dumps(value, ensure_ascii=False), status, media_type="application/json")


def _error(store: Store, refusal: Refused) -> Response:
    if refusal.bare:
        return _json({"message": refusal.message}, refusal.status)
    code: Json = refusal.status if store.switches["error_code"] == "int" else refusal.code
    field = {"field": refusal.field} if refusal.field else {}
    return _json({"errors": [{"code": code, "message": refusal.message, **field}]}, refusal.status)


def _note(store: Store, request: Request, status: int, raw: bytes = b"") -> None:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    store.log.append({"method": request.method, "path": path, "status": status, "body": raw[:2000].decode("utf-8", "replace")})
    del store.log[:-10_000]


def _nothing_here(store: Store) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _: Exception) -> Response:
        try:
            _authorize(store, request)
            refused = _error(store, Refused(404, "Not found", code="not_found"))
        except Refused as refusal:
            refused = _error(store, refusal)
        _note(store, request, refused.status_code)
        return refused

    return answer


def _control_routes(store: Store) -> list[Route]:
    """Not the platform: how a test in another process turns the switches and plays the third party."""

    async def switches(request: Request) -> Response:
        if request.method == "POST":
            try:
                for name, value in json.loads(await request.body()).items():
                    store.set_switch(name, str(value))
            except (ValueError, AttributeError) as e:
                return _json({"message": str(e)}, 400)
        return _json(store.switches)

    async def log(request: Request) -> Response:
        if request.method == "DELETE":
            store.log.clear()
            store.counters.clear()
        return _json({"counters": store.counters, "log": store.log})

    async def records(request: Request) -> Response:
        """{"create": [stacks…], "edit": [[id, fields]…], "delete": [ids], "use": [[id, type, name]…]} as somebody else."""
        body = json.loads(await request.body())
        made = [store.create(stack)["_id"] for stack in body.get("create", [])]
        for stack_id, fields in body.get("edit", []):
            store.replace({**store.stacks[stack_id], **fields})
        for stack_id in body.get("delete", []):
            store.remove(stack_id)
        for stack_id, kind, name in body.get("use", []):
            store.use(stack_id, {kind: [user(name, name)]})
        return _json({"created": made, "ids": list(store.stacks), "count": len(store.stacks)})

    return [
        Route("/_control/switches", switches, methods=["GET", "POST"]),
        Route("/_control/log", log, methods=["GET", "DELETE"]),
        Route("/_control/records", records, methods=["POST"]),
    ]


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Celigo's stacks, emulated on loopback; an empty EU account (token demo-eu) is at /eu.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8703)
    parser.add_argument("--state", type=Path, help="a file that keeps every change across restarts")
    parser.add_argument("--seed", type=int, default=7, help="another seed is another account, with ids of its own")
    for name, count in (("servers", 4), ("lambdas", 3)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--control", action="store_true", help="add /_control/… for tests")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="one of " + ", ".join(SWITCHES))
    given = parser.parse_args()
    if given.state is not None:
        given.state.parent.mkdir(parents=True, exist_ok=True)
    try:
        switches = dict(entry.split("=", 1) for entry in given.switch)
        store = Store(seed=given.seed, servers=given.servers, lambdas=given.lambdas, state=given.state, **switches)
        beside = given.state and given.state.with_name(given.state.name + ".eu")
        eu = Store(seed=given.seed + 1, servers=0, lambdas=0, state=beside, **switches)
        eu.token = "demo-eu"  # noqa: S105
    except ValueError as e:
        parser.error(str(e))
    uvicorn.run(create_app(store, control=given.control, eu=eu), host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
