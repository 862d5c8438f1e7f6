"""Stack AI connections in memory over real HTTP on loopback, written from the document; imports nothing of ours but its own parts.

Strict: an unknown path, parameter or body field type, a slash at the end or an id that is no UUID is refused, nothing is
redirected. `python -m connectors.stack_ai.emulator --help` starts it.
"""

import argparse
import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.stack_ai import demo
from connectors.stack_ai.emulator_control import control_routes
from connectors.stack_ai.emulator_resources import DEFAULT_PAGE, by_ids, children, searched
from connectors.stack_ai.emulator_store import SWITCHES, Refused, Store

Json = Any
Handler = Callable[[Store, Request, Json], Response]
_ONE = "/connections/{connection_id}"
_V1 = "/api/v1/connections"
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}
_PAGE = {"cursor", "page_size", "refresh_oauth_tokens"}


def create_app(store: Store | None = None, *, control: bool = False) -> Starlette:
    """The platform around a store, which is `app.state.store`. `control` adds `/_control/…`, which no platform has."""
    store = store or Store()
    routes = [
        _token_route(store),
        _route("GET", "/connections/available", _available, store),
        _route("GET", "/connections", _list, store, {"connection_provider", "limit", "offset"}),
        _route("POST", "/connections", _create, store),
        _route("POST", "/connections/oauth/start", _oauth_start, store),
        _route("POST", "/connections/oauth/callback", _callback_create, store, {"code"}),
        _route("PUT", "/connections/oauth/callback/{connection_id}", _callback_update, store, {"code"}),
        _route("GET", _ONE, _get, store, {"refresh_oauth_tokens"}),
        _route("PUT", _ONE, _put, store),
        _route("PATCH", _ONE, _patch, store),
        _route("DELETE", _ONE, _delete, store),
        _route("GET", _ONE + "/health", _health, store),
        _route("GET", _ONE + "/resources", _resources, store, {"resource_ids", "refresh_oauth_tokens"}),
        _route("GET", _ONE + "/resources/children", _children, store, {"resource_id", *_PAGE}),
        _route("GET", _ONE + "/resources/search", _search, store, {"query", *_PAGE}),
        _route("GET", _V1, _list_v1, store, None),
        _route("GET", _V1 + "/{connection_id}/rbac", _rbac, store),
        _route("PUT", _V1 + "/{connection_id}/rbac", _put_rbac, store),
        _route("DELETE", _V1 + "/{connection_id}/rbac", _delete_rbac, store, {"subject_type", "subject_id"}),
        _route("PATCH", _V1 + "/{connection_id}/organization-role", _organization_role, store),
        *(control_routes(store) if control else []),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _nothing_here(store), 405: _nothing_here(store)})
    app.router.redirect_slashes = False
    app.state.store = store
    return app


def _route(method: str, path: str, handler: Handler, store: Store, params: set[str] | None = frozenset()) -> Route:  # type: ignore[assignment]
    async def endpoint(request: Request) -> Response:
        if delay := int(store.switches["latency_ms"]):
            await asyncio.sleep(delay / 1000)
        raw = await request.body()
        try:
            _authorize(store, request)
            _check_parameters(request, params)
            answer = _served(store, request, handler, raw)
        except Refused as refusal:
            answer = _error(store, refusal)
        _note(store, request, answer.status_code, raw)
        return answer

    route = Route(path, endpoint, methods=[method])
    route.methods = {method}  # Starlette adds HEAD to every GET; the document knows no HEAD
    return route


def _served(store: Store, request: Request, handler: Handler, raw: bytes) -> Response:
    fault = store.fault() if request.method in _WRITES else "none"
    if fault == "500_before":
        raise Refused(500, "Internal error")
    if fault == "429":
        return Response('{"detail":"Too many requests"}', 429, {"retry-after": "1"}, "application/json")
    try:
        body = json.loads(raw) if raw else None
    except ValueError as e:
        raise _invalid("body", "The body is not JSON") from e
    key = request.path_params.get("connection_id")
    if key is not None:
        _uuid(key, "path", "connection_id")
        if key not in store.visible():
            raise Refused(404, "Connection not found")
    answer = handler(store, request, body)
    if fault == "500_after":
        raise Refused(500, "Internal error")
    if fault == "html_200":
        return Response("<html><body>Maintenance</body></html>", media_type="text/html")
    return _json({"error": "Something went wrong"}) if fault == "error_200" else answer


def _token_route(store: Store) -> Route:
    async def endpoint(request: Request) -> Response:
        raw = (await request.body()).decode()
        sent = {name: values[0] for name, values in parse_qs(raw, keep_blank_values=True).items()}
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        if (
            form
            and sent.get("grant_type") == "password"
            and (sent.get("username"), sent.get("password")) == (store.username, store.password)
        ):
            answer = _json({"access_token": store.issue(), "token_type": "bearer"})
        else:
            answer = _error(store, Refused(int(store.switches["token_error"]), "Incorrect username or password"))
        _note(store, request, answer.status_code, b"")
        return answer

    return Route("/token", endpoint, methods=["POST"])


def _authorize(store: Store, request: Request) -> None:
    if request.url.path == "/connections/available" and store.switches["available_auth"] == "no":
        return
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not store.takes(token):
        raise Refused(401, "Could not validate credentials")


def _check_parameters(request: Request, allowed: set[str] | None) -> None:
    for name in request.query_params:
        if allowed is not None and name not in allowed:
            raise _invalid(name, "Unknown query parameter", "query")
    if request.query_params.get("refresh_oauth_tokens", "false") not in ("true", "false"):
        raise _invalid("refresh_oauth_tokens", "Input should be a valid boolean", "query")


def _available(store: Store, request: Request, body: Json) -> Response:
    types = demo.available()
    way = store.switches["available"]
    return _json(types if way == "list" else {"data": types} if way == "data" else {f"{t['provider_id']}": t for t in types})


def _list(store: Store, request: Request, body: Json) -> Response:
    wanted = request.query_params.get("connection_provider")
    return _listed(store, request, [key for key in _keys(store) if wanted in (None, store.connections[key]["provider_id"])], 1000)


def _list_v1(store: Store, request: Request, body: Json) -> Response:
    params = dict(request.query_params)
    by, way = params.pop("sort_by", "created_at"), params.pop("sort_dir", "desc")
    if by not in ("created_at", "name") or way not in ("asc", "desc"):
        raise _invalid("sort_by", "Input should be 'created_at' or 'name'", "query")
    keys = _keys(store)
    for name, value in params.items():
        if name in ("limit", "offset"):
            continue
        field, _, operator = name.partition("__")
        if field not in ("name", "provider_id", "connection_type_id") or operator not in ("eq", "contains"):
            raise _invalid(name, "Unknown filter", "query")
        keys = [
            key
            for key in keys
            if (value == store.connections[key][field] if operator == "eq" else value.lower() in store.connections[key][field].lower())
        ]
    if store.switches["order"] == "created":
        keys.sort(key=lambda key: str(store.connections[key][by]), reverse=way == "desc")
    return _listed(store, request, keys, 10)


def _keys(store: Store) -> list[str]:
    if store.before_list is not None:
        store.before_list()
    return store.visible()


def _listed(store: Store, request: Request, keys: list[str], default: int) -> Response:
    limit, offset = _integer(request, "limit", default), _integer(request, "offset", 0)
    cap = int(store.switches["limit_cap"])
    if cap and limit > cap and store.switches["limit_above_cap"] == "refused":
        raise Refused(422, f"limit is at most {cap}")
    start = 0 if store.switches["offset"] == "ignored" else offset
    page = [store.shown(key) for key in keys[start : start + (min(limit, cap) if cap else limit)]]
    shape = store.switches["envelope"]
    if shape == "total":
        return _json({"items": page, "total": len(keys), "limit": limit, "offset": offset})
    return _json(page if shape == "list" else {shape: page})


def _create(store: Store, request: Request, body: Json) -> Response:
    return _created(store, store.create(_model(store, body)))


def _created(store: Store, made: str) -> Response:
    status, way = int(store.switches["create_status"]), store.switches["create_answers"]
    if status == 204 or way == "nothing":
        return Response(status_code=status)
    shown = store.shown(made)
    answers: dict[str, Json] = {
        "record": shown,
        "enveloped": {"data": shown},
        "id": made,
        "id_object": {"connection_id": made},
        "null": None,
        "job": {"success": True, "id": 17},
    }
    return _json(answers[way], status)


def _get(store: Store, request: Request, body: Json) -> Response:
    key = request.path_params["connection_id"]
    if request.query_params.get("refresh_oauth_tokens") == "true":
        held = store.connections[key]
        store.put(key, {**held, "refreshed": held.get("refreshed", 0) + 1})
    return _json(store.shown(key))


def _put(store: Store, request: Request, body: Json) -> Response:
    return _replaced(store, request.path_params["connection_id"], body)


def _replaced(store: Store, key: str, body: Json) -> Response:
    store.put(key, {**store.connections[key], **_model(store, body, but=key)})
    return _updated(store, key)


def _updated(store: Store, key: str) -> Response:
    way = store.switches["update_answers"]
    if way == "nothing":
        return Response(status_code=204)
    return _json(None if way == "null" else {"data": store.shown(key)} if way == "enveloped" else store.shown(key))


def _patch(store: Store, request: Request, body: Json) -> Response:
    key = request.path_params["connection_id"]
    if not isinstance(body, dict) or not isinstance(body.get("name"), str):
        raise _invalid("name", "Field required")
    store.put(key, {**store.connections[key], "name": _name(store, body["name"], but=key)})
    return _updated(store, key)


def _delete(store: Store, request: Request, body: Json) -> Response:
    store.remove(request.path_params["connection_id"])
    return Response(status_code=204)


def _health(store: Store, request: Request, body: Json) -> Response:
    held = store.connections[request.path_params["connection_id"]]
    fine = held["provider_id"] != store.switches["broken_provider"]
    shown: dict[str, Json] = {"healthy": fine, "message": "OK" if fine else "The provider refused the credentials"}
    return _json({"object": shown, "boolean": fine, "text": shown["message"], "null": None}[store.switches["health_answers"]])


def _oauth_start(store: Store, request: Request, body: Json) -> Response:
    model = _model(store, body)
    return _json(f"https://provider.example/{model['provider_id']}/authorize?state={store.rng.getrandbits(64):016x}")


def _callback_create(store: Store, request: Request, body: Json) -> Response:
    model = _model(store, body)
    _use_code(store, request)
    return _created(store, store.create(model))


def _callback_update(store: Store, request: Request, body: Json) -> Response:
    model = _model(store, body, but=request.path_params["connection_id"])
    _use_code(store, request)
    return _replaced(store, request.path_params["connection_id"], model)


def _use_code(store: Store, request: Request) -> None:
    code = request.query_params.get("code")
    if not code:
        raise _invalid("code", "Field required", "query")
    if code in store.codes:
        raise Refused(400, "The code was used before")
    store.codes.add(code)


def _resources(store: Store, request: Request, body: Json) -> Response:
    return _json(by_ids(store, request.path_params["connection_id"], request.query_params.getlist("resource_ids")))


def _children(store: Store, request: Request, body: Json) -> Response:
    if store.before_children is not None:
        store.before_children()
    params = request.query_params
    return _json(children(store, request.path_params["connection_id"], params.get("resource_id"), params.get("cursor"), _size(request)))


def _search(store: Store, request: Request, body: Json) -> Response:
    params = request.query_params
    if "query" not in params:
        raise _invalid("query", "Field required", "query")
    return _json(searched(store, request.path_params["connection_id"], params["query"], params.get("cursor"), _size(request)))


def _rbac(store: Store, request: Request, body: Json) -> Response:
    if store.before_list is not None:
        store.before_list()
    held = store.connections[request.path_params["connection_id"]]
    grants = []
    for subject, role in held["grants"].items():
        kind, _, who = subject.rpartition("/")
        grants.append({"subject_type": kind, "subject_id": who, "role": role})
    way, role = store.switches["rbac_answers"], held["organization_role"]
    in_rbac = store.switches["organization_role"]
    told = {"organization_role": role} if in_rbac == "in_rbac" or (in_rbac == "omitted" and role is not None) else {}
    if way == "by_type":
        kinds = ("user", "group")
        lists = {
            f"{kind}s": [{f"{kind}_id": g["subject_id"], "role": g["role"]} for g in grants if g["subject_type"] == kind] for kind in kinds
        }
        return _json({**lists, **told})
    if way != "list":
        return _json({way: grants, **told})
    if told and role is not None:
        grants.append({"subject_type": "organization", "subject_id": None, "role": role})
    return _json(grants)


def _put_rbac(store: Store, request: Request, body: Json) -> Response:
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in ("subject_type", "role", "subject_id")):
        raise _invalid("role", "Field required")
    _subject(body["subject_type"], body["subject_id"])
    _role(store, body["role"])
    key = request.path_params["connection_id"]
    held = store.connections[key]
    store.put(key, {**held, "grants": {**held["grants"], f"{body['subject_type']}/{body['subject_id']}": body["role"]}})
    return _granted(store, body)


def _delete_rbac(store: Store, request: Request, body: Json) -> Response:
    kind, who = request.query_params.get("subject_type", ""), request.query_params.get("subject_id", "")
    _subject(kind, who)
    key = request.path_params["connection_id"]
    grants = dict(store.connections[key]["grants"])
    if grants.pop(f"{kind}/{who}", None) is None and store.switches["no_grant"] == "404":
        raise Refused(404, "No such grant")
    store.put(key, {**store.connections[key], "grants": grants})
    return Response(status_code=204)


def _organization_role(store: Store, request: Request, body: Json) -> Response:
    if not isinstance(body, dict) or "role" not in body or not isinstance(body["role"], str | None):
        raise _invalid("role", "Field required")
    if body["role"] is not None:
        _role(store, body["role"])
    key = request.path_params["connection_id"]
    store.put(key, {**store.connections[key], "organization_role": body["role"]})
    return _granted(store, body)


def _granted(store: Store, body: Json) -> Response:
    way = store.switches["rbac_write_answers"]
    return Response(status_code=204) if way == "nothing" else _json({"grant": body, "null": None, "true": True}[way])


def _subject(kind: str, who: str) -> None:
    if kind not in ("user", "group"):
        raise _invalid("subject_type", "Input should be 'user' or 'group'")
    _uuid(who, "body", "subject_id")


def _role(store: Store, role: str) -> None:
    if store.switches["roles"] == "known" and role not in demo.ROLES:
        raise Refused(400, f"Unknown role {role}")


def _model(store: Store, body: Json, *, but: str | None = None) -> dict[str, Json]:
    """The body of a create or update, the documented default for a name that is missing."""
    if not isinstance(body, dict):
        raise _invalid("body", "Input should be an object")
    for name, kind in (("provider_id", str), ("connection_type_id", str), ("connection_provider_data", dict)):
        if not isinstance(body.get(name), kind):
            raise _invalid(name, "Field required" if name not in body else f"Input should be a valid {kind.__name__}")
    known = {"name", "provider_id", "connection_type_id", "connection_provider_data"}
    if store.switches["unknown_fields"] == "refused" and body.keys() - known:
        raise _invalid(min(body.keys() - known), "Extra inputs are not permitted")
    kinds = {(one["provider_id"], one["connection_type_id"]) for one in demo.available()}
    if store.switches["provider_checked"] == "yes" and (body["provider_id"], body["connection_type_id"]) not in kinds:
        raise Refused(400, "There is no such connection type")
    name = body.get("name", "Unnamed connection")
    if not isinstance(name, str):
        raise _invalid("name", "Input should be a valid string")
    return {"name": _name(store, name, but=but), **{one: body[one] for one in sorted(known - {"name"})}}


def _name(store: Store, name: str, *, but: str | None) -> str:
    name = name.strip() if store.switches["trims"] == "yes" else name
    others = (one["name"] for key, one in store.connections.items() if key != but)
    if store.switches["names_unique"] == "yes" and name in others:
        raise Refused(409, "A connection of that name exists")
    return name


def _size(request: Request) -> int:
    size = _integer(request, "page_size", DEFAULT_PAGE)
    if not 1 <= size <= 1000:
        raise _invalid("page_size", "Input should be between 1 and 1000", "query")
    return size


def _integer(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdigit():
        raise _invalid(name, "Input should be a valid integer", "query")
    return int(text)


def _uuid(value: str, place: str, name: str) -> None:
    try:
        uuid.UUID(value)
    except ValueError as e:
        raise _invalid(name, "Input should be a valid UUID", place) from e


def _invalid(name: str, words: str, place: str = "body") -> Refused:
    return Refused(422, words, [{"loc": [place, name], "msg": words, "type": "value_error"}])


def _json(body: Json, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), status, media_type="application/json")


def _error(store: Store, refusal: Refused) -> Response:
    status, shape = refusal.status, store.switches["error_body"]
    if shape == "html":
        return Response(f"<html><body><h1>{status}</h1><p>{refusal.words}</p></body></html>", status, media_type="text/html")
    if shape == "empty":
        return Response(status_code=status)
    if shape == "detail":
        return _json({"detail": refusal.detail or refusal.words}, status)
    return _json({"errors": [{"code": status, "message": refusal.words}]} if shape == "errors" else {"message": refusal.words}, status)


def _note(store: Store, request: Request, status: int, raw: bytes) -> None:
    entry = {"method": request.method, "path": request.url.path, "query": request.url.query, "status": status}
    store.log.append({**entry, "body": raw[:2000].decode("utf-8", "replace")})
    del store.log[:-20_000]


def _nothing_here(store: Store) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, _: Exception) -> Response:
        _note(store, request, 404, b"")
        return _error(store, Refused(404, "Not Found"))

    return answer


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="Stack AI connections, emulated on loopback from their document.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8705)
    parser.add_argument("--state", type=Path, help="a file that keeps every change across restarts")
    parser.add_argument("--seed", type=int, default=7)
    for name, count in (("connections", 60), ("resources", 120)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--control", action="store_true", help="add /_control/… for tests")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="one of " + ", ".join(SWITCHES))
    given = parser.parse_args()
    if given.state is not None:
        given.state.parent.mkdir(parents=True, exist_ok=True)
    try:
        switches = dict(entry.split("=", 1) for entry in given.switch)
        store = Store(seed=given.seed, connections=given.connections, resources=given.resources, state=given.state, **switches)
    except ValueError as e:
        parser.error(str(e))
    uvicorn.run(create_app(store, control=given.control), host=given.host, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
