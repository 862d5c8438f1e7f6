"""Dagster's own tools on a copy of this project, as a person runs them from its root."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.config import load_sync_file
from tests.definitions.projects import NOWHERE, ROOT, running_project

BIN = Path(sys.executable).parent
HEAVY = ("pandas", "pyarrow.dataset", "pipelines.engine", "pipelines.ledger", "sqlalchemy.orm")

pytestmark = pytest.mark.slow


class Checkout:
    """A copy of the project's code and files in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("pipelines", "connectors"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "connections.yaml", "workspace.yaml", "dagster.yaml"):
            shutil.copy(ROOT / name, folder / name)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A tool of the environment, run in the checkout."""
        home = self.folder / ".crossdock" / "dagster"
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / "dagster.yaml", home)
        settings = {"PYTHONPATH": str(self.folder), "DAGSTER_HOME": str(home), "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0", "COLUMNS": "200"}
        path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder)}
        return subprocess.run(
            [str(BIN / arguments[0]), *arguments[1:]],
            cwd=self.folder,
            env={**NOWHERE, **path, **settings, **environ},
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


def test_dg_lists_the_component_and_every_definition(checkout: Checkout) -> None:
    components = checkout.run("dg", "list", "components", "--json")
    assert "pipelines.components.SyncComponent" in components.stdout, components.stderr
    defs = json.loads(checkout.run("dg", "list", "defs", "--json").stdout)
    assert {"contacts_to_people/plan", "contacts_to_people/applied", "stacker_demo/contacts_raw"} <= {
        one["asset_key"] for one in defs["assets"]
    }
    written = {file.parent.name for file in (ROOT / "pipelines" / "defs").rglob("defs.yaml")}
    assert {one["name"] for one in defs["jobs"]} == written >= {"contacts_to_people", "celigo_us_to_eu"}  # and that one lies in a group
    assert "contacts_to_people/applied:reconciled" in {one["key"] for one in defs["asset_checks"]}


def test_the_definitions_are_valid_to_both_of_dagsters_judges(checkout: Checkout) -> None:
    for tool in (("dg", "check", "defs"), ("dagster", "definitions", "validate", "-w", "workspace.yaml")):
        found = checkout.run(*tool)
        assert found.returncode == 0, found.stdout + found.stderr


def test_a_scaffolded_sync_is_valid_and_a_misspelt_key_is_found_with_its_line(checkout: Checkout) -> None:
    made = checkout.run("dg", "scaffold", "defs", "pipelines.components.SyncComponent", "orders", "--source", "stacker_demo.orders")
    file = checkout.folder / "pipelines" / "defs" / "orders" / "defs.yaml"
    assert made.returncode == 0, made.stdout + made.stderr
    assert load_sync_file(file).spec.source == "stacker_demo.orders"
    check = ("dg", "check", "yaml", "pipelines/defs/orders")  # without a path, dg 1.13 looks at one file of each component only
    good = checkout.run(*check)
    assert good.returncode == 0, good.stdout + good.stderr

    written = file.read_text().splitlines()
    line = next(number for number, text in enumerate(written, 1) if text.startswith("  match:"))
    file.write_text("\n".join(written).replace("  match:", "  mtach:"))
    bad = checkout.run(*check)
    assert bad.returncode != 0
    assert f"defs.yaml:{line}" in bad.stdout
    assert "mtach" in bad.stdout
    again = checkout.run("dg", "scaffold", "defs", "pipelines.components.SyncComponent", "orders")
    assert again.returncode != 0
    assert "mtach" in file.read_text()
    shutil.rmtree(file.parent)


def test_an_asset_is_materialized_from_the_command_line(tmp_path: Path, checkout: Checkout) -> None:
    with running_project(tmp_path, companies=3) as running:
        found = checkout.run(
            "dagster",
            *("asset", "materialize", "-m", "pipelines.definitions", "--select", "+key:companies_to_orgs/applied"),
            **running.project.environ,
        )
        assert found.returncode == 0, found.stdout + found.stderr
        assert len(running.robostack.resources["orgs"].records) == 3 + 2  # one of the three companies was among the three orgs


def test_loading_is_quick_and_brings_nothing_heavy(checkout: Checkout) -> None:
    program = (
        "import dagster, json, sys, time; start = time.process_time(); from pipelines.definitions import defs; defs(); "
        f"print(json.dumps([time.process_time() - start, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    found = checkout.run("python", "-c", program)
    assert found.returncode == 0, found.stderr
    spent_s, heavy = json.loads(found.stdout.splitlines()[-1])
    assert heavy == []
    assert spent_s < 3
