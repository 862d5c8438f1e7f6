"""One worker's look for something to do: the split runs under way, and as many of their shards as it gets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.engine import Progress, silent, spec_hash
from pipelines.fence import target_of
from pipelines.ledger_shards import Shards
from pipelines.preparing import place_of
from pipelines.run import SyncRun

if TYPE_CHECKING:
    from pipelines.runtime import Runtime

__all__ = ["Worked", "work_once"]


@dataclass(frozen=True)
class Worked:
    """How many runs a worker found something to do in, and how many records it accounted for."""

    run_count: int
    record_count: int


def work_once(project: "Runtime", sync: str | None, *, tell: Callable[[str], None], progress: Progress = silent) -> Worked:
    """Do free parts of every run under way (of one sync, or of all this project knows) until there is none.

    `tell` gets a sentence for each run that is left to others: it was planned from another version of its sync, or writes elsewhere.
    """
    runs = records = 0
    for split in Shards(project.ledger).under_way(sync):
        if split.sync not in project.syncs.files:
            continue
        spec, run = project.syncs.files[split.sync].spec, project.ledger.run(split.run_id)
        if run is None or run.spec_hash != spec_hash(spec):
            tell(f"run {split.run_id[:8]} of {split.sync} was planned from another version of its file; it is left to others")
            continue
        here = target_of(project.engine(), spec) if split.kind == "write" else place_of(project.engine(), spec)
        if split.target != here:
            where = f"another account than {spec.target_connection} is here"
            tell(f"run {split.run_id[:8]} of {split.sync} writes to {where}; it is left to others")
            continue
        done = SyncRun(project.engine(), spec, split.run_id, progress).work_on(split)
        runs, records = runs + bool(done), records + done
    return Worked(runs, records)
