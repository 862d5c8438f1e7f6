"""Which syncs the run needs that this process was started for: it loads those, and not all of a company's."""

import multiprocessing
from collections.abc import Collection
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._grpc.types import ExecuteExternalJobArgs
from dagster._serdes import deserialize_value

from pipelines.components.names import sync_of
from pipelines.components.triggers import ASSET_JOB

__all__ = ["syncs_wanted"]


def syncs_wanted(known: Collection[str], sources: Collection[dg.AssetKey]) -> frozenset[str] | None:
    """The names of the syncs that this process's run is about, of those known; None: every definition is needed.

    `sources` are the source assets, which need no sync. A run's own process is started by Dagster's code server, which hands it the
    run; any other process, and any run of something else than syncs, gets None.
    """
    given: tuple[Any, ...] = getattr(multiprocessing.current_process(), "_args", ())
    job = next((one for one in given if isinstance(one, ReconstructableJob)), None)
    if job is None:
        return None
    if job.job_name != ASSET_JOB:
        return frozenset([job.job_name]) if job.job_name in known else None
    keys = _selected(next((one for one in given if isinstance(one, str)), "")) - set(sources)
    names = frozenset(sync_of(key) or "" for key in keys)
    return names if names and names <= set(known) else None


def _selected(arguments: str) -> set[dg.AssetKey]:
    """The assets that were chosen for the run in Dagster's own message; none where none were."""
    told = deserialize_value(arguments, ExecuteExternalJobArgs)
    assert told.instance_ref is not None
    with dg.DagsterInstance.from_ref(told.instance_ref) as instance:
        run = instance.get_run_by_id(told.run_id)
    return set(run.asset_selection or ()) if run is not None else set()
