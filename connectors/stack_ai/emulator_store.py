"""What the Stack AI emulator keeps: connections, grants, trees of resources, switches, and a journal that survives restarts.

Imports nothing of ours but the demo data. The document describes hardly any answer, so `SWITCHES` names
every behaviour it might have; the first one of each is the default.
"""

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from connectors.stack_ai import demo

Json = Any

SWITCHES: dict[str, tuple[str, ...]] = {
    # lists of connections
    "envelope": ("list", "data", "connections", "items", "total"),
    "id_name": ("id", "connection_id"),
    "organization_name": ("org_id", "organization_id", "none"),
    "provider_data": ("masked", "plain", "absent"),
    "order": ("created", "reversed", "shuffled"),
    "limit_cap": ("0", "…"),  # a limit above it is lowered without a word; 0: none
    "limit_above_cap": ("lowered", "refused"),
    "offset": ("works", "ignored"),
    "available": ("list", "data", "by_name"),
    "available_auth": ("no", "yes"),
    "hidden_every": ("0", "…"),  # every n-th connection is hidden by permissions
    # writing connections
    "create_status": ("200", "201", "204"),
    "create_answers": ("record", "enveloped", "id", "id_object", "nothing", "null", "job"),  # job: the id of something else
    "update_answers": ("record", "enveloped", "nothing", "null"),
    "names_unique": ("no", "yes"),
    "trims": ("no", "yes"),
    "unknown_fields": ("ignored", "refused"),
    "provider_checked": ("yes", "no"),  # whether a type that does not exist is refused
    # health
    "health_answers": ("object", "boolean", "text", "null"),
    # resources
    "children_envelope": ("data", "items", "list"),
    "token_name": ("next_cursor", "next_page_token", "cursor"),
    "page_tokens": ("keyset", "offset"),
    "last_page": ("null", "absent", "empty"),
    "tokens_repeat": ("no", "yes"),  # the page token of a page is the one it was asked with, for ever
    "empty_pages": ("0", "…"),  # every n-th page of children is empty and goes on
    "page_cap": ("0", "…"),  # fewer items than asked for come in a page; 0: as asked
    "resource_id_name": ("resource_id", "id"),
    "resource_types": ("inode_type", "type", "is_directory", "none"),
    "broken_provider": ("", "…name"),  # the id of a provider whose resources cannot be had
    # access
    "rbac_answers": ("list", "data", "by_type", "grants"),
    "organization_role": ("in_rbac", "in_connection", "omitted", "hidden"),  # omitted: in_rbac, but not where it is null
    "roles": ("any", "known"),
    "rbac_write_answers": ("grant", "nothing", "null", "true"),
    "no_grant": ("404", "204"),  # deleting a grant that is not there
    # logging in
    "token_lives": ("0", "…"),  # requests that a token is good for; 0: for ever
    "token_error": ("400", "401", "403", "422"),
    # trouble
    "error_body": ("detail", "message", "errors", "html", "empty"),
    "fault": ("none", "500_before", "500_after", "html_200", "error_200", "429"),  # of writes; fault_count of them
    "fault_count": ("1", "…"),
    "latency_ms": ("0", "…"),
}


class Refused(Exception):
    """A request the platform answers with `status` and these words, or this `detail`."""

    def __init__(self, status: int, words: str, detail: Json = None) -> None:
        super().__init__(words)
        self.status, self.words, self.detail = status, words, detail


@dataclass
class Node:
    """One folder or file of a connection; `children` in the order they were made."""

    id: str
    parent: str | None
    name: str
    folder: bool
    size: int | None = None
    number: int = 0
    children: dict[str, None] = field(default_factory=dict)


@dataclass
class Tree:
    """The resources of one connection."""

    nodes: dict[str, Node] = field(default_factory=dict)
    roots: dict[str, None] = field(default_factory=dict)
    made: int = 0

    def put(self, values: dict[str, Json]) -> Node:
        """A new folder or file under its parent."""
        self.made += 1
        node = Node(values["id"], values["parent"], values["name"], values["folder"], values.get("size"), self.made)
        self.nodes[node.id] = node
        self.below(node.parent)[node.id] = None
        return node

    def remove(self, key: str) -> None:
        """Take away a resource and everything below it."""
        node = self.nodes.pop(key)
        (self.nodes[node.parent].children if node.parent in self.nodes else self.roots).pop(key, None)
        for child in list(node.children):
            if child in self.nodes:
                self.remove(child)

    def below(self, parent: str | None) -> dict[str, None]:
        """The ids one level below a resource, or at the root."""
        return self.roots if parent is None else self.nodes[parent].children


class Store:
    """The platform's memory. With `state`, a file that exists counts more than the demo data.

    `before_list` and `before_children` are called before each such read is answered.
    """

    def __init__(self, *, seed: int = 7, connections: int = 0, resources: int = 0, state: Path | None = None, **switches: str) -> None:
        self.switches = {name: choices[0] for name, choices in SWITCHES.items()}
        self.username, self.password = "demo", "demo"
        self.rng = random.Random(seed)  # noqa: S311
        self.organization = demo.new_id(self.rng)
        self.tokens: dict[str, int] = {}  # what was issued, and the requests made with it
        self.codes: set[str] = set()  # OAuth codes that were used
        self.connections: dict[str, dict[str, Json]] = {}
        self.trees: dict[str, Tree] = {}
        self.log: list[dict[str, Json]] = []
        self.log_ins = self.reads = self.made = 0
        self.before_list: Callable[[], None] | None = None
        self.before_children: Callable[[], None] | None = None
        self._journal: TextIO | None = None
        for name, value in switches.items():
            self.set_switch(name, value)
        if state is None or not self._replayed(state):
            self._fill(seed, connections, resources)
        if state is not None:
            self._open_journal(state)

    def set_switch(self, name: str, value: str) -> None:
        """Change a behaviour. Raises ValueError naming what exists."""
        choices = SWITCHES.get(name)
        if choices is None:
            raise ValueError(f"no switch {name!r}; there are {', '.join(SWITCHES)}")
        if value not in choices and not ("…" in choices and value.isdigit()) and "…name" not in choices:
            raise ValueError(f"switch {name} is one of {', '.join(choices)}, not {value!r}")
        self.switches[name] = value

    def create(self, values: dict[str, Json], **more: Json) -> str:
        """A new connection of the current organization; gives its id."""
        self.made += 1
        made = str(more.pop("id", "") or demo.new_id(self.rng))
        at = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.made)).isoformat()
        blank: dict[str, Json] = {"org_id": self.organization, "created_at": at, "grants": {}, "organization_role": None}
        self.put(made, {**blank, **values, **more})
        return made

    def put(self, key: str, connection: dict[str, Json]) -> None:
        """Store a whole connection."""
        self.connections[key] = connection
        self._write({"id": key, "connection": connection})

    def remove(self, key: str) -> None:
        """Forget a connection and what is behind it."""
        del self.connections[key]
        self.trees.pop(key, None)
        self._write({"id": key, "connection": None})

    def add_resource(self, key: str, parent: str | None, name: str, *, folder: bool = False, size: int | None = None) -> str:
        """A new resource behind a connection; gives its id."""
        values = {"id": demo.new_id(self.rng), "parent": parent, "name": name, "folder": folder, "size": size}
        self.trees.setdefault(key, Tree()).put(values)
        self._write({"id": key, "resources": [values]})
        return str(values["id"])

    def remove_resource(self, key: str, resource: str) -> None:
        """Take away a resource and everything below it."""
        self.trees[key].remove(resource)
        self._write({"id": key, "removed": [resource]})

    def visible(self) -> list[str]:
        """The ids of the connections of the current organization that are shown, in the order of the list."""
        keys = [key for key, one in self.connections.items() if one["org_id"] == self.organization]
        every = int(self.switches["hidden_every"])
        if every:
            keys = [key for n, key in enumerate(keys, 1) if n % every]
        if self.switches["order"] == "reversed":
            keys.reverse()
        elif self.switches["order"] == "shuffled":
            self.rng.shuffle(keys)
        return keys

    def shown(self, key: str) -> dict[str, Json]:
        """One connection as the platform shows it."""
        held = self.connections[key]
        shown = {self.switches["id_name"]: key, **{name: held[name] for name in ("name", "provider_id", "connection_type_id")}}
        shown["created_at"] = held["created_at"]
        if self.switches["organization_name"] != "none":
            shown[self.switches["organization_name"]] = held["org_id"]
        if self.switches["organization_role"] == "in_connection":
            shown["organization_role"] = held["organization_role"]
        data = held["connection_provider_data"]
        if self.switches["provider_data"] != "absent":
            plain = self.switches["provider_data"] == "plain"
            shown["connection_provider_data"] = data if plain else dict.fromkeys(data, "••••••••")
        return shown

    def issue(self) -> str:
        """A new access token."""
        self.log_ins += 1
        token = f"tok-{self.log_ins}-{self.rng.getrandbits(64):016x}"
        self.tokens[token] = 0
        return token

    def takes(self, token: str) -> bool:
        """Whether this token is good for one request more."""
        lives = int(self.switches["token_lives"])
        if token not in self.tokens or (lives and self.tokens[token] >= lives):
            return False
        self.tokens[token] += 1
        return True

    def fault(self) -> str:
        """The trouble that this write meets, used up by asking."""
        left = int(self.switches["fault_count"])
        if self.switches["fault"] == "none" or left <= 0:
            return "none"
        self.switches["fault_count"] = str(left - 1)
        return self.switches["fault"]

    def _fill(self, seed: int, connections: int, resources: int) -> None:
        for made in demo.connections(seed, connections):
            key = str(made.pop("id"))
            self.create(made, id=key)
            if made["provider_id"] in demo.WITH_RESOURCES:
                self.trees[key] = Tree()
                for one in demo.resources(f"{seed}/{key}", resources):
                    self.trees[key].put(one)

    def _replayed(self, path: Path) -> bool:
        lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []  # what follows the last newline is a torn write
        for line in lines:
            entry = json.loads(line)
            if "organization" in entry:
                self.organization, self.made = entry["organization"], entry["made"]
                continue
            key = entry["id"]
            if "connection" in entry and entry["connection"] is None:
                self.connections.pop(key, None)
                self.trees.pop(key, None)
            elif "connection" in entry:
                self.made += key not in self.connections
                self.connections[key] = entry["connection"]
            for one in entry.get("resources", ()):
                self.trees.setdefault(key, Tree()).put(one)
            for one in entry.get("removed", ()):
                self.trees[key].remove(one)
        if lines:
            self.rng.seed(f"{len(lines)}/{self.made}")  # or restarted ones would give old ids again
        return bool(lines)

    def _open_journal(self, path: Path) -> None:
        fresh = path.with_name(path.name + ".new")
        with fresh.open("w", encoding="utf-8") as compacted:
            compacted.write(_line({"organization": self.organization, "made": self.made - len(self.connections)}))
            for key, connection in self.connections.items():
                compacted.write(_line({"id": key, "connection": connection}))
            for key, tree in self.trees.items():
                kept = [{"id": n.id, "parent": n.parent, "name": n.name, "folder": n.folder, "size": n.size} for n in tree.nodes.values()]
                compacted.write(_line({"id": key, "resources": kept}))
            compacted.flush()
            os.fsync(compacted.fileno())
        os.replace(fresh, path)
        self._journal = path.open("a", encoding="utf-8")

    def _write(self, entry: dict[str, Json]) -> None:
        if self._journal is not None:
            self._journal.write(_line(entry))
            self._journal.flush()


def _line(entry: Json) -> str:
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
