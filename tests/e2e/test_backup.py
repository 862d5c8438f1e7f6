"""A ledger copied in the middle of a run, as the documents say, and put back after that run: nothing is made twice, nothing lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import kills_driver
from tests.e2e.kills import SCENARIOS, Bench, platforms, run_once
from tests.house.sources import ROOT
from tests.postgres import PostgresServer
from tests.postgres import postgres_server as postgres_server

PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
DUMP = "pg_dump --clean --if-exists --table 'crossdock_*'"


def _of_sqlite(project: Path) -> Callable[[], None]:
    """Make a copy of the ledger's file as the page says; gives how to put it back."""
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    script = PAGE.split("## Backups")[1].split("```sh\n")[1].split("```")[0]
    subprocess.run(["bash", "-euc", script], cwd=project, check=True)
    state = project / ".crossdock"

    def put_back() -> None:
        for path in (state / "ledger.db", state / "ledger.db-wal", state / "ledger.db-shm"):
            path.unlink(missing_ok=True)
        (state / "ledger-backup.db").rename(state / "ledger.db")

    return put_back


def _of_postgres(server: PostgresServer, url: str) -> Callable[[], None]:
    assert f"`{DUMP}`" in PAGE
    options = DUMP.replace("'", "").split()[1:]
    dumped = subprocess.run([server.binaries / "pg_dump", *options, url], capture_output=True, check=True).stdout

    def put_back() -> None:
        subprocess.run([server.binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", url], input=dumped, capture_output=True, check=True)

    return put_back


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_ledger_copied_inside_a_transaction_of_a_run_is_one_to_go_on_from(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ: dict[str, str] = {}
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        environ = {"CROSSDOCK_LEDGER": server.create("backed_up")}
    with platforms() as world:
        bench = Bench(world, SCENARIOS["first"], tmp_path, environ)
        project, made = bench.folder / "template", world.made(bench.sink)
        stopped = kills_driver.stand_still(project, "first", "stopped", "inside ledger intend", environ, nth=2)
        try:
            put_back = _of_postgres(server, environ["CROSSDOCK_LEDGER"]) if environ else _of_sqlite(project)
            os.kill(stopped.pid or 0, signal.SIGCONT)
            stopped.join(60)
        finally:
            stopped.kill()
        assert kills_driver.ending(project, "stopped")["summary"]["status"] == "ok"
        put_back()
        if environ:
            (project / "clock_shift").write_text("3600")  # the copy says that the run holds the target
        told = [run_once(project, "first", f"again{n}", environ=environ) for n in range(2)]
        assert [one["summary"]["status"] for one in told] == ["ok", "ok"], told
        assert told[1]["summary"]["requests"]["sink"]["write"] == 0
        assert sorted(str(row["email"]) for _, row in world.rows(bench.sink)) == sorted(bench.wanted)
        assert world.made(bench.sink) - made == bench.creates
