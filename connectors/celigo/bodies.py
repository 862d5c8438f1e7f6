"""What may be sent as a stack, whoever sends it: no mask, no secret written out, nothing that only a read has. Pure.

The secret of a lambda stack is filled in here, from the connection's references, right before it is sent.
"""

from collections.abc import Mapping
from typing import Any

from connectors.base import JsonValue, Record
from connectors.celigo.masks import masked
from connectors.settings import Secret

__all__ = ["refusal", "with_secret"]

_READ_ONLY = ("_id", "createdAt", "lastModified")


def refusal(stack: Any, secrets: Mapping[str, Secret], *, without_secret: bool) -> str:
    """Why a body must not be sent, as a sentence without its values; "" where it may.

    `without_secret`: a lambda stack may go without its secret access key.
    """
    if not isinstance(stack, dict):
        return "a stack must be an object with at least a name and a type"
    own = [name for name in _READ_ONLY if name in stack]
    if own:
        return f"{own[0]!r} is the platform's own: a stack as it was read, whole or in part, is no body to write"
    missing = [name for name in ("name", "type") if not isinstance(stack.get(name), str) or not stack[name].strip()]
    if missing:
        return f"{missing[0]!r} is always required as a text, and is missing"
    hidden = next(masked(stack), None)
    if hidden is not None:
        return f"{hidden!r} holds a mask instead of a value, and sending it would destroy what it hides; leave it out"
    if "systemToken" in _config(stack, "server"):
        return "server.systemToken is made by the platform and cannot be set; leave it out, or call recycle_stack_system_token"
    if "secretAccessKey" in _config(stack, "lambda"):
        return "lambda.secretAccessKey is given by reference only: put it under secret_access_keys of the connection and leave it out"
    key = _config(stack, "lambda").get("accessKeyId")
    if stack["type"] == "lambda" and not without_secret and not (isinstance(key, str) and key in secrets):
        named = f"access key id {key}" if isinstance(key, str) and key else "missing access key id"
        return f"no secret is given for its {named}; add it to secret_access_keys of the connection, by reference"
    return ""


def with_secret(stack: Mapping[str, JsonValue], secrets: Mapping[str, Secret]) -> Record:
    """The body as it is sent: a lambda stack with the secret that belongs to its access key id, where one is given."""
    config = _config(stack, "lambda")
    key = config.get("accessKeyId")
    secret = secrets.get(key) if stack.get("type") == "lambda" and isinstance(key, str) else None
    return dict(stack) if secret is None else {**stack, "lambda": {**config, "secretAccessKey": secret.reveal()}}


def _config(stack: Mapping[str, Any], name: str) -> dict[str, JsonValue]:
    held = stack.get(name)
    return held if isinstance(held, dict) else {}
