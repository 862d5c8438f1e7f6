"""What a request to a platform means, read from its bytes alone: shared with nothing of the connectors."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.simulation.faults import Kind


@dataclass(frozen=True)
class Sent:
    """One record's change as it went over the wire. `id` is None for a create; `fields` of a delete are empty."""

    op: str
    id: Any
    fields: dict[str, Any]


def read_request(platform: str, request: httpx.Request) -> tuple[Kind, list[Sent]]:
    """The kind of a request, and the changes it asks for."""
    body = json.loads(request.content) if request.content else None
    path, method = request.url.path, request.method
    if platform == "robostack":
        if method == "POST":
            return "read", []
        if method == "PUT":
            return "create", [Sent("create", None, values) for values in (body if isinstance(body, list) else [body])]
        selections = body["selection"] if isinstance(body["selection"], list) else [body["selection"]]
        ids = [selection.get("id") if set(selection) == {"id"} else ("selection", json.dumps(selection)) for selection in selections]
        if method == "PATCH":
            updations = body["updation"] if isinstance(body["updation"], list) else [body["updation"]]
            return "update", [Sent("update", key, values) for key, values in zip(ids, updations, strict=True)]
        return "delete", [Sent("delete", key, {}) for key in ids]
    if path.endswith("/search/"):
        return "read", []
    if path.endswith("/bulk-records/"):
        changes = [
            Sent("update", values["sid"], {n: v for n, v in values.items() if n != "sid"})
            if "sid" in values
            else Sent("create", None, values)
            for values in body
        ]
        return ("update" if all(one.op == "update" for one in changes) else "create"), changes
    if "/records/" in path:
        sid = path.rstrip("/").rpartition("/")[2]
        if method == "POST":
            return "create", [Sent("create", None, body)]
        if method == "PATCH":
            return "update", [Sent("update", sid, body)]
        if method == "DELETE":
            return "delete", [Sent("delete", sid, {})]
    return "meta", []


def first_of(request: httpx.Request, count: int) -> httpx.Request:
    """The same request with only its first records."""
    content = json.dumps(json.loads(request.content)[:count]).encode()
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
    return httpx.Request(request.method, request.url, headers=headers, content=content)


def shown_rows(body: bytes, id_field: str) -> list[dict[str, Any]]:
    """The records that an answer to a read shows, whatever its shape; none where it is no JSON."""
    try:
        told = json.loads(body)
    except ValueError:
        return []
    if isinstance(told, dict) and id_field in told:
        return [told]
    held = (
        told
        if isinstance(told, list)
        else next((value for value in told.values() if isinstance(value, list)), [])
        if isinstance(told, dict)
        else []
    )
    return [row for row in held if isinstance(row, dict) and id_field in row]
