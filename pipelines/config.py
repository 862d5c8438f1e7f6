"""The files a person writes: connections.yaml and the syncs' defs.yaml, as checked values. Reads files, never the environment.

Connections keep their references (`${VAR}`, `${VAR:-default}`, `file:path`) until one is used, so that only the
connection in use needs its variables set; the environment is given by the caller.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from connectors.errors import ConfigError
from connectors.settings import ConnectionSettings
from pipelines.complaints import complaint, listed, nearest
from pipelines.references import Unresolved, holds_secret, is_text, resolve, written_out
from pipelines.spec import SyncSpec
from pipelines.yamltext import Document, parse

__all__ = ["ConnectionEntry", "ConnectionsFile", "SyncFile", "SyncFiles", "load_connections", "load_sync", "load_sync_file", "load_syncs"]

SYNC_COMPONENT = "pipelines.components.SyncComponent"
SYNC_FILE = "defs.yaml"
MAX_BYTES = 4 * 1024 * 1024

_CONNECTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SYNC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPONENT_KEYS = ("type", "attributes", "template_vars_module", "requirements", "post_processing")
_PLACEHOLDER = "https://unset.invalid"


@dataclass(frozen=True)
class ConnectionEntry:
    """One connection as written: references unresolved, settings unchecked."""

    name: str
    connector: str
    document: Document = field(repr=False)
    folder: Path = field(repr=False)  # what `file:` references are relative to

    def at(self, *keys: str | int) -> str:
        """`file:line` of a setting of this connection."""
        return self.document.at("connections", self.name, *keys)

    def settings(self, model: type[ConnectionSettings], environ: Mapping[str, str], *, placeholders: bool = False) -> ConnectionSettings:
        """The checked settings, references resolved. Raises ConfigError with file and line.

        With `placeholders`, a reference that cannot be resolved is left at its default (or an address that
        leads nowhere): enough to look at what is declared, never to connect.
        """
        raw: dict[str, Any] = self.document.value["connections"][self.name]
        values: dict[str, Any] = {}
        for key, value in raw.items():
            secret = holds_secret(model, key)
            if secret and value is not None and not is_text(model, key, value):
                raise ConfigError(f"{self.at(key)}: {key!r} of connection {self.name} must be text; put it in quotes")
            try:
                values[key] = resolve(value, environ, self.folder, secret=secret)
            except Unresolved as reason:
                if not placeholders:
                    raise ConfigError(f"{self.at(key)}: {key!r} of connection {self.name} {reason}") from None
                declared = model.model_fields.get(key)
                if declared is not None and declared.is_required():
                    values[key] = _PLACEHOLDER
        try:
            return model.model_validate(values)
        except ValidationError as error:
            prefix = ("connections", self.name)
            raise complaint(error, self.document, prefix, model, f"connection {self.name}", show_values=False) from None

    def written_out_secrets(self, model: type[ConnectionSettings]) -> list[str]:
        """One sentence for each secret that stands in the file itself."""
        values = self.document.value["connections"][self.name]
        return [
            f"{self.at(key)}: {key!r} of connection {self.name} is written out; "
            f"write ${{{self.name.upper().replace('-', '_')}_{key.upper()}}} or file:PATH instead"
            for key, value in values.items()
            if holds_secret(model, key) and written_out(value)
        ]


@dataclass(frozen=True)
class ConnectionsFile:
    """The connections a person declared, by name. `file` is where, as messages show it."""

    file: str
    entries: Mapping[str, ConnectionEntry]

    def entry(self, name: str, *, wanted_by: str = "") -> ConnectionEntry:
        """The connection of that name. Raises ConfigError with the nearest name; `wanted_by` says where it was asked for."""
        if name in self.entries:
            return self.entries[name]
        meant = nearest(name, self.entries)
        hint = f"did you mean {meant!r}?" if meant else f"it declares {listed(self.entries)}"
        raise ConfigError(f"{wanted_by + ': ' if wanted_by else ''}there is no connection {name!r} in {self.file}; {hint}")


@dataclass(frozen=True)
class SyncFile:
    """A sync and the file it is written in."""

    spec: SyncSpec
    path: Path
    document: Document = field(repr=False)

    def at(self, *keys: str | int) -> str:
        """`file:line` of one of the sync's settings."""
        return self.document.at("attributes", *keys)


@dataclass(frozen=True)
class SyncFiles:
    """Every sync under a folder. A broken file is one entry in `errors`, by sync name, and hides no other."""

    files: Mapping[str, SyncFile]
    errors: Mapping[str, ConfigError]

    @property
    def specs(self) -> dict[str, SyncSpec]:
        """The readable syncs by name."""
        return {name: file.spec for name, file in self.files.items()}

    def file(self, name: str) -> SyncFile:
        """The sync of that name. Raises its own error, or ConfigError with the nearest name."""
        if name in self.errors:
            raise self.errors[name]
        if name in self.files:
            return self.files[name]
        known = sorted({*self.files, *self.errors})
        meant = nearest(name, known)
        raise ConfigError(f"there is no sync {name!r}; " + (f"did you mean {meant!r}?" if meant else f"there is {listed(known)}"))


def load_connections(path: Path, root: Path | None = None) -> ConnectionsFile:
    """The connections in `path`, which messages show relative to `root`. Raises ConfigError with file and line."""
    document = _read(path, root, "it declares the connections; write one, or name another with CROSSDOCK_CONNECTIONS")
    top = _mapping(document, (), "the file", "connections:")
    for key in top:
        if key != "connections":
            raise ConfigError(f"{document.at(key)}: {key!r} is not a setting of this file; connections go under 'connections:'")
    entries: dict[str, ConnectionEntry] = {}
    for name, values in _mapping(document, ("connections",), "'connections'", "NAME: {connector: …}").items():
        if not _CONNECTION_NAME.fullmatch(name):
            raise ConfigError(
                f"{document.at('connections', name)}: {name!r} cannot name a connection; use letters, digits, _ and -, a letter first"
            )
        if not isinstance(values, dict) or not isinstance(values.get("connector"), str):
            raise ConfigError(f"{document.at('connections', name)}: connection {name} lacks 'connector', the platform it speaks to; add it")
        entries[name] = ConnectionEntry(name, values["connector"], document, path.parent.absolute())
    return ConnectionsFile(document.file, entries)


def load_sync(path: Path) -> SyncSpec:
    """The sync in `path` (a defs.yaml), named after its folder. Raises ConfigError with file and line."""
    return load_sync_file(path).spec


def load_sync_file(path: Path, root: Path | None = None) -> SyncFile:
    """As `load_sync`, keeping the lines; messages show the path relative to `root`. Raises ConfigError with file and line."""
    file = _load_sync(path, root)
    if file is None:
        raise ConfigError(f"{path}:1: this is not a sync; a sync says type: {SYNC_COMPONENT}")
    return file


def load_syncs(folder: Path, root: Path | None = None) -> SyncFiles:
    """Every sync below `folder`, by name in order; messages show paths relative to `root`.

    Components of other types are not ours and are left out.
    """
    files: dict[str, SyncFile] = {}
    errors: dict[str, ConfigError] = {}
    for path in sorted(folder.rglob(SYNC_FILE)):
        name = path.parent.name
        try:
            file = _load_sync(path, root)
        except ConfigError as error:
            errors[name if name not in errors else str(path.parent.relative_to(folder))] = error
            continue
        if file is None:
            continue
        if name in files:
            twice = f"{_shown(path, root)}:1: the sync {name} is also written in {files[name].document.file}; rename one of the folders"
            errors[str(path.parent.relative_to(folder))] = ConfigError(twice)
        else:
            files[name] = file
    return SyncFiles(files, errors)


def _load_sync(path: Path, root: Path | None) -> SyncFile | None:
    """None where the file holds a component that is not a sync."""
    document = _read(path, root, f"a sync is a folder holding {SYNC_FILE}")
    top = _mapping(document, (), "the file", f"type: {SYNC_COMPONENT}")
    kind = top.get("type")
    if not isinstance(kind, str):
        raise ConfigError(f"{document.at('type')}: the file lacks 'type'; a sync says type: {SYNC_COMPONENT}")
    if kind.rpartition(".")[2] != "SyncComponent":
        meant = nearest(kind, [SYNC_COMPONENT])
        if meant and kind.startswith("pipelines."):
            raise ConfigError(f"{document.at('type')}: there is no component {kind!r}; did you mean {meant!r}?")
        return None
    for key in top:
        if key not in _COMPONENT_KEYS:
            meant = nearest(key, _COMPONENT_KEYS) or ("attributes" if key in SyncSpec.model_fields else None)
            hint = "the sync's settings go under 'attributes:'" if meant == "attributes" else f"it takes {listed(_COMPONENT_KEYS)}"
            raise ConfigError(f"{document.at(key)}: {key!r} is not a setting of a component file; {hint}")
    name = path.absolute().parent.name
    if not _SYNC_NAME.fullmatch(name):
        raise ConfigError(f"{document.at()}: the folder {name!r} cannot name a sync; use letters, digits and _, a letter first")
    attributes = _mapping(document, ("attributes",), "'attributes'", "from: connection.stream")
    if attributes.get("name", name) != name:
        raise ConfigError(f"{document.at('attributes', 'name')}: a sync is named after its folder, {name}; remove 'name'")
    try:
        return SyncFile(SyncSpec.model_validate({**attributes, "name": name}), path, document)
    except ValidationError as error:
        raise complaint(error, document, ("attributes",), SyncSpec, f"sync {name}", show_values=True, without=("name",)) from None


def _shown(path: Path, root: Path | None) -> str:
    return str(path.relative_to(root) if root is not None and path.is_relative_to(root) else path)


def _read(path: Path, root: Path | None, purpose: str) -> Document:
    shown = _shown(path, root)
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {shown}; {purpose}") from None
    except OSError as error:
        raise ConfigError(f"{shown} cannot be read ({error.strerror}); {purpose}") from None
    if len(body) > MAX_BYTES:
        raise ConfigError(f"{shown} is larger than {MAX_BYTES} bytes, which no settings are; {purpose}")
    try:
        return parse(body.decode("utf-8-sig"), shown)
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown}:{line}: this is not UTF-8 text; save the file as UTF-8") from None


def _mapping(document: Document, keys: tuple[str, ...], what: str, example: str) -> dict[str, Any]:
    value = document.value
    for key in keys:
        value = (value or {}).get(key)
    if value is None and (not keys or keys == ("connections",)):
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{document.at(*keys)}: {what} must be a mapping, such as {example}")
    return value
