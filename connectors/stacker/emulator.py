"""Stacker in memory over real HTTP on loopback, written from its documents; imports nothing of ours but its own parts.

Strict: an unknown path, a missing header or trailing slash, a bad body or more than 1000 bulk
records is refused, nothing is redirected. `python -m connectors.stacker.emulator --help` starts it.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.stacker.emulator_control import control_routes
from connectors.stacker.emulator_objects import Object, Refused, decode, encode
from connectors.stacker.emulator_search import search
from connectors.stacker.emulator_store import SWITCHES, Store

Json = Any
Handler = Callable[[Store, Request], Awaitable[Response]]
_API = "/api/external"
_BUTTONS = {"contacts": ["Send welcome mail", "Merge duplicates"], "orders": ["Print invoice"]}


def create_app(store: Store | None = None, *, control: bool = False) -> Starlette:
    """The platform around a store, which is `app.state.store`. `control` adds `/_control/…`, which no platform has."""
    store = store or Store()
    one, record = _API + "/objects/{object_sid}", _API + "/objects/{object_sid}/records/{record_sid}/"
    routes = [
        _route("GET", _API + "/hello/", _hello, store, scope="key"),
        _route("GET", _API + "/accounts/", _accounts, store, scope="key"),
        _route("GET", _API + "/objects/", _objects, store),
        _route("GET", one + "/action-buttons/", _action_buttons, store),
        _route("POST", one + "/search/", _search, store),
        _route("POST", one + "/records/", _create, store),
        _route("GET", record, _get, store),
        _route("PATCH", record, _update, store),
        _route("DELETE", record, _delete, store),
        _route("POST", one + "/bulk-records/", _bulk, store),
        *(control_routes(store) if control else []),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _nothing_here(store), 405: _nothing_here(store)})
    app.router.redirect_slashes = False
    app.state.store = store
    return app


def _route(method: str, path: str, handler: Handler, store: Store, scope: str = "stack") -> Route:
    async def endpoint(request: Request) -> Response:
        if delay := int(store.switches["latency_ms"]):
            await asyncio.sleep(delay / 1000)
        try:
            _authorize(store, request, scope)
            answer = await handler(store, request)
        except Refused as refusal:
            answer = _error(store, refusal.status, refusal.words)
        name = handler.__name__.strip("_")
        store.counters[name] = store.counters.get(name, 0) + 1
        store.log.append({"method": request.method, "path": request.url.path, "status": answer.status_code})
        del store.log[:-10_000]
        return answer

    route = Route(path, endpoint, methods=[method])
    route.methods = {method}  # Starlette adds HEAD to every GET; the documents know no HEAD
    return route


def _authorize(store: Store, request: Request, scope: str) -> None:
    if request.headers.get("x-integration-key") != store.key:
        raise Refused(401, "Invalid integration key")
    if scope == "key":
        return
    account, stack = request.headers.get("x-account-id"), request.headers.get("x-stack-id")
    if not account or not stack:
        raise Refused(400, "X-Account-Id and X-Stack-Id are required")
    stacks = (store.stack, "stk_other") if store.switches["stacks"] == "several" else (store.stack,)
    if account != store.account or stack not in stacks:
        raise Refused(403, "No access to this account and stack")
    if stack != store.stack:
        raise Refused(404, "This stack has no objects")


async def _hello(store: Store, request: Request) -> Response:
    return _json(encode({"message": "hello"}))


async def _accounts(store: Store, request: Request) -> Response:
    accounts = [{"id": store.account, "name": "Demo company"}]
    if store.switches["accounts"] == "several":
        accounts.append({"id": "acc_other", "name": "Another company"})
    return _json(encode({"accounts": accounts}))


async def _objects(store: Store, request: Request) -> Response:
    return _json(encode({"objects": [{"sid": o.sid, "name": o.name, "api_name": o.api_name} for o in store.objects.values()]}))


async def _action_buttons(store: Store, request: Request) -> Response:
    target = _target(store, request)
    buttons = [{"sid": f"btn_{target.api_name}_{n}", "name": name} for n, name in enumerate(_BUTTONS.get(target.api_name, []))]
    return _json(encode({"action_buttons": buttons}))


async def _search(store: Store, request: Request) -> Response:
    raw = await request.body()
    body = _object_body(raw) if raw else {}
    target = _target(store, request)
    store.searches += 1
    if store.before_search is not None:
        store.before_search(store.searches)
    as_csv = request.headers.get("accept", "").split(";")[0].strip() == "text/csv"
    answer = search(store, target, body, as_csv=as_csv)
    return Response(answer, int(store.switches["search_status"]), media_type="text/csv" if as_csv else "application/json")


async def _create(store: Store, request: Request) -> Response:
    target, values = _target(store, request), _object_body(await request.body())
    include = _field_names(values.pop("include_fields", None))
    sid = store.create(target, values)
    return _written(store, store.shown(target, sid, include), 201)


async def _get(store: Store, request: Request) -> Response:
    target, sid = _record(store, request)
    asked = request.query_params.get("include_fields")
    if set(request.query_params) - {"include_fields"}:
        raise Refused(400, "Unknown query parameter")
    try:
        include = _field_names(json.loads(asked)) if asked is not None else None
    except ValueError as e:
        raise Refused(400, "include_fields is a JSON array of field API names") from e
    return _json(store.shown(target, sid, include))


async def _update(store: Store, request: Request) -> Response:
    target, sid = _record(store, request)
    store.update(target, sid, _object_body(await request.body()))
    return _written(store, store.shown(target, sid, None), 200)


def _written(store: Store, shown: bytes, status: int) -> Response:
    return Response(status_code=204) if store.switches["write_answers"] == "nothing" else _json(shown, status)


async def _delete(store: Store, request: Request) -> Response:
    target = _target(store, request)
    if store.switches["delete"] == "refused":
        raise Refused(409, "Other records refer to this one")
    store.delete(target, request.path_params["record_sid"])
    return Response(status_code=204)


async def _bulk(store: Store, request: Request) -> Response:
    if store.switches["bulk"] != "works":
        raise Refused(int(store.switches["bulk"]), "There is no bulk call here")
    target, sent = _target(store, request), _body(await request.body())
    if not isinstance(sent, list) or not all(isinstance(values, dict) for values in sent):
        raise Refused(400, "The body is a list of records")
    if len(sent) > 1000:
        raise Refused(400, f"At most 1000 records in one request, not {len(sent)}")
    created, updated = bulk_upsert(store, target, sent)
    if store.switches["created_order"] == "reversed":
        created.reverse()
    elif store.switches["created_order"] == "shuffled":
        store.rng.shuffle(created)
    empty = store.switches["empty_list"]
    named = {"created": created, "updated": updated}
    return _json(encode({name: sids or (None if empty == "null" else sids) for name, sids in named.items() if sids or empty != "omitted"}))


def bulk_upsert(store: Store, target: Object, sent: list[dict[str, Json]]) -> tuple[list[str], list[str]]:
    """The sids made and changed, as the bulk switches say. Raises Refused."""
    created: list[str] = []
    updated: list[str] = []
    undo: list[tuple[str, dict[str, Json] | None]] = []
    for values in sent:
        try:
            sid = _existing(store, target, values)
            rest = {name: value for name, value in values.items() if name != "sid"}
            if sid is None:
                made = store.create(target, rest)
                undo.append((made, None))
                created.append(made)
            else:
                undo.append((sid, target.records[sid]))
                store.update(target, sid, rest)
                updated.append(sid)
        except Refused:
            if store.switches["bulk_failure"] == "skips":
                continue
            if store.switches["bulk_failure"] == "atomic":
                for sid, before in reversed(undo):
                    store.delete(target, sid) if before is None else store.edit(target, sid, before)
            raise
    return created, updated


def _existing(store: Store, target: Object, values: dict[str, Json]) -> str | None:
    """The sid of the record that this one updates, or None to make a new one."""
    match = store.switches["bulk_match"]
    if match == "never":
        return None
    if match != "sid":
        return next(iter(target.with_value(match, values.get(match))), None)
    sid = values.get("sid")
    if sid is None or sid in target.records:
        return sid
    if store.switches["bulk_unknown_sid"] == "refused":
        raise Refused(400, f"Record {sid} not found")
    return None


def _target(store: Store, request: Request) -> Object:
    return store.find_object(request.path_params["object_sid"])


def _record(store: Store, request: Request) -> tuple[Object, str]:
    target, sid = _target(store, request), request.path_params["record_sid"]
    if sid not in target.records:
        raise Refused(404, f"Record {sid} not found")
    return target, sid


def _body(raw: bytes) -> Json:
    try:
        return decode(raw)
    except ValueError as e:
        raise Refused(400, "The body is not JSON") from e


def _object_body(raw: bytes) -> dict[str, Json]:
    body = _body(raw)
    if not isinstance(body, dict):
        raise Refused(400, "The body is an object")
    return body


def _field_names(value: Json) -> list[str] | None:
    if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise Refused(400, "include_fields is a list of field API names")
    return value


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _error(store: Store, status: int, words: str) -> Response:
    shape = store.switches["error_body"]
    if shape == "html":
        return Response(f"<html><body><h1>{status}</h1><p>{words}</p></body></html>", status, media_type="text/html")
    if shape == "empty":
        return Response(status_code=status)
    body: Json = {"errors": [{"code": status, "message": words}]} if shape == "errors" else {shape: words}
    return _json(encode(body), status)


def _nothing_here(store: Store) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _: Exception) -> Response:
        store.log.append({"method": request.method, "path": request.url.path, "status": 404})
        return _error(store, 404, "Not found")

    return answer


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Stacker, emulated on loopback from its documents.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8701)
    parser.add_argument("--state", type=Path, help="a file that keeps every change across restarts")
    parser.add_argument("--seed", type=int, default=7)
    for name, count in (("contacts", 2000), ("companies", 300), ("orders", 3000)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--control", action="store_true", help="add /_control/… for tests")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="one of " + ", ".join(SWITCHES))
    given = parser.parse_args()
    if given.state is not None:
        given.state.parent.mkdir(parents=True, exist_ok=True)
    try:
        switches = dict(entry.split("=", 1) for entry in given.switch)
        counts = {"contacts": given.contacts, "companies": given.companies, "orders": given.orders}
        store = Store(seed=given.seed, **counts, state=given.state, **switches)
    except ValueError as e:
        parser.error(str(e))
    uvicorn.run(create_app(store, control=given.control), host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
