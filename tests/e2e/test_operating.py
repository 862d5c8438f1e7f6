"""An operator's day under Dagster's own daemon: a source with news, a window again from the pages, a check that fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browsing import browser
from tests.e2e.commandline import ROOT, Project, contact, project
from tests.e2e.serving import Pages, end, until
from tests.loopback import free_port

pytestmark = pytest.mark.slow

ASSETS = (("here", "contacts_raw"), ("c2p", "plan"), ("c2p", "applied"))
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
TICKS = """
query Ticks($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState { ticks(limit: 50) { status skipReason error { message } } } } }
}"""
RUNS = "{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }"
SENSOR = {"repositoryLocationName": "pipelines.definitions", "repositoryName": "__repository__", "sensorName": "source_changes"}


@contextmanager
def served(made: Project) -> Iterator[Pages]:
    """The project's pages and daemon; schedules and sensors run from the start."""
    home, port = made.folder / ".crossdock" / "dagster", free_port()
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    ours = {"DAGSTER_HOME": str(home), "CROSSDOCK_SCHEDULES": "running", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions", "--host", "127.0.0.1", "--port", str(port)]
    with (made.folder / "log").open("wb") as log:
        started = subprocess.Popen(
            command, cwd=made.folder, env={**os.environ, **made.environ, **ours}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            pages = Pages(f"http://127.0.0.1:{port}")
            until(lambda: pages.ask("{ version }"))
            yield pages
        finally:
            end(started)


def day(number: int, of: int, **changed: Any) -> dict[str, Any]:
    return contact(number, updated_at=f"2026-01-{of:02}T00:{number:02}:00Z", **changed)


def names(made: Project) -> dict[str, str]:
    return {person["email"]: person["name"] for person in made.people()}


def spoil(made: Project) -> None:
    """Others change every record of the sink."""
    made.there.put(made.there.resources["people"], [{**person, "name": "spoilt"} for person in made.people()])


@contextmanager
def drawn(pages: Pages, path: str, folder: Path) -> Iterator[Callable[[str, str], str]]:
    """Gives the text of a page once it holds a word, as a browser draws it."""
    from selenium.webdriver.common.by import By

    with browser(path, folder) as driver:

        def text(address: str, word: str) -> str:
            driver.get(f"{pages.url}{address}")
            return str(until(lambda: word in (found := driver.find_element(By.TAG_NAME, "body").text) and found))

        yield text


def test_the_daemon_runs_a_sync_on_news_and_a_window_on_demand_and_the_pages_show_what_failed(tmp_path: Path, browser_path: str) -> None:
    with project(tmp_path) as made:
        made.sync(read={"mode": "incremental", "cursor": "updated_at"}, partitions={"by": "updated_at", "start": "2026-01-01"}, poll="5s")
        first = [day(1, 1), day(2, 1), day(3, 2)]
        made.contacts(*first)
        with served(made) as pages:
            until(lambda: len(made.people()) == 3)  # nobody started anything: the daemon asked the source

            def runs() -> list[dict[str, Any]]:
                return list(pages.ask(RUNS)["runsOrError"]["results"])

            until(lambda: [run["status"] for run in runs()] == ["SUCCESS"])
            spoil(made)
            chosen = [{"path": list(path)} for path in ASSETS]
            answer = pages.ask(BACKFILL, params={"partitionNames": ["2026-01-01"], "assetSelection": chosen, "tags": []})
            started = answer["launchPartitionBackfill"]
            assert started["__typename"] == "LaunchBackfillSuccess", started
            until(lambda: "spoilt" not in (names(made)["p1@example.com"], names(made)["p2@example.com"]))
            assert names(made)["p3@example.com"] == "spoilt"  # it lies in another window

            ticks = pages.ask(TICKS, sensor=SENSOR)["sensorOrError"]["sensorState"]["ticks"]
            assert {tick["status"] for tick in ticks} <= {"SUCCESS", "SKIPPED", "STARTED"}, ticks
            assert any("0 of them hold something new" in (tick["skipReason"] or "") for tick in ticks)
            live = [run for run in runs() if "crossdock/live" in json.dumps(run["tags"])]
            assert len(live) == 1  # looks alone start nothing, and a backfill is no news

            made.contacts(*first, *(day(n, 3, score="no number") for n in range(10, 20)))
            until(lambda: len(runs()) == 3 and {run["status"] for run in runs()} == {"SUCCESS"})
            with drawn(pages, browser_path, tmp_path / "browser") as text:
                assert "10 of 13 records were not delivered (76.9%) and stay pending; crossdock failures c2p tells why" in text(
                    "/assets/c2p/applied?view=checks&checkDetail=delivered", "not delivered"
                )
                assert "2026-01-01" in text(f"/runs/b/{started['backfillId']}", "2026-01-01")
