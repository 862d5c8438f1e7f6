"""What an update or delete may select: one declared key with one value. Pure.

An empty selection may hit every record of a resource (the document's own samples have
`{"fieldName": ""}`), so whatever could be one is refused before it leaves the process, whoever asks.
"""

from collections.abc import Collection, Sequence
from typing import Any

from connectors.errors import ConfigError

__all__ = ["guard_list", "guard_selection"]


def guard_selection(selection: Any, keys: Collection[str], resource: str) -> None:
    """Refuse (ConfigError) any selection but `{key: non-empty text or integer}` for one of these keys."""
    allowed = " or ".join(sorted(keys))
    if not isinstance(selection, dict) or len(selection) != 1:
        size = f"{len(selection)} fields" if isinstance(selection, dict) else _kind(selection)
        raise ConfigError(f"a write to {resource!r} selects by {size}; it must select by exactly one of its keys ({allowed})")
    ((name, value),) = selection.items()
    if name not in keys:
        raise ConfigError(
            f"a write to {resource!r} selects by {name!r}, which is not declared as its key ({allowed}); "
            "it could match many records: declare it under streams, or select by the key"
        )
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, str) and not value.strip()):
        raise ConfigError(f"a write to {resource!r} selects by {name} = {_kind(value)}, which may match every record; give one id")


def guard_list(selections: Sequence[Any], keys: Collection[str], resource: str, *, allowed: bool) -> None:
    """Refuse a list of selections unless the connection allows them, and then unless each is fine and none comes twice."""
    if not allowed:
        raise ConfigError(
            f"a write to {resource!r} selects by a list, whose pairing is not documented; "
            "write one record at a time, or set list_selections: true after trying it out"
        )
    if not selections:
        raise ConfigError(f"a write to {resource!r} has an empty list of selections, which may match every record")
    for selection in selections:
        guard_selection(selection, keys, resource)
    distinct = {(name, type(value), value) for selection in selections for name, value in selection.items()}
    if len(distinct) != len(selections):
        raise ConfigError(f"a write to {resource!r} selects {len(selections) - len(distinct)} records twice; send each once")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text"
    return {"dict": "an object", "list": "a list", "bool": "true or false"}.get(type(value).__name__, "a fraction")
