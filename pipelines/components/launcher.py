"""Dagster's own way to start runs, and whether the process of one still lives: its monitoring fails those that were killed."""

import os
import socket
from pathlib import Path

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

__all__ = ["PROCESS", "Launcher", "health_of", "process_of"]

PROCESS = "crossdock/process"
"""The tag that says which process carries out a run, written by that process itself."""


class Launcher(DefaultRunLauncher):
    """Runs are processes of the code server, or of a person's command. One whose process on this host is gone has failed.

    Dagster would wait for it for as long as a run may take, and with it every later run of its sync, and of its target.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives."""
        return health_of(run)


def health_of(run: DagsterRun) -> CheckRunHealthResult:
    """Whether the run's process lives. What another host carries out, or has not said who it is yet, counts as alive."""
    run_id, _, process = run.tags.get(PROCESS, "").partition("@")
    host, _, number_and_start = process.rpartition(" ")
    number, _, start = number_and_start.partition(":")
    if run_id != run.run_id[:8] or host != _here() or _start_of(int(number)) == start:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"process {number} that carried it out is gone; the next run looks up what it left")


def process_of(run_id: str) -> dict[str, str]:
    """The tag of a run that this process carries out. It names the run too: one that is started again inherits tags."""
    return {PROCESS: f"{run_id[:8]}@{_here()} {os.getpid()}:{_start_of(os.getpid())}"}


def _here() -> str:
    """Where process numbers mean what they mean here: containers may share the host's name, but not its numbers."""
    space = Path("/proc/self/ns/pid")
    return socket.gethostname() + (f" {os.readlink(space)}" if space.is_symlink() else "")


def _start_of(process: int) -> str:
    """When that process started, where the system tells; "" for one that lives, "gone" for one that does not."""
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(") ")[2].split()
        except OSError:
            return "gone"
        return "gone" if state in "ZX" else fields[18]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return ""
