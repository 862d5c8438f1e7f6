"""Retention: which batches a finished run leaves behind. Staging is a cache of what was seen, not an archive."""

from pipelines.backfill import window_dataset
from pipelines.checkpoint import finished
from pipelines.engine import is_full, raw_dataset
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging

FULL_READS_KEPT = 3
RUNS_KEPT = 5


def prune(staging: Staging, spec: SyncSpec) -> None:
    """Drop what no coming run of the sync needs: source batches older than the third newest full read, and old runs' rows.

    The newest full read of a source and every increment since are always kept, because records that
    are pending may lie in any of them.
    """
    for batch in _stale_reads(finished(staging, raw_dataset(spec))):
        staging.drop(batch)
    for batch in finished(staging, window_dataset(spec))[:-RUNS_KEPT]:
        staging.drop(batch)
    own = [(kind, spec.name) for kind in ("desired", "plan", "refused", "adopted", "remembered")]
    for parts in [("seen", spec.target_connection, spec.target_stream), *own]:
        for batch in staging.batches(Dataset(parts))[:-RUNS_KEPT]:
            staging.drop(batch)


def _stale_reads(batches: list[Batch]) -> list[Batch]:
    full = [number for number, batch in enumerate(batches) if is_full(batch)]
    return batches[: full[-FULL_READS_KEPT]] if len(full) >= FULL_READS_KEPT else []
