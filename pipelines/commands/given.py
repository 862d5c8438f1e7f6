"""What a person gives on the command line: JSON, or the file that holds it, and NAME=VALUE."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands import exits
from pipelines.terminal import visible

if TYPE_CHECKING:
    from connectors.base import JsonValue

__all__ = ["json_text", "named_texts"]


def json_text(text: str, option: str) -> "JsonValue":
    """The value of an option that is JSON, or `@FILE` of a file that holds it. Raises Stopped naming the option or the file."""
    from connectors.errors import ContractError
    from connectors.jsontext import loads

    source = option
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise exits.Stopped(f"{option}: the file {source} cannot be read ({why}); correct its name", exits.CONFIG) from None
    try:
        return loads(text)
    except ContractError as error:
        raise exits.Stopped(f"{source} is not JSON: {error}; correct it", exits.CONFIG) from None


def named_texts(given: Sequence[str]) -> dict[str, str]:
    """The texts of NAME=VALUE by their names. Raises Stopped for what is not written so, or is given twice."""
    named: dict[str, str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise exits.Stopped(f"{visible(word)!r} must be written as NAME=VALUE", exits.CONFIG)
        if name in named:
            raise exits.Stopped(f"{visible(name)!r} is given twice; give it once", exits.CONFIG)
        named[name] = value
    return named
