"""A project in a folder of its own, with the shipped connections and syncs, and its definitions as Dagster loads them."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from connectors.base import Clock
from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.settings import Ports
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from pipelines.components.project import project_defs
from pipelines.components.session import Session
from pipelines.ports import SystemRng
from pipelines.runtime import Runtime, open_runtime
from tests.loopback import serving

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"STACKER_URL": "http://127.0.0.1:9", "ROBOSTACK_URL": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class Project:
    """The folder, and the variables that its runtime sees."""

    folder: Path
    environ: Mapping[str, str]

    def away(self, variable: str) -> "Project":
        """The same project when the platform at that variable cannot be reached."""
        return replace(self, environ={**self.environ, variable: NOWHERE[variable]})

    def write(self, sync: str, attributes: Mapping[str, Any] | str) -> Path:
        """Write a sync's file: its attributes, or the whole text."""
        file = self.folder / "pipelines" / "defs" / sync / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = {"type": "pipelines.components.SyncComponent", "attributes": attributes}
        file.write_text(attributes if isinstance(attributes, str) else yaml.safe_dump(whole, sort_keys=False))
        return file

    def runtime(self, clock: Clock | None = None) -> Runtime:
        """A runtime of this project; the caller closes it."""
        return open_runtime(dict(self.environ), self.folder, ports=Ports(clock, SystemRng()) if clock else None)

    def defs(self) -> dg.Definitions:
        """What Dagster loads."""
        return project_defs(self.runtime())

    def run(
        self,
        job: str | None,
        instance: dg.DagsterInstance,
        config: dg.RunConfig | None = None,
        *,
        clock: Clock | None = None,
        **chosen: Any,
    ) -> dg.ExecuteInProcessResult:
        """Run a sync's job here, or everything (None). A step that fails is not raised."""
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        settings = {**(config.to_config_dict() if config else {}), **quiet}
        with self.runtime(clock) as runtime:
            defs = project_defs(runtime, Session(runtime))
            found = defs.resolve_implicit_global_asset_job_def() if job is None else defs.resolve_job_def(job)
            return found.execute_in_process(run_config=settings, instance=instance, raise_on_error=False, **chosen)


def new_project(folder: Path, *, shipped: bool = True, **environ: str) -> Project:
    """A project whose platforms cannot be reached unless `environ` says where they are."""
    shutil.copy(ROOT / "connections.yaml", folder / "connections.yaml")
    (folder / "pipelines" / "defs").mkdir(parents=True)
    if shipped:
        for file in (ROOT / "pipelines" / "defs").glob("*/defs.yaml"):
            shutil.copytree(file.parent, folder / "pipelines" / "defs" / file.parent.name)
    return Project(folder, {**NOWHERE, **environ})


@dataclass(frozen=True)
class Running:
    """A project and its platforms, seen from behind."""

    project: Project
    stacker: StackerStore
    robostack: RobostackStore


@contextmanager
def running_project(folder: Path, *, contacts: int = 90, companies: int = 8, invoices: int = 12, shipped: bool = True) -> Iterator[Running]:
    """A project between two emulated platforms with a little demo data."""
    stacker, robostack = StackerStore(contacts=contacts, companies=companies, orders=0), RobostackStore(invoices=invoices)
    with ExitStack() as stack:
        here, there = (stack.enter_context(serving(app)) for app in (stacker_app(stacker), robostack_app(robostack)))
        yield Running(new_project(folder, shipped=shipped, STACKER_URL=here, ROBOSTACK_URL=there), stacker, robostack)
