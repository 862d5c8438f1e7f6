"""Dagster's web server in tests: asked by GraphQL, waited for, ended."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 120.0

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
ASSET = """
query Asset($key: AssetKeyInput!) {
  assetOrError(assetKey: $key) { ... on Asset { assetMaterializations(limit: 1) { metadataEntries {
    label ... on MarkdownMetadataEntry { mdStr } ... on IntMetadataEntry { intValue }
  } } } }
}"""


@dataclass(frozen=True)
class Pages:
    """The web server at `url`."""

    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of one GraphQL request."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        data: dict[str, Any] = found["data"]
        return data

    def launch(self, job: str) -> str:
        """Start a run of a job as the launchpad does, and give its id."""
        selector = {"repositoryLocationName": "crossdock", "repositoryName": "__repository__", "jobName": job}
        answer = self.ask(LAUNCH, params={"selector": selector, "runConfigData": {}, "mode": "default"})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def ending(self, run_id: str) -> str:
        """How a run ended."""
        return str(until(lambda: (status := self.ask(STATUS, id=run_id)["runOrError"]["status"]) in ("SUCCESS", "FAILURE") and status))

    def shown(self, *key: str) -> dict[str, Any]:
        """The metadata of an asset's newest materialization."""
        (event,) = self.ask(ASSET, key={"path": list(key)})["assetOrError"]["assetMaterializations"]
        return {entry["label"]: entry.get("mdStr", entry.get("intValue")) for entry in event["metadataEntries"]}


def until(found: Any) -> Any:
    """What `found` gives once it is true; waiting is a look at the real servers, at most PATIENCE_S."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        with suppress(OSError):
            if answer := found():
                return answer
        time.sleep(0.2)
    raise AssertionError(f"nothing after {PATIENCE_S} s")


def end(started: subprocess.Popen[bytes]) -> None:
    """End the server and everything it started; it leads a process group of its own."""
    os.killpg(started.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        started.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
