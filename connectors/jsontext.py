"""JSON text ↔ values, exact and strict: what was read is what is written, or it is refused. Pure.

Fractions are Decimal, integers have any size, and whatever two readers could understand differently
(a duplicate key, NaN, half a surrogate pair, bytes that are not UTF-8) is an error, not a guess.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

from connectors.base import JsonValue
from connectors.errors import ContractError

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "MAX_EXPONENT", "dumps", "loads"]

MAX_DEPTH = 200  # containers inside each other; recursive code further on must survive what came in
MAX_DIGITS = 100_000  # of one integer; turning digits into a number takes time growing with their square
MAX_EXPONENT = 9_999  # a short text such as 1e999999999 must not become a gigabyte when written out

_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")  # also hits whole pairs: only then is every string looked at


def loads(text: bytes | str) -> JsonValue:
    """The value of one JSON text. Raises ContractError saying what is wrong and, where known, at which character."""
    try:
        body = text if isinstance(text, bytes) else text.encode()
        decoded = body.decode("utf-8-sig")
    except UnicodeError as error:
        raise ContractError(f"the text is not UTF-8 (at byte {getattr(error, 'start', 0):,})") from None
    try:
        value = _decode(decoded)
    except json.JSONDecodeError as error:
        raise ContractError(f"the text is not JSON: {error.msg.lower()} at character {error.pos:,} of {len(decoded):,}") from None
    except RecursionError:
        raise ContractError(f"the text nests deeper than {MAX_DEPTH} levels") from None
    _refuse_depth(value)
    if _HALF_PAIR.search(body):
        _refuse_half_pairs(value)
    return value


def dumps(value: JsonValue) -> bytes:
    """Compact UTF-8 JSON. A Decimal is written as the number it is. Raises ValueError for what JSON cannot say."""
    try:
        return _encode(value)
    except RecursionError:
        raise ValueError(f"the value nests deeper than {MAX_DEPTH} levels or contains itself") from None
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair, which UTF-8 cannot say") from None
    except TypeError as error:
        raise ValueError(f"the value cannot be written as JSON: {error}") from None
    except ValueError as error:
        if "Exceeds the limit" in str(error):
            return _encode(_wide_integers(value))
        raise


def _decode(decoded: str) -> JsonValue:
    value: JsonValue
    try:
        value = _DECODER.decode(decoded)
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than int() takes from a text
        value = json.loads(decoded, parse_int=_integer, **_READING)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ContractError(f"an object has the key {twice[:60]!r} twice")
    return found


def _fraction(digits: str) -> Decimal:
    try:
        number = Decimal(digits)
    except InvalidOperation:
        number = None
    if number is None or abs(number.adjusted()) > MAX_EXPONENT:
        raise ContractError(f"the number {digits[:40]} has an exponent beyond ±{MAX_EXPONENT:,}")
    return number


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ContractError(f"an integer has {len(digits):,} digits; at most {MAX_DIGITS:,} are taken")
    return int(Decimal(digits))


def _constant(name: str) -> Any:
    raise ContractError(f"the text holds {name}, which is not a JSON number")


def _refuse_depth(value: Any) -> None:
    level = [value] if type(value) in (dict, list) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ContractError(f"the text nests deeper than {MAX_DEPTH} levels")
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]


def _refuse_half_pairs(value: Any) -> None:
    try:
        _encode(_wide_integers(value))
    except UnicodeEncodeError:
        raise ContractError("a text holds half of a surrogate pair") from None


def _encode(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


def _wide_integers(value: Any) -> Any:
    """The same value with integers of many digits as Decimal, whose text has no limit."""
    if isinstance(value, dict):
        return {name: _wide_integers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_wide_integers(inner) for inner in value]
    return Decimal(value) if type(value) is int and value.bit_length() > 10_000 else value


_READING: dict[str, Any] = {"object_pairs_hook": _object, "parse_float": _fraction, "parse_constant": _constant}
_DECODER = json.JSONDecoder(**_READING)  # made once: making one takes longer than reading a short text
_ENCODER = simplejson.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, use_decimal=True, namedtuple_as_object=False)
