"""Where Dagster keeps its runs and events: SQLite in its home, or the PostgreSQL database that the environment names.

dagster.yaml names this class, so that one file serves a laptop and a cluster.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import Field, Noneable
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from connectors.errors import ConfigError
from pipelines.places import dagster_database
from pipelines.runtime import dagster_home, places

if TYPE_CHECKING:
    from dagster._config.config_schema import UserConfigSchema

__all__ = ["Storage"]


class Storage(DagsterStorage, ConfigurableClass):
    """Opens the storage that CROSSDOCK_DAGSTER or CROSSDOCK_DATABASE names, else SQLite in `folder` (None: Dagster's home)."""

    @classmethod
    def config_type(cls) -> "UserConfigSchema":
        """What may stand under `config:`."""
        return {"folder": Field(Noneable(str), is_required=False, default_value=None)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> DagsterStorage:  # type: ignore[override]
        """The storage itself. Raises ConfigError for an address of another kind, and where the driver is not installed."""
        if (url := dagster_database(os.environ)) is None:
            from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

            folder = Path(config_value["folder"] or dagster_home(places(), os.environ))
            with _alone(folder):
                return DagsterSqliteStorage(str(folder), inst_data)
        try:
            from pipelines.components.storage_postgres import postgres_storage
        except ImportError:
            raise ConfigError("Dagster's storage in PostgreSQL needs its driver; install crossdock[postgres]") from None
        return postgres_storage(url, inst_data)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: the first makes the tables, and a daemon and a web server that start together would both try to."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "storage.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
