"""A real PostgreSQL for the tests of one process: started in a temporary folder, stopped at the end.

Only the absence of its binaries skips a test; anything else that goes wrong with it fails. Import the
fixtures where they are used: `from tests.postgres import postgres_server, postgres_url  # noqa: F401`.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.loopback import free_port

_OPTIONS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=32MB -c max_connections=50"


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `binaries` is the folder of its programs, `account` who it runs as (None: as we do), `folder` its database."""

    binaries: Path
    account: str | None
    port: int
    folder: Path

    def url(self, database: str) -> str:
        """The address of a database, as libpq and SQLAlchemy take it."""
        return f"postgresql://crossdock@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """A new empty database; its address."""
        host = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "crossdock"]
        subprocess.run([self.binaries / "createdb", *host, database], check=True, capture_output=True, timeout=60)
        return self.url(database)

    def restart(self) -> None:
        """Stop it, breaking every connection, and start it again as it was."""
        _run(
            self.account, self.binaries / "pg_ctl", "-D", self.folder, "-m", "fast", "-w", "-t", "60", "-l", self.folder / "log", "restart"
        )


def find_binaries() -> Path | None:
    """The folder with initdb and postgres, the newest version first, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]), reverse=True)
    pg_config = shutil.which("pg_config")
    if pg_config:
        told = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False, timeout=60)
        folders += [Path(told.stdout.strip())] if told.returncode == 0 else []
    initdb = shutil.which("initdb")
    folders += [Path(initdb).resolve().parent] if initdb else []
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _account() -> str | None:
    """Who may run the server: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(server_user: str | None, *command: str | Path) -> None:
    done = subprocess.run(command, user=server_user, cwd="/", capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for this test process (each xdist worker has its own)."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL binaries (initdb, postgres) on this machine")
    with running_server(binaries) as server:
        yield server


@contextmanager
def running_server(binaries: Path) -> Iterator[PostgresServer]:
    """A server with an empty database cluster, for the block."""
    account = _account()
    home = Path(tempfile.mkdtemp(prefix="pg-"))  # not tmp_path: another user must reach it, and socket paths are short
    try:
        home.chmod(0o755)
        folder = home / "db"
        folder.mkdir(mode=0o700)
        if account is not None:
            shutil.chown(home, account)
            shutil.chown(folder, account)
        _run(account, binaries / "initdb", "-D", folder, "-U", "crossdock", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        for last in (False, False, True):  # another process may take the port first
            server = PostgresServer(binaries, account, free_port(), folder)
            options = f"{_OPTIONS} -c listen_addresses=127.0.0.1 -c port={server.port} -c unix_socket_directories={home}"
            try:
                _run(account, binaries / "pg_ctl", "-D", folder, "-w", "-t", "60", "-l", folder / "log", "-o", options, "start")
                break
            except RuntimeError:
                if last:
                    raise
        try:
            yield server
        finally:
            _run(account, binaries / "pg_ctl", "-D", folder, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The address of a new empty database."""
    return postgres_server.create(f"test_{uuid4().hex}")
