"""A project in a folder of its own between two emulated platforms, and the command line run in it, in this process or as a real one."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.robostack.emulator_store import decode as robostack_record
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from pipelines.cli import execute
from pipelines.commands.everywhere import asked
from pipelines.terminal import Screen
from tests.loopback import serving

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "from pipelines.cli import main; main()")

CONNECTIONS = """\
connections:
  here:
    connector: stacker
    base_url: ${HERE_URL}
    integration_key: ${HERE_KEY:-demo}
    stack_id: stk_demo
    timeout_s: 20
  there:
    connector: robostack
    base_url: ${THERE_URL}
    api_key: ${THERE_KEY:-demo}
    api_secret: ${THERE_SECRET:-demo}
    app_uuid: 00000000-0000-4000-8000-000000000001
    streams:
      people: {key: [id], natural_key: [email]}
      orgs: {key: [id], natural_key: [domain]}
"""

PEOPLE = {
    "from": "here.contacts",
    "to": "there.people",
    "match": ["email"],
    "fields": {"email": "email", "name": "name", "score": "cast(score as integer)"},
}


@dataclass(frozen=True)
class Ended:
    """How a command line ended: its exit status and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object of `--json`; anything else on standard output fails."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class CommandLine:
    """A project's folder, with the command line run in it under an environment of its own."""

    folder: Path
    environ: dict[str, str]

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self, *arguments: str) -> Ended:
        """Run the command line in this process, its output in a pipe."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            status = execute(arguments, Screen(as_json=asked(arguments, "--json"), out=out, err=err))
        return Ended(status, out.getvalue(), err.getvalue())

    def json(self, *arguments: str) -> Any:
        """Run the command line with --json and give the object."""
        return self.run(*arguments, "--json").json


class Project(CommandLine):
    """`here` is a Stacker, `there` a Robostack; their stores are the platforms seen from behind."""

    def __init__(self, folder: Path, environ: dict[str, str], here: StackerStore, there: RobostackStore) -> None:
        self.folder, self.environ, self.here, self.there = folder, environ, here, there

    def contacts(self, *records: dict[str, Any]) -> None:
        """Stacker's contacts are exactly these."""
        self.here.add_object("contacts", records)

    def people(self) -> list[dict[str, Any]]:
        """What Robostack's people hold."""
        held = self.there.resources["people"]
        return [robostack_record(self.there.shown(held, key)) for key in held.records]

    def sync(self, name: str = "c2p", **changed: Any) -> None:
        """Write a sync: contacts to people by email, changed as asked (a value None leaves that setting out)."""
        attributes = {key: value for key, value in {**PEOPLE, **changed}.items() if value is not None}
        self.write(f"pipelines/defs/{name}/defs.yaml", json.dumps({"type": "pipelines.components.SyncComponent", "attributes": attributes}))

    def start(self, *arguments: str, command: Sequence[str] = COMMAND) -> "subprocess.Popen[str]":
        """Start the command line as a process of its own."""
        environ = {**os.environ, **self.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*command, *arguments], cwd=self.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def shell(self, *arguments: str) -> Ended:
        """Run the command line as a process of its own."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return Ended(process.returncode, out, err)


def contact(n: int, **changed: Any) -> dict[str, Any]:
    """A contact of Stacker."""
    return {"email": f"p{n}@example.com", "name": f"Person {n}", "score": n, **changed}


@contextmanager
def project(folder: Path, *, around: Any = lambda app: app) -> Iterator[Project]:
    """The project with both platforms up and empty. `around` may wrap Robostack's application."""
    here, there = StackerStore(contacts=0, companies=0, orders=0), RobostackStore(invoices=0)
    with ExitStack() as stack:
        here_url = stack.enter_context(serving(stacker_app(here)))
        there_url = stack.enter_context(serving(around(robostack_app(there))))
        environ = {"HERE_URL": here_url, "THERE_URL": there_url, "CROSSDOCK_HOME": str(folder / ".crossdock")}
        made = Project(folder, environ, here, there)
        made.write("connections.yaml", CONNECTIONS)
        made.contacts()
        there.add_resource("people")
        there.add_resource("orgs")
        made.sync()
        yield made
