"""Not the platform: how a test in another process turns the emulator's switches and plays its other users."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.kragle.emulator_store import Json, Store


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
            store.counters.clear()
        return _json({"counters": store.counters, "log": store.log})

    async def stacks(request: Request) -> Response:
        """{"create": [stacks], "edit": {id: fields}, "delete": [ids]} as their owners do it by other means than the API."""
        body = json.loads(await request.body())
        made = [store.add(**given)["id"] for given in body.get("create", [])]
        for stack_id, values in body.get("edit", {}).items():
            store.put({**store.stacks[int(stack_id)], **values})
        for stack_id in body.get("delete", []):
            store.remove(stack_id)
        return _json({"created": made, "ids": list(store.stacks), "count": len(store.stacks)})

    async def logins(request: Request) -> Response:
        """{"token": user id}: these logins are valid from now on, and no others."""
        store.logins = dict(json.loads(await request.body()))
        return _json(sorted(store.logins))

    return [
        Route("/_control/switches", switches, methods=["GET", "POST"]),
        Route("/_control/log", log, methods=["GET", "DELETE"]),
        Route("/_control/stacks", stacks, methods=["POST"]),
        Route("/_control/logins", logins, methods=["POST"]),
    ]


def _json(body: Json, status: int = 200) -> Response:
    return Response(json.dumps(body).encode(), status, media_type="application/json")
