"""Where a project's files and state lie, decided from the environment it is given. Touches no file but to look for the project."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from connectors.errors import ConfigError

__all__ = ["CONNECTIONS_FILE", "Places", "dagster_database", "find_places"]

CONNECTIONS_FILE = "connections.yaml"


@dataclass(frozen=True)
class Places:
    """Absolute paths, and two URLs that may hold a password and are therefore not shown.

    `root` is the project, `home` its state, `syncs` the folder of the syncs' folders.
    """

    root: Path
    home: Path
    connections: Path
    syncs: Path
    ledger: str = field(repr=False)
    staging: str = field(repr=False)

    @property
    def locks(self) -> Path:
        """The folder of this host's locks."""
        return self.home / "locks"

    def shown(self, path: Path) -> Path:
        """`path` as a person in the project would write it."""
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path


def find_places(environ: Mapping[str, str], start: Path) -> Places:
    """The places of the project around the folder `start`.

    CROSSDOCK_ENVIRONMENT (development, staging, …) has connections and state of its own: `connections.NAME.yaml`, `.crossdock/NAME`.
    CROSSDOCK_HOME, CROSSDOCK_CONNECTIONS, CROSSDOCK_LEDGER (`sqlite:///…`, `postgresql://…`) and CROSSDOCK_STAGING
    (a folder, or a URL) move them, CROSSDOCK_DATABASE both of the latter where they are not named themselves; relative
    paths start at `start`. An empty variable counts as unset. Raises ConfigError for an environment that cannot name a file.
    """
    root = _project(start)
    named, environment = environ.get("CROSSDOCK_CONNECTIONS"), environ.get("CROSSDOCK_ENVIRONMENT", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", environment):
        raise ConfigError(f"CROSSDOCK_ENVIRONMENT is {environment!r}; write a name of letters, digits, _ and -, such as production")
    file = f"connections.{environment}.yaml" if environment else CONNECTIONS_FILE
    home = (start / environ.get("CROSSDOCK_HOME", "")) if environ.get("CROSSDOCK_HOME") else root / ".crossdock" / environment
    database = environ.get("CROSSDOCK_DATABASE")
    staging = environ.get("CROSSDOCK_STAGING") or database or str(home / "staging")
    return Places(
        root=root,
        home=home,
        connections=start / named if named else root / file,
        syncs=root / "pipelines" / "defs",
        ledger=environ.get("CROSSDOCK_LEDGER") or database or f"sqlite:///{home / 'ledger.db'}",
        staging=staging if "://" in staging else str(start / staging),
    )


def dagster_database(environ: Mapping[str, str]) -> str | None:
    """The PostgreSQL database that Dagster's own storage lies in, as SQLAlchemy takes it; None: SQLite files in Dagster's home.

    CROSSDOCK_DAGSTER names it, or else CROSSDOCK_DATABASE; `sqlite` in the former keeps the files. Raises ConfigError for any other kind.
    """
    url = environ.get("CROSSDOCK_DAGSTER") or environ.get("CROSSDOCK_DATABASE")
    if not url or url == "sqlite":
        return None
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ConfigError("Dagster's storage cannot lie at that address; CROSSDOCK_DAGSTER takes postgresql://… or sqlite, the default")
    return f"postgresql+psycopg2://{rest}"


def _project(start: Path) -> Path:
    """The nearest folder upwards that holds connections.yaml, else a Dagster project's pyproject.toml, else where this code lies."""
    upwards = [start, *start.parents]
    for folder in upwards:
        if (folder / CONNECTIONS_FILE).is_file():
            return folder
    for folder in upwards:
        file = folder / "pyproject.toml"
        if file.is_file() and "[tool.dg" in file.read_text(encoding="utf-8", errors="replace"):
            return folder
    beside_code = Path(__file__).resolve().parent.parent
    return beside_code if (beside_code / CONNECTIONS_FILE).is_file() else start
