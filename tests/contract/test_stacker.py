"""Stacker passes the suite of every connector."""

from collections.abc import Callable, Iterator

import pytest

from connectors.base import Record
from connectors.stacker import CONNECTOR
from connectors.stacker.emulator import create_app
from connectors.stacker.emulator_objects import decode
from connectors.stacker.emulator_store import Store
from tests.contract.connector_suite import ConnectorSuite, Platform
from tests.loopback import serving


class StackerPlatform:
    """The emulator with one object of ours, `parts`."""

    connector = CONNECTOR
    secrets = ("canary-key-8f3a",)
    stream = "parts"
    key = "number"

    def __init__(self, base_url: str, store: Store) -> None:
        self.settings = {"connector": "stacker", "base_url": base_url, "integration_key": self.secrets[0], "stack_id": store.stack}
        self.refused = {"integration_key": "canary-wrong-key"}
        self.store = store
        store.key = self.secrets[0]
        self.fill(0)

    def fill(self, count: int) -> None:
        self.store.add_object(self.stream, (self.values(-1 - n) for n in range(count)))
        self.store.objects[self.stream].fields.update(dict.fromkeys(self.values(0)))

    def records(self) -> list[Record]:
        parts = self.store.objects[self.stream]
        return [decode(self.store.shown(parts, sid, None)) for sid in parts.records]

    def values(self, n: int) -> Record:
        return {"number": f"P{n}", "name": f"Größe {n} 🚲", "stock": n, "note": None, "empty": "", "sizes": [n, {"unit": "mm"}]}

    def insert(self) -> None:
        self.store.create(self.store.objects[self.stream], {"number": f"new {self.store.rng.random()}"}, quiet=True)

    def remove(self) -> None:
        parts = self.store.objects[self.stream]
        self.store.delete(parts, self.store.rng.choice(parts.sids))

    def before_each_read(self, happens: Callable[[], None]) -> None:
        self.store.before_search = lambda _: happens()


class TestStacker(ConnectorSuite):
    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        store = Store(contacts=3, companies=0, orders=0)
        with serving(create_app(store)) as base_url:
            yield StackerPlatform(base_url, store)
