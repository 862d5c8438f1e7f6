"""What of a change is sent to Kragle: checked, put together from its parts, and never more than was meant. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.base import Change, JsonValue, Record
from connectors.canonical_json import canonical
from connectors.kragle.settings import KragleSettings
from connectors.kragle.streams import OPTIONS, WRITTEN
from connectors.kragle.view import SECRET, own_shape

__all__ = ["carried", "create_body", "same_blocks", "unfit", "update_body"]

_NULLABLE = frozenset({"webhook"})  # "One of (null, …)"
_WEBHOOKS = (None, "public", "token", "user")
_METHODS = (None, "GET", "POST")


def unfit(change: Change, settings: KragleSettings) -> str:
    """Why this change must not be sent at all, or ""."""
    fields = change.fields
    if SECRET in fields:
        return f"{SECRET} is a secret that Kragle makes itself and is never written; remove it from the mapping"
    if strange := [name for name in fields if name not in (*WRITTEN, *OPTIONS)]:
        return f"{strange[0]} is set by the platform or unknown to it, and is never written; remove it from the mapping"
    if why := _wrong_value(fields):
        return why
    if change.op == "create":
        missing = [name for name in ("name", "blocks") if fields.get(name) is None]
        return f"a new stack needs {' and '.join(missing)}" if missing else ""
    if "schedule_id" in fields and settings.schedule_in_update == "refuse":
        return "schedule_id in an update may add one more job each time; set schedule_in_update: send if it does not"
    nulls = [name for name, value in fields.items() if value is None and name not in _NULLABLE and not _goes_with_webhook(name, fields)]
    if nulls and (nulls[0] in ("name", "blocks", "block_options") or settings.nulls_in_update == "refuse"):
        return f"null for {nulls[0]} is not sent in an update (nulls_in_update: refuse); what it does is not documented"
    if "block_options" in fields and "blocks" not in fields:
        return "block_options is only sent together with blocks"
    return "" if fields else "there is no field to write"


def create_body(fields: Mapping[str, JsonValue]) -> Record:
    """The body that makes a stack. A parameter that is null, and not documented to take it, is left to its default."""
    body = {name: value for name, value in fields.items() if value is not None or name in _NULLABLE}
    options = body.pop("block_options", None)
    return {**body, "blocks": _with_options(body["blocks"], options)}


def update_body(fields: Mapping[str, JsonValue]) -> Record:
    """The body that changes these parameters and leaves the others as they are."""
    body = {name: value for name, value in fields.items() if not _goes_with_webhook(name, fields)}
    options = body.pop("block_options", None)
    if "blocks" in body:
        body["blocks"] = _with_options(body["blocks"], options)
    return body


def same_blocks(wanted: JsonValue, held: JsonValue) -> bool:
    """Whether two lists of blocks, in either shape of the document, are the same but for names and state."""
    one, other = own_shape(wanted), own_shape(held)
    return one is not None and other is not None and canonical([*one]) == canonical([*other])


def carried(blocks: Sequence[Any], held: Sequence[Any]) -> list[JsonValue]:
    """Blocks to send, each without a state of its own given the live state of the block that it stands for.

    `held` are the objects that Kragle shows. A block stands for the first one left of the same name and
    conversion, else for one of the same name at the same place; every other begins anew.
    """
    left = list(enumerate(held))
    chosen: list[Any] = [None] * len(blocks)
    for same in (_alike, _in_place):
        for number, block in enumerate(blocks):
            if chosen[number] is None:
                chosen[number] = next((one for one in left if same(number, block, *one)), None)
                if chosen[number] is not None:
                    left.remove(chosen[number])
    return [_carry(block, one[1].get("state") if one else None) for block, one in zip(blocks, chosen, strict=True)]


def _alike(number: int, block: Any, place: int, held: Any) -> bool:
    return same_blocks([block], [held])


def _in_place(number: int, block: Any, place: int, held: Any) -> bool:
    return number == place and bool(block[0] == held.get("type"))


def _carry(block: Any, state: JsonValue) -> JsonValue:
    options = block[2] if len(block) > 2 else {}
    if state is None or "state" in options:
        return list(block)
    return [block[0], block[1], {**options, "state": state}]


def _goes_with_webhook(name: str, fields: Mapping[str, JsonValue]) -> bool:
    """Whether this is the null method of a webhook that is taken away, which ends with it."""
    return name == "webhook_method" and fields[name] is None and "webhook" in fields and fields["webhook"] is None


def _with_options(blocks: Any, options: Any) -> list[JsonValue]:
    """The blocks with the name and state that are given apart, which count more than those given in place."""
    given = options or [None] * len(blocks)
    return [
        [block[0], block[1], {**(block[2] if len(block) > 2 else {}), **extra}] if extra else list(block)
        for block, extra in zip(blocks, given, strict=True)
    ]


def _wrong_value(fields: Mapping[str, JsonValue]) -> str:
    name = fields.get("name", "x")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        return "the name of a stack is a text that is not empty"
    if fields.get("webhook") not in _WEBHOOKS:
        return 'webhook is null, "public", "token" or "user"'
    if fields.get("webhook_method") not in _METHODS:
        return "webhook_method is GET or POST"
    schedule = fields.get("schedule_id")
    if schedule is not None and (isinstance(schedule, bool) or not isinstance(schedule, int)):
        return "schedule_id is an integer"
    if wrong := [name for name in ("enabled", "needs_approval") if fields.get(name) is not None and not isinstance(fields[name], bool)]:
        return f"{wrong[0]} is true or false"
    return _wrong_blocks(fields.get("blocks"), fields.get("block_options"))


def _wrong_blocks(blocks: Any, options: Any) -> str:
    if blocks is None:
        return ""
    if not isinstance(blocks, list):
        return "blocks is a list, not a text: map it with ::JSON"
    for number, block in enumerate(blocks, 1):
        if not isinstance(block, list) or not 2 <= len(block) <= 3 or not isinstance(block[0], str) or not block[0]:
            return f"block {number} is not written as [name of the block, conversion, {{name, state}}], the last part optional"
        if len(block) == 3 and not _is_options(block[2]):
            return f"the third part of block {number} is an object of name and state"
    if options is None:
        return ""
    if not isinstance(options, list) or len(options) != len(blocks) or not all(one is None or _is_options(one) for one in options):
        return f"block_options is a list of as many as there are blocks ({len(blocks)}), each null or an object of name and state"
    return ""


def _is_options(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() <= {"name", "state"}
