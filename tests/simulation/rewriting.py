"""What a sink makes of the values that it is sent, where it keeps them in a form of its own. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

Rewrites = Literal["", "values", "key"]


def kept(way: Rewrites, name: str, value: Any) -> Any:
    """The form in which a field is kept: "values" lower-cases names and rounds numbers to tens, "key" upper-cases e-mail addresses."""
    if way == "values" and name == "name" and isinstance(value, str):
        return value.lower()
    if way == "values" and name == "score" and isinstance(value, int):
        return 10 * ((value + 5) // 10)
    if way == "key" and name == "email" and isinstance(value, str):
        return value.upper()
    return value


def all_kept(way: Rewrites, values: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a record so."""
    return {name: kept(way, name, value) for name, value in values.items()}
