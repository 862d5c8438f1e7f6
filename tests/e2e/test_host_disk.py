"""A disk that is full, damaged or read-only under a real run: a sentence, a clear state, and the next run finishes the work."""

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kills import SCENARIOS, Bench, Platforms, Scenario, platforms, run_once
from tests.e2e.kills_points import Death

MB = 1 << 20


@pytest.fixture(scope="module")
def world() -> Iterator[Platforms]:
    with platforms() as made:
        yield made


@contextmanager
def small_disk(folder: Path, size_bytes: int, *, options: str = "") -> Iterator[Path]:
    """A file system of its own; skipped by name where none can be mounted."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}{options}", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def _fill(folder: Path, left_bytes: int) -> Path:
    """Take all room of a file system but this."""
    stat = os.statvfs(folder)
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        file.write(b"x" * max(0, stat.f_bavail * stat.f_frsize - left_bytes))
    return ballast


def _finished(bench: Bench, project: Path, name: str, made_before: int) -> None:
    """The runs from here on end clean, and the sink holds each record once."""
    told = run_once(project, name, "finish", environ=bench.environ)
    assert told["summary"]["status"] == "ok", told
    rest = run_once(project, name, "rest", environ=bench.environ)
    assert rest["summary"]["requests"]["sink"]["write"] == 0
    assert sorted(str(row["email"]) for _, row in bench.world.rows(bench.sink)) == sorted(bench.wanted)
    assert bench.world.made(bench.sink) - made_before == bench.creates


def _clear(told: Any) -> str:
    """The sentence a run ended with; nothing unexpected."""
    assert told is not None
    assert "error" in told, told
    assert "unexpected" not in told, told
    return str(told["error"])


@pytest.mark.parametrize(("what", "lefts"), [("CROSSDOCK_HOME", (0, 120 << 10, 200 << 10)), ("CROSSDOCK_STAGING", (0, 12 << 10, 40 << 10))])
def test_a_disk_that_fills_up_ends_the_run_with_a_sentence_and_costs_nothing(
    world: Platforms, tmp_path: Path, what: str, lefts: tuple[int, ...]
) -> None:
    for left in lefts:
        with small_disk(tmp_path / "disk", 2 * MB) as disk:
            bench = Bench(world, SCENARIOS["first"], tmp_path / f"left{left}", {what: str(disk / "state")})
            made, project = world.made(bench.sink), bench.folder / "template"
            ballast = _fill(disk, left)
            told = run_once(project, "first", "full", environ=bench.environ)
            assert " cannot be " in _clear(told)
            assert world.made(bench.sink) in (made, made + bench.creates)
            ballast.unlink()
            _finished(bench, project, "first", made)


def _no_large_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 10, 40 << 10))


def test_a_ledger_that_cannot_grow_lets_nothing_be_sent(world: Platforms, tmp_path: Path) -> None:
    bench = Bench(world, SCENARIOS["mirror"], tmp_path)
    made, project = world.made(bench.sink), bench.folder / "template"
    world.robostack.log.clear()
    told = run_once(project, "mirror", "full", before=_no_large_files)
    assert "the ledger" in _clear(told)
    assert [entry for entry in world.robostack.log if entry["method"] in ("PUT", "PATCH", "DELETE")] == []
    _finished(bench, project, "mirror", made)


def test_a_read_only_home_is_one_sentence(world: Platforms, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", MB, options=",ro") as disk:
        bench = Bench(world, SCENARIOS["first"], tmp_path / "project", {"CROSSDOCK_HOME": str(disk)})
        told = run_once(bench.folder / "template", "first", "refused", environ=bench.environ)
    assert "ledger" in _clear(told)


@pytest.mark.parametrize("pattern", ["staging/raw/**/*.parquet", "staging/seen/**/manifest.json"])
def test_a_damaged_file_of_staging_is_named_and_once_it_is_removed_all_goes_on(world: Platforms, tmp_path: Path, pattern: str) -> None:
    bench = Bench(world, SCENARIOS["increment"], tmp_path)
    made, project = world.made(bench.sink), bench.folder / "template"
    assert run_once(project, "increment", "killed", Death("before staging desired")) is None
    damaged = sorted((project / ".crossdock").glob(pattern))[-1]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 4
    damaged.write_bytes(content)
    told = run_once(project, "increment", "damaged")
    assert str(damaged.parent) in _clear(told)
    assert world.made(bench.sink) == made
    shutil.rmtree(damaged.parent)
    _finished(bench, project, "increment", made)


def test_a_ledger_from_before_the_writes_creates_nothing_a_second_time(world: Platforms, tmp_path: Path) -> None:
    for scenario in (SCENARIOS["mirror"], _trusting()):
        bench = Bench(world, scenario, tmp_path / scenario.name)
        project, made = bench.folder / "template", world.made(bench.sink)
        ledger = project / ".crossdock" / "ledger.db"
        with closing(sqlite3.connect(ledger)) as open_ledger, closing(sqlite3.connect(tmp_path / "backup.db")) as backup:
            open_ledger.backup(backup)
        told = run_once(project, scenario.name, "lost")
        assert told["summary"]["status"] == "ok", told
        for path in ledger.parent.glob("ledger.db*"):
            path.unlink()
        shutil.copy(tmp_path / "backup.db", ledger)
        if scenario.name == "trusting":  # what the ledger trusts is old: the same values are written once more, and nothing is made
            assert run_once(project, scenario.name, "looks")["summary"]["created"] == 0
            assert run_once(project, scenario.name, "repeats")["summary"]["created"] == 0
        _finished(bench, project, scenario.name, made)


def _trusting() -> Scenario:
    mirror = SCENARIOS["mirror"]
    return Scenario("trusting", {**mirror.attributes, "compare": "ledger"}, settled=True)


def test_a_ledger_that_is_gone_creates_nothing_a_second_time(world: Platforms, tmp_path: Path) -> None:
    bench = Bench(world, SCENARIOS["increment"], tmp_path)
    project, made = bench.folder / "template", world.made(bench.sink)
    assert run_once(project, "increment", "lost")["summary"]["status"] == "ok"
    for path in (project / ".crossdock").glob("ledger.db*"):
        path.unlink()
    _finished(bench, project, "increment", made)
