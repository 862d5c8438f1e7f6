"""References in settings: `${VAR}`, `${VAR:-default}` and, for secrets, `file:path`. Reads secret files, never the environment."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from connectors.settings import ConnectionSettings, Secret

__all__ = ["Unresolved", "holds_secret", "is_text", "resolve", "written_out"]

MAX_SECRET_BYTES = 64 * 1024

_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)(?=\{)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\{))")


class Unresolved(Exception):
    """A reference that leads nowhere. The message goes on after `'setting' of connection NAME`."""


def holds_secret(model: type[ConnectionSettings], key: str) -> bool:
    """Whether the setting `key` of `model` is a secret, or a mapping of names to secrets, however deep."""
    declared = model.model_fields.get(key)
    return declared is not None and _names_secret(declared.annotation)


def _names_secret(annotation: Any) -> bool:
    return annotation is Secret or any(_names_secret(inner) for inner in get_args(annotation))


def is_text(model: type[ConnectionSettings], key: str, value: Any) -> bool:
    """Whether what is written for the secret `key` is text, or names with texts where the model wants a mapping."""
    declared = model.model_fields.get(key)
    return declared is not None and _fits(declared.annotation, value)


def _fits(annotation: Any, value: Any) -> bool:
    if isinstance(value, dict) and get_origin(annotation) is dict:
        return all(_fits(get_args(annotation)[1], inner) for inner in value.values())
    return isinstance(value, str)


def written_out(value: Any) -> bool:
    """Whether a secret's text stands in the settings themselves instead of a reference to it."""
    if isinstance(value, dict):
        return any(written_out(inner) for inner in value.values())
    return isinstance(value, str) and bool(value) and not value.startswith("file:") and "${" not in value


def resolve(value: Any, environ: Mapping[str, str], folder: Path, *, secret: bool) -> Any:
    """`value` with every reference in its texts replaced, mappings and lists included. Raises Unresolved.

    An empty variable counts as unset. `$${` stands for a literal `${`. `file:` paths are relative to `folder`.
    """
    if isinstance(value, dict):
        return {key: resolve(inner, environ, folder, secret=secret) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolve(inner, environ, folder, secret=secret) for inner in value]
    if not isinstance(value, str):
        return value
    text = _REFERENCE.sub(lambda match: _replacement(match, environ), value)
    return _secret_file(folder / text.removeprefix("file:").strip()) if secret and value.startswith("file:") else text


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    if match["broken"]:
        raise Unresolved("has a ${ that is no reference; write ${NAME} or ${NAME:-default}, or $${ for the characters themselves")
    found = environ.get(match["name"]) or match["default"]
    if found is None:
        name = match["name"]
        raise Unresolved(f"needs the environment variable {name}, which is not set; set it, or give a default as ${{{name}:-…}}")
    return found


def _secret_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise Unresolved(f"refers to the file {path}, which cannot be read ({error.strerror}); create it, or correct the path") from None
    if len(body) > MAX_SECRET_BYTES:
        raise Unresolved(f"refers to the file {path}, which is larger than any secret ({MAX_SECRET_BYTES} bytes); correct the path")
    try:
        text = body.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Unresolved(f"refers to the file {path}, which is not UTF-8 text; correct the path or the file") from None
    if not text:
        raise Unresolved(f"refers to the file {path}, which is empty; write the secret into it")
    return text
