"""One request through an ASGI application without a server, a socket or an event loop: its coroutine is driven by hand."""

from typing import Any

import httpx


class Unanswered(Exception):
    """The application waited for something that only an event loop could give."""


def answer(app: Any, request: httpx.Request) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the answer to this request. Raises what the application raises."""
    path = request.url.raw_path
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": path.partition(b"?")[0],
        "query_string": path.partition(b"?")[2],
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": (request.url.host, request.url.port or 80),
        "state": {},
    }
    sent: list[dict[str, Any]] = []
    body = request.read()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    work = app(scope, receive, send)
    try:
        work.send(None)
    except StopIteration:
        start = sent[0]
        return start["status"], list(start["headers"]), b"".join(message.get("body", b"") for message in sent[1:])
    work.close()
    raise Unanswered(f"{request.method} {request.url.path}")
