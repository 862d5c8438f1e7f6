"""Kragle passes the suite of every connector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from connectors.base import ReadRequest, Record
from connectors.kragle import CONNECTOR
from connectors.kragle.emulator import create_app
from connectors.kragle.emulator_bodies import as_id, as_owner
from connectors.kragle.emulator_store import Store
from tests.contract.connector_suite import PAGE, ConnectorSuite, Platform, opened, read, same
from tests.loopback import serving

OURS, THEIRS = 7, 8


class KraglePlatform:
    """The emulator with stacks of ours among public and private ones of another person."""

    connector = CONNECTOR
    stream = "stacks"
    key = "name"

    def __init__(self, base_url: str, store: Store, **settings: Any) -> None:
        self.refused: Mapping[str, Any] = {"token": "canary-expired-token"}
        self.secrets: Sequence[str] = ("canary-token-77b2",)
        self.settings: Mapping[str, Any] = {"connector": "kragle", "base_url": base_url, "token": self.secrets[0], **settings}
        self.store = store
        store.logins = {self.secrets[0]: OURS}
        self.fill(0)

    def fill(self, count: int) -> None:
        self.store.stacks.clear()
        for n in range(count):
            self._add(self.values(-1 - n), public=n % 3 == 2)
            self._add({**self.values(-1 - n), "name": f"theirs {n}"}, owner=THEIRS, public=n % 2 == 0)

    def records(self) -> list[Record]:
        return [self._record(stack) for stack in self.store.stacks.values() if stack["owner"] == OURS]

    def values(self, n: int) -> Record:
        blocks = [
            ["Post to Twitter", {"tweet_body": f"\u0001/input/screen_name\u0002 says Größe {n} 🚲"}],
            ["Filter", [n, {"unit": "\u0002\u0001"}]],
        ]
        return {"name": f"Stack {n}", "webhook": "token" if n % 2 else None, "webhook_method": "POST" if n % 2 else None, "blocks": blocks}

    def insert(self) -> None:
        self._add({**self.values(0), "name": f"new {self.store.rng.random()}"})

    def remove(self) -> None:
        """Not the first one, which `own_stack` may name."""
        self.store.remove(self.store.rng.choice([key for key, stack in self.store.stacks.items() if stack["owner"] == OURS][1:]))

    def before_each_read(self, happens: Callable[[], None]) -> None:
        self.store.before_page = happens

    def _add(self, values: Record, *, owner: int = OURS, public: bool = False) -> None:
        blocks: Any = values["blocks"]
        instances = [{"type": kind, "conversion": conversion} for kind, conversion in blocks]
        self.store.add(**{**values, "blocks": instances}, owner=owner, public=public)

    def _record(self, stack: dict[str, Any]) -> Record:
        blocks = [[block["type"], block["conversion"]] for block in stack["blocks"]]
        fields = {name: stack[name] for name in ("name", "webhook", "webhook_method")}
        return {"id": as_id(self.store, stack["id"]), "owner": as_owner(self.store, stack["owner"]), **fields, "blocks": blocks, "jobs": []}


class TestKragle(ConnectorSuite):
    """Expired logins are refused here, so that an empty account is one."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        store = Store(own=0, others=0, bad_login="401", pagesize=str(PAGE))
        with serving(create_app(store)) as base_url:
            yield KraglePlatform(base_url, store, expired_login="refused")


class TestKragleAnsweringOtherwise(ConnectorSuite):
    """The same platform where the silences of the document turned out the other way, the worst of them first."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        reading: dict[str, Any] = {"count": "absent", "page_fields": "absent", "beyond_end": "404", "order": "newest", "short_pages": "yes"}
        shapes: dict[str, Any] = {"ids": "text", "owners": "text", "same_name": "oldest", "private": "404"}
        writing: dict[str, Any] = {"create_status": "201", "create_answers": "whole", "put_answers": "nothing", "put_blocks": "keeps"}
        store = Store(own=0, others=0, pagesize=str(2 * PAGE), **reading, **shapes, **writing)
        with serving(create_app(store)) as base_url:
            yield KraglePlatform(base_url, store, own_stack="Stack -1", owner=OURS, name_lookup="direct")

    @pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 2])
    def test_every_record_is_read_exactly_once(self, platform: Platform, count: int) -> None:
        super().test_every_record_is_read_exactly_once(platform, count)

    def test_an_empty_list_is_not_taken_for_an_empty_account(self, platform: Platform) -> None:
        with opened(platform, own_stack=None) as sink:
            records, proof = read(sink, sink.stream("stacks"), ReadRequest(proof=True))
        assert same(records, [])
        assert not proof.complete
        assert any("own_stack" in reason for reason in proof.reasons)
