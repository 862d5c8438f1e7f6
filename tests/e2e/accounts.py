"""One account of any platform, and a record of two texts, `name` and `kind`, as each of them holds it. The stores are seen from behind."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from connectors import celigo, kragle, robostack, stack_ai, stacker
from connectors.celigo.emulator import create_app as celigo_app
from connectors.celigo.emulator_store import Store as CeligoStore
from connectors.kragle.emulator import create_app as kragle_app
from connectors.kragle.emulator_store import Store as KragleStore
from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.settings import Connector
from connectors.stack_ai.emulator import create_app as stack_ai_app
from connectors.stack_ai.emulator_store import Store as StackAiStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from tests.loopback import serving

Held = set[tuple[str, str]]
KINDS = ("notion", "hubspot")  # what `kind` may be: Stack AI has types of these names


@dataclass(frozen=True)
class Platform:
    """How a platform holds the record. `reads` gives name and kind from its fields, `writes` its fields from {name} and {kind}."""

    connector: Connector
    stream: str
    make: Callable[..., Any]
    app: Callable[[Any], Any]
    settings: Callable[[Any], dict[str, Any]]
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    add: Callable[[Any, str, str], None]
    held: Callable[[Any], dict[str, tuple[str, str]]]  # by the platform's id
    edit: Callable[[Any, Any, str], None]
    remove: Callable[[Any, Any], None]
    deletes: bool = True


@dataclass(frozen=True)
class Account:
    """One account of a platform, up on loopback."""

    platform: Platform
    store: Any
    url: str

    def add(self, *records: tuple[str, str]) -> None:
        """Somebody makes records of name and kind."""
        for name, kind in records:
            self.platform.add(self.store, name, kind)

    def held(self) -> list[tuple[str, str]]:
        """What it holds, in order, twice where it is there twice."""
        return sorted(self.platform.held(self.store).values())

    def edit(self, name: str, kind: str) -> None:
        """Somebody gives a record another kind."""
        self.platform.edit(self.store, self._id(name), kind)

    def remove(self, name: str) -> None:
        """Somebody removes a record."""
        self.platform.remove(self.store, self._id(name))

    def connection(self, **settings: Any) -> tuple[Connector, dict[str, Any]]:
        """Its connector, and the settings of a connection to it."""
        common = {"connector": self.platform.connector.name, "base_url": self.url, "T_server_max_s": 30}
        return self.platform.connector, {**common, **self.platform.settings(self.store), **settings}

    def _id(self, name: str) -> Any:
        (found,) = [key for key, held in self.platform.held(self.store).items() if held[0] == name]
        return found


@contextmanager
def account(platform: Platform, **switches: str) -> Iterator[Account]:
    """An empty account, with the emulator's switches set."""
    store = platform.make(**switches)
    with serving(platform.app(store)) as url:
        yield Account(platform, store, url)


def sync(name: str, source: Account, sink: Account, names: tuple[str, str] = ("one", "other"), **changed: Any) -> dict[str, Any]:
    """The spec that copies source to sink, connections named by `names`: a mirror where the sink can delete."""
    reads = {field: f"({text})" for field, text in source.platform.reads.items()}
    fields = {field: text.format(**reads) for field, text in sink.platform.writes.items()}
    addresses = {"from": f"{names[0]}.{source.platform.stream}", "to": f"{names[1]}.{sink.platform.stream}"}
    mirror = {"mode": "mirror", "deletes": {"when": "missing", "max_share": 0.9}} if sink.platform.deletes else {"mode": "upsert"}
    return {"name": name, **addresses, "match": ["name"], "fields": fields, **mirror, **changed}


def _stacker(**switches: str) -> StackerStore:
    store = StackerStore(contacts=0, companies=0, orders=0, **switches)
    store.add_object("things").fields.update(dict.fromkeys(("name", "kind")))
    return store


def _robostack(**switches: str) -> RobostackStore:
    store = RobostackStore(people=0, orgs=0, invoices=0, **switches)
    store.add_resource("things").fields.update(dict.fromkeys(("id", "name", "kind")))
    return store


def _robostack_add(store: RobostackStore, name: str, kind: str) -> None:
    target = store.resources["things"]
    target.made += 1
    key: int | str = str(target.made) if store.switches["ids"] == "text" else target.made
    store.put(target, [{"id": key, "name": name, "kind": kind}])


def _robostack_edit(store: RobostackStore, key: Any, kind: str) -> None:
    target = store.resources["things"]
    store.put(target, [{**target.records[key], "kind": kind}])


def _pair(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["name"], record["kind"]


_SERVER = "https://hooks.example/"


STACKER = Platform(
    connector=stacker.CONNECTOR,
    stream="things",
    make=_stacker,
    app=stacker_app,
    settings=lambda store: {"integration_key": store.key, "account_id": store.account, "stack_id": store.stack},
    reads={"name": "name", "kind": "kind"},
    writes={"name": "{name}", "kind": "{kind}"},
    add=lambda store, name, kind: _ignored(store.create(store.objects["things"], {"name": name, "kind": kind}, quiet=True)),
    held=lambda store: {key: _pair(record) for key, record in store.objects["things"].records.items()},
    edit=lambda store, key, kind: store.edit(store.objects["things"], key, {"kind": kind}),
    remove=lambda store, key: store.delete(store.objects["things"], key),
)
ROBOSTACK = Platform(
    connector=robostack.CONNECTOR,
    stream="things",
    make=_robostack,
    app=robostack_app,
    settings=lambda store: {
        **{"api_key": store.key, "api_secret": store.secret, "app_uuid": store.app_uuid},
        **{"result_cap": "none", "streams": {"things": {"key": ["id"]}}},
    },
    reads={"name": "name", "kind": "kind"},
    writes={"name": "{name}", "kind": "{kind}"},
    add=_robostack_add,
    held=lambda store: {key: _pair(record) for key, record in store.resources["things"].records.items()},
    edit=_robostack_edit,
    remove=lambda store, key: store.remove(store.resources["things"], [key]),
)
CELIGO = Platform(
    connector=celigo.CONNECTOR,
    stream="stacks",
    make=lambda **switches: CeligoStore(servers=0, lambdas=0, **switches),
    app=celigo_app,
    settings=lambda store: {"token": store.token},
    reads={"name": "name", "kind": f"""replace("server.hostURI", '{_SERVER}', '')"""},
    writes={"name": "{name}", "type": "'server'", "server.hostURI": f"'{_SERVER}' || {{kind}}"},
    add=lambda store, name, kind: _ignored(store.create({"name": name, "type": "server", "server": {"hostURI": _SERVER + kind}})),
    held=lambda store: {key: (stack["name"], stack["server"]["hostURI"].removeprefix(_SERVER)) for key, stack in store.stacks.items()},
    edit=lambda store, key, kind: _ignored(
        store.replace({**store.stacks[key], "server": {**store.stacks[key]["server"], "hostURI": _SERVER + kind}})
    ),
    remove=lambda store, key: store.remove(key),
)
STACK_AI = Platform(
    connector=stack_ai.CONNECTOR,
    stream="connections",
    make=lambda **switches: StackAiStore(**switches),
    app=stack_ai_app,
    settings=lambda store: {
        **{"token_url": "/token", "username": store.username, "password": store.password},
        "provider_data": {f"provider:{kind}": {"api_key": f"secret-of-{kind}"} for kind in KINDS},
    },
    reads={"name": "name", "kind": "provider_id"},
    writes={"name": "{name}", "provider_id": "{kind}", "connection_type_id": "'api_key'"},
    add=lambda store, name, kind: _ignored(
        store.create(
            {"name": name, "provider_id": kind, "connection_type_id": "api_key", "connection_provider_data": {"api_key": f"theirs-{kind}"}}
        )
    ),
    held=lambda store: {key: (one["name"], one["provider_id"]) for key, one in store.connections.items()},
    edit=lambda store, key, kind: store.put(key, {**store.connections[key], "provider_id": kind}),
    remove=lambda store, key: store.remove(key),
)
KRAGLE = Platform(
    connector=kragle.CONNECTOR,
    stream="stacks",
    make=lambda **switches: KragleStore(own=0, others=2, **switches),
    app=kragle_app,
    settings=lambda store: {"token": "demo", "owner": 7},
    reads={"name": "name", "kind": "blocks->>'$[0][1].kind'"},
    writes={"name": "{name}", "blocks": "json_array(json_array('Delay', json_object('kind', {kind})))"},
    add=lambda store, name, kind: _ignored(store.add(name=name, blocks=[{"type": "Delay", "conversion": {"kind": kind}}])),
    held=lambda store: {
        key: (stack["name"], stack["blocks"][0]["conversion"]["kind"]) for key, stack in store.stacks.items() if stack["owner"] == 7
    },
    edit=lambda store, key, kind: store.put(
        {**store.stacks[key], "blocks": [{**block, "conversion": {"kind": kind}} for block in store.stacks[key]["blocks"]]}
    ),
    remove=lambda store, key: store.remove(key),
    deletes=False,
)
PLATFORMS = (STACKER, ROBOSTACK, CELIGO, STACK_AI, KRAGLE)


def _ignored(_: Any) -> None:
    """The value of an expression that is wanted for what it does."""
