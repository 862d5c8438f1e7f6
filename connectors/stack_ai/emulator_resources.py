"""How the Stack AI emulator answers for the resources behind a connection: by id, one level of a tree, and searched, in pages."""

import base64
from collections.abc import Sequence
from typing import Any

from connectors.stack_ai.emulator_store import Node, Refused, Store, Tree

Json = Any
DEFAULT_PAGE = 50


def tree_of(store: Store, key: str) -> Tree:
    """What is behind a connection. Raises Refused where the provider does not answer."""
    if store.connections[key]["provider_id"] == store.switches["broken_provider"]:
        raise Refused(400, "The provider refused the connection's credentials")
    return store.trees.get(key, Tree())


def by_ids(store: Store, key: str, wanted: Sequence[str]) -> Json:
    """The resources with these ids, those that exist."""
    nodes = tree_of(store, key).nodes
    return [_shown(store, nodes[one]) for one in wanted if one in nodes]


def children(store: Store, key: str, parent: str | None, token: str | None, size: int) -> Json:
    """One page of what is one level below a resource; of a file, nothing. Raises Refused."""
    tree = tree_of(store, key)
    if parent is not None and parent not in tree.nodes:
        raise Refused(404, "Resource not found")
    return _page(store, [tree.nodes[one] for one in tree.below(parent) if one in tree.nodes], token, size)


def searched(store: Store, key: str, query: str, token: str | None, size: int) -> Json:
    """One page of the resources whose name holds the query."""
    found = [node for node in tree_of(store, key).nodes.values() if query.casefold() in node.name.casefold()]
    return _page(store, found, token, size)


def _page(store: Store, nodes: list[Node], token: str | None, size: int) -> Json:
    cap, keyset = int(store.switches["page_cap"]), store.switches["page_tokens"] == "keyset"
    size = min(size, cap) if cap else size
    start = _number(token)
    store.reads += 1
    every = int(store.switches["empty_pages"])
    if every and store.reads % every == 0:
        return _enveloped(store, [], _token(start, store.reads), token)
    rest = [node for node in nodes if node.number > start] if keyset else nodes[start:]
    page, more = rest[:size], len(rest) > size
    following = (_token(page[-1].number) if keyset else _token(start + len(page))) if more else None
    if store.switches["tokens_repeat"] == "yes" and (token or more):
        following = token or following
    return _enveloped(store, [_shown(store, node) for node in page], following, token)


def _enveloped(store: Store, items: list[Json], following: str | None, token: str | None) -> Json:
    shape, name = store.switches["children_envelope"], store.switches["token_name"]
    if shape == "list":
        return items
    body: dict[str, Json] = {shape: items}
    if name == "next_cursor":
        body["current_cursor"] = token
    if following is not None or store.switches["last_page"] != "absent":
        body[name] = following if following is not None else ("" if store.switches["last_page"] == "empty" else None)
    return body


def _shown(store: Store, node: Node) -> Json:
    shown: dict[str, Json] = {store.switches["resource_id_name"]: node.id, "name": node.name, "size": node.size}
    way = store.switches["resource_types"]
    if way == "is_directory":
        shown["is_directory"] = node.folder
    elif way != "none":
        shown[way] = "directory" if node.folder else "file"
    return shown


def _token(number: int, mark: int = 0) -> str:
    return base64.b64encode(f"{number} {mark}".encode()).decode()


def _number(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token, validate=True).decode().split(" ")[0])
    except ValueError as e:
        raise Refused(400, "The cursor is not one of ours") from e
