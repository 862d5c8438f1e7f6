"""Match keys as text: the JSON list that the ledger keeps, and the values in it. Pure."""

import json
from collections.abc import Sequence

from connectors import jsontext
from connectors.base import JsonValue

_DECODER = json.JSONDecoder()


def key_of(plan_key: str) -> str:
    """The JSON list of a plan row's match values, each exactly as its JSON object has it."""
    return f"[{','.join(members_of(plan_key).values())}]"


def members_of(text: str | None) -> dict[str, str]:
    """The members of a JSON object without blanks, as a plan row has it: names and values exactly as they are written there."""
    at, found, text = 1, {}, text or ""
    while at < len(text) - 1:
        _, colon = _DECODER.raw_decode(text, at)
        _, end = _DECODER.raw_decode(text, colon + 1)
        found[text[at:colon]] = text[colon + 1 : end]
        at = end + 1
    return found


def key_values(key: str, match: Sequence[str]) -> dict[str, JsonValue]:
    """The match fields and their values, from the JSON list of a key."""
    values = jsontext.loads(key)
    return dict(zip(match, values if isinstance(values, list) else [values], strict=True))


def value_count(key: str) -> int:
    """How many match fields the JSON list of a key has."""
    values = jsontext.loads(key)
    return len(values) if isinstance(values, list) else 1


def same_id(one: str | None, other: str | None) -> bool:
    """Whether two ids of the sink (JSON text) are the same; a platform may spell one as a number here and as a text there."""
    return one is not None and other is not None and plain_id(one) == plain_id(other)


def plain_id(sink_id: str) -> str:
    """An id of the sink (JSON text) without what tells a number from a text."""
    return sink_id.strip('"')


def shown(key: str) -> str:
    """The key for people: the value itself where it is one text."""
    values = json.loads(key) if key else []
    return ", ".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
