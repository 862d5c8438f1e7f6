"""The pages as they are served: a run started there, what it shows afterwards, and how a browser draws it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.definitions.projects import ROOT, Running, running_project
from tests.e2e.browsing import browser
from tests.e2e.serving import Pages, end, until
from tests.loopback import free_port
from tests.secrets_found import found_in, found_under

pytestmark = pytest.mark.slow

EVERYTHING = """
{
  runsOrError { ... on Runs { results { runId status runConfigYaml tags { key value } assets { key { path } }
    eventConnection(limit: 1000) { events { __typename ... on MessageEvent { message level stepKey }
      ... on ErrorEvent { error { message stack className cause { message stack } errorChain { error { message stack } } } }
      ... on ExecutionStepFailureEvent { failureMetadata { label description } }
      ... on DisplayableEvent { label description metadataEntries {
        label description ... on MarkdownMetadataEntry { mdStr } ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString }
        ... on UrlMetadataEntry { url } ... on PathMetadataEntry { path } ... on IntMetadataEntry { intValue } } } } }
    stepKeysToExecute } } }
  assetNodes { assetKey { path } description opNames kinds groupName jobNames
    metadataEntries { label description ... on MarkdownMetadataEntry { mdStr } ... on TextMetadataEntry { text }
      ... on JsonMetadataEntry { jsonString } ... on PathMetadataEntry { path } ... on UrlMetadataEntry { url } }
    configField { configType { key description recursiveConfigTypes { key description } } } }
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus displayMetadata { key value } locationOrLoadError {
    __typename ... on PythonError { message stack }
    ... on RepositoryLocation { repositories { name allTopLevelResourceDetails { name description configuredValues { key value } }
      schedules { name cronSchedule } sensors { name } } } } } } }
  instance { info daemonHealth { allDaemonStatuses { daemonType lastHeartbeatErrors { message stack } } } }
}"""
CANARIES = ("kanary-a1b2+c3==", "kanary-d4e5f6", "kanary-g7h8i9")


@dataclass(frozen=True)
class DemoPages(Pages):
    """The pages of a project, and the platforms behind it."""

    running: Running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoPages]:
    folder = tmp_path_factory.mktemp("pages")
    home = folder / "home" / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    with running_project(folder) as running, (folder / "log").open("wb") as log:
        port = free_port()
        running.stacker.key, running.robostack.key, running.robostack.secret = CANARIES
        secrets = dict(zip(("STACKER_KEY", "ROBOSTACK_KEY", "ROBOSTACK_SECRET"), CANARIES, strict=True))
        environ = {**os.environ, **running.project.environ, **secrets, "DAGSTER_HOME": str(home), "CROSSDOCK_HOME": str(home.parent)}
        tool = str(Path(sys.executable).parent / "dagster")
        started = subprocess.Popen(
            [tool, "dev", "-w", "workspace.yaml", "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            env={**environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            made = DemoPages(f"http://127.0.0.1:{port}", running)
            until(lambda: made.ask("{ version }"))
            yield made
        finally:
            end(started)


@pytest.fixture(scope="module")
def finished(pages: DemoPages) -> str:
    """A run of companies_to_orgs that was started in the pages."""
    run_id = pages.launch("companies_to_orgs")
    assert pages.ending(run_id) == "SUCCESS"
    return run_id


def test_a_run_started_in_the_pages_moves_records_and_shows_what_it_did(pages: DemoPages, finished: str) -> None:
    assert len(pages.running.robostack.resources["orgs"].records) > 3
    shown = pages.shown("companies_to_orgs", "applied")
    assert shown["created"] + shown["updated"] + shown["unchanged"] == len(pages.running.stacker.objects["companies"].records)
    assert "data:image/svg+xml" in shown["last_runs"]
    assert "**create**" in pages.shown("companies_to_orgs", "plan")["changes"]


def test_the_ledger_knows_the_run_by_the_same_id(pages: DemoPages, finished: str) -> None:
    project = pages.running.project
    environ = {**project.environ, "CROSSDOCK_HOME": str(project.folder / "home")}
    with replace(project, environ=environ).runtime() as runtime:
        kept = runtime.ledger.run(finished)
    assert kept is not None
    assert kept.status == "ok"


def test_no_answer_of_the_server_shows_a_credential_not_even_of_a_run_that_was_refused(pages: DemoPages, finished: str) -> None:
    pages.running.robostack.key = "another key"  # from now on the platform refuses ours
    try:
        failed = pages.launch("companies_to_orgs")
        assert pages.ending(failed) == "FAILURE"
    finally:
        pages.running.robostack.key = CANARIES[1]
    told = json.dumps(pages.ask(EVERYTHING), ensure_ascii=False)
    assert '"status": "FAILURE"' in told
    assert finished in told
    assert failed in told
    assert found_in(told, CANARIES) == []
    kept, count = found_under(pages.running.project.folder, CANARIES)
    assert (kept, count > 5) == ([], True)


def test_a_browser_draws_the_changes_as_text_and_the_chart_as_a_picture(
    pages: DemoPages, finished: str, browser_path: str, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By

    with browser(browser_path, tmp_path) as driver:
        driver.get(f"{pages.url}/assets/companies_to_orgs/applied?view=overview")
        until(lambda: "last_runs" in driver.page_source)
        pictures = until(lambda: driver.find_elements(By.CSS_SELECTOR, "img[src^='data:image/svg']"))
        assert until(lambda: driver.execute_script("return arguments[0].naturalWidth", pictures[0])) > 0
        driver.get(f"{pages.url}/assets/companies_to_orgs/plan?view=overview")
        until(lambda: any("create" in one.text for one in driver.find_elements(By.TAG_NAME, "li")))
