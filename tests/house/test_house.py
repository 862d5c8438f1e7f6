"""What every file of the project must be like."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from pipelines.runtime import CONNECTORS
from tests.house.sources import PACKAGES, ROOT, module_name, modules, project_files, text_of

CODE = [path for package in PACKAGES for path in modules(package)]
LOCKS = {"requirements.lock", "requirements-bench.lock"}
FORBIDDEN_WORDS = ("Manager", "Helper", "Helpers", "Util", "Utils", "Impl")
CONNECTOR_FILES = ("__init__.py", "client.py", "streams.py", "source.py", "sink.py", "emulator.py", "README.md")

# Spelt in pieces, so that this file does not hold what it looks for.
NEVER_IN_A_FILE = {
    "a path of one machine": re.compile(r"(?<![\w.}:])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me"]) + r")/[A-Za-z0-9._-]+"),
    "the address of a package registry": re.compile(
        "(?:files\\.python" + "hosted|pypi\\.(?:org|python))|--(?:extra-)?index" + "-url[ =]|--find" + "-links[ =]"
    ),
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"),
    "a cloud or platform key": re.compile("(?:AKIA|ghp_|gho_|glpat-|xox[bp]-|sk_live_)" + "[A-Za-z0-9_-]{12,}"),
    "a stub": re.compile("#\\s*(?:TO" + "DO|FIX" + "ME|XX" + "X)\\b"),
}


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_every_module_begins_with_one_sentence_about_its_one_idea() -> None:
    without = []
    for path in CODE:
        tree = ast.parse(text_of(path))
        first = (ast.get_docstring(tree) or "").split("\n")[0]
        if tree.body and not first.rstrip().endswith((".", ":", ",")):
            without.append(path)
    assert named(without) == []


def test_every_public_name_has_a_docstring() -> None:
    without = []
    for path in CODE:
        for node in ast.parse(text_of(path)).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                without.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert without == []


def test_no_name_hides_what_a_thing_is() -> None:
    pattern = re.compile(r"[a-z0-9](?:" + "|".join(FORBIDDEN_WORDS) + r")\b|^(?:" + "|".join(FORBIDDEN_WORDS) + r")\b")
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.ClassDef) and pattern.search(node.name):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
        if path.stem in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}:
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def test_modules_stay_small_enough_to_hold_one_idea() -> None:
    too_long = {str(path.relative_to(ROOT)): count for path in CODE if (count := text_of(path).count("\n")) > 600}
    assert too_long == {}


@pytest.mark.parametrize("what", sorted(NEVER_IN_A_FILE))
def test_no_file_holds(what: str) -> None:
    pattern = NEVER_IN_A_FILE[what]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in project_files()
        if path.suffix not in {".png", ".svg", ".parquet"} and (match := pattern.search(text_of(path)))
    ]
    assert found == []


def test_what_is_looked_for_would_be_found() -> None:
    examples = {
        "a path of one machine": "cd /ho" + "me/ada/crossdock",
        "the address of a package registry": "https://py" + "pi.org/simple",
        "a private key": "-----BEGIN RSA PRIVATE" + " KEY-----",
        "a cloud or platform key": "ghp" + "_abcdefghijklmnop",
        "a stub": "# TO" + "DO later",
    }
    assert {what for what, text in examples.items() if NEVER_IN_A_FILE[what].search(text)} == set(NEVER_IN_A_FILE)


def test_functions_do_something() -> None:
    """Only a Protocol, and an abstract method, may leave a body to others."""
    stubs = []
    for path in CODE:
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node):
                stubs.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert stubs == []


EXPORTING = {module_name(path) for path in CODE if re.search(r"^__all__ = ", text_of(path), re.MULTILINE)}


@pytest.mark.parametrize("name", sorted(EXPORTING))
def test_a_module_exports_names_that_exist_each_once(name: str) -> None:
    module = importlib.import_module(name)
    assert [one for one in module.__all__ if not hasattr(module, one)] == []
    assert len(module.__all__) == len(set(module.__all__))


def beside(path: Path, module: str) -> bool:
    """Whether both lie in one connector's folder, which is one unit."""
    own = module_name(path).rpartition(".")[0]
    return own.count(".") == 1 and module.startswith(own + ".")


def test_modules_take_from_each_other_only_what_is_exported() -> None:
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.ImportFrom) and node.module in EXPORTING and not beside(path, node.module):
                exported = importlib.import_module(node.module).__all__
                inner = {alias.name for alias in node.names if f"{node.module}.{alias.name}" in {module_name(one) for one in CODE}}
                found += [
                    f"{path.relative_to(ROOT)}:{node.lineno} takes {alias.name} from {node.module}"
                    for alias in node.names
                    if alias.name not in exported and alias.name not in inner
                ]
    assert found == []


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_every_connector_folder_has_its_files(name: str) -> None:
    folder = ROOT / "connectors" / name
    assert [file for file in CONNECTOR_FILES if not (folder / file).is_file()] == []


def test_every_connector_folder_is_registered() -> None:
    folders = {path.parent.name for path in (ROOT / "connectors").glob("*/emulator.py")}
    assert folders == set(CONNECTORS)


def test_the_locks_pin_everything_by_hash_and_name_no_place() -> None:
    for name in LOCKS:
        lines = (ROOT / name).read_text().splitlines()
        requirements = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert [line for line in requirements if not re.match(r"[a-z0-9-]+==\S+ (?:; .+ )?\\$", line)] == []
        assert not any("://" in line for line in lines)


def test_the_locks_hold_every_direct_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["postgres"]]
    wanted += [*project["dependency-groups"]["dev"], *project["dependency-groups"]["build"]]
    names = {re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0].lower().replace("_", "-") for one in wanted}
    for lock in LOCKS:
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        assert names - locked == set()


def test_ci_runs_what_the_readme_says() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
