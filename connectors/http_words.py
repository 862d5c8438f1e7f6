"""What a platform said in an error answer, fit to be shown: short, one line, without secrets. Pure."""

import html
import re
from collections.abc import Iterable, Iterator

from connectors.base import JsonValue
from connectors.errors import ContractError
from connectors.jsontext import loads

__all__ = ["redact", "words_of"]

_LENGTH = 300
_READ_BYTES = 64 * 1024  # error answers longer than this are proxies' pages
_SAYING = ("message", "error_description", "error_message", "detail", "error", "errors", "title", "reason", "msg", "description")
_WHERE = ("field", "loc", "path", "code", "id")


def words_of(body: bytes, secrets: Iterable[str]) -> str:
    """The sentence of an error body of any of the usual shapes, or "" where it has none.

    Knows `{message}`, `errors[]`, `detail` as text or list, field → messages, HTML and plain text.
    Other contents of the body are not shown: they may be the record that was sent.
    """
    text = body[:_READ_BYTES].decode("utf-8", "replace").strip()
    try:
        said = "; ".join(dict.fromkeys(_sayings(loads(body)))) if len(body) <= _READ_BYTES else ""
    except ContractError:
        said = _plain(text)
    line = "".join(character for character in " ".join(said.split()) if character.isprintable())
    line = redact(line, secrets)  # last: what was taken out may have stood inside a secret
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret, longest first and in capitals or not, replaced by `[secret]`."""
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), "[secret]", text, flags=re.IGNORECASE) if longest_first else text


def _sayings(value: JsonValue, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < 4:
        for item in value[:5]:
            yield from _sayings(item, depth + 1)
    elif isinstance(value, dict) and depth < 4:
        said = "; ".join(text for name in _SAYING if name in value for text in _sayings(value[name], depth + 1))
        if said:
            place = next((_place(value[name]) for name in _WHERE if value.get(name) is not None), "")
            yield f"{place}: {said}" if place else said
        else:
            yield from _by_field(value)


def _by_field(value: dict[str, JsonValue]) -> Iterator[str]:
    for name, messages in value.items():
        if isinstance(messages, list) and messages and all(isinstance(text, str) for text in messages):
            yield f"{name}: {'; '.join(messages)}"


def _place(value: JsonValue) -> str:
    return ".".join(str(part) for part in value) if isinstance(value, list) else str(value) if isinstance(value, str | int) else ""


def _plain(text: str) -> str:
    if not text.startswith("<"):
        return text if text[:1] not in ("{", "[") else ""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    shown = title[1] if title else re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(shown)
