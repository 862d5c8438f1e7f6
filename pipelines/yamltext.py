"""YAML text to plain values that still know their lines. Pure.

The same YAML that Dagster reads (1.1, dates stay text), read strictly: a duplicate key, a key that is
not text and anything beyond plain values are refused with the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from connectors.errors import ConfigError

__all__ = ["Document", "parse"]

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_NODES = 100_000  # aliases count as often as they are used: a few lines can stand for billions of values
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True)
class Document:
    """One YAML document. `value` is made of dict, list, str, int, float, bool and None; `file` is its name for people.

    `lines` gives the line (from 1) on which each key or list item starts.
    """

    value: Any
    file: str
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line(self, *keys: str | int) -> int:
        """The line of this key, or of the nearest enclosing one that exists."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)

    def at(self, *keys: str | int) -> str:
        """`file:line` of this key, as editors and terminals understand it."""
        return f"{self.file}:{self.line(*keys)}"


def parse(text: str, file: str) -> Document:
    """The only document in `text`. An empty text gives None. Raises ConfigError with file and line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, file, {(): 1})
        lines: dict[KeyPath, int] = {}
        _walk(node, (), lines, file, set())
        return Document(loader.construct_document(node), file, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{file}:{mark.line + 1 if mark else 1}: this is not plain YAML: {_problem(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position if isinstance(error.position, int) else 0) + 1
        raise ConfigError(f"{file}:{line}: this is not YAML: it holds a control character; remove it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}:1: this is not YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{file}:1: values are nested too deeply to be read; flatten them") from None


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "it cannot be read"
    if "alias" in problem or "alias" in (error.context or ""):
        return f"{problem}; put text that starts with * in quotes"
    if "\\t" in problem or "tab character" in problem:
        return f"{problem}; indent with spaces instead of tabs"
    if "single document" in problem or "single document" in (error.context or ""):
        return "the file holds several documents; keep one, without a second ---"
    if "constructor for the tag" in problem:
        return f"{problem}; only plain values are read"
    return problem


def _walk(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str, open_nodes: set[int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MAX_NODES or id(node) in open_nodes:
        raise ConfigError(f"{file}:{node.start_mark.line + 1}: aliases make this file endless; write the values out")
    open_nodes.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(item, (*path, position), lines, file, open_nodes)
    elif isinstance(node, yaml.MappingNode):
        _walk_mapping(node, path, lines, file, open_nodes)
    open_nodes.discard(id(node))


def _walk_mapping(node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int], file: str, open_nodes: set[int]) -> None:
    merged: list[yaml.Node] = []
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == _MERGE:
            merged.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
            continue
        if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
            shown = getattr(key, "value", "") if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            kind = key.tag.rpartition(":")[2]
            raise ConfigError(f"{file}:{line}: the key {shown!r} is not text to YAML but {kind}; put it in quotes")
        if key.value in seen:
            raise ConfigError(f"{file}:{line}: {key.value!r} is written twice, first on line {seen[key.value]}; keep one of them")
        seen[key.value] = line
        lines[(*path, key.value)] = line
        _walk(value, (*path, key.value), lines, file, open_nodes)
    for other in merged:
        _walk(other, path, lines, file, open_nodes)
