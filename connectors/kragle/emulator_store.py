"""What the Kragle emulator keeps: stacks of several people, logins, switches, and a journal that survives restarts.

Imports nothing of ours but the demo data. `SWITCHES` names every behaviour that the document leaves
open, and some troubles; the first one of each is the default.
"""

import copy
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from connectors.kragle import demo

Json = Any
Stack = dict[str, Json]

SWITCHES: dict[str, tuple[str, ...]] = {
    # logins
    "auth": ("bearer", "basic"),
    "bad_login": ("anonymous", "401", "403"),  # an expired or wrong login, where a login is not required
    "login_needed": ("401", "403"),  # where it is required
    "private": ("403", "404"),  # somebody else's private stack
    # the list
    "pagesize": ("20", "…"),
    "count": ("total", "page", "absent", "low", "high", "pages"),
    "page_fields": ("told", "absent"),  # pagesize and page in the answer
    "page": ("kept", "ignored"),
    "beyond_end": ("empty", "last", "404"),
    "order": ("made", "newest", "shuffled"),
    "short_pages": ("no", "yes"),  # pages are cut first, and what may not be seen is taken out then
    "trailing_slash": ("refused", "taken"),
    # one stack
    "lookup": ("id_first", "name_first", "id_only"),
    "same_name": ("own_first", "oldest"),
    "ids": ("int", "text"),
    "owners": ("int", "text"),
    "no_jobs": ("empty", "absent", "null"),
    "no_token": ("null", "absent"),
    "method_without_webhook": ("null", "GET"),
    # writing
    "visibility": ("private", "public"),  # of a new stack
    "create_status": ("200", "201"),
    "create_answers": ("id", "whole", "nothing"),
    "put_answers": ("documented", "whole", "nothing"),
    "put_blocks": ("resets", "keeps"),  # the state of blocks sent again
    "put_schedule": ("adds", "replaces"),
    "unknown_fields": ("refused", "ignored"),
    "unknown_blocks": ("refused", "taken"),
    "unique_names": ("no", "yes"),  # among one owner's
    "trims": ("no", "yes"),
    "nulls": ("refused", "taken", "ignored"),  # for parameters not documented to be null
    # trouble
    "error_status": ("422", "400", "409"),
    "error_body": ("message", "errors", "detail", "html", "empty"),
    "fault": ("none", "500_before", "500_after", "html_200", "error_200", "cut", "429"),  # of writes; fault_count of them
    "fault_count": ("1", "…"),
    "latency_ms": ("0", "…"),
}


class Refused(Exception):
    """A request the platform answers with `status` and these words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Store:
    """The platform's memory. With `state`, a file that exists counts more than the demo data.

    `logins` gives the user of a token, or of a user name and password. `before_page` is called before
    each page is answered.
    """

    def __init__(self, *, seed: int = 7, own: int = 45, others: int = 30, state: Path | None = None, **switches: str) -> None:
        self.switches = {name: choices[0] for name, choices in SWITCHES.items()}
        self.logins: dict[str | tuple[str, str], int] = {"demo": demo.OWNER, ("demo", "demo"): demo.OWNER, ("demo", ""): demo.OWNER}
        self.rng = random.Random(seed)  # noqa: S311
        self.log: list[dict[str, Json]] = []
        self.counters: dict[str, int] = {}
        self.before_page: Callable[[], None] | None = None
        self.stacks: dict[int, Stack] = {}
        self.made = 0
        self._journal: io.BufferedWriter | None = None
        for name, value in switches.items():
            self.set_switch(name, value)
        if state is None or not self._replayed(state):
            for given in demo.demo(seed, own=own, others=others):
                self.add(**given)
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

    def add(self, *, owner: int = demo.OWNER, name: str, public: bool = False, blocks: Json = (), **fields: Json) -> Stack:
        """A stack that somebody made. `blocks` are objects of type, conversion, state and name; `schedules` names its jobs'."""
        stack: Stack = {
            "id": self.next_id(),
            "owner": owner,
            "name": name,
            "public": public,
            "is_approved": public,
            "needs_approval": False,
        }
        stack |= {"webhook": None, "webhook_method": None, "webhook_token": None, "jobs": []}
        stack |= {field: value for field, value in fields.items() if field not in ("schedules", "enabled")}
        stack["blocks"] = [self.instance(**block) for block in blocks]
        if stack["webhook"] is not None:
            stack["webhook_token"] = self.token()
        for schedule in fields.get("schedules", ()):
            stack["jobs"].append(self.job(name, schedule, enabled=fields.get("enabled", False)))
        self.put(stack)
        return stack

    def instance(self, *, type: str, conversion: Json, state: Json = None, name: str | None = None) -> dict[str, Json]:
        """A new block in a stack."""
        begun = copy.deepcopy(state if state is not None else demo.INITIAL_STATE.get(type, {"input": {}, "output": {}}))
        return {"id": self.next_id(), "type": type, "conversion": copy.deepcopy(conversion), "state": begun, "name": name}

    def job(self, name: str, schedule: int, *, enabled: bool) -> dict[str, Json]:
        """A new job."""
        return {"id": self.next_id(), "name": name, "do_run": enabled, "schedule": demo.SCHEDULES[schedule], "schedule_id": schedule}

    def next_id(self) -> int:
        """A number that nothing had before."""
        self.made += 1
        return self.made

    def token(self) -> str:
        """A secret for a webhook."""
        return f"{self.rng.getrandbits(64):016X}"

    def put(self, stack: Stack) -> None:
        """Store a whole stack as one change."""
        self.stacks[stack["id"]] = stack
        self._write({"put": stack})

    def remove(self, stack_id: int) -> None:
        """Forget a stack, as its owner may do by other means than the API."""
        del self.stacks[stack_id]
        self._write({"remove": stack_id})

    def find(self, asked: str, user: int | None) -> Stack:
        """The stack of that id or name, which this user may see. Raises Refused."""
        by_id = [stack for stack in self.stacks.values() if str(stack["id"]) == asked]
        named = [stack for stack in self.stacks.values() if stack["name"] == asked]
        if self.switches["same_name"] == "own_first":
            named.sort(key=lambda stack: stack["owner"] != user)
        ways = {"id_first": [*by_id, *named], "name_first": [*named, *by_id], "id_only": by_id}
        found = ways[self.switches["lookup"]]
        seen = [stack for stack in found if self.may_see(stack, user)]
        if seen:
            return seen[0]
        if found and self.switches["private"] == "403":
            raise Refused(403, "Forbidden")
        raise Refused(404, "No such stack")

    def may_see(self, stack: Stack, user: int | None) -> bool:
        """Whether a stack is public or the user's own."""
        return bool(stack["public"]) or (user is not None and stack["owner"] == user)

    def listed(self, user: int | None) -> list[Stack]:
        """All stacks in the platform's order: those this user may see, or with short pages all."""
        stacks = list(self.stacks.values())
        if self.switches["order"] == "newest":
            stacks.reverse()
        elif self.switches["order"] == "shuffled":
            self.rng.shuffle(stacks)
        return stacks if self.switches["short_pages"] == "yes" else [stack for stack in stacks if self.may_see(stack, user)]

    def fault(self) -> str:
        """The trouble that this write meets, used up by asking."""
        left = int(self.switches["fault_count"])
        if self.switches["fault"] == "none" or left <= 0:
            return "none"
        self.switches["fault_count"] = str(left - 1)
        return self.switches["fault"]

    def _replayed(self, path: Path) -> bool:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # what follows the last newline is a torn write
        for line in lines:
            entry = json.loads(line)
            self.made = max(self.made, entry.get("made", 0))
            if "put" in entry:
                self.stacks[entry["put"]["id"]] = entry["put"]
            self.stacks.pop(entry.get("remove"), None)
        return bool(lines)

    def _open_journal(self, path: Path) -> None:
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as compacted:
            compacted.writelines(self._line(entry) for entry in self._snapshot())
            compacted.flush()
            os.fsync(compacted.fileno())
        os.replace(fresh, path)
        self._journal = path.open("ab")

    def _snapshot(self) -> Iterator[dict[str, Json]]:
        yield {}
        for stack in self.stacks.values():
            yield {"put": stack}

    def _write(self, entry: dict[str, Json]) -> None:
        if self._journal is not None:
            self._journal.write(self._line(entry))
            self._journal.flush()

    def _line(self, entry: dict[str, Json]) -> bytes:
        return json.dumps({**entry, "made": self.made}).encode() + b"\n"
