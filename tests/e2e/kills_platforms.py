"""The platforms of the kill trials, up on loopback and seen from behind, by side: stacker, robostack or stack_ai."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.stack_ai.emulator import create_app as stack_ai_app
from connectors.stack_ai.emulator_store import Store as StackAiStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from tests.loopback import serving

__all__ = ["CONNECTIONS", "Platforms", "Record", "platforms"]

TOKEN_LIVES = "3"  # requests: a run logs in again and again

CONNECTIONS = """\
connections:
  stacker:
    connector: stacker
    base_url: {stacker}
    integration_key: demo
    stack_id: stk_demo
    page_size: 7
    concurrency: 1
    timeout_s: 10
    T_server_max_s: 0.1
  robostack:
    connector: robostack
    base_url: {robostack}
    api_key: demo
    api_secret: demo
    app_uuid: 00000000-0000-4000-8000-000000000001
    concurrency: 1
    timeout_s: 10
    T_server_max_s: 0.1
    streams:
      people: {{key: [id], natural_key: [email]}}
  stack_ai:
    connector: stack_ai
    base_url: {stack_ai}
    token_url: /token
    username: demo
    password: demo
    concurrency: 1
    timeout_s: 10
    T_server_max_s: 0.1
    provider_data:
      provider:notion: {{api_key: of-the-kill-trials}}
"""

Record = dict[str, Any]


class Platforms:
    """The platforms, seen from behind. `source` and `sink` of a trial are named by its scenario.

    Stack AI holds of a record only its e-mail address, as the name of a connection.
    """

    def __init__(self, stacker: StackerStore, robostack: RobostackStore, stack_ai: StackAiStore) -> None:
        self.stacker, self.robostack, self.stack_ai = stacker, robostack, stack_ai
        self.urls: dict[str, str] = {}

    def put(self, side: str, records: Sequence[Record]) -> None:
        """The platform holds exactly these."""
        if side == "stacker":
            self.stacker.add_object("contacts", records)
        elif side == "robostack":
            self.robostack.add_resource("people", records)
        else:
            self.stack_ai.connections.clear()
            for record in records:
                self.stack_ai.create({"name": record["email"], **_NOTION})

    def rows(self, side: str) -> list[tuple[Any, Record]]:
        """Every record with its id, unshown by any reading permission or switch."""
        if side == "stack_ai":
            return [(key, {"email": one["name"]}) for key, one in self.stack_ai.connections.items()]
        held = self.stacker.objects["contacts"] if side == "stacker" else self.robostack.resources["people"]
        return list(held.records.items())

    def edit(self, side: str, email: str, **changes: Any) -> None:
        """Somebody else edits a record."""
        key, record = next((key, record) for key, record in self.rows(side) if record["email"] == email)
        if side == "stacker":
            self.stacker.edit(self.stacker.objects["contacts"], key, changes)
        elif side == "robostack":
            self.robostack.put(self.robostack.resources["people"], [{**record, **changes}])

    def add(self, side: str, record: Record) -> None:
        """Somebody else makes a record."""
        if side == "stacker":
            self.stacker.create(self.stacker.objects["contacts"], dict(record), quiet=True)
        else:
            people = self.robostack.resources["people"]
            self.robostack.put(people, [{"id": self.robostack.next_id(people), **record}])

    def remove(self, side: str, email: str) -> None:
        """Somebody else removes a record."""
        key = next(key for key, record in self.rows(side) if record["email"] == email)
        if side == "stacker":
            self.stacker.delete(self.stacker.objects["contacts"], key)
        else:
            self.robostack.remove(self.robostack.resources["people"], [key])

    def made(self, side: str) -> int:
        """How many records were ever made there."""
        if side == "stack_ai":
            return self.stack_ai.made
        return self.stacker.objects["contacts"].made if side == "stacker" else self.robostack.resources["people"].made

    def snapshot(self) -> Any:
        """All that is held now."""
        return copy.deepcopy((self.stacker.objects["contacts"], self.robostack.resources["people"], self.stack_ai.connections))

    def restore(self, held: Any) -> None:
        """Hold that again."""
        self.stacker.objects["contacts"], self.robostack.resources["people"], self.stack_ai.connections = copy.deepcopy(held)


_NOTION = {"provider_id": "notion", "connection_type_id": "api_key", "connection_provider_data": {"api_key": "secret"}}


@contextmanager
def platforms() -> Iterator[Platforms]:
    """All of them on loopback, empty."""
    stacker, robostack = StackerStore(contacts=0, companies=0, orders=0), RobostackStore(people=0, orgs=0, invoices=0)
    made = Platforms(stacker, robostack, StackAiStore(token_lives=TOKEN_LIVES))
    with ExitStack() as stack:
        made.urls["stacker"] = stack.enter_context(serving(stacker_app(made.stacker)))
        made.urls["robostack"] = stack.enter_context(serving(robostack_app(made.robostack)))
        made.urls["stack_ai"] = stack.enter_context(serving(stack_ai_app(made.stack_ai)))
        yield made
