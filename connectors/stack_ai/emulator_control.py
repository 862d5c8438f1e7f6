"""Not the platform: how a test in another process turns the emulator's switches and plays its other users."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.stack_ai.emulator_store import Store


def control_routes(store: Store) -> list[Route]:
    """The routes under `/_control/`."""

    async def switches(request: Request) -> Response:
        if request.method == "POST":
            for name, value in json.loads(await request.body()).items():
                try:
                    store.set_switch(name, str(value))
                except ValueError as e:
                    return _json({"message": str(e)}, 400)
        return _json(store.switches)

    async def log(request: Request) -> Response:
        if request.method == "DELETE":
            store.log.clear()
        return _json({"log": store.log, "log_ins": store.log_ins})

    async def connections(request: Request) -> Response:
        """{"create": […], "edit": {id: fields}, "delete": [ids]} as somebody else; "organization" changes the user's current one."""
        body = json.loads(await request.body())
        store.organization = body.get("organization", store.organization)
        made = [store.create(values) for values in body.get("create", [])]
        for key, values in body.get("edit", {}).items():
            store.put(key, {**store.connections[key], **values})
        for key in body.get("delete", []):
            store.remove(key)
        return _json({"created": made, "ids": list(store.connections)})

    return [
        Route("/_control/switches", switches, methods=["GET", "POST"]),
        Route("/_control/log", log, methods=["GET", "DELETE"]),
        Route("/_control/connections", connections, methods=["POST"]),
    ]


def _json(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False).encode(), status, media_type="application/json")
