"""Stack AI passes the suite of every connector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from connectors.base import Record
from connectors.stack_ai import CONNECTOR
from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import Store
from tests.contract.connector_suite import ConnectorSuite, Platform
from tests.loopback import serving

KINDS = (("slack", "oauth2"), ("notion", "api_key"), ("hubspot", "api_key"))


class StackAiPlatform:
    """The emulator, seen through its connections."""

    connector = CONNECTOR
    stream = "connections"
    key = "name"

    def __init__(self, base_url: str, store: Store, **settings: Any) -> None:
        self.refused: Mapping[str, Any] = {"password": "canary-wrong-password"}
        self.secrets: Sequence[str] = ("canary-pass-77b2", "canary-bot-19c4")
        self.settings: Mapping[str, Any] = {
            "connector": "stack_ai",
            "base_url": base_url,
            "token_url": "/token",
            "username": "ada@example.com",
            "password": self.secrets[0],
            "provider_data": {f"provider:{provider}": {"bot_token": self.secrets[1]} for provider, _ in KINDS},
            **settings,
        }
        self.store = store
        store.username, store.password = "ada@example.com", self.secrets[0]

    def fill(self, count: int) -> None:
        for key in list(self.store.connections):
            self.store.remove(key)
        for n in range(count):
            self.store.create({**self.values(-1 - n), "connection_provider_data": {"bot_token": "b"}})

    def records(self) -> list[Record]:
        return [
            {("id" if name == "connection_id" else name): value for name, value in shown.items() if name != "connection_provider_data"}
            | ({"connection_id": key} if self.store.switches["id_name"] == "connection_id" else {})
            for key in self.store.connections
            if (shown := self.store.shown(key))
        ]

    def values(self, n: int) -> Record:
        provider, kind = KINDS[n % len(KINDS)]
        return {"name": f"Größe {n} 🚲", "provider_id": provider, "connection_type_id": kind}

    def insert(self) -> None:
        self.store.create({**self.values(int(1e6 * self.store.rng.random())), "connection_provider_data": {}})

    def remove(self) -> None:
        self.store.remove(self.store.rng.choice(list(self.store.connections)))

    def before_each_read(self, happens: Callable[[], None]) -> None:
        self.store.before_list = happens


class TestStackAi(ConnectorSuite):
    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        store = Store()
        with serving(create_app(store)) as base_url:
            yield StackAiPlatform(base_url, store)


class TestStackAiAnsweringOtherwise(ConnectorSuite):
    """The same platform where every silence of the document turned out the other way."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        lists: dict[str, Any] = {"envelope": "total", "id_name": "connection_id", "organization_name": "none", "limit_cap": "4"}
        writes: dict[str, Any] = {"create_answers": "nothing", "create_status": "204", "update_answers": "nothing"}
        store = Store(**lists, **writes, provider_data="plain", order="reversed", token_lives="3", available_auth="yes", token_error="422")
        with serving(create_app(store)) as base_url:
            yield StackAiPlatform(base_url, store)


class TestStackAiByTheOtherList(ConnectorSuite):
    """The v1 list, with what it answers by itself, and ids instead of records from writes."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        store = Store(envelope="items", create_answers="id_object", update_answers="enveloped", organization_name="organization_id")
        with serving(create_app(store)) as base_url:
            yield StackAiPlatform(base_url, store, listing="v1", organization=store.organization)
