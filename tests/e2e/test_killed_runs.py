"""A run that was killed is called failed by Dagster's monitoring on the same host, so that later runs of its sync need not wait for it."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from pipelines.components.launcher import PROCESS, process_of
from pipelines.components.triggers import busy
from tests.e2e.commandline import ROOT, contact, project

pytestmark = pytest.mark.slow


def test_a_killed_command_keeps_its_sync_from_running_only_until_the_daemon_looks(tmp_path: Path) -> None:
    writing = threading.Event()

    def around(app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["method"] == "PUT":
                writing.set()
                await asyncio.sleep(5)
            await app(scope, receive, send)

        return wrapped

    with project(tmp_path, around=around) as made:
        made.contacts(contact(1))
        home = tmp_path / ".crossdock" / "dagster"
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
        started = made.start("run", "c2p")
        assert writing.wait(60)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CROSSDOCK_HOME", str(tmp_path / ".crossdock"))
            patch.setenv("DAGSTER_HOME", str(home))
            with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance:

                def look() -> str | None:
                    (record,) = instance.get_run_records()
                    if record.dagster_run.status is dg.DagsterRunStatus.STARTED:
                        monitor_started_run(instance, cast(Any, None), record, logging.getLogger("monitoring"))
                    return busy(instance, "c2p")

                assert str(look()).startswith("c2p is started")
                started.kill()
                started.communicate()
                assert look() is None
                (record,) = instance.get_run_records()
                assert record.dagster_run.tags["dagster/max_retries"] == "0"  # who killed it decides
                launcher = instance.run_launcher
                for tags, lives in (
                    ({}, True),  # it has not said yet who it is
                    ({PROCESS: record.dagster_run.tags[PROCESS]}, True),  # that was the run which is tried again
                    (process_of("12345678-0000-4000-8000-000000000000"), True),
                    ({PROCESS: "12345678@another.host 1:1"}, True),
                    ({PROCESS: process_of("12345678-0000")[PROCESS] + "0"}, False),  # its number was given to another process
                ):
                    run = create_run_for_test(instance, run_id="12345678-0000-4000-8000-000000000000", tags=tags)
                    assert (launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING) is lives, tags
                    instance.delete_run(run.run_id)
