"""`crossdock new connector`: a sixth platform is one folder, its tests, and one line of registration; nothing else is touched."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.stacker.emulator import create_app
from connectors.stacker.emulator_store import Store, decode
from pipelines.cli import execute
from pipelines.terminal import Screen
from tests.house.sources import ROOT, project_files
from tests.loopback import serving

COMMAND = (sys.executable, "-c", "from pipelines.cli import main; main()")
TREES = ("connectors", "pipelines", "tests", "pyproject.toml", "connections.yaml", "dagster.yaml")
CONNECTIONS = """\
connections:
  shop: {connector: bike_shop, base_url: "${SHOP_URL}", token: "${SHOP_TOKEN}"}
  here: {connector: stacker, base_url: "${HERE_URL}", integration_key: "${HERE_KEY}", stack_id: stk_demo}
"""
SYNC: dict[str, Any] = {
    "from": "shop.items",
    "to": "here.stock",
    "match": ["item"],
    "fields": {"item": "id", "name": "name", "price": "price"},
}


class Copy:
    """The project in a folder of its own, and its command line there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in project_files():
            place = path.relative_to(ROOT)
            if place.parts[0] in TREES and place.parts[:2] != ("pipelines", "defs"):
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / place)
        (folder / "pipelines" / "defs").mkdir()
        (folder / "pipelines" / "defs" / "__init__.py").write_text('"""The syncs."""\n')
        self.environ = {**os.environ, "PYTHONPATH": str(folder), "CROSSDOCK_HOME": str(folder / ".crossdock")}
        self.before = self.files()
        self.touched: set[str] = set()

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.folder.rglob("*") if path.is_file() and ".crossdock" not in path.parts)
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if "__pycache__" not in path.parts}

    def run(self, *command: str, status: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def crossdock(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*COMMAND, *arguments, "--json", status=status))

    def register(self, told: dict[str, str]) -> None:
        file = self.folder / told["file"]
        text, count = re.subn(rf"({told['in']}\b[^{{]*{{[^}}]*)}}", rf"\1    {told['line']}\n}}", file.read_text(), count=1)
        assert count == 1
        file.write_text(text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    made = Copy(tmp_path_factory.mktemp("project"))
    made.register(made.crossdock("new", "connector", "bike_shop")["register"])
    now = made.files()
    made.touched = {name for name in now.keys() | made.before.keys() if now.get(name) != made.before.get(name)}
    return made


def test_it_touches_its_own_folder_its_tests_and_one_line(copy: Copy) -> None:
    own = ("connectors/bike_shop/", "tests/contract/test_bike_shop.py", "tests/documented/test_bike_shop.py")
    (elsewhere,) = (name for name in copy.touched if not name.startswith(own))
    assert elsewhere == "pipelines/runtime.py"
    was, now = copy.before[elsewhere].decode().splitlines(), (copy.folder / elsewhere).read_text().splitlines()
    (line,) = (line for line in now if line not in was)
    assert line.strip() == '"bike_shop": "connectors.bike_shop",'
    assert len(now) == len(was) + 1


def test_it_is_in_the_projects_style_and_within_its_import_rules(copy: Copy) -> None:
    made = ("connectors/bike_shop", "tests/contract/test_bike_shop.py", "tests/documented/test_bike_shop.py")
    copy.run(sys.executable, "-m", "ruff", "check", *made)
    copy.run(sys.executable, "-m", "ruff", "format", "--check", *made)
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    copy.run(sys.executable, "-c", lint, "--no-cache", "--no-logo")


def test_it_passes_the_suite_of_every_connector_and_its_own_documents_tests(copy: Copy) -> None:
    tests = (
        "tests/contract/test_bike_shop.py",
        "tests/documented/test_bike_shop.py",
        "tests/contract/test_operations_used.py",
        "-k",
        "bike_shop or BikeShop",
    )
    said = copy.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *tests)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 60
    assert "failed" not in said


def test_a_sync_from_it_to_another_platform_runs(copy: Copy, free_port: int) -> None:
    sync = {"type": "pipelines.components.SyncComponent", "attributes": SYNC}
    place = copy.folder / "pipelines" / "defs" / "items_to_stock" / "defs.yaml"
    place.parent.mkdir()
    place.write_text(json.dumps(sync))
    (copy.folder / "connections.yaml").write_text(CONNECTIONS)
    emulator = [sys.executable, "-m", "connectors.bike_shop.emulator", "--port", str(free_port)]
    stacker = Store(contacts=0, companies=0, orders=0)
    stock = stacker.add_object("stock", ())
    with serving(create_app(stacker)) as url, subprocess.Popen(emulator, cwd=copy.folder, env=copy.environ) as shop:
        copy.environ |= {"SHOP_URL": f"http://127.0.0.1:{free_port}", "SHOP_TOKEN": "demo", "HERE_URL": url, "HERE_KEY": stacker.key}
        try:
            ran = copy.crossdock("run", "items_to_stock")
            again = copy.crossdock("plan", "items_to_stock")
            checked = copy.crossdock("check", "shop")
        finally:
            shop.terminate()
    assert (ran["status"], ran["read"], ran["created"]) == ("ok", 40, 40)
    assert (again["unchanged"], again["created"], again["updated"]) == (40, 0, 0)
    assert checked["status"] == "ok"
    held = [decode(stacker.shown(stock, sid, None)) for sid in stock.records]
    assert {(record["item"], record["name"]) for record in held} == {(n + 1, f"Item {n}") for n in range(40)}


def refused(folder: Path, name: str) -> str:
    """The sentence that refuses a name, in a folder in which nothing is written."""
    before = sorted(folder.rglob("*"))
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CROSSDOCK_HOME", str(folder / ".crossdock"))
        assert execute(["new", "connector", name, "--json"], Screen(as_json=True, out=out, err=io.StringIO())) == 3
    assert sorted(folder.rglob("*")) == before
    return str(json.loads(out.getvalue())["error"])


@pytest.mark.parametrize("name", ["bike_shop", "stacker", "http"])
def test_a_name_that_is_taken_is_refused(copy: Copy, name: str) -> None:
    assert f"the name {name} is taken (connectors/{name}" in refused(copy.folder, name)


@pytest.mark.parametrize("name", ["Bike", "2nd", "class", "../evil", "two__lines", ""])
def test_what_cannot_be_a_name_is_refused(copy: Copy, name: str) -> None:
    assert "use lower-case letters" in refused(copy.folder, name)


def test_outside_a_clone_it_says_that_it_needs_one(tmp_path: Path) -> None:
    (tmp_path / "connections.yaml").write_text("connections: {}\n")
    assert "run the command in a clone" in refused(tmp_path, "bikes")
