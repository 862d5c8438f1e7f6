"""One pace for all processes of a host: nobody exceeds it together, and no way of dying or standing still holds the others up."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from connectors.errors import RetryableError
from connectors.governor import Governor, Rate
from connectors.governor_file import FileCell, FilePaces
from pipelines.ports import SystemClock
from tests.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]
TAKE = """
import sys, time
from pathlib import Path
from connectors.governor import Governor, Rate
from connectors.governor_file import FilePaces
from pipelines.ports import SystemClock
governor = Governor(SystemClock(), FilePaces(Path(sys.argv[1]))("account"))
governor.limit(Rate(100.0, 10))
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    print(governor.wait(300), flush=True)
"""
HOLD = """
import sys
from pathlib import Path
from connectors.governor_file import FilePaces
FilePaces(Path(sys.argv[1]))("account").change(lambda kept: (print("holding", flush=True), sys.stdin.readline(), (b"half", None))[2])
"""


def process(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def governor_at(folder: Path, clock: FakeClock | SystemClock) -> Governor:
    return Governor(clock, FilePaces(folder)("account"))


def test_processes_together_keep_to_one_rate(tmp_path: Path) -> None:
    together = [process(TAKE, tmp_path, 20) for _ in range(3)]
    taken = sorted(float(line) for one in together for line in one.communicate("go\n", timeout=60)[0].split())
    assert [one.returncode for one in together] == [0, 0, 0]
    assert len(taken) == 60
    for first in range(60):
        for last in range(first, 60):
            assert last - first + 1 <= 8 + 100 * (taken[last] - taken[first]) + 1e-3


def test_a_pause_that_one_process_was_asked_for_holds_the_others_and_those_that_come_later(tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = governor_at(tmp_path, clock), governor_at(tmp_path, clock)
    one.pause(50)
    assert other.wait(300) >= 50
    one.pause(4_000)
    del one, other
    with pytest.raises(RetryableError, match=r"4,000 s.*account\.pace"):
        governor_at(tmp_path, clock).wait(300)


def test_a_pause_is_forgotten_when_its_file_is_deleted(tmp_path: Path) -> None:
    governor = governor_at(tmp_path, FakeClock())
    governor.pause(4_000)
    (tmp_path / "account.pace").unlink()
    assert governor.wait(300) == 0


def test_what_one_process_learnt_slows_the_others(tmp_path: Path) -> None:
    clock = FakeClock()
    one, other = governor_at(tmp_path, clock), governor_at(tmp_path, clock)
    for _ in range(8):
        sent_s = one.wait(300)
        one.taken()
    one.too_fast(sent_s)
    sent = [other.wait(300) for _ in range(4)]
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 0.1


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_is_killed_holds_nobody_up(tmp_path: Path, death: signal.Signals) -> None:
    holder = process(HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    done: list[float] = []
    waiting = threading.Thread(target=lambda: done.append(governor_at(tmp_path, SystemClock()).wait(300)))
    waiting.start()
    began_s = time.monotonic()
    holder.send_signal(death)
    holder.wait(30)
    waiting.join(30)
    holder.communicate()
    assert done
    assert time.monotonic() - began_s < 1.5


def test_a_holder_that_stands_still_is_not_waited_for_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    holder = process(HOLD, tmp_path)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        governor = governor_at(tmp_path, SystemClock())
        with caplog.at_level(logging.WARNING):
            governor.wait(300)
            governor.wait(300)
    finally:
        holder.kill()
        holder.communicate()
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        f"the pace shared with other processes cannot be kept in {tmp_path / 'account.pace'}"
    ]


def test_where_no_file_can_be_kept_a_process_paces_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    governor = governor_at(tmp_path / "file", FakeClock())
    governor.limit(Rate(4.0, 1))
    sent = [governor.wait(300) for _ in range(5)]
    assert [later - earlier for earlier, later in pairwise(sent)] == pytest.approx([0.25] * 4, abs=1e-5)
    assert "goes on with its own" in caplog.text


def test_a_pace_that_could_not_be_kept_for_a_while_is_shared_again_afterwards(tmp_path: Path) -> None:
    (tmp_path / "paces").touch()
    clock = FakeClock()
    governor = governor_at(tmp_path / "paces", clock)
    governor.limit(Rate(4.0, 1))
    governor.wait(300)
    (tmp_path / "paces").unlink()
    clock.advance(61)
    governor.wait(300)
    assert (tmp_path / "paces" / "account.pace").stat().st_size > 0


def test_a_forked_child_and_its_parent_do_not_hold_the_lock_together(tmp_path: Path) -> None:
    cell = FileCell(tmp_path / "account.pace")
    cell.change(lambda kept: (b"0", None))

    def count() -> None:
        for _ in range(300):
            cell.change(lambda kept: (str(int(kept) + 1).encode(), None))

    child = multiprocessing.get_context("fork").Process(target=count)
    child.start()
    count()
    child.join(30)
    assert cell.change(lambda kept: (kept, int(kept))) == 600


def test_sharing_costs_less_than_a_millisecond_a_request(tmp_path: Path) -> None:
    governor = governor_at(tmp_path, SystemClock())
    governor.limit(Rate(1e9, 10**9))
    costs = []
    for _ in range(500):
        began_s = time.perf_counter()
        governor.wait(300)
        costs.append(time.perf_counter() - began_s)
    assert sorted(costs)[len(costs) // 2] < 0.001


def test_an_account_names_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    governor_at(tmp_path, FakeClock()).wait(300)
    assert os.stat(tmp_path / "account.pace").st_mode & 0o077 == 0
    assert FilePaces(tmp_path) == FilePaces(tmp_path)
