"""What Celigo shows in place of a secret, and that it is never taken for a value. Pure."""

import re
from collections.abc import Iterator

from connectors.base import JsonValue

__all__ = ["is_mask", "masked", "unmasked"]

_MASK = re.compile(r"[*•●∗＊]{3,}")  # the document has ******; other lengths and dots are as little a value


def is_mask(value: JsonValue) -> bool:
    """Whether this is a mask and no value."""
    return isinstance(value, str) and _MASK.fullmatch(value.strip()) is not None


def masked(value: JsonValue, path: str = "") -> Iterator[str]:
    """The dotted paths of every mask in a value, at any depth."""
    if is_mask(value):
        yield path
    for name, inner in _members(value):
        yield from masked(inner, f"{path}.{name}" if path else name)


def unmasked(value: JsonValue) -> JsonValue:
    """The value without the members of its objects and lists that are masks."""
    if isinstance(value, dict):
        return {name: unmasked(inner) for name, inner in value.items() if not is_mask(inner)}
    return [unmasked(inner) for inner in value if not is_mask(inner)] if isinstance(value, list) else value


def _members(value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(number), inner) for number, inner in enumerate(value))
