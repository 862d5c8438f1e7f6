"""Robostack passes the suite of every connector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from connectors.base import Record
from connectors.robostack import CONNECTOR
from connectors.robostack.emulator import create_app
from connectors.robostack.emulator_store import Store, decode
from tests.contract.connector_suite import ConnectorSuite, Platform
from tests.loopback import serving


class RobostackPlatform:
    """The emulator with one resource of ours, `parts`."""

    connector = CONNECTOR
    stream = "parts"
    key = "number"

    def __init__(self, base_url: str, store: Store) -> None:
        self.refused: Mapping[str, Any] = {"api_secret": "canary-wrong-secret"}
        self.secrets: Sequence[str] = ("canary-key-77b2", "canary-secret-19c4")
        self.settings: Mapping[str, Any] = {
            "connector": "robostack",
            "base_url": base_url,
            "api_key": self.secrets[0],
            "api_secret": self.secrets[1],
            "app_uuid": store.app_uuid,
            "streams": {"parts": {"key": ["id"], "natural_key": ["number"]}},
        }
        self.store = store
        store.key, store.secret = self.secrets
        self.fill(0)

    def fill(self, count: int) -> None:
        parts = self.store.add_resource(self.stream, (self.values(-1 - n) for n in range(count)))
        parts.fields.update(dict.fromkeys(["id", *self.values(0)]))

    def records(self) -> list[Record]:
        parts = self.store.resources[self.stream]
        return [decode(self.store.shown(parts, key)) for key in parts.records]

    def values(self, n: int) -> Record:
        return {"number": f"P{n}", "name": f"Größe {n} 🚲", "stock": n, "note": None, "empty": "", "sizes": [n, {"unit": "mm"}]}

    def insert(self) -> None:
        parts = self.store.resources[self.stream]
        self.store.put(parts, [{"id": self.store.next_id(parts), "number": f"new {self.store.rng.random()}"}])

    def remove(self) -> None:
        parts = self.store.resources[self.stream]
        self.store.remove(parts, [self.store.rng.choice(list(parts.records))])

    def before_each_read(self, happens: Callable[[], None]) -> None:
        self.store.before_find = happens


class TestRobostack(ConnectorSuite):
    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        store = Store(invoices=0)
        with serving(create_app(store)) as base_url:
            yield RobostackPlatform(base_url, store)


class TestRobostackAnsweringOtherwise(ConnectorSuite):
    """The same platform where every silence of the document turned out the other way."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        answers: dict[str, Any] = {
            "envelope": "data.records",
            "none_found": "204",
            "find_status": "202",
            "order": "shuffled",
            "ids": "text",
        }
        asking: dict[str, Any] = {"empty_selection": "refused", "match": "case_insensitive"}
        writes: dict[str, Any] = {
            "create_answers": "count",
            "create_status": "201",
            "update_answers": "nothing",
            "delete_answers": "nothing",
        }
        store = Store(invoices=0, **answers, **asking, **writes)
        with serving(create_app(store)) as base_url:
            platform = RobostackPlatform(base_url, store)
            yield platform
