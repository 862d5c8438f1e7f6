"""The project as shipped: its connections, its emulators, and what is known of both without asking."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.base import ReadRequest
from connectors.errors import ConfigError
from pipelines.runtime import CONNECTORS, Runtime, connector, open_runtime
from pipelines.sandbox import addresses, environment, sandbox
from pipelines.spec import SyncSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A runtime of this project whose connections lead to emulators of this test."""
    home = tmp_path_factory.mktemp("home")
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_URL")} | {"CROSSDOCK_HOME": str(home)}
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in CONNECTORS]
        ports = [probe.getsockname()[1] for probe in probes]
    urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in zip(CONNECTORS, ports, strict=True)}
    chosen = addresses({name: connector(name).emulator for name in CONNECTORS}, urls)
    with (
        pytest.MonkeyPatch.context() as patch,
        open_runtime(variables, ROOT) as quiet,
    ):
        patch.setenv("PYTHONPATH", str(ROOT))
        with (
            sandbox(chosen, home / "sandbox", quiet.clock) as up,
            open_runtime(environment(up, variables), ROOT) as runtime,
        ):
            yield runtime


def test_every_shipped_connection_passes_its_own_check(shipped: Runtime) -> None:
    failed = [
        f"{name}: {finding.subject}: {finding.detail}"
        for name in shipped.connections.entries
        for finding in shipped.open_connection(name).check()
        if not finding.ok
    ]
    assert failed == []


@pytest.mark.parametrize(
    "address",
    [
        *("stacker_demo.contacts", "robostack_demo.people", "robostack_demo.invoices", "celigo_demo.stacks", "kragle_demo.stacks"),
        *(f"stack_ai_demo.{name}" for name in ("connections", "available_connections", "resources", "rbac", "health")),
    ],
)
def test_the_demo_records_can_be_read_whole_with_proof(shipped: Runtime, address: str) -> None:
    connection, _, stream = address.partition(".")
    source = shipped.open_connection(connection)
    read = source.read(source.stream(stream), ReadRequest(proof=True))
    assert sum(page.count - len(page.drop) for page in read) > 0
    assert read.completeness.complete, read.completeness.reasons


def test_no_shipped_connection_writes_a_secret_out(shipped: Runtime) -> None:
    entries = shipped.connections.entries
    assert [entry.written_out_secrets(shipped.connector_of(name).settings) for name, entry in entries.items()] == [[] for _ in entries]


def test_every_connector_ships_a_demo_connection(shipped: Runtime) -> None:
    assert {entry.connector for entry in shipped.connections.entries.values()} == set(CONNECTORS)


OFFLINE = {"STACKER_URL": "https://never.invalid", "ROBOSTACK_URL": "https://never.invalid"}


def spec(source: str, target: str, **settings: object) -> SyncSpec:
    return SyncSpec.model_validate({"name": "trial", "from": source, "to": target, "match": ["email"], **settings})


@pytest.mark.parametrize("mode", ["insert", "update", "upsert", "mirror"])
@pytest.mark.parametrize(
    ("source", "target"), [("stacker_demo.contacts", "robostack_demo.people"), ("robostack_demo.invoices", "stacker_demo.invoices")]
)
def test_both_directions_are_accepted_in_every_mode_without_asking_a_platform(source: str, target: str, mode: str) -> None:
    with open_runtime(OFFLINE, ROOT) as runtime:
        runtime.validate(spec(source, target, mode=mode))


@pytest.mark.parametrize(
    ("source", "target", "settings", "message"),
    [
        ("robostack_demo.peple", "stacker_demo.contacts", {}, "there is no stream 'peple'; did you mean 'people'?"),
        ("stacker_demo.contacts", "stacker_demo.accounts", {}, "stacker_demo.accounts cannot create or update records"),
        (
            "robostack_demo.people",
            "stacker_demo.contacts",
            {"read": {"mode": "incremental", "cursor": "id"}},
            "robostack_demo.people cannot be asked for what changed since a cursor",
        ),
    ],
)
def test_what_a_platform_cannot_do_is_refused_without_asking_it(
    source: str, target: str, settings: dict[str, object], message: str
) -> None:
    with open_runtime(OFFLINE, ROOT) as runtime, pytest.raises(ConfigError) as caught:
        runtime.validate(spec(source, target, **settings))
    assert message in str(caught.value)
