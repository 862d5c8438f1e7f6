"""What the Kragle emulator shows of a stack, and to whom; what it takes in the bodies of a create and an update.

Imports nothing of ours but its own parts.
"""

from typing import Any

from connectors.kragle.demo import KINDS, SCHEDULES
from connectors.kragle.emulator_store import Json, Refused, Stack, Store

_PARAMETERS = ("name", "blocks", "schedule_id", "enabled", "needs_approval", "webhook", "webhook_method")
_KINDS_OF = {"name": str, "blocks": list, "schedule_id": int, "enabled": bool, "needs_approval": bool}
_WEBHOOKS = (None, "public", "token", "user")


def shown(store: Store, stack: Stack, user: int | None) -> dict[str, Json]:
    """The stack as this user sees it: as its owner, or as anybody."""
    own = user is not None and stack["owner"] == user
    method = stack["webhook_method"]
    if stack["webhook"] is None and store.switches["method_without_webhook"] == "GET":
        method = "GET"
    seen = {"id": as_id(store, stack["id"]), "owner": as_owner(store, stack["owner"]), "name": stack["name"]}
    seen |= {"webhook": stack["webhook"], "webhook_method": method}
    if own and (stack["webhook_token"] is not None or store.switches["no_token"] == "null"):  # noqa: S105
        seen["webhook_token"] = stack["webhook_token"]
    names = ("id", "type", "conversion", "state") if own else ("id", "type")
    seen["blocks"] = [{name: block[name] if name != "id" else as_id(store, block["id"]) for name in names} for block in stack["blocks"]]
    if own and (stack["jobs"] or store.switches["no_jobs"] != "absent"):
        jobs = [{"id": as_id(store, job["id"]), **{name: job[name] for name in ("name", "do_run", "schedule")}} for job in stack["jobs"]]
        seen["jobs"] = jobs if jobs or store.switches["no_jobs"] == "empty" else None
    return seen


def after_put(store: Store, stack: Stack) -> dict[str, Json]:
    """The stack as an update answers it, in the document's order."""
    seen = {"id": as_id(store, stack["id"]), "owner": as_owner(store, stack["owner"]), "name": stack["name"]}
    seen |= {name: stack[name] for name in ("is_approved", "needs_approval", "webhook", "webhook_method", "webhook_token")}
    seen["instances"] = [as_id(store, block["id"]) for block in stack["blocks"]]
    seen["jobs"] = [as_id(store, job["id"]) for job in stack["jobs"]]
    return seen


def as_id(store: Store, value: int) -> int | str:
    """An id as this platform writes it."""
    return str(value) if store.switches["ids"] == "text" else value


def as_owner(store: Store, value: int) -> int | str:
    """An owner's id as this platform writes it."""
    return str(value) if store.switches["owners"] == "text" else value


def checked(store: Store, given: Json, *, create: bool) -> dict[str, Json]:
    """The parameters of a body, as the platform takes them. Raises Refused."""
    status = int(store.switches["error_status"])
    if not isinstance(given, dict):
        raise Refused(400, "The body is a JSON object")
    body: dict[str, Json] = given
    if unknown := [name for name in body if name not in _PARAMETERS]:
        if store.switches["unknown_fields"] == "refused":
            raise Refused(status, f"Unknown parameter {unknown[0]}")
        body = {name: value for name, value in body.items() if name in _PARAMETERS}
    if create and (missing := [name for name in ("name", "blocks") if name not in body]):
        raise Refused(status, f"{missing[0]} is required")
    nulls = [name for name, value in body.items() if value is None and name != "webhook"]
    if nulls and (store.switches["nulls"] == "refused" or nulls[0] in ("name", "blocks")):
        raise Refused(status, f"{nulls[0]} is null")
    if store.switches["nulls"] == "ignored":
        body = {name: value for name, value in body.items() if name not in nulls}
    for name, kind in _KINDS_OF.items():
        if body.get(name) is not None and type(body[name]) is not kind:
            raise Refused(status, f"{name} is not of the right type")
    if "name" in body:
        body = {**body, "name": body["name"].strip() if store.switches["trims"] == "yes" else body["name"]}
        if not body["name"].strip():
            raise Refused(status, "name is empty")
    if body.get("webhook") not in _WEBHOOKS or body.get("webhook_method") not in (None, "GET", "POST"):
        raise Refused(status, "webhook or webhook_method is not one of the documented values")
    if body.get("schedule_id") is not None and body["schedule_id"] not in SCHEDULES:
        raise Refused(status, f"No schedule {body['schedule_id']}")
    for block in body.get("blocks", ()):
        _check_block(store, block, status)
    return body


def apply(store: Store, stack: Stack, body: dict[str, Json]) -> None:
    """Change a stack by checked parameters."""
    if "blocks" in body:
        stack["blocks"] = [_instance(store, block, at, stack.get("blocks", [])) for at, block in enumerate(body["blocks"])]
    stack |= {name: body[name] for name in ("name", "needs_approval", "webhook", "webhook_method") if name in body}
    if stack["webhook"] is None:
        stack["webhook_method"] = stack["webhook_token"] = None
    else:
        stack["webhook_method"] = stack["webhook_method"] or "GET"
        stack["webhook_token"] = stack["webhook_token"] or store.token()
    if body.get("schedule_id") is not None:
        kept = stack["jobs"] if store.switches["put_schedule"] == "adds" else []
        stack["jobs"] = [*kept, store.job(stack["name"], body["schedule_id"], enabled=bool(body.get("enabled")))]
    if body.get("enabled") is not None:
        stack["jobs"] = [{**job, "do_run": body["enabled"]} for job in stack["jobs"]]


def _check_block(store: Store, block: Any, status: int) -> None:
    if not isinstance(block, list) or not 2 <= len(block) <= 3 or not isinstance(block[0], str):
        raise Refused(status, "A block is an array of its name, a conversion and optional parameters")
    if block[0] not in KINDS and store.switches["unknown_blocks"] == "refused":
        raise Refused(status, f"No block {block[0]}")
    if len(block) == 3 and not (isinstance(block[2], dict) and block[2].keys() <= {"name", "state"}):
        raise Refused(status, "The third element of a block is an object of name and state")
    state = block[2].get("state") if len(block) == 3 else None
    if state is not None and not (isinstance(state, dict) and state.keys() <= {"input", "output"}):
        raise Refused(status, "state is an object of input and output")


def _instance(store: Store, block: list[Any], at: int, held: list[dict[str, Json]]) -> dict[str, Json]:
    options = block[2] if len(block) > 2 else {}
    state = options.get("state")
    if state is None and store.switches["put_blocks"] == "keeps" and at < len(held) and held[at]["type"] == block[0]:
        state = held[at]["state"]
    return store.instance(type=block[0], conversion=block[1], state=state, name=options.get("name"))
