"""A run in Dagster that is asked to end stops sending, is closed in the ledger, and leaves the rest to the next one."""

import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.commandline import CONNECTIONS, ROOT, contact, project
from tests.e2e.test_host_signals import _Slow


@pytest.mark.slow
def test_a_dagster_run_that_gets_sigterm_sends_nothing_more_and_the_next_one_goes_on_from_the_ledger(tmp_path: Path) -> None:
    slow = _Slow()
    with project(tmp_path, around=slow) as made:
        made.write("connections.yaml", CONNECTIONS.replace("    streams:", "    concurrency: 1\n    T_server_max_s: 0.2\n    streams:"))
        made.contacts(*(contact(n) for n in range(12)))
        made.sync(writes={"batch": 1, "on_unknown": "retry"})
        made.environ["DAGSTER_HOME"] = str(tmp_path / "dagster")
        (tmp_path / "dagster").mkdir()
        (tmp_path / "dagster" / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
        program = "from dagster._cli import main; main()"
        job = ("job", "execute", "-m", "pipelines.definitions", "-j", "c2p")
        running = made.start(*job, command=(sys.executable, "-c", program))
        assert slow.arrived.wait(120), running.communicate()
        running.send_signal(signal.SIGTERM)
        slow.let_go.set()
        _, said = running.communicate(timeout=120)
        assert running.returncode != 0, said

        first = made.json("runs", "c2p")["runs"][0]
        assert (first["status"], first["message"]) == ("failed", "the run was stopped")
        assert len(made.people()) in (2, 3)  # whether the call under way arrived is for the platform to say
        again = made.json("run", "c2p")
        assert (again["status"], again["quarantined"]) == ("ok", 0)
        assert again["created"] + again["unchanged"] == 12
        assert sorted(person["email"] for person in made.people()) == sorted(f"p{n}@example.com" for n in range(12))
