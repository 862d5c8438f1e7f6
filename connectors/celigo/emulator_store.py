"""What the Celigo emulator keeps: stacks with their secrets, who uses them, switches, and a journal that survives restarts.

Imports nothing of ours but the demo data. `SWITCHES` names every behaviour that the document leaves open; the
first one of each is the default.
"""

import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BufferedWriter
from pathlib import Path
from typing import Any

from connectors.celigo import demo

Json = Any

SWITCHES: dict[str, tuple[str, ...]] = {
    # reading
    "page_size": ("100", "…"),
    "next_link": ("absolute", "rooted", "relative", "other_host", "repeated"),
    "paging": ("offset", "keyset"),  # what the opaque link holds
    "link_header": ("plain", "crowded", "unquoted"),
    "last_page": ("full", "empty"),  # empty: the last link leads to a page without stacks
    "none": ("204", "list"),
    "order": ("created", "reversed", "shuffled"),
    "mask": ("******", "••••••••", "omitted", "null"),
    "masks_key_ids": ("no", "yes"),
    "extra_fields": ("no", "yes"),  # fields that no document describes
    "identity": ("least", "richer"),  # what include always gives
    "dots": ("work", "ignored"),  # include=server.hostURI
    "protected": ("identity", "nothing"),  # what exclude cannot strip
    # the recycle bin
    "deleted": ("hidden", "marked", "listed"),  # in the list
    "deleted_get": ("404", "200"),
    "deleted_again": ("404", "204"),
    # writing
    "put": ("replaces", "merges"),  # fields of the config that a PUT leaves out
    "put_without_secret": ("keeps", "clears", "refused"),
    "null_values": ("refused", "clears"),
    "read_only_fields": ("refused", "ignored"),  # _id and the like in a body
    "unknown_fields": ("dropped", "refused"),
    "type_change": ("refused", "ignored"),
    "unique_names": ("no", "yes"),
    "used": ("deletable", "refused"),  # deleting a stack that others depend on
    "dependencies": ("shown", "forbidden"),  # forbidden: the token may read stacks, and not who uses them
    "trims": ("no", "yes"),
    "invalid_status": ("422", "400"),
    "error_code": ("text", "int"),
    # trouble
    "fault": ("none", "500_before", "500_after", "html_200", "error_200", "429"),  # of writes; fault_count of them
    "fault_count": ("1", "…"),
    "latency_ms": ("0", "…"),
}


class Refused(Exception):
    """A request the platform answers with `status` and an errors envelope; `message` alone where `bare`."""

    def __init__(self, status: int, message: str, *, code: str = "invalid", field: str = "", bare: bool = False) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.field, self.bare = status, message, code, field, bare


class Store:
    """One account. With `state`, a file that exists counts more than the demo data. `before_list` is called before each page."""

    def __init__(self, *, seed: int = 7, servers: int = 4, lambdas: int = 3, state: Path | None = None, **switches: str) -> None:
        self.switches = {name: choices[0] for name, choices in SWITCHES.items()}
        self.token = "demo"  # noqa: S105
        self.rng = random.Random(seed)  # noqa: S311
        self.log: list[dict[str, Json]] = []
        self.counters: dict[str, int] = {}
        self.before_list: Callable[[], None] | None = None
        self.stacks: dict[str, Json] = {}
        self.deleted: dict[str, Json] = {}
        self.users: dict[str, dict[str, list[Json]]] = {}
        self._made = 0
        self._seed = seed
        self._journal: BufferedWriter | None = None
        for name, value in switches.items():
            self.set_switch(name, value)
        if state is None or not self._replayed(state):
            made = [self.create(stack) for stack in demo.demo(seed, servers=servers, lambdas=lambdas)]
            for stack, uses in zip(made, demo.users(seed, len(made)), strict=True):
                self.use(stack["_id"], uses)
        if state is not None:
            self._open_journal(state)

    def set_switch(self, name: str, value: str) -> None:
        """Change a behaviour. Raises ValueError naming what exists."""
        choices = SWITCHES.get(name)
        if choices is None:
            raise ValueError(f"no switch {name!r}; there are {', '.join(SWITCHES)}")
        if value not in choices and not ("…" in choices and value.isdigit()):
            raise ValueError(f"switch {name} is one of {', '.join(choices)}, not {value!r}")
        self.switches[name] = value

    def create(self, stack: Json) -> Json:
        """Keep a new stack, its secrets with it; gives it whole."""
        now = self._tick()
        made = {"_id": f"{self._seed % 2**32:08x}{self._made:016x}", **stack, "createdAt": now, "lastModified": now}
        if made["type"] == "server":
            made["server"] = {**made.get("server", {}), "systemToken": self.new_token()}
        elif "language" not in made.get("lambda", {}):
            made["lambda"] = {**made.get("lambda", {}), "language": "Node.js"}
        self._keep(made)
        return made

    def replace(self, stack: Json) -> Json:
        """Keep a stack in place of the one with its _id, modified now."""
        changed = {**stack, "lastModified": self._tick()}
        self._keep(changed)
        return changed

    def remove(self, stack_id: str) -> None:
        """Put a stack into the recycle bin."""
        self.deleted[stack_id] = {**self.stacks.pop(stack_id), "deletedAt": self._tick()}
        self._write({"delete": self.deleted[stack_id]})

    def clear(self) -> None:
        """An account without a stack."""
        self.stacks.clear()
        self.deleted.clear()
        self.users.clear()
        self._write({"clear": True})

    def use(self, stack_id: str, uses: dict[str, list[Json]]) -> None:
        """Let exactly these resources depend on a stack."""
        self.users[stack_id] = {kind: [{**one, "dependencyIds": {"stacks": [stack_id]}} for one in some] for kind, some in uses.items()}
        self._write({"users": [stack_id, self.users[stack_id]]})

    def new_token(self) -> str:
        """A system token that no stack had before."""
        self._made += 1
        return f"system-token-{self._seed}-{self._made:06d}"

    def listed(self) -> list[Json]:
        """The stacks of the list in the order of the moment."""
        held = list(self.stacks.values())
        if self.switches["deleted"] != "hidden":
            unmarked = self.switches["deleted"] == "listed"
            held += [{k: v for k, v in one.items() if k != "deletedAt" or not unmarked} for one in self.deleted.values()]
        held.sort(key=lambda stack: str(stack["_id"]))
        if self.switches["order"] == "reversed":
            held.reverse()
        elif self.switches["order"] == "shuffled":
            self.rng.shuffle(held)
        return held

    def shown(self, stack: Json) -> Json:
        """A stack as the platform shows it: secrets masked, config only where there is one."""
        mask = self.switches["mask"]
        hidden = {"server": ["systemToken"], "lambda": ["secretAccessKey"]}
        if self.switches["masks_key_ids"] == "yes":
            hidden["lambda"].append("accessKeyId")
        found = dict(stack)
        for name, secrets in hidden.items():
            if name not in found:
                continue
            config = dict(found[name])
            for secret in secrets:
                if secret in config and mask == "omitted":
                    del config[secret]
                elif secret in config:
                    config[secret] = None if mask == "null" else mask
            found[name] = config
        if stack["type"] == "server" and not stack.get("server", {}).get("hostURI"):
            found.pop("server", None)
        if self.switches["extra_fields"] == "yes":
            found |= {"_userId": "u1", "shared": False, "notes": {"internal": mask, "by": "ada"}}
        return found

    def fault(self) -> str:
        """The trouble that this write meets, used up by asking."""
        left = int(self.switches["fault_count"])
        if self.switches["fault"] == "none" or left <= 0:
            return "none"
        self.switches["fault_count"] = str(left - 1)
        return self.switches["fault"]

    def _tick(self) -> str:
        """The next moment of the account's own clock: every change has another one."""
        self._made += 1
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._made)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _keep(self, stack: Json) -> None:
        self.stacks[stack["_id"]] = stack
        self._write({"put": stack})

    def _replayed(self, path: Path) -> bool:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # what follows the last newline is a torn write
        for line in lines:
            entry = json.loads(line)
            self._made = max(self._made, entry["made"])
            if "put" in entry:
                self.stacks[entry["put"]["_id"]] = entry["put"]
            elif "delete" in entry:
                self.stacks.pop(entry["delete"]["_id"], None)
                self.deleted[entry["delete"]["_id"]] = entry["delete"]
            elif "users" in entry:
                self.users[entry["users"][0]] = entry["users"][1]
            elif "clear" in entry:
                self.stacks, self.deleted, self.users = {}, {}, {}
        return bool(lines)

    def _open_journal(self, path: Path) -> None:
        fresh = path.with_name(path.name + ".new")
        entries: list[Json] = [{"start": True}, *({"put": one} for one in self.stacks.values())]
        entries += [{"delete": one} for one in self.deleted.values()] + [{"users": [one, uses]} for one, uses in self.users.items()]
        with fresh.open("wb") as compacted:
            compacted.writelines(self._line(entry) for entry in entries)
            compacted.flush()
            os.fsync(compacted.fileno())
        os.replace(fresh, path)
        self._journal = path.open("ab")

    def _write(self, entry: Json) -> None:
        if self._journal is not None:
            self._journal.write(self._line(entry))
            self._journal.flush()

    def _line(self, entry: Json) -> bytes:
        return json.dumps({**entry, "made": self._made}, ensure_ascii=False).encode() + b"\n"
