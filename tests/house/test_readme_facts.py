"""README.md and docs name what there is, and all of it: keys, settings, commands, outcomes, exit statuses, variables, links."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from connectors.settings import ConnectionSettings
from pipelines import summary
from pipelines.cli import app
from pipelines.commands import exits
from pipelines.complaints import _model_in
from pipelines.runtime import CONNECTORS, connector
from pipelines.spec import SyncSpec
from tests.house.sources import PACKAGES, ROOT, modules, text_of
from tests.readme import PAGES, TEXT, blocks, table, words


def shown(default: Any) -> str:
    """A default as the tables write it."""
    return "–" if default is None or default in ((), {}, []) else f"`{default}`"


def settings_of(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Every key a person may write, dotted, with its default as the tables write it."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner = _model_in(field.annotation)
        if inner is not None and not str(field.annotation).startswith("dict"):
            optional = field.default is None  # a section that is left out: what it requires is then not required
            found |= {inside: "–" if optional and said == "required" else said for inside, said in settings_of(inner, key + ".").items()}
        elif field.default_factory is not None:
            found[key] = shown(field.get_default(call_default_factory=True))
        else:
            found[key] = "required" if field.default is PydanticUndefined else shown(field.default)
    return found


def test_every_key_of_a_sync_is_explained_with_its_default() -> None:
    expected = settings_of(SyncSpec)
    del expected["name"]  # the folder names a sync
    assert {words(key)[0]: default for key, default, _ in table("key")} == expected


def test_every_setting_of_a_connection_is_explained_with_its_default() -> None:
    assert {words(name)[0]: default for name, default, _ in table("setting")} == settings_of(ConnectionSettings)


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_every_connector_explains_its_own_settings_with_their_defaults(name: str) -> None:
    text = (ROOT / "connectors" / name / "README.md").read_text()
    model = connector(name).settings
    own = {setting: default for setting, default in settings_of(model).items() if setting not in ConnectionSettings.model_fields}
    unexplained = [setting for setting in own if f"`{setting}`" not in text and f"{setting}: " not in text]
    assert unexplained == []
    told = {cells[0].strip(): cells[1].strip(" `") for line in text.splitlines() if (cells := line.strip("|").split("|"))[2:]}
    wrong = {
        setting: told[f"`{setting}`"]
        for setting, default in own.items()
        if f"`{setting}`" in told and told[f"`{setting}`"].lower() != default.strip("`–").lower()
    }
    assert wrong == {}


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_every_connector_names_its_operations(name: str) -> None:
    text = (ROOT / "connectors" / name / "README.md").read_text()
    assert [operation.name for operation in connector(name).operations if operation.name not in text] == []


def commands_of(command: click.Command, path: str) -> dict[str, set[str]]:
    """Every command by its path, with its options."""
    if isinstance(command, click.Group):
        found: dict[str, set[str]] = {}
        for name, inner in command.commands.items():
            found |= commands_of(inner, f"{path} {name}")
        return found
    options = {max(one.opts, key=len) for one in command.params if isinstance(one, click.Option)}
    return {path: options - {"--json", "--debug", "--help"}}


def test_every_command_is_explained_with_its_options() -> None:
    said = {}
    for command, explained in table("command"):
        (usage,) = words(command)
        path = re.match(r"crossdock(?: [a-z]+)+", usage)
        assert path is not None
        said[path[0]] = set(re.findall(r"--[a-z-]+", usage + " " + explained))
    assert said == commands_of(typer.main.get_command(app), "crossdock")


def test_every_command_it_uses_anywhere_exists() -> None:
    known = {path.split()[1] for path in commands_of(typer.main.get_command(app), "crossdock")}
    inside = [line for block in blocks() for line in block.text.splitlines()] + re.findall(r"`([^`\n]+)`", TEXT)
    used = {found[1] for line in inside if (found := re.match(r"(?:\.venv/bin/)?crossdock ([a-z]+)", line))}
    assert used
    assert used - known == set()


def test_every_outcome_is_explained_in_order() -> None:
    assert [words(name)[0] for name, _, _ in table("outcome")] == list(summary.OUTCOMES)


def test_every_exit_status_is_explained() -> None:
    statuses = [*range(exits.INTERNAL + 1), exits.INTERRUPTED, exits.TERMINATED]
    assert [words(status)[0] for status, _ in table("exit status")] == [str(status) for status in statuses]


def test_every_variable_that_the_code_reads_is_explained_and_no_other() -> None:
    code = "\n".join(text_of(path) for package in PACKAGES for path in modules(package))
    read = set(re.findall(r"\bCROSSDOCK_[A-Z]+\b", code)) | {"DAGSTER_HOME"}
    assert {words(name)[0] for name, _, _ in table("variable")} == read


def anchors(path: Path) -> set[str]:
    """What a link may name behind `#` on a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "deploy/README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text()) if not link.startswith("https://")]
    broken = []
    for link in links:
        name, _, anchor = link.partition("#")
        target = ROOT / Path(page).parent / name if name else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_read_and_reached_from_the_first_one() -> None:
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
    assert pages == set(PAGES) - {"README.md"}
    assert {page for page in pages if f"]({page})" not in PAGES["README.md"]} == set()


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)\b", TEXT, re.MULTILINE))
    assert {"sync", "test", "dev"} <= named
    assert named - targets == set()


def test_it_names_exactly_the_connectors_there_are() -> None:
    assert {name.lower().replace(" ", "_") for name in re.findall(r"\*\*([\w ]+)\*\*", TEXT.split("\n## ")[0])} == set(CONNECTORS)
