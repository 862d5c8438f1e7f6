"""Two platforms on loopback with an engine between them: real HTTP, real staging, a real ledger; only the clock is ours."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.base import Record, Source
from connectors.robostack import CONNECTOR as ROBOSTACK
from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.robostack.emulator_store import decode as robostack_record
from connectors.settings import Connector, Ports
from connectors.stacker import CONNECTOR as STACKER
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from connectors.stacker.emulator_store import decode as stacker_record
from pipelines.engine import Engine
from pipelines.ledger import open_ledger
from pipelines.locks import file_lock
from pipelines.ports import SystemRng
from pipelines.run import SyncRun, run_sync
from pipelines.spec import SyncSpec
from pipelines.staging import Dataset
from pipelines.staging.open import open_staging
from pipelines.summary import Summary
from tests.clock import FakeClock
from tests.loopback import serving


class World:
    """`stacker` and `robostack` are the platforms' stores; what a test does to them, others did."""

    def __init__(
        self,
        stacker_url: str,
        robostack_url: str,
        stacker: StackerStore,
        robostack: RobostackStore,
        ledger: str,
        home: Path,
        clock: FakeClock,
    ) -> None:
        self.stacker, self.robostack, self.clock = stacker, robostack, clock
        self.ledger = open_ledger(ledger, self.clock)
        self._settings: dict[str, tuple[Connector, dict[str, Any]]] = {
            "here": (
                STACKER,
                {
                    "connector": "stacker",
                    "base_url": stacker_url,
                    "integration_key": stacker.key,
                    "stack_id": stacker.stack,
                    "T_server_max_s": 30,
                },
            ),
            "there": (
                ROBOSTACK,
                {
                    "connector": "robostack",
                    "base_url": robostack_url,
                    "api_key": robostack.key,
                    "api_secret": robostack.secret,
                    "app_uuid": robostack.app_uuid,
                    "streams": {name: {"key": ["id"]} for name in ("people", "orgs", "parts", "log")},
                },
            ),
        }
        self._open: dict[str, Source] = {}
        self._runs = 0
        self.home = home

    def engine(self, staging: str) -> None:
        """Open the engine over this staging."""
        self.staging = open_staging(staging)
        self.core = Engine(
            clock=self.clock,
            rng=SystemRng(),
            ledger=self.ledger,
            staging=self.staging,
            open=self._connection,
            settings=lambda name: self._settings[name][0].settings(**self._settings[name][1]),
            lock=lambda name: file_lock(self.home / "locks", name),
        )

    def configure(self, connection: str, **settings: Any) -> None:
        """Change settings of a connection from now on."""
        self._settings[connection][1].update(settings)
        if connection in self._open:
            self._open.pop(connection).close()

    def _connection(self, name: str) -> Source:
        if name not in self._open:
            connector, settings = self._settings[name]
            self._open[name] = connector.open(connector.settings(**settings), Ports(self.clock, SystemRng()))
        return self._open[name]

    # the platforms, from behind

    def put_contacts(self, *records: Record) -> None:
        """Stacker's `contacts` hold exactly these."""
        self.stacker.add_object("contacts", records)

    def contacts(self) -> dict[str, Record]:
        """Stacker's `contacts` by email."""
        held = self.stacker.objects["contacts"]
        return {str(record["email"]): record for sid in held.records if (record := stacker_record(self.stacker.shown(held, sid, None)))}

    def add_contacts(self, *records: Record) -> None:
        """Another user makes contacts."""
        for record in records:
            self.stacker.create(self.stacker.objects["contacts"], dict(record))

    def edit_contact(self, email: str, /, **changes: Any) -> None:
        """Another user changes a contact."""
        held = self.stacker.objects["contacts"]
        self.stacker.update(held, str(self.contacts()[email]["sid"]), changes)

    def remove_contact(self, email: str) -> None:
        """Another user removes a contact."""
        self.stacker.delete(self.stacker.objects["contacts"], str(self.contacts()[email]["sid"]))

    def put_people(self, *records: Record) -> None:
        """Robostack's `people` hold exactly these."""
        self.robostack.add_resource("people", records)

    def people(self) -> list[Record]:
        """Robostack's `people`."""
        held = self.robostack.resources["people"]
        return [robostack_record(self.robostack.shown(held, key)) for key in held.records]

    def person(self, email: str) -> Record:
        """The one person with this email."""
        found = [record for record in self.people() if record.get("email") == email]
        assert len(found) == 1, found
        return found[0]

    # the engine

    def spec(self, **changed: Any) -> SyncSpec:
        """Contacts to people by email, changed as asked."""
        fields = {"email": "lower(trim(email))", "name": "name", "score": "score"}
        return SyncSpec(**{"name": "c2p", "from": "here.contacts", "to": "there.people", "match": ["email"], "fields": fields, **changed})

    def run(self, spec: SyncSpec, **options: Any) -> Summary:
        """One run; its outcomes add up or it raises."""
        self._runs += 1
        self.clock.advance(60)
        return run_sync(self.core, spec, f"run{self._runs}", **options)

    def plan(self, spec: SyncSpec) -> tuple[SyncRun, Any]:
        """A run up to its plan."""
        self._runs += 1
        run = SyncRun(self.core, spec, f"run{self._runs}")
        run.extract()
        return run, run.plan()

    def rows(self, *parts: str) -> pa.Table:
        """The newest batch of a staging dataset."""
        return self.staging.scan(self.staging.batches(Dataset(parts))[-1]).read_all()

    def close(self) -> None:
        """Give everything back."""
        for source in self._open.values():
            source.close()
        self.ledger.close()
        self.staging.close()


@contextmanager
def world(
    home: Path,
    *,
    ledger: str | None = None,
    staging: str | None = None,
    around: Callable[[Any], Any] = lambda app: app,
    clock: FakeClock | None = None,
    **contents: int,
) -> Iterator[World]:
    """The platforms, nearly empty, and the engine over SQLite and Parquet in `home`, or over what is named.

    `around` may put a layer before each platform.
    """
    counts = {"contacts": 0, "companies": 0, "orders": 0, **contents}
    stacker, robostack = StackerStore(**counts), RobostackStore(invoices=0)
    with ExitStack() as stack:
        here, there = (stack.enter_context(serving(around(app))) for app in (stacker_app(stacker), robostack_app(robostack)))
        made = World(here, there, stacker, robostack, ledger or f"sqlite:///{home / 'ledger.db'}", home, clock or FakeClock())
        made.engine(staging or str(home / "staging"))
        made.put_contacts()
        made.put_people()
        stack.callback(made.close)
        yield made
