"""The import rules of the architecture: each is broken on purpose once and must be noticed; purity is checked as claimed."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tests.house.sources import PACKAGES, ROOT, module_name, modules

IMPURE = {"httpx", "os", "random", "secrets", "shutil", "socket", "sqlalchemy", "subprocess", "tempfile", "time", "urllib3", "uuid"}
CLOCK_CALLS = {"now", "utcnow", "today"}

VIOLATIONS = {
    "connectors-know-no-engine": ("connectors/stacker/zz_violation.py", "import pandas\n"),
    "connectors-are-apart": ("connectors/robostack/zz_violation.py", "import connectors.stacker.demo\n"),
    "only-runtime-opens-connectors": ("pipelines/zz_reaches.py", "import connectors.robostack.demo\n"),
    "dagster-stays-outside": ("pipelines/zz_dagster.py", "import dagster\n"),
    "pure-modules": ("pipelines/spec.py", "import time\n"),
    "emulators-import-nothing-of-ours": ("connectors/stacker/emulator.py", "import connectors.errors\n"),
}

SIXTH = (  # a connector that nobody wrote into pyproject.toml
    ("connectors/zz_sixth/__init__.py", "import connectors.zz_sixth.client\n"),
    ("connectors/zz_sixth/client.py", "import connectors.stacker.demo\n"),
    ("connectors/jsontext.py", "import connectors.zz_sixth.client\n"),
    ("pipelines/zz_sixth.py", "import connectors.zz_sixth\n"),
)


def contracts() -> dict[str, str]:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {rule["id"]: rule["name"] for rule in rules}


def listed_modules(contract: str) -> list[str]:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rule = next(rule for rule in rules if rule["id"] == contract)
    return list(rule.get("modules") or rule["source_modules"])


@pytest.fixture(scope="module")
def broken_project(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy of the project that breaks every rule once."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    rule = folder / "tests" / "house" / "connectors_apart.py"
    rule.parent.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "house" / rule.name, rule)
    (folder / "connectors" / "zz_sixth").mkdir()
    for path, text in (*VIOLATIONS.values(), *SIXTH):
        with (folder / path).open("a") as file:
            file.write("\n" + text)
    lint = "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("contract", sorted(contracts()))
def test_breaking_a_rule_is_noticed(broken_project: str, contract: str) -> None:
    assert contract in VIOLATIONS
    assert f"{contracts()[contract]} BROKEN" in re.sub(r"\s+", " ", broken_project)


def test_a_new_connector_is_held_to_the_rules_without_being_named(broken_project: str) -> None:
    for chain in ("connectors.zz_sixth.client imports connectors.stacker.demo", "connectors.jsontext imports connectors.zz_sixth.client"):
        assert chain in broken_project
    assert re.search(r"pipelines\.zz_sixth -> connectors\.zz_sixth", broken_project)


def test_modules_that_claim_to_be_pure_reach_nothing_impure() -> None:
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None, exclude_type_checking_imports=True)
    outside = IMPURE & graph.modules
    found = []
    for path in pure_modules():
        name = module_name(path)
        if name not in graph.modules:
            found.append((name, "nothing can import it: a folder above lacks __init__.py"))
            continue
        allowed = {"random"} if path.stem == "demo" else set()  # seeded: the same records each time
        found += [(name, other) for other in sorted(outside - allowed) if graph.find_shortest_chain(name, other)]
    assert found == []


def test_modules_that_claim_to_be_pure_never_ask_the_time() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in pure_modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK_CALLS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date"}
    ]
    assert found == []


def test_the_core_of_the_engine_claims_to_be_pure() -> None:
    claimed = {module_name(path) for path in pure_modules()}
    assert set(listed_modules("pure-modules")) <= claimed


def test_emulators_and_demo_records_import_only_each_other_and_no_other_module_of_ours() -> None:
    found = []
    for path in modules("connectors"):
        if path.parent.name == "connectors" or not path.stem.startswith(("emulator", "demo")):
            continue
        allowed = tuple(f"connectors.{path.parent.name}.{part}" for part in ("emulator", "demo"))
        found += [
            f"{path.relative_to(ROOT)} imports {name}"
            for name in imported(path)
            if name.split(".")[0] in PACKAGES and not name.startswith(allowed)
        ]
        if path.stem == "demo":
            found += [
                f"{path.relative_to(ROOT)} imports {name}" for name in imported(path) if name.split(".")[0] not in sys.stdlib_module_names
            ]
    assert found == []


def test_only_runtime_names_a_concrete_connector() -> None:
    pattern = re.compile(r"['\"]connectors\.(?:" + "|".join(p.name for p in (ROOT / "connectors").iterdir() if p.is_dir()) + r")\b")
    found = [str(path.relative_to(ROOT)) for path in modules("pipelines") if pattern.search(path.read_text())]
    assert found == ["pipelines/runtime.py"]


def test_only_runtime_and_the_command_read_the_environment() -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in modules(package)
        if re.search(r"\bos\.(?:environ|getenv)\b|from os import .*\b(?:environ|getenv)\b", path.read_text())
    ]
    allowed = {"pipelines/runtime.py", "pipelines/cli.py"}
    assert [name for name in found if name not in allowed and not name.startswith(("pipelines/commands/", "pipelines/components/"))] == []


def pure_modules() -> list[Path]:
    """The modules whose docstring's first paragraph says Pure."""
    return [
        path
        for package in PACKAGES
        for path in modules(package)
        if re.search(r"\bPure\b", (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0])
    ]


def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
