"""The sandbox starts real processes, shares them, survives being killed, and leaves none behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from connectors.errors import ConfigError
from pipelines.ports import SystemClock
from pipelines.processes import is_alive
from pipelines.sandbox import Emulator, addresses, environment, keep, run_command, running, sandbox, stop

ROOT = Path(__file__).resolve().parents[2]
CLOCK = SystemClock()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield tmp_path / "sandbox"
    stop(tmp_path / "sandbox", CLOCK)


@pytest.fixture
def tiny(free_port: int) -> Emulator:
    return Emulator("tiny", "tests.tiny_emulator", free_port)


def answers(emulator: Emulator) -> bool:
    connection = HTTPConnection("127.0.0.1", emulator.port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 404
    except OSError:
        return False
    finally:
        connection.close()


def test_emulators_answer_inside_and_are_gone_after(folder: Path, tiny: Emulator) -> None:
    with sandbox([tiny], folder, CLOCK) as up:
        assert [(one.name, one.url, one.started) for one in up] == [("tiny", tiny.url, True)]
        assert answers(tiny)
        assert [one.pid for one in running(folder)] == [up[0].pid]
    assert not is_alive(folder, "tiny")
    assert not answers(tiny)


def test_records_outlive_the_sandbox_until_fresh_ones_are_asked_for(folder: Path, tiny: Emulator) -> None:
    journal = folder / "tiny.journal"
    for _ in range(2):
        with sandbox([tiny], folder, CLOCK):
            pass
    assert journal.read_text() == "started with seed 7\n" * 2
    with sandbox([tiny], folder, CLOCK, fresh=True):
        assert journal.read_text() == "started with seed 7\n"


def test_a_second_user_shares_the_emulators_and_the_last_one_stops_them(folder: Path, tiny: Emulator) -> None:
    first = sandbox([tiny], folder, CLOCK)
    second = sandbox([tiny], folder, CLOCK)
    begun = first.__enter__()
    joined = second.__enter__()
    assert (joined[0].pid, joined[0].started) == (begun[0].pid, False)
    first.__exit__(None, None, None)
    assert answers(tiny)
    second.__exit__(None, None, None)
    assert not is_alive(folder, "tiny")


def test_fresh_records_are_refused_while_others_use_them(folder: Path, tiny: Emulator) -> None:
    with (
        sandbox([tiny], folder, CLOCK),
        pytest.raises(ConfigError, match="is running and keeps its records"),
        sandbox([tiny], folder, CLOCK, fresh=True),
    ):
        pass
    assert not is_alive(folder, "tiny")


def test_an_emulator_that_outlived_its_killed_parent_is_found_and_stopped(folder: Path, tiny: Emulator) -> None:
    script = (
        "import os, signal; from pathlib import Path; from pipelines.ports import SystemClock; from pipelines.sandbox import *\n"
        f"with sandbox([Emulator('tiny', 'tests.tiny_emulator', {tiny.port})], Path({str(folder)!r}), SystemClock()):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert answers(tiny)
    with sandbox([tiny], folder, CLOCK) as up:
        assert not up[0].started
    assert not is_alive(folder, "tiny")


def test_background_emulators_stay_until_they_are_stopped(folder: Path, tiny: Emulator) -> None:
    with sandbox([tiny], folder, CLOCK):
        keep(folder)
    with sandbox([tiny], folder, CLOCK) as up:
        assert not up[0].started
    assert answers(tiny)
    assert stop(folder, CLOCK) == ["tiny"]
    assert not answers(tiny)
    assert stop(folder, CLOCK) == []


def test_a_port_taken_by_a_stranger_is_told_and_nothing_stays_behind(folder: Path, tiny: Emulator) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = Emulator("other", "tests.tiny_emulator", stranger.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"port {taken.port} .* not this project's other emulator; .*--port-base or OTHER_URL"):
            sandbox([tiny, taken], folder, CLOCK).__enter__()
    assert not is_alive(folder, "tiny")


def test_our_own_emulator_on_another_port_is_told_with_its_address(folder: Path, tiny: Emulator) -> None:
    elsewhere = Emulator("tiny", tiny.module, tiny.port + 1)
    with (
        sandbox([tiny], folder, CLOCK),
        pytest.raises(ConfigError, match=rf"tiny emulator already runs at {tiny.url}, .*set TINY_URL={tiny.url}"),
        sandbox([elsewhere], folder, CLOCK),
    ):
        pass


def test_an_emulator_that_ends_at_once_is_told_with_its_last_words(folder: Path, tiny: Emulator) -> None:
    failing = Emulator("tiny", tiny.module, tiny.port, ("--fail",))
    with pytest.raises(ConfigError, match=r"ended instead of serving \(the demo records could not be made\)"):
        sandbox([failing], folder, CLOCK).__enter__()


def test_a_command_is_given_the_addresses_and_its_status_comes_back(folder: Path, tiny: Emulator, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = f"import os, sys; open({str(seen)!r}, 'w').write(os.environ['TINY_URL']); sys.exit(7)"
    with sandbox([tiny], folder, CLOCK) as up:
        assert run_command([sys.executable, "-c", code], environment(up, os.environ)) == 7
    assert seen.read_text() == tiny.url


def test_a_command_that_a_signal_ended_has_the_status_a_shell_gives(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert run_command([sys.executable, "-c", code], os.environ) == 128 + signal.SIGTERM


def test_a_command_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="the command 'no-such-command' cannot be started"):
        run_command(["no-such-command"], os.environ)


def test_a_command_inside_takes_ctrl_c_although_we_were_started_where_it_is_ignored() -> None:
    """As behind `&` in a script. Dagster's servers take SIGTERM for Ctrl-C, and would ignore it as well."""
    code = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_command([sys.executable, "-c", code], os.environ) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_sandbox_ends_its_command_and_stops_its_emulators(folder: Path, tiny: Emulator, number: signal.Signals) -> None:
    script = (
        "import os, sys; from pathlib import Path; from pipelines.ports import SystemClock; from pipelines.sandbox import *\n"
        f"with sandbox([Emulator('tiny', 'tests.tiny_emulator', {tiny.port})], Path({str(folder)!r}), SystemClock()):\n"
        "    code = 'import time; print(\"up\", flush=True); time.sleep(60)'\n"
        "    sys.exit(run_command([sys.executable, '-c', code], os.environ))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        assert output.readline() == "up\n"
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as a terminal does: to the whole group
        else:
            os.kill(parent.pid, number)
        output.read()
    began = time.monotonic()
    assert parent.wait(timeout=30) != 0
    assert time.monotonic() - began < 30
    assert not is_alive(folder, "tiny")


def test_ports_count_up_from_the_first_or_from_a_base_or_follow_the_environment() -> None:
    modules = {"stacker": "a", "robostack": "b"}
    assert [one.port for one in addresses(modules, {})] == [8701, 8702]
    assert [one.port for one in addresses(modules, {"STACKER_URL": "http://127.0.0.1:9000"}, 9500)] == [9500, 9501]
    assert [one.port for one in addresses(modules, {"ROBOSTACK_URL": "http://localhost:9000/x"})] == [8701, 9000]


def test_the_sandbox_never_stands_in_for_a_real_platform() -> None:
    with pytest.raises(ConfigError, match=r"STACKER_URL names api\.example\.com, but the sandbox serves 127\.0\.0\.1 only"):
        addresses({"stacker": "a"}, {"STACKER_URL": "https://api.example.com:443"})
