"""Celigo passes the suite of every connector."""

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import Store
from tests.contract.celigo_platform import CeligoPlatform
from tests.contract.connector_suite import PAGE, ConnectorSuite, Platform
from tests.loopback import serving


class TestCeligo(ConnectorSuite):
    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        store = Store(page_size=str(PAGE))
        with serving(create_app(store)) as base_url:
            yield CeligoPlatform(base_url, store)


class TestCeligoAnsweringOtherwise(ConnectorSuite):
    """The same platform, with lambda stacks, where every silence of the document turned out the other way."""

    @pytest.fixture
    def platform(self) -> Iterator[Platform]:
        lists: dict[str, Any] = {"next_link": "rooted", "link_header": "crowded", "last_page": "empty", "none": "list", "order": "reversed"}
        shows: dict[str, Any] = {
            "mask": "omitted",
            "extra_fields": "yes",
            "deleted": "marked",
            "deleted_get": "200",
            "deleted_again": "204",
        }
        takes: dict[str, Any] = {"put": "merges", "put_without_secret": "clears", "unknown_fields": "refused", "error_code": "int"}
        store = Store(page_size=str(PAGE), **lists, **shows, **takes)
        with serving(create_app(store)) as base_url:
            yield CeligoPlatform(base_url, store, kind="lambda")
