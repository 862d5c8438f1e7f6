"""A record's key and values between the ledger's JSON and what a person types and reads. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connectors.errors import ContractError
from pipelines.terminal import shown, visible

if TYPE_CHECKING:
    from connectors.base import JsonValue
    from pipelines.ledger import Failure

__all__ = ["decoded", "in_one_line", "key_text", "means", "nearest_keys", "spellings", "told_failure"]

LONGEST = 160  # characters of a record in one line


def key_text(key: str) -> str:
    """The key as a person reads it: the value alone, or the values of several match fields with commas between."""
    from connectors.jsontext import loads

    try:
        values = loads(key)
    except ContractError:
        return shown(key)
    return ", ".join(shown(value) for value in values) if isinstance(values, list) and values else shown(key)


def spellings(typed: Sequence[str]) -> list[str]:
    """The ledger keys that these words may mean: one word per match field, or the JSON list itself."""
    from connectors.jsontext import dumps

    found = [dumps(list(typed)).decode()]
    values = [_value(word) for word in typed]
    found.append(dumps(values).decode())
    if len(typed) == 1 and isinstance(values[0], list):
        found.insert(0, dumps(values[0]).decode())
    return list(dict.fromkeys(found))


def means(typed: str, key: str, source_id: str) -> bool:
    """Whether what was typed names the record with this ledger key or this source id."""
    return typed in (key, key_text(key), source_id) or key in spellings([typed])


def nearest_keys(typed: str, known: Iterable[str]) -> list[str]:
    """Up to three known keys, as a person reads them, that contain what was typed."""
    folded = typed.casefold()
    texts = (key_text(key) for key in known)
    return [text for text, _ in zip((text for text in texts if folded in text.casefold()), range(3), strict=False)]


def decoded(text: str | None) -> "JsonValue":
    """The value of JSON text as the ledger keeps it; None where it keeps nothing."""
    from connectors.jsontext import loads

    return None if text is None else loads(text)


def in_one_line(record: "Mapping[str, Any]", longest: int = LONGEST) -> str:
    """The fields and values of a record, cut where they are long."""
    said = ", ".join(f"{visible(name)} {shown(value)}" for name, value in record.items())
    return f"{said[:longest]}{'…' if len(said) > longest else ''}"


def told_failure(one: "Failure") -> "dict[str, JsonValue]":
    """A pending record as `--json` gives it: `op` and `request` are what was sent (null: nothing), `reason` what was answered."""
    names = ("source_id", "outcome", "field", "reason", "op", "attempts", "released", "run_id", "first_seen", "last_seen")
    told = {"key": decoded(one.key) if one.key else None, **{name: getattr(one, name) for name in names}}
    return {**told, "request": decoded(one.request)}


def _value(word: str) -> "JsonValue":
    from connectors.jsontext import loads

    try:
        return loads(word)
    except ContractError:
        return word
