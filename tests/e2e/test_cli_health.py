"""Health, metrics, structured logs and alerts of real runs: from the command, and from a run in Dagster."""

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from connectors.settings import Ports
from pipelines.alerts import Channel
from pipelines.components.project import project_defs
from pipelines.ports import SystemRng
from pipelines.runtime import open_runtime
from tests.clock import FakeClock
from tests.definitions.projects import running_project
from tests.e2e.commandline import Project, contact, project
from tests.loopback import RawServer, answer


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path) as found:
        yield found


def texts(server: RawServer) -> list[str]:
    return [str(json.loads(request.partition(b"\r\n\r\n")[2])["text"]) for request in server.requests]


def test_the_life_of_a_sync_as_health_metrics_logs_and_alerts_tell_it(made: Project) -> None:
    made.contacts(contact(1), contact(2), contact(3, email=""))
    made.environ["CROSSDOCK_LOG"] = "log.jsonl"
    with RawServer(lambda number, request: answer(200)) as hook:
        made.environ["CROSSDOCK_ALERTS"] = hook.base_url
        before = made.run("health", "c2p")
        assert (before.status, "attention" in before.out, "it never ran" in before.out) == (1, True, True)
        assert made.run("run", "c2p").status == 1
        assert "1 record of 3 (33.3%) is not delivered" in texts(hook)[0]
        made.environ["THERE_URL"], there = "http://127.0.0.1:9", made.environ["THERE_URL"]
        assert made.run("run", "c2p").status == 4
        made.environ["THERE_URL"] = there
        assert "c2p is failing" in texts(hook)[1]
        failing = made.json("health", "c2p")
        assert (failing["health"], [one["name"] for one in failing["findings"]]) == ("failing", ["failed", "undelivered"])
        made.contacts(contact(1), contact(2), contact(3))
        assert made.run("run", "c2p").status == 0
        assert "c2p is healthy again" in texts(hook)[2]
        healthy = made.run("health")
        assert (healthy.status, healthy.out.split()[:2]) == (0, ["c2p", "healthy:"])
        assert len(hook.requests) == 3

    log = [json.loads(line) for line in (made.folder / "log.jsonl").read_text().splitlines()]
    ended = [line for line in log if line.get("event") == "run_ended"]
    assert [line["status"] for line in ended] == ["partial", "failed", "ok"]
    assert {line["sync"] for line in log} == {"c2p"}
    assert len({line["run"] for line in ended}) == 3
    assert {(line["event"], line["step"], line["stream"]) for line in log if "step" in line} >= {
        ("extracted", "extract", "here.contacts"),
        ("planned", "plan", "there.people"),
    }

    shown = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in made.run("metrics").out.splitlines() if line[0] != "#"}
    assert shown['crossdock_sync_health{sync="c2p"}'] == 0
    assert shown['crossdock_matched_records{sync="c2p"}'] == 3
    assert shown['crossdock_last_run_records{outcome="created",sync="c2p"}'] == 1
    assert shown['crossdock_last_run_status{status="ok",sync="c2p"}'] == 1
    assert shown['crossdock_last_run_requests{kind="write",side="sink",sync="c2p"}'] == 1
    serving = made.start("metrics", "--port", "0")
    try:
        assert serving.stderr is not None
        address = next(word for word in serving.stderr.readline().split() if word.startswith("http")).rstrip(";")
        with urllib.request.urlopen(address, timeout=30) as found:
            assert b'crossdock_sync_health{sync="c2p"} 0.0' in found.read()
    finally:
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 130
        for pipe in (serving.stdout, serving.stderr):
            assert pipe is not None
            pipe.close()


def test_what_others_changed_is_counted_and_told_where_that_is_asked_for(made: Project) -> None:
    made.contacts(contact(1), contact(2))
    made.sync(alerts={"drift_count": 0})
    assert made.run("run", "c2p").status == 0
    held = made.there.resources["people"]
    made.there.put(held, [{**made.people()[0], "name": "Somebody Else"}])
    ran = made.json("run", "c2p")
    assert (ran["drifted"], ran["updated"]) == (1, 1)
    assert [one["name"] for one in made.json("health", "c2p")["findings"]] == ["drift"]
    made.contacts(contact(1, name="New"), contact(2))
    assert made.json("run", "c2p")["drifted"] == 0  # the source's own change is none


def test_a_run_in_dagster_alarms_shows_its_health_and_the_sensor_tells_what_no_run_lived_to_tell(tmp_path: Path) -> None:
    attributes: dict[str, Any] = {
        "from": "stacker_demo.contacts",
        "to": "robostack_demo.people",
        "match": ["email"],
        "fields": {"email": "email", "name": "first_name"},
        "fresh_within": "1h",
    }
    with running_project(tmp_path, shipped=False) as running, RawServer(lambda number, request: answer(200)) as hook:
        running.stacker.add_object("contacts", [{"email": "ada@x.example", "first_name": "ada"}])
        running.robostack.add_resource("people")
        running.project.write("copy", attributes)
        running.project.environ["CROSSDOCK_ALERTS"] = hook.base_url  # type: ignore[index]
        with dg.DagsterInstance.ephemeral() as instance:
            result = running.project.run("copy", instance)
            assert result.success
            (event,) = result.asset_materializations_for_node("copy__applied")
            shown = {name: getattr(value, "value", value) for name, value in event.metadata.items()}
            assert shown["health"].startswith("**healthy**")
            assert {"read", "created", "duration_s", "sink_write_requests", "source_read_requests"} <= shown.keys()
            assert hook.requests == []
            with running.project.runtime() as runtime:
                runtime.ledger.begin_run("killed", "copy", "")
                runtime.ledger.finish_run("killed", "failed", {})
            defs = running.project.defs()
            assert (
                defs.resolve_assets_def(dg.AssetKey(["copy", "applied"])).get_asset_spec(dg.AssetKey(["copy", "applied"])).freshness_policy
            )
            sensor = defs.resolve_sensor_def("crossdock_watch")
            for _ in range(2):
                looked = sensor(dg.build_sensor_context(instance))
                assert "copy (failing)" in str(looked)
            assert len(hook.requests) == 1
            assert "its process ended without a word" in texts(hook)[0]


def test_a_sync_that_cannot_run_is_failing_and_told_once_by_the_command_and_by_the_sensor(made: Project) -> None:
    made.sync("typo", **{"from": "gone.contacts"})
    made.write("pipelines/defs/torn/defs.yaml", "attributes: {from: nowhere")
    with RawServer(lambda number, request: answer(200)) as hook:
        made.environ["CROSSDOCK_ALERTS"] = hook.base_url
        looked = made.run("health", "typo", "--tell")
        assert looked.status == 3
        assert looked.out.startswith("typo  failing")
        assert "there is no connection 'gone'" in looked.out
        found = {one["sync"]: one for one in made.json("health")["syncs"]}
        assert {name: one["health"] for name, one in found.items()} == {"c2p": "attention", "torn": "failing", "typo": "failing"}
        assert "not plain YAML" in found["torn"]["problem"]
        with open_runtime(made.environ, made.folder) as runtime, dg.DagsterInstance.ephemeral() as instance:
            sensor = project_defs(runtime).resolve_sensor_def("crossdock_watch")
            assert "torn (failing), typo (failing)" in str(sensor(dg.build_sensor_context(instance)))
        assert ["typo is failing" in texts(hook)[0], "torn is failing" in texts(hook)[1], len(hook.requests)] == [True, True, 2]


def test_a_look_at_all_syncs_ends_in_time_where_what_takes_alerts_hangs(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        made.sync(f"typo{number}", **{"from": "gone.contacts"})
    made.environ["CROSSDOCK_ALERTS"] = "http://127.0.0.1:9"
    clock, tried = FakeClock(), []

    def hang(channel: Channel, subject: str, text: str) -> None:
        tried.append(subject)
        clock.advance(10)
        raise TimeoutError

    monkeypatch.setattr(Channel, "send", hang)
    with open_runtime(made.environ, made.folder, ports=Ports(clock, SystemRng())) as runtime, dg.DagsterInstance.ephemeral() as instance:
        sensor = project_defs(runtime).resolve_sensor_def("crossdock_watch")
        assert "21 syncs looked at" in str(sensor(dg.build_sensor_context(instance)))
    assert len(tried) == 3
