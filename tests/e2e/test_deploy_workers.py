"""The deployment example for several hosts: it names what exists, and its settings run a sync on a real Celery worker."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClassData

from pipelines.components.launcher import PROCESS, process_of
from tests.definitions.projects import ROOT, running_project
from tests.postgres import PostgresServer, postgres_server  # noqa: F401

FOLDER = ROOT / "deploy" / "workers"
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return found


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in compose["services"].items() if service["image"] == "crossdock:local"}


def test_every_command_of_a_service_is_a_program_of_this_project_that_takes_its_options(compose: dict[str, Any]) -> None:
    assert set(ours(compose)) == {"daemon", "web", "worker", "metrics"}
    for name, service in ours(compose).items():
        program, *arguments = service["command"]
        assert (PROGRAMS / program).is_file(), name
        asked = [word for word in arguments if word in ("run", "worker", "metrics")]
        before = ["-A", "celery"] if program == "celery" else []  # any application: its help needs no broker
        told = subprocess.run([PROGRAMS / program, *before, *asked, "--help"], capture_output=True, text=True, timeout=120).stdout
        options = [word for word in arguments if word.startswith("-") and word != "-A"]
        assert [option for option in options if not re.search(rf"(?<![\w-]){option}\b", told)] == [], name


def test_every_variable_is_one_that_something_reads_and_every_service_has_them_all(compose: dict[str, Any]) -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "pipelines").rglob("*.py")) + (FOLDER / "dagster_celery_config.py").read_text()
    for service in ours(compose).values():
        assert [name for name in service["environment"] if name not in code] == []
        assert "POSTGRES_PASSWORD:?" in service["environment"]["CROSSDOCK_DATABASE"]
        assert set(service["depends_on"]) <= set(compose["services"])
        assert "ports" not in service  # nothing of ours is open to other machines
    settings = (FOLDER / "dagster.yaml").read_text()
    assert set(re.findall(r"env: (\w+)", settings)) <= set(ours(compose)["worker"]["environment"])


def test_the_image_copies_what_exists_and_holds_no_secret() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert ".env" not in text


def test_the_engine_itself_finds_nothing_wrong_with_the_file_where_it_is_installed() -> None:
    if shutil.which("docker") is None or subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=60).returncode:
        pytest.skip("no docker compose on PATH")
    command = ["docker", "compose", "-f", str(FOLDER / "compose.yaml"), "config", "--quiet"]
    told = subprocess.run(command, env={**os.environ, "POSTGRES_PASSWORD": "p"}, capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stderr) == (0, "")


def test_a_command_of_a_person_is_looked_after_though_it_is_no_task_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    written = yaml.safe_load((FOLDER / "dagster.yaml").read_text())["run_launcher"]
    for name in ("CELERY_BROKER", "CELERY_BACKEND"):
        monkeypatch.setenv(name, "memory://")
    data = ConfigurableClassData(written["module"], written["class"], yaml.safe_dump(written["config"]))
    launcher = data.rehydrate(as_type=RunLauncher)
    mine = process_of("12345678-0000")[PROCESS]
    for mark, status in ((mine, WorkerStatus.RUNNING), (mine + "0", WorkerStatus.FAILED)):
        run = dg.DagsterRun("c2p", run_id="12345678-0000", tags={PROCESS: mark})
        assert launcher.check_run_worker_health(run).status is status
        assert launcher.get_run_worker_debug_info(run) is None


@pytest.mark.slow
def test_a_run_launched_with_these_settings_is_carried_out_by_a_celery_worker_on_another_host(
    tmp_path: Path,
    postgres_server: PostgresServer,  # noqa: F811
) -> None:
    urls = {name: postgres_server.create(f"{name}_{tmp_path.stat().st_ino}") for name in ("crossdock", "broker")}
    broker = urls["broker"].replace("postgresql://", "postgresql+psycopg2://")  # a real broker that needs nothing but Postgres
    with running_project(tmp_path, contacts=0) as running:
        common = {**os.environ, **running.project.environ, "CROSSDOCK_DATABASE": urls["crossdock"]}
        common |= {"CELERY_BROKER": f"sqla+{broker}", "CELERY_BACKEND": f"db+{broker}", "PYTHONPATH": f"{ROOT}{os.pathsep}{FOLDER}"}
        here, there = (_host(tmp_path / name, common) for name in ("here", "there"))
        celery = [PROGRAMS / "celery", "-A", "dagster_celery.app", "worker", "--pool", "solo", "--without-gossip", "--without-mingle"]
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(celery, cwd=ROOT, env=there, stdout=log, stderr=log)
            try:
                launch = [PROGRAMS / "dagster", "job", "launch", "-w", "workspace.yaml", "-j", "companies_to_orgs"]
                launched = subprocess.run(launch, cwd=ROOT, env=here, capture_output=True, text=True, timeout=300)
                assert launched.returncode == 0, launched.stderr
                instance_ref = InstanceRef.from_dir(here["DAGSTER_HOME"])
                with pytest.MonkeyPatch.context() as patch:
                    for name in ("CROSSDOCK_DATABASE", "CELERY_BROKER", "CELERY_BACKEND"):
                        patch.setenv(name, here[name])
                    with dg.DagsterInstance.from_ref(instance_ref) as instance:
                        (run,) = instance.get_runs()
                        while not (run := instance.get_run_by_id(run.run_id) or run).is_finished:
                            assert worker.poll() is None, (tmp_path / "worker.log").read_text()[-3000:]
                assert run.status is dg.DagsterRunStatus.SUCCESS, (tmp_path / "worker.log").read_text()[-3000:]
                assert len(running.robostack.resources["orgs"].records) >= len(running.stacker.objects["companies"].records)
            finally:
                worker.kill()
                worker.wait(30)


def _host(folder: Path, common: dict[str, str]) -> dict[str, str]:
    """The environment of a host with a home of its own, whose Dagster has the example's settings, without the queue's daemon."""
    settings = yaml.safe_load((FOLDER / "dagster.yaml").read_text())
    del settings["concurrency"]
    settings["run_coordinator"] = {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"}
    home = folder / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    return {**common, "DAGSTER_HOME": str(home), "CROSSDOCK_HOME": str(folder)}
