"""A run that is asked to end ends in order: answers that come are kept, what was never sent is known not to be, and says so."""

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

from tests.e2e.commandline import CONNECTIONS, Project, contact, project


class _Slow:
    """Robostack, whose creates beyond the second wait before they are carried out until they are let go."""

    def __init__(self) -> None:
        self.arrived, self.let_go, self._count = threading.Event(), threading.Event(), 0

    def __call__(self, app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope.get("method") == "PUT":
                self._count += 1
                if self._count > 2:
                    self.arrived.set()
                    await asyncio.get_running_loop().run_in_executor(None, self.let_go.wait)
            await app(scope, receive, send)

        return wrapped


def _begun(made: Project, slow: _Slow, timeout_s: int = 60) -> Any:
    made.write("connections.yaml", CONNECTIONS.replace("    streams:", f"    concurrency: 1\n    timeout_s: {timeout_s}\n    streams:"))
    made.contacts(*(contact(n) for n in range(12)))
    made.sync(writes={"batch": 1})
    process = made.start("run", "c2p", "--json")
    assert slow.arrived.wait(60)
    return process


def test_a_run_that_is_asked_to_end_leaves_in_doubt_only_the_call_that_was_under_way(tmp_path: Path) -> None:
    slow = _Slow()
    with project(tmp_path, around=slow) as made:
        process = _begun(made, slow, timeout_s=2)
        process.send_signal(signal.SIGTERM)  # its answer is awaited for as long as an answer ever is
        out, err = process.communicate(timeout=60)
        slow.let_go.set()

        assert process.returncode == 143, err
        assert "stopped by SIGTERM; 2 records were written and confirmed, 1 writes have no known outcome" in err
        assert '"exit":143' in out
        assert made.json("runs", "c2p")["runs"][0]["status"] == "failed"
        made.write("connections.yaml", CONNECTIONS.replace("    streams:", "    T_server_max_s: 0.2\n    streams:"))
        again = made.json("run", "c2p")
        assert again["created"] == 9
        assert again["quarantined"] + again["unchanged"] == 3  # whether the one in doubt arrived is for the platform to say
        assert len({person["email"] for person in made.people()}) == len(made.people())


def test_two_runs_of_one_sync_at_once_write_everything_once(tmp_path: Path) -> None:
    slow = _Slow()
    with project(tmp_path, around=slow) as made:
        process = _begun(made, slow)
        second = made.run("run", "c2p")
        slow.let_go.set()
        _, err = process.communicate(timeout=60)

        assert second.status == 4
        assert "is in use by another run" in second.err
        assert process.returncode == 0, err
        assert sorted(person["email"] for person in made.people()) == sorted(f"p{n}@example.com" for n in range(12))
