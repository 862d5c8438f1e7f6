"""What a stack shows, whose view of it that is, and the records that come of it. Pure.

Only its owner is shown the jobs and the webhook's token of a stack, and the conversion and state of its
blocks. An expired login is not refused: it turns the owner's view into everybody's.
"""

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any

from connectors.base import JsonValue, Record
from connectors.errors import ContractError

__all__ = ["SECRET", "Sight", "block_records", "job_records", "lacking", "own_shape", "same_id", "sight", "stack_record"]

SECRET = "webhook_token"  # noqa: S105 (the name of the field)
_OF_STACK = ("jobs", SECRET)
_OF_BLOCK = ("conversion", "state")


class Sight(StrEnum):
    """How much of a stack is shown. Whoever sees any of what is the owner's is its owner."""

    OWNER = "owner"
    PUBLIC = "public"


def sight(stack: Record) -> Sight:
    """Whose view this is."""
    shown = any(name in stack for name in _OF_STACK) or any(name in block for block in _blocks(stack) for name in _OF_BLOCK)
    return Sight.OWNER if shown else Sight.PUBLIC


def lacking(stack: Record, wanted: Collection[str]) -> list[str]:
    """Which of the owner's fields `wanted` this stack, or one of its blocks, does not show."""
    missing = [name for name in _OF_STACK if name in wanted and name not in stack]
    return missing + [name for name in _OF_BLOCK if name in wanted and any(name not in block for block in _blocks(stack))]


_ALWAYS = ("id", "owner", "name", "webhook", "webhook_method")


def same_id(one: JsonValue, other: JsonValue) -> bool:
    """Whether two ids are one: a number and its digits are, because people and platforms write either."""
    return one is not None and other is not None and not isinstance(one, bool) and str(one) == str(other)


def own_shape(blocks: Any) -> list[list[Any]] | None:
    """Blocks in what can be both written and read back: `[name, conversion]` each (`[name]` where no conversion is shown).

    Takes both shapes of the document, objects and arrays. None for anything else.
    """
    if not isinstance(blocks, list):
        return None
    found: list[list[Any]] = []
    for block in blocks:
        if isinstance(block, dict) and "type" in block:
            found.append([block["type"], block["conversion"]] if "conversion" in block else [block["type"]])
        elif isinstance(block, list) and block:
            found.append(block[:2])
        else:
            return None
    return found


def stack_record(stack: Record) -> Record:
    """The stack as a record: its own fields without the secret, its blocks as they are written.

    Every stack has a webhook and its method, null or not: where a platform leaves a null out, it is null all the same. The method
    of a webhook that there is not means nothing ("Only makes sense w/webhook"): it is null, whatever is shown.
    """
    record = {**dict.fromkeys(_ALWAYS), **{name: value for name, value in stack.items() if name != SECRET}}
    if record["webhook"] is None:
        record["webhook_method"] = None
    if record.get("blocks") is not None:
        shape = own_shape(_blocks(stack))
        if shape is None:
            raise ContractError(f"a block of the stack {stack.get('id')} has no type; look at what the platform answered")
        record["blocks"] = shape
    return record


def block_records(stack: Record) -> Iterator[Record]:
    """The stack's blocks in order. `place` ("17/0") tells them apart; a block's own id may be that of its kind."""
    for position, block in enumerate(_blocks(stack)):
        yield {"place": f"{stack['id']}/{position}", "stack_id": stack["id"], "position": position, **block}


def job_records(stack: Record) -> Iterator[Record]:
    """The stack's jobs."""
    for job in _objects(stack, "jobs"):
        yield {**job, "stack_id": stack["id"]}


def _blocks(stack: Record) -> list[Record]:
    return _objects(stack, "blocks")


def _objects(stack: Record, name: str) -> list[Record]:
    """The list of objects under a name; none where it is missing or null."""
    held = stack.get(name)
    if held is None:
        return []
    if not isinstance(held, list) or not all(isinstance(one, dict) for one in held):
        raise ContractError(f"the {name} of the stack {stack.get('id')} are not a list of objects; look at what the platform answered")
    return held
