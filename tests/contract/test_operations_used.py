"""Which operations each stream's reads and writes use: what the connectors declare, and the tables show, is what goes over the wire."""

import importlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from connectors.base import Change, Op, Operation, ReadRequest, Record, Sink, Stream
from connectors.errors import ConnectorError
from connectors.settings import Connector, Ports
from pipelines.ports import SystemClock, SystemRng
from pipelines.runtime import CONNECTORS, connector
from tests.contract.celigo_platform import CeligoPlatform
from tests.contract.connector_suite import PAGE, read
from tests.contract.test_kragle import OURS, KraglePlatform
from tests.contract.test_robostack import RobostackPlatform
from tests.contract.test_stack_ai import StackAiPlatform
from tests.contract.test_stacker import StackerPlatform
from tests.loopback import serving

Used = dict[str, set[str]]


class Tapped(httpx.BaseTransport):
    """The real network, with a note of what went over it."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._real = httpx.HTTPTransport()
        self._patterns = [(one, re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(one.path)))) for one in operations]
        self.used: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.raw_path.decode().split("?")[0]
        if path != "/token":
            found = [one.name for one, pattern in self._patterns if one.method == method and pattern.fullmatch(path)]
            assert found, f"{method} {path} is no documented operation"
            by_form = len(found) > 1 and "csv" in request.headers["accept"]  # one address, two forms of answer
            self.used.add(found[-1] if by_form else found[0])
        return self._real.handle_request(request)


class Account:
    """A platform on loopback, and a connection to it whose requests are noted by stream."""

    def __init__(self, platform: Any) -> None:
        self.platform, self.connector = platform, platform.connector
        self.reads: Used = defaultdict(set)
        self.writes: Used = defaultdict(set)
        self._numbers = count(1)

    def __call__(self, *, refused: bool = False, **changed: Any) -> None:
        """Read every stream in every way with these settings changed. `refused`: no read may come to a good end."""
        settings = {"page_size": PAGE, **self.platform.settings, **changed}
        for stream in self._with(settings, lambda sink: sink.streams()):
            if refused:
                with pytest.raises(ConnectorError):
                    self._read(settings, stream, ReadRequest())
                continue
            records = self._read(settings, stream, ReadRequest(proof=True))
            self._read(settings, stream, ReadRequest())
            for field in (stream.id_field, *stream.natural_key):
                known = [record[field] for record in records if record.get(field) is not None][:1] or ["nobody has this"]
                self._read(settings, stream, ReadRequest(keys=tuple({field: value} for value in known)))

    def write(self, stream: str, op: Op, fields: Record, target: Record | None = None, *, times: int = 1, **changed: Any) -> list[Any]:
        """One call of changes; the receipts' sink ids."""

        def send(sink: Sink) -> list[Any]:
            chosen = sink.stream(stream)
            key = None if target is None else target[chosen.id_field]
            held = target or {}
            changes = [
                Change(n, op, {}, {**fields, **({"number": f"N{next(self._numbers)}"} if times > 1 else {})}, key, held)
                for n in range(times)
            ]
            receipts = list(sink.write(chosen, changes))
            assert all(receipt.result in ("applied", "accepted") for receipt in receipts), receipts
            return [receipt.sink_id for receipt in receipts]

        tap = Tapped(self.connector.operations)
        ids = self._with({"page_size": PAGE, **self.platform.settings, **changed}, send, tap)
        self.writes[f"{self._general(stream)}:{op}"] |= tap.used
        return ids

    def _read(self, settings: Record, stream: Stream, request: ReadRequest) -> list[Record]:
        tap = Tapped(self.connector.operations)
        try:
            return self._with(settings, lambda sink: read(sink, sink.stream(stream.name), request)[0], tap)
        finally:
            self.reads[self._general(stream.name)] |= tap.used

    def _general(self, stream: str) -> str:
        """The name by which the declarations know it: their own, or that of every stream of the platform's naming."""
        known = {name for one in self.connector.operations for name in (*one.sources, *(sink.partition(":")[0] for sink in one.sinks))}
        return stream if stream in known else next(name for name in known if name.startswith("{"))

    def _with(self, settings: Record, do: Callable[[Sink], Any], tap: Tapped | None = None) -> Any:
        sink: Any = self.connector.open(self.connector.settings(**settings), Ports(SystemClock(), SystemRng(), tap))
        try:
            return do(sink)
        finally:
            sink.close()


@contextmanager
def stacker() -> Iterator[Account]:
    from connectors.stacker.emulator import create_app
    from connectors.stacker.emulator_store import Store

    store = Store(contacts=3, companies=0, orders=0)
    with account(create_app(store), lambda url: StackerPlatform(url, store)) as there:
        there.platform.settings = {**there.platform.settings, "account_id": store.account}
        there.platform.fill(2 * PAGE)
        there()
        record = there.platform.records()[0]
        there.write("parts", "create", there.platform.values(1))
        there.write("parts", "create", there.platform.values(1), times=2)
        there.write("parts", "update", {"name": "new"}, record)
        there.write("parts", "update", {"name": "newer"}, record, times=2, bulk_updates="by_sid")
        there.write("parts", "delete", {}, record)
        yield there


@contextmanager
def robostack() -> Iterator[Account]:
    from connectors.robostack.emulator import create_app
    from connectors.robostack.emulator_store import Store

    store = Store(invoices=0)
    with account(create_app(store), lambda url: RobostackPlatform(url, store)) as there:
        there.platform.fill(3)
        there()
        record = there.platform.records()[0]
        there.write("parts", "create", there.platform.values(1))
        there.write("parts", "update", {"name": "new"}, record)
        there.write("parts", "delete", {}, record)
        yield there


@contextmanager
def celigo() -> Iterator[Account]:
    from connectors.celigo.emulator import create_app
    from connectors.celigo.emulator_store import Store

    store = Store(page_size=str(PAGE))
    with account(create_app(store), lambda url: CeligoPlatform(url, store)) as there:
        there.platform.fill(2 * PAGE)
        there()
        record = there.platform.records()[0]
        there.write("stacks", "create", there.platform.values(1))
        there.write("stacks", "update", {"name": "new"}, record)
        there.write("stacks", "delete", {}, record)
        yield there


@contextmanager
def kragle() -> Iterator[Account]:
    from connectors.kragle.emulator import create_app
    from connectors.kragle.emulator_store import Store

    store = Store(own=0, others=0, pagesize=str(PAGE))
    with account(create_app(store), lambda url: KraglePlatform(url, store)) as there:
        there(own_stack="Stack -1", refused=True)  # no stack is ours: the one named is asked for, and is not there
        there.platform.fill(2 * PAGE)
        there(own_stack="Stack -1", owner=OURS, name_lookup="direct")
        record = there.platform.records()[0]
        there.write("stacks", "create", there.platform.values(1))
        there.write("stacks", "update", {"name": "new"}, record)
        there.write("stacks", "update", {"blocks": there.platform.values(5)["blocks"]}, record)
        yield there


@contextmanager
def stack_ai() -> Iterator[Account]:
    from connectors.stack_ai.emulator import create_app
    from connectors.stack_ai.emulator_store import Store

    store = Store()
    with account(create_app(store), lambda url: StackAiPlatform(url, store)) as there:
        there.platform.fill(2 * PAGE)
        key = there.platform.records()[0]["id"]
        there()
        there(listing="v1")
        there(connection_ids=[key])
        record = there.platform.records()[1]
        there.write("connections", "create", there.platform.values(1))
        there.write("connections", "update", {"name": "new"}, record)
        there.write("connections", "update", {"provider_id": "notion", "connection_type_id": "api_key"}, record)
        there.write("connections", "delete", {}, record)
        for kind, subject in (("user", "00000000-0000-4000-8000-00000000000a"), ("organization", "*")):
            grant = {"connection_id": key, "subject_type": kind, "subject_id": subject, "role": "viewer"}
            (made,) = there.write("rbac", "create", grant)
            target = {**grant, "id": made or f"{key}/{kind}/{subject}"}
            there.write("rbac", "update", {"role": "editor"}, target)
            there.write("rbac", "delete", {}, target)
        yield there


@contextmanager
def account(app: Starlette, platform: Callable[[str], Any]) -> Iterator[Account]:
    with serving(app) as base_url:
        yield Account(platform(base_url))


@contextmanager
def ordinary(name: str) -> Iterator[Account]:
    """Any other connector, by the platform of its contract test: its stream is read, and a record made, changed and deleted."""
    emulator = importlib.import_module(connector(name).emulator)
    tests = importlib.import_module(f"tests.contract.test_{name}")
    (platform,) = (one for one in vars(tests).values() if isinstance(one, type) and getattr(one, "connector", None) is connector(name))
    app = emulator.create_app()
    with account(app, lambda url: platform(url, app.state.store)) as there:
        there.platform.fill(2 * PAGE)
        there()
        record = there.platform.records()[0]
        stream, values = there.platform.stream, there.platform.values(1)
        there.write(stream, "create", values)
        there.write(stream, "update", {field: value for field, value in values.items() if field != there.platform.key}, record)
        there.write(stream, "delete", {}, record)
        yield there


SCENES = {"stacker": stacker, "robostack": robostack, "celigo": celigo, "kragle": kragle, "stack_ai": stack_ai}


def declared(connector: Connector) -> tuple[Used, Used]:
    reads: Used = defaultdict(set)
    writes: Used = defaultdict(set)
    for one in connector.operations:
        for stream in one.sources:
            reads[stream].add(one.name)
        for change in one.sinks:
            writes[change].add(one.name)
    return reads, writes


@pytest.mark.parametrize("name", CONNECTORS)
def test_reads_and_writes_use_exactly_the_operations_they_declare(name: str) -> None:
    with SCENES[name]() if name in SCENES else ordinary(name) as there:
        reads, writes = declared(there.connector)
        assert dict(there.reads) == dict(reads)
        own = {change: reads[change.partition(":")[0]] for change in writes}
        assert {change: used - own[change] for change, used in there.writes.items()} == {
            change: names - own[change] for change, names in writes.items()
        }
