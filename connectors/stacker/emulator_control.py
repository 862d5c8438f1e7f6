"""Not the platform: how a test in another process turns the emulator's switches and plays its other users."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.stacker.emulator_objects import Json, decode, encode
from connectors.stacker.emulator_store import Store


def control_routes(store: Store) -> list[Route]:
    """The routes under `/_control/`."""

    async def switches(request: Request) -> Response:
        if request.method == "POST":
            for name, value in decode(await request.body()).items():
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

    async def records(request: Request) -> Response:
        """{"object", "create": […], "edit": {sid: fields}, "delete": […]} as somebody else; an optional "first" count picks sids."""
        body = decode(await request.body())
        target = store.objects[body["object"]]
        made = [store.create(target, values, quiet=True) for values in body.get("create", [])]
        for sid, values in body.get("edit", {}).items():
            store.edit(target, sid, values)
        for sid in body.get("delete", []):
            store.delete(target, sid)
        return _json({"created": made, "sids": target.sids[: body.get("first", 0)], "count": len(target.records)})

    async def churn(request: Request) -> Response:
        """{"object", "insert": n, "delete": n}: done before every search from now on."""
        body = decode(await request.body())
        target = store.objects[body["object"]]

        def happens(_: int) -> None:
            for n in range(body.get("insert", 0)):
                store.create(target, {"notes": f"inserted {n}"}, quiet=True)
            for _n in range(min(body.get("delete", 0), len(target.sids))):
                store.delete(target, store.rng.choice(target.sids))

        store.before_search = happens if body.get("insert") or body.get("delete") else None
        return _json({})

    return [
        Route("/_control/switches", switches, methods=["GET", "POST"]),
        Route("/_control/log", log, methods=["GET", "DELETE"]),
        Route("/_control/records", records, methods=["POST"]),
        Route("/_control/churn", churn, methods=["POST"]),
    ]


def _json(body: Json, status: int = 200) -> Response:
    return Response(encode(body), status, media_type="application/json")
