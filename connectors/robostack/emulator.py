"""Robostack in memory over real HTTP on loopback, written from its document; imports nothing of ours but its own parts.

Strict: an unknown path, a missing header or trailing slash or a bad body is refused, nothing is
redirected. `python -m connectors.robostack.emulator --help` starts it.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from connectors.robostack.emulator_store import SWITCHES, Id, Refused, Resource, Store, decode, encode

Json = Any
Handler = Callable[[Store, Resource, Json], Response]
_PATH = "/external/api/{app_uuid}/{resource}/"


def create_app(store: Store | None = None, *, control: bool = False) -> Starlette:
    """The platform around a store, which is `app.state.store`. `control` adds `/_control/…`, which no platform has."""
    store = store or Store()
    routes = [
        _route("POST", _PATH, _find, store),
        _route("PUT", _PATH, _create, store),
        _route("PATCH", _PATH, _update, store),
        _route("DELETE", _PATH, _delete, store),
        _route("POST", _PATH + "aggregation", _aggregate, store),
        *(_control_routes(store) if control else []),
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
            _authorize(store, request)
            answer = _served(store, request, handler, raw)
        except Refused as refusal:
            answer = _error(store, refusal.status, refusal.words)
        name = handler.__name__.strip("_")
        store.counters[name] = store.counters.get(name, 0) + 1
        _note(store, request, answer.status_code, raw)
        return answer

    return Route(path, endpoint, methods=[method])


def _served(store: Store, request: Request, handler: Handler, raw: bytes) -> Response:
    fault = store.fault() if handler in (_create, _update, _delete) else "none"
    if fault == "500_before":
        raise Refused(500, "Internal error")
    if fault == "429":
        refused = _error(store, 429, "Too many requests")
        refused.headers["retry-after"] = "1"
        return refused
    try:
        body = decode(raw) if raw else None
    except ValueError as e:
        raise Refused(400, "The body is not JSON") from e
    answer = handler(store, store.resource(request.path_params["resource"]), body)
    if fault == "500_after":
        raise Refused(500, "Internal error")
    if fault == "html_200":
        return Response("<html><body>Maintenance</body></html>", media_type="text/html")
    if fault == "error_200":
        return _json(encode({"success": False, "error": "Something went wrong"}))
    return _cut() if fault == "cut" else answer


def _authorize(store: Store, request: Request) -> None:
    if request.headers.get("x-api-key") != store.key or request.headers.get("x-api-secret") != store.secret:
        raise Refused(401, "Invalid token")
    if request.path_params["app_uuid"] != store.app_uuid:
        raise Refused(404, "Application not found")


def _find(store: Store, resource: Resource, body: Json) -> Response:
    if store.before_find is not None:
        store.before_find()
    if body is not None and (not isinstance(body, dict) or set(body) - {"selection"}):
        raise Refused(400, "The body is an object with a selection")
    selection = (body or {}).get("selection", {})
    if not isinstance(selection, dict):
        raise Refused(400, "selection is an object")
    asked = "no_body" if body is None else "absent_selection" if "selection" not in body else "" if selection else "empty_selection"
    if asked and store.switches[asked] == "refused":
        raise Refused(400, "A selection is required")
    keys = [] if asked and store.switches[asked] == "none" else store.visible(store.select(resource, selection))
    status, none_found = int(store.switches["find_status"]), store.switches["none_found"]
    if not keys and none_found != "list":
        if none_found == "404":
            raise Refused(404, "No records found")
        body_of_none = {"204": b"", "empty": b"", "null": b"null", "object": b"{}"}[none_found]
        return _json(body_of_none, 204 if none_found == "204" else status)
    return _json(_enveloped(store.switches["envelope"], [store.shown(resource, key) for key in keys]), status)


def _create(store: Store, resource: Resource, body: Json) -> Response:
    sent = body if isinstance(body, list) else [body]
    if not sent or not all(isinstance(values, dict) and values for values in sent):
        raise Refused(400, "The body is a record or a list of records")
    most = int(store.switches["max_batch"])
    if most and len(sent) > most:
        raise Refused(413, f"At most {most} records in one request, not {len(sent)}")
    made: list[dict[str, Json]] = []
    unique = store.switches["unique"]
    try:
        for values in sent:
            values = store.accepted(resource, values)
            if unique and values.get(unique) in [record.get(unique) for record in made]:
                raise Refused(int(store.switches["error_status"]), f"{unique} must be unique")
            made.append(values)
    except Refused:
        if store.switches["batch_failure"] == "stops" and made:
            store.put(resource, [{"id": store.next_id(resource), **values} for values in made])
        raise
    blank = dict.fromkeys(name for name in resource.fields if name != "id")
    made = [{"id": store.next_id(resource), **blank, **values} for values in made]
    store.put(resource, made)
    return _created(store, resource, [record["id"] for record in made], single=isinstance(body, dict))


def _created(store: Store, resource: Resource, keys: list[Id], *, single: bool) -> Response:
    if store.switches["create_order"] == "reversed":
        keys = keys[::-1]
    elif store.switches["create_order"] == "shuffled":
        store.rng.shuffle(keys)
    way, status = store.switches["create_answers"], int(store.switches["create_status"])
    if way == "nothing" or status == 204:
        return Response(status_code=status)
    if way in ("records", "data", "few"):
        records = [store.shown(resource, key) for key in (keys[:-1] if way == "few" and len(keys) > 1 else keys)]
        answer = records[0] if single else b"[" + b",".join(records) + b"]"
        return _json(b'{"data":' + answer + b"}" if way == "data" else answer, status)
    answers: dict[str, Json] = {
        "ids": {"ids": keys},
        "id_objects": [{"id": key} for key in keys],
        "count": {"inserted": len(keys)},
        "text": "Created",
    }
    return _json(encode(answers[way]), status)


def _update(store: Store, resource: Resource, body: Json) -> Response:
    changes = _pairs(store, body, ("selection", "updation"))
    touched: list[Id] = []
    for selection, updation in changes:
        if not isinstance(updation, dict) or not updation:
            raise Refused(400, "updation is an object")
        keys = _written(store, resource, selection)
        values = store.accepted(resource, updation, update=True)
        blank = dict.fromkeys(resource.fields) if store.switches["updation"] == "replaces" else {}
        store.put(resource, [{**resource.records[key], **blank, "id": key, **values} for key in keys])
        touched += keys
    return _touched(store, resource, touched, store.switches["update_answers"], [store.shown(resource, key) for key in touched])


def _delete(store: Store, resource: Resource, body: Json) -> Response:
    touched: list[Id] = []
    shown: list[bytes] = []
    for (selection,) in _pairs(store, body, ("selection",)):
        keys = _written(store, resource, selection)
        shown += [store.shown(resource, key) for key in keys]
        store.remove(resource, keys)
        touched += keys
    return _touched(store, resource, touched, store.switches["delete_answers"], shown)


def _pairs(store: Store, body: Json, names: tuple[str, ...]) -> list[tuple[Json, ...]]:
    """The parts of the body, one tuple per change: `{"selection": …}` or the documented lists of equal length."""
    if not isinstance(body, dict) or set(body) != set(names):
        raise Refused(400, f"The body is an object with {' and '.join(names)}")
    parts = [body[name] for name in names]
    if all(isinstance(part, dict) for part in parts):
        return [tuple(parts)]
    if not all(isinstance(part, list) for part in parts) or len({len(part) for part in parts}) != 1:
        raise Refused(400, "Lists of selections and updations have the same length")
    if store.switches["pairing"] == "refused":
        raise Refused(400, "Lists are not supported")
    return list(zip(*parts, strict=True))


def _written(store: Store, resource: Resource, selection: Json) -> list[Id]:
    """The records a write selects."""
    if not isinstance(selection, dict):
        raise Refused(400, "selection is an object")
    if not selection:
        if store.switches["empty_write_selection"] == "refused":
            raise Refused(400, "An empty selection is not allowed")
        return list(resource.records) if store.switches["empty_write_selection"] == "all" else []
    keys = store.select(resource, selection)
    if not keys and store.switches["no_match"] == "404":
        raise Refused(404, "No record matches the selection")
    return keys


def _touched(store: Store, resource: Resource, keys: list[Id], way: str, shown: list[bytes]) -> Response:
    if way == "nothing":
        return Response(status_code=204)
    if way == "empty_list":
        return _json(b"[]")
    if way == "count":
        return _json(encode({"count": len(keys)}))
    if way == "matched":
        return _json(encode({"matchedCount": len(keys), "modifiedCount": 0}))
    if way == "record" and len(shown) == 1:
        return _json(shown[0])
    return _json(b"[" + b",".join(shown) + b"]")


def _aggregate(store: Store, resource: Resource, body: Json) -> Response:
    raise Refused(501, "Coming soon")


def _enveloped(shape: str, records: list[bytes]) -> bytes:
    joined = b"[" + b",".join(records) + b"]"
    if shape == "single" and len(records) == 1:
        return records[0]
    if shape == "total":
        return b'{"records":' + joined + b',"total":%d,"count":%d}' % (len(records), len(records))
    if shape == "data.records":
        return b'{"status":"ok","data":{"records":' + joined + b"}}"
    return joined if shape in ("list", "single") else b'{"' + shape.encode() + b'":' + joined + b"}"


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _cut() -> Response:
    """An answer that ends in its middle: the server closes the connection."""

    async def half() -> AsyncIterator[bytes]:
        yield b'[{"id":'

    return StreamingResponse(half(), headers={"content-length": "4000"}, media_type="application/json")


def _error(store: Store, status: int, words: str) -> Response:
    shape = store.switches["error_body"]
    if shape == "html":
        return Response(f"<html><body><h1>{status}</h1><p>{words}</p></body></html>", status, media_type="text/html")
    if shape == "empty":
        return Response(status_code=status)
    body: Json = {"errors": [{"code": status, "message": words}]} if shape == "errors" else {shape: words}
    return _json(encode(body), status)


def _note(store: Store, request: Request, status: int, raw: bytes = b"") -> None:
    store.log.append({"method": request.method, "path": request.url.path, "status": status, "body": raw[:2000].decode("utf-8", "replace")})
    del store.log[:-10_000]


def _nothing_here(store: Store) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _: Exception) -> Response:
        _note(store, request, 404)
        return _error(store, 404, "Not found")

    return answer


def _control_routes(store: Store) -> list[Route]:
    """Not the platform: how a test in another process turns the switches and plays the third party."""

    async def switches(request: Request) -> Response:
        if request.method == "POST":
            try:
                for name, value in decode(await request.body()).items():
                    store.set_switch(name, str(value))
            except (ValueError, AttributeError) as e:
                return _json(encode({"message": str(e)}), 400)
        return _json(encode(store.switches))

    async def log(request: Request) -> Response:
        if request.method == "DELETE":
            store.log.clear()
            store.counters.clear()
        return _json(encode({"counters": store.counters, "log": store.log}))

    async def records(request: Request) -> Response:
        """{"resource", "create": […], "edit": [[id, fields]…], "delete": [ids]} as somebody else; an optional "first" count picks ids."""
        body = decode(await request.body())
        resource = store.resources.get(body["resource"]) or store.add_resource(body["resource"])
        made = [{"id": store.next_id(resource), **values} for values in body.get("create", [])]
        store.put(resource, made)
        for key, values in body.get("edit", []):
            store.put(resource, [{**resource.records[key], **values}])
        store.remove(resource, body.get("delete", []))
        ids = list(resource.records)[: body.get("first", 0)]
        return _json(encode({"created": [record["id"] for record in made], "ids": ids, "count": len(resource.records)}))

    return [
        Route("/_control/switches", switches, methods=["GET", "POST"]),
        Route("/_control/log", log, methods=["GET", "DELETE"]),
        Route("/_control/records", records, methods=["POST"]),
    ]


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Robostack, emulated on loopback from its document.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8702)
    parser.add_argument("--state", type=Path, help="a file that keeps every change across restarts")
    parser.add_argument("--seed", type=int, default=7)
    for name, count in (("people", 5), ("orgs", 3), ("invoices", 1500)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--control", action="store_true", help="add /_control/… for tests")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="one of " + ", ".join(SWITCHES))
    given = parser.parse_args()
    if given.state is not None:
        given.state.parent.mkdir(parents=True, exist_ok=True)
    try:
        switches = dict(entry.split("=", 1) for entry in given.switch)
        counts = {"people": given.people, "orgs": given.orgs, "invoices": given.invoices}
        store = Store(seed=given.seed, **counts, state=given.state, **switches)
    except ValueError as e:
        parser.error(str(e))
    uvicorn.run(create_app(store, control=given.control), host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
