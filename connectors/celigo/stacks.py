"""A stack as Celigo's JSON ↔ a stack as a flat record: `server.hostURI` is one field. Pure.

Every documented field is in every record, null where a stack does not have it: a server stack has no
`lambda.…`. Secrets are in none, masked or not; a mask elsewhere leaves its field out, because what it hides
is neither null nor known.
"""

from collections.abc import Collection, Mapping

from connectors.base import JsonValue, Record
from connectors.celigo.masks import is_mask, unmasked
from connectors.errors import ContractError

__all__ = [
    "ENDPOINT",
    "ID",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "UNDOCUMENTED",
    "WRITABLE",
    "body_of",
    "changed",
    "dependents_of",
    "record_of",
    "trimmed",
]

ID = "_id"
ENDPOINT = "endpoint"  # ours: hostURI of a server stack, functionName of a lambda stack; with name and type it tells stacks apart
UNDOCUMENTED = "undocumented"
SECRET = "lambda.secretAccessKey"  # noqa: S105
TOKEN = "server.systemToken"  # noqa: S105
SECRETS = "secrets"  # ours: stands for the secret that is written with a stack
CONFIGS = ("server", "lambda")
WRITABLE = (
    *("name", "type", "framework", "server.hostURI", "server.ipRanges"),
    *("lambda.accessKeyId", "lambda.awsRegion", "lambda.functionName", "lambda.language"),
)
_STAMPS = ("createdAt", "lastModified")
_ENDPOINTS = {"server": "server.hostURI", "lambda": "lambda.functionName"}
_DEPENDENCY = ("name", "accessLevel", "paths", "dependencyIds")


def record_of(stack: Record, *, undocumented: bool = False) -> Record:
    """The stack as a flat record. Raises ContractError where it has no id, or a config that is no object."""
    if not isinstance(stack.get(ID), str) or not stack[ID]:
        raise ContractError(f"a stack came without a text under {ID}; look at what the platform answered")
    flat = _flat(stack)
    record: Record = {}
    for name in (ID, *WRITABLE, *_STAMPS):
        value = flat.pop(name, None)
        if not is_mask(value):
            record[name] = unmasked(value)
        if name == "type":
            endpoint = flat.get(_ENDPOINTS.get(str(value), ""))
            if not is_mask(endpoint):
                record[ENDPOINT] = endpoint
    if undocumented:
        rest = {name: unmasked(value) for name, value in flat.items() if name not in (SECRET, TOKEN) and not is_mask(value)}
        record[UNDOCUMENTED] = rest or None
    return record


def trimmed(record: Record, fields: Collection[str] | None, id_field: str = ID) -> Record:
    """The record with its id and these fields only (None: all)."""
    return record if fields is None else {name: value for name, value in record.items() if name == id_field or name in fields}


def changed(stack: Record, fields: Mapping[str, JsonValue]) -> Record:
    """The writable fields of a stack as the platform shows it, those in `fields` (flat) changed. No secret is among them."""
    flat: Record = {name: value for name, value in _flat(stack).items() if name in WRITABLE}
    flat.update(fields)
    where = _ENDPOINTS.get(str(flat.get("type")), "")
    if where and where not in fields and fields.get(ENDPOINT) is not None:
        flat[where] = fields[ENDPOINT]
    return flat


def body_of(fields: Mapping[str, JsonValue], *, nulls: bool = False) -> tuple[Record, str]:
    """The request body that says these flat fields, and why it must not be sent ("" where it may). `nulls`: null is sent, else left out."""
    unknown = sorted(name for name in fields if name not in (*WRITABLE, ENDPOINT))
    if unknown:
        return {}, f"{unknown[0]!r} is no field that can be written; unmap it"
    kind = fields.get("type")
    foreign = sorted(name for name, value in fields.items() if value is not None and "." in name and name.split(".")[0] != kind)
    if foreign:
        return {}, f"{foreign[0]!r} does not belong to a stack of type {kind!r}; leave it null for such stacks"
    values = {name: fields[name] for name in WRITABLE if name in fields and "." not in name}
    config = {name.split(".")[1]: fields[name] for name in WRITABLE if name in fields and name.startswith(f"{kind}.")}
    where = _ENDPOINTS.get(str(kind), "").partition(".")[2]
    endpoint = fields.get(ENDPOINT) if where else None
    if endpoint is not None:
        if config.get(where) not in (None, endpoint):
            return {}, f"{ENDPOINT} and {kind}.{where} differ, and are the same thing; map one of them"
        config[where] = endpoint
    body: Record = {name: value for name, value in values.items() if value is not None or nulls}
    held = {name: value for name, value in config.items() if value is not None or nulls}
    if held:
        body[str(kind)] = held
    return body, ""


def dependents_of(stack: Record, answer: JsonValue) -> list[Record]:
    """One flat record for each resource that uses a stack. Raises ContractError for an answer that is not as documented."""
    if not isinstance(answer, dict) or not all(isinstance(entries, list) for entries in answer.values()):
        raise ContractError("the dependencies of a stack came as something else than lists by resource type; look at the platform")
    found: list[Record] = []
    for kind, entries in answer.items():
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                raise ContractError(f"a dependency of type {kind!r} came without a text under id; look at what the platform answered")
            key = f"{stack[ID]}/{kind}/{entry['id']}"
            own: Record = {"key": key, "stackId": stack[ID], "stackName": stack.get("name"), "type": kind, "id": entry["id"]}
            found.append({**own, **{name: entry.get(name) for name in _DEPENDENCY}})
    return found


def _flat(stack: Record) -> Record:
    flat: Record = {}
    for name, value in stack.items():
        if name not in CONFIGS:
            flat[name] = value
        elif isinstance(value, dict):
            flat |= {f"{name}.{inner}": held for inner, held in value.items()}
        elif value is not None:
            raise ContractError(f"a stack's {name!r} is no object; look at what the platform answered")
    return flat
