"""What the Celigo emulator takes as a stack: the document's request schema, and the switches where it is silent."""

from typing import Any
from urllib.parse import urlsplit

from connectors.celigo.emulator_store import Refused, Store

Json = Any

_REGIONS = (
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ap-northeast-2", "ap-southeast-1", "ap-southeast-2"),
    *("ap-northeast-1", "ap-south-1", "eu-central-1", "eu-west-1"),
)
_ENUMS: dict[str, tuple[str, ...]] = {
    "type": ("server", "lambda"),
    "framework": ("twoDotZero",),
    "awsRegion": _REGIONS,
    "language": ("Node.js", "C#", "Java", "Other"),
}
_FIELDS = {
    "": ("name", "type", "framework", "server", "lambda"),
    "server": ("hostURI", "ipRanges"),
    "lambda": ("accessKeyId", "secretAccessKey", "awsRegion", "functionName", "language"),
}
_READ_ONLY = ("_id", "createdAt", "lastModified", "deletedAt")
_REQUIRED = {"server": ("hostURI",), "lambda": ("accessKeyId", "secretAccessKey", "awsRegion", "functionName")}


def created(store: Store, body: Json) -> Json:
    """The stack that a POST makes, secrets included. Raises Refused."""
    stack = _checked(store, body)
    kind = stack["type"]
    for name in _REQUIRED[kind]:
        if not stack.get(kind, {}).get(name):
            raise _invalid(store, f"{kind}.{name} is required", f"{kind}.{name}", code="missing_required_field")
    _unique(store, stack, None)
    return {name: value for name, value in stack.items() if name not in ("server", "lambda") or name == kind}


def updated(store: Store, held: Json, body: Json) -> Json:
    """The stack after a PUT, secrets included. Raises Refused."""
    stack = _checked(store, body)
    if stack["type"] != held["type"]:
        if store.switches["type_change"] == "refused":
            raise _invalid(store, "type cannot be changed", "type")
        stack["type"] = held["type"]
    kind = held["type"]
    given, old = dict(stack.get(kind, {})), held.get(kind, {})
    secret = {"server": "systemToken", "lambda": "secretAccessKey"}[kind]
    if kind == "lambda" and secret not in given and store.switches["put_without_secret"] == "refused":  # noqa: S105
        raise _invalid(store, f"lambda.{secret} is required", f"lambda.{secret}", code="missing_required_field")
    config = {**old, **given} if store.switches["put"] == "merges" else given
    config = {name: value for name, value in config.items() if value is not None}
    if kind == "server" or secret not in given:
        config.pop(secret, None)
        if secret in old and (kind == "server" or store.switches["put_without_secret"] == "keeps"):  # noqa: S105
            config[secret] = old[secret]
    for name in _REQUIRED[kind]:
        if name != secret and not config.get(name):
            raise _invalid(store, f"{kind}.{name} is required", f"{kind}.{name}", code="missing_required_field")
    _unique(store, stack, held["_id"])
    top = {name: value for name, value in stack.items() if name not in ("server", "lambda") and value is not None}
    if store.switches["put"] == "merges" and "framework" in held and "framework" not in stack:
        top["framework"] = held["framework"]
    return {"_id": held["_id"], **top, kind: config, "createdAt": held["createdAt"]}


def _checked(store: Store, body: Json) -> Json:
    if not isinstance(body, dict):
        raise Refused(400, "The body is an object", code="invalid_json")
    own = [name for name in _READ_ONLY if name in body]
    if own and store.switches["read_only_fields"] == "refused":
        raise _invalid(store, f"{own[0]} is read-only", own[0])
    stack = {name: value for name, value in body.items() if name not in _READ_ONLY}
    for name in ("name", "type"):
        if not isinstance(stack.get(name), str) or not stack[name].strip():
            raise _invalid(store, f"{name} is required", name, code="missing_required_field")
    stack = _known(store, stack, "")
    for name in ("server", "lambda"):
        if name in stack:
            if not isinstance(stack[name], dict):
                raise _invalid(store, f"{name} is an object", name)
            if name == "server" and "systemToken" in stack[name] and store.switches["read_only_fields"] == "refused":
                raise _invalid(store, "systemToken cannot be set", "server.systemToken")
            stack[name] = _known(store, stack[name], name)
    uri = stack.get("server", {}).get("hostURI")
    if uri is not None and (urlsplit(uri).scheme not in ("http", "https") or not urlsplit(uri).netloc):
        raise _invalid(store, "server.hostURI must be a valid HTTP(S) endpoint", "server.hostURI")
    if store.switches["trims"] == "yes":
        stack["name"] = stack["name"].strip()
    return stack


def _known(store: Store, values: Json, config: str) -> Json:
    """The values of known fields, each of its type. Raises Refused."""
    prefix = f"{config}." if config else ""
    unknown = [name for name in values if name not in _FIELDS[config]]
    if unknown and store.switches["unknown_fields"] == "refused":
        raise _invalid(store, f"{prefix}{unknown[0]} is not a field", prefix + unknown[0])
    found = {name: value for name, value in values.items() if name not in unknown}
    for name, value in found.items():
        if value is None and store.switches["null_values"] == "clears":
            continue
        if name in ("server", "lambda") and not config:
            continue
        texts = value if name == "ipRanges" and isinstance(value, list) else [value]
        if (name == "ipRanges" and not isinstance(value, list)) or not all(isinstance(text, str) for text in texts):
            raise _invalid(store, f"{prefix}{name} is of the wrong type", prefix + name)
        if name in _ENUMS and value not in _ENUMS[name]:
            raise _invalid(store, f"{value} is not a valid {name}", prefix + name)
    return found


def _unique(store: Store, stack: Json, own_id: str | None) -> None:
    if store.switches["unique_names"] == "yes":
        taken = [one["_id"] for one in store.stacks.values() if one["name"] == stack["name"] and one["_id"] != own_id]
        if taken:
            raise _invalid(store, "name must be unique", "name")


def _invalid(store: Store, message: str, field: str, *, code: str = "invalid_ref") -> Refused:
    return Refused(int(store.switches["invalid_status"]), message, code=code, field=field)
