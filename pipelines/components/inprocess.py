"""One run of one sync in this process, through Dagster, so that it stands in Dagster's history like any other."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.instance.ref import InstanceRef

from pipelines.components.launcher import process_of
from pipelines.components.names import applied_key, plain, plan_key
from pipelines.components.partitions import LIVE, Backfill, current_key
from pipelines.components.session import RESOURCE, STARTED_BY, Session
from pipelines.components.source import build_source_asset
from pipelines.components.storage import Storage
from pipelines.components.sync import build_sync_defs, run_config
from pipelines.runtime import Runtime, dagster_home
from pipelines.spec import SyncSpec

if TYPE_CHECKING:
    from pipelines.engine import Progress

__all__ = ["run_in_process"]

# Capturing a step's output turns our own standard output into a file, and takes four more processes per step to show it again.
UNCAPTURED = {"compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}}

# A run that a person started takes no place in the pools: one that is killed would keep it until a daemon looks, and there may be none.
UNPOOLED = {"concurrency": {"pools": {"granularity": "run"}}}


def run_in_process(
    runtime: Runtime,
    spec: SyncSpec,
    run_id: str,
    *,
    full: bool = False,
    approve: str | None = None,
    backfill: Backfill | None = None,
    progress: "Progress | None" = None,
) -> None:
    """Execute the sync's own assets: read, plan, apply; live, or over the windows of a backfill. What came of it is in the
    ledger under `run_id`, a UUID.

    Only this sync's definitions are made, which takes a fraction of loading the project. Raises whatever failed a
    step, wrapped by Dagster, and KeyboardInterrupt, with the signal's number where it was SIGTERM.
    """
    store = "postgres" if "://" in runtime.places.staging else "parquet"
    kinds = {runtime.connections.entry(spec.source_connection).connector, store}
    lookups = [dg.AssetDep(applied_key(name)) for name in _lookups(runtime, spec)]  # or the pages would call the plan out of date
    made = build_sync_defs(spec, lookups=lookups, connector=runtime.connections.entry(spec.target_connection).connector)
    source = build_source_asset(spec.source, [spec], kinds)
    defs = dg.Definitions.merge(made, dg.Definitions(assets=[source], resources={RESOURCE: Session(runtime, progress)}))
    chosen = run_config(spec, full=full, approve=approve)
    settings: dict[str, Any] = {"ops": dict(chosen.ops), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    current = current_key(spec) if backfill is None else None
    ours = {STARTED_BY: plain("command"), "dagster/max_retries": "0", **process_of(run_id)}
    tags = {**ours, **(backfill.tags if backfill else {LIVE: "true"} if current else {})}
    only = [plan_key(spec.name), applied_key(spec.name)] if backfill is not None and backfill.staged else None
    folder = str(dagster_home(runtime.places, runtime.environ))
    settled = InstanceRef.from_dir(folder, overrides=UNCAPTURED | UNPOOLED | _stored_in(folder))
    with dg.DagsterInstance.from_ref(settled) as instance, _signals() as arrived:
        try:
            defs.resolve_job_def(spec.name).execute_in_process(
                run_config=settings, instance=instance, run_id=run_id, tags=tags, partition_key=current, asset_selection=only
            )
        except DagsterExecutionInterruptedError:
            raise KeyboardInterrupt(*(number for number in arrived() if number == signal.SIGTERM)) from None


def _lookups(runtime: Runtime, spec: SyncSpec) -> tuple[str, ...]:
    """The syncs that the project's pages show before this one. The other files are looked at only where it looks something up."""
    if not any("lookup" in text.lower() for text in (*(spec.fields or {}).values(), spec.where or "")):
        return ()
    from pipelines.components.project import Project

    return Project(runtime).lookups.get(spec.name, ())


def _stored_in(folder: str) -> dict[str, Any]:
    """The project's own storage, in the very folder of this runtime, unless the folder's dagster.yaml names another."""
    settings = Path(folder) / "dagster.yaml"
    custom = {"module": Storage.__module__, "class": Storage.__name__}
    if settings.is_file():
        custom = (yaml.safe_load(settings.read_text("utf-8")) or {}).get("storage", {}).get("custom", {})
    if custom.get("module") != Storage.__module__:
        return {}
    return {"storage": {"custom": {**custom, "config": {"folder": folder}}}}


@contextmanager
def _signals() -> Iterator[Callable[[], list[int]]]:
    """Inside the block, gives the numbers of the signals that arrived: Dagster, which handles them, does not tell which it was."""
    if threading.current_thread() is not threading.main_thread():
        yield list
        return
    told, teller = socket.socketpair()
    with told, teller:
        told.setblocking(False)
        teller.setblocking(False)
        before = signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)

        def arrived() -> list[int]:
            try:
                return list(told.recv(4096))
            except BlockingIOError:
                return []

        try:
            yield arrived
        finally:
            signal.set_wakeup_fd(before)
