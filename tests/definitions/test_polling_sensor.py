"""The sensor that asks sources for news: one that hangs, fails or meets a defect holds up no other, and says so where people look."""

import json
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import pipelines.polling
from connectors.errors import UnreachableError
from pipelines.components.polling import SENSOR
from tests.definitions.projects import Project, new_project

POLLED = {"match": ["email"], "read": {"mode": "incremental", "cursor": "updated_at"}, "poll": "1s"}


@pytest.fixture
def polled(tmp_path: Path) -> Project:
    """Five syncs that read one connection, and one that reads another."""
    made = new_project(tmp_path, shipped=False)
    for number in range(5):
        made.write(f"a{number}", {**POLLED, "from": "stacker_demo.contacts", "to": "robostack_demo.people"})
    connections = yaml.safe_load((tmp_path / "connections.yaml").read_text())
    connections["connections"]["other"] = connections["connections"]["stacker_demo"]
    (tmp_path / "connections.yaml").write_text(yaml.safe_dump(connections))
    made.write("b", {**POLLED, "from": "other.contacts", "to": "robostack_demo.people"})
    return made


def look(project: Project, cursor: str | None = None) -> tuple[set[str | None], str, str]:
    """One look: the jobs that it asks for, what it says, and its new cursor."""
    defs = project.defs()
    with dg.DagsterInstance.ephemeral() as instance:
        found = defs.resolve_sensor_def(SENSOR).evaluate_tick(dg.build_sensor_context(instance, cursor=cursor, definitions=defs))
    return {one.job_name for one in found.run_requests or ()}, found.skip_message or "", str(found.cursor)


def test_a_connection_that_hangs_keeps_no_other_from_being_asked(polled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, hung = threading.Event(), []

    def news(engine: Any, spec: Any) -> str | None:
        if spec.source_connection == "stacker_demo":
            hung.append(asked.wait(20))
            return None
        asked.set()
        return "news"

    monkeypatch.setattr(pipelines.polling, "news", news)
    assert look(polled)[0] == {"b"}
    assert all(hung)


def test_a_source_that_fails_is_named_and_what_it_was_asked_for_before_is_no_news_afterwards(
    polled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, Any] = {"b": "news"}

    def news(engine: Any, spec: Any) -> str | None:
        answer: str | Exception | None = answers.get(spec.name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(pipelines.polling, "news", news)
    jobs, _, cursor = look(polled)
    assert jobs == {"b"}
    answers |= {"a1": KeyError("secret-cell"), "a2": "news of a2", "b": UnreachableError("robostack_demo is out of reach; see its address")}
    jobs, _, cursor = look(polled, _later(cursor))
    assert jobs == {"a2"}  # though one meets a defect
    jobs, said, cursor = look(polled, _later(cursor))
    assert jobs == set()
    assert "the source of b cannot be asked what is new: robostack_demo is out of reach" in said
    assert "defect of Crossdock (KeyError" in said
    assert "secret-cell" not in said
    answers["b"] = "news"
    assert look(polled, _later(cursor))[0] == set()  # a run was asked to take that already


def _later(cursor: str) -> str:
    """The same cursor when every source is due again."""
    return json.dumps({name: {**kept, "asked_at": 0} for name, kept in json.loads(cursor).items()})
