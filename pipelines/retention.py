"""Retention: which batches, runs and versions a finished run leaves behind. Staging is a cache of what was seen, not an archive."""

from datetime import datetime

from pipelines.backfill import window_dataset
from pipelines.checkpoint import finished
from pipelines.engine import Engine, is_full, raw_dataset
from pipelines.history import compact_history, history_lock
from pipelines.spec import SyncSpec, duration
from pipelines.staging import Batch, Dataset, Staging


def prune(staging: Staging, spec: SyncSpec) -> int:
    """Drop what no coming run of the sync needs: source batches older than its oldest kept full read, and old runs' rows. Gives how many.

    The newest full read of a source and every increment since are always kept, because records that
    are pending may lie in any of them.
    """
    dropped = 0
    own = [(kind, spec.name) for kind in ("desired", "asked", "plan", "part", "refused", "adopted", "remembered")]
    old = [
        *_stale_reads(finished(staging, raw_dataset(spec)), spec.retention.reads),
        *_older(finished(staging, window_dataset(spec)), spec),
    ]
    for parts in [("seen", spec.target_connection, spec.target_stream), *own]:
        old += _older(staging.batches(Dataset(parts)), spec)
    for batch in old:
        staging.drop(batch)
        dropped += 1
    return dropped


def forget(engine: Engine, spec: SyncSpec) -> int:
    """Let the ledger forget the sync's runs, and what they wrote, that ended longer ago than it keeps them. Gives how many runs.

    Who is who, what is pending, and what has no outcome yet is never forgotten.
    """
    before = _ago(engine, spec.retention.ledger)
    return 0 if before is None else engine.ledger.forget_runs(spec.name, before)


def compact(engine: Engine, spec: SyncSpec) -> int:
    """Copy the history of the sync's source into one batch, without versions that ended longer ago than it keeps them. Gives how many.

    Raises RetryableError while a run adds to that history: what it adds meanwhile would not be copied.
    """
    if not spec.history:
        return 0
    with engine.lock(history_lock(spec)):
        return compact_history(engine.staging, spec, before=_ago(engine, spec.retention.history))


def _ago(engine: Engine, kept: str | None) -> datetime | None:
    return None if kept is None else engine.clock.now() - duration(kept)


def _older(batches: list[Batch], spec: SyncSpec) -> list[Batch]:
    return batches[: -spec.retention.runs]


def _stale_reads(batches: list[Batch], kept: int) -> list[Batch]:
    full = [number for number, batch in enumerate(batches) if is_full(batch)]
    return batches[: full[-kept]] if len(full) >= kept else []
