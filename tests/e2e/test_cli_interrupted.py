"""Ctrl-C reaches every process of a terminal's foreground group: one sentence comes of it, and nothing else."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.commandline import COMMAND, ROOT, contact, project
from tests.e2e.test_cli_runs import _Held


@pytest.mark.parametrize("method", ["PUT", "POST"], ids=["writing", "looking"])
def test_ctrl_c_at_a_terminal_leaves_one_sentence(method: str, tmp_path: Path) -> None:
    held = _Held(method)
    with project(tmp_path, around=held) as made:
        made.contacts(contact(1))
        environ = {**os.environ, **made.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [*COMMAND, "run", "c2p"], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert held.arrived.wait(60)
        os.killpg(process.pid, signal.SIGINT)
        if method == "PUT":  # an answer to a write is waited for; one to a look need never come
            held.let_go.set()
        _, err = process.communicate(timeout=60)
        held.let_go.set()
    assert process.returncode == 130
    assert err.startswith("error: stopped by Ctrl-C; ")
    assert err.count("\n") == 1
