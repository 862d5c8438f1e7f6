"""The types a person declares for a stream, as an Arrow schema. Pure."""

import re
from collections.abc import Mapping

import pyarrow as pa

from connectors.errors import ConfigError

TYPE = b"crossdock.type"

_PLAIN = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
_TEXT = ("timestamp", "date", "json")  # staged as text, so that nothing is rounded
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


def declared_schema(types: Mapping[str, str]) -> pa.Schema | None:
    """Field name → type word as `streams: {…: {schema: …}}` has it; None where nothing is declared.

    Raises ConfigError for a word that is no type.
    """
    return pa.schema([_field(name, word) for name, word in types.items()]) if types else None


def _field(name: str, word: str) -> pa.Field:
    if word in _PLAIN:
        return pa.field(name, _PLAIN[word])
    if word in _TEXT:
        return pa.field(name, pa.string(), metadata={TYPE: word.encode()})
    digits = _DECIMAL.fullmatch(word)
    if digits and 1 <= int(digits[1]) <= 38 and int(digits[2]) <= int(digits[1]):
        return pa.field(name, pa.decimal128(int(digits[1]), int(digits[2])))
    raise ConfigError(
        f"the field {name!r} is declared as {word!r}; "
        "write string, integer, number, decimal(p,s) with p up to 38, boolean, timestamp, date or json"
    )
