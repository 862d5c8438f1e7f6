"""The Dagster entry point: every sync of the project. Asks no platform anything."""

import dagster as dg

from pipelines.components.project import project_defs
from pipelines.runtime import open_runtime


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions of the project that the working directory belongs to, or of the one this code lies in."""
    return project_defs(open_runtime())
