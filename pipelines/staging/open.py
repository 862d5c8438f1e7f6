"""The staging area that an address names."""

from pathlib import Path

from connectors.errors import ConfigError
from pipelines.staging import Staging


def open_staging(url_or_path: str | Path) -> Staging:
    """A folder (a path or `file://…`), or a PostgreSQL database (`postgresql://…`). Raises ConfigError for anything else."""
    text = str(url_or_path)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme == "file":
        from pipelines.staging.parquet import ParquetStaging

        return ParquetStaging(Path(rest if separator else text))
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        try:
            from pipelines.staging.postgres import PostgresStaging
        except ImportError:
            raise ConfigError("staging in PostgreSQL needs its driver; install crossdock[postgres]") from None
        return PostgresStaging(text)
    raise ConfigError(f"staging cannot lie at an address of the kind {scheme}://; give a folder or postgresql://…")
