"""The source asset: one per stream however many syncs read it. It reads the stream into staging."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.components import checks, pages
from pipelines.components.names import plain, raw_key, remote_key
from pipelines.components.partitions import backfill_of_run, common_partitions, policy, window_of_run
from pipelines.components.session import Materialized, Session, end_run, ledger_run_id, selected_syncs, sync_run, told_plainly
from pipelines.spec import ReadSettings, SyncSpec, duration

if TYPE_CHECKING:
    from pipelines.staging import Batch

__all__ = ["ReadConfig", "build_source_asset", "shared_read"]


class ReadConfig(dg.Config):
    """How this run reads."""

    full: bool = False  # read everything, also where the syncs are incremental


def shared_read(readers: Sequence[SyncSpec]) -> SyncSpec:
    """One sync standing for all that read a stream in a run: its read serves every one of them.

    Incremental only where all are, by the same cursor and with the longest lag; proven where any is a mirror.
    It is the first sync in everything else.
    """
    return reduce(_both, readers)


def _both(one: SyncSpec, other: SyncSpec) -> SyncSpec:
    cursors = {spec.read.cursor for spec in (one, other)} - {None}
    cursor = cursors.pop() if len(cursors) == 1 else None
    incremental = cursor is not None and one.read.mode == other.read.mode == "incremental"
    lag = max(one.read.lag, other.read.lag, key=duration)
    read = ReadSettings(mode="incremental" if incremental else "full", cursor=cursor, lag=lag)
    mode = "mirror" if "mirror" in (one.mode, other.mode) else one.mode
    return one.model_copy(update={"read": read, "mode": mode, "history": one.history or other.history})


def build_source_asset(address: str, readers: Sequence[SyncSpec], kinds: set[str]) -> dg.AssetsDefinition:
    """The asset of `connection.stream`, read by these syncs."""
    key = raw_key(address)
    connection = address.partition(".")[0]
    names = ", ".join(spec.name for spec in readers)

    @dg.asset(
        key=key,
        deps=[remote_key(address)],
        description=f"As last read: the records of {address}, staged as they came. Used by {names}.",
        group_name=plain(connection),
        kinds=kinds,
        tags={"crossdock/stream": plain(address)},
        check_specs=checks.source_specs(key),
        partitions_def=common_partitions(readers),
        backfill_policy=_policy(readers),
        pool=plain(connection),
        op_tags={"crossdock/step": "extract"},
    )
    def read(context: dg.AssetExecutionContext, config: ReadConfig, crossdock: dg.ResourceParam[Session]) -> Materialized:
        with told_plainly():
            engine = crossdock.runtime.engine()
            previous = checks.newest_full(engine.staging, readers[0])
            batch = _extract(context, crossdock, readers, config.full)
            stream = engine.open(connection).stream(address.partition(".")[2])
        results = checks.source_results(engine.staging, batch, stream, previous, needs_proof=any(spec.mode == "mirror" for spec in readers))
        for result in results:
            if result.check_name == checks.IDS and not result.passed and result.severity is dg.AssetCheckSeverity.ERROR:
                _end_runs(context, crossdock, readers, str(result.description))
        cursor = shared_read(readers).read.cursor
        return dg.MaterializeResult(
            metadata=pages.of_batch(batch, stream, cursor), data_version=dg.DataVersion(batch.id), check_results=results
        )

    return read


def _extract(context: dg.AssetExecutionContext, session: Session, readers: Sequence[SyncSpec], full: bool) -> "Batch":
    """One read for every sync of this run; each of them is told which batch is its own."""
    from pipelines.backfill import extract_window
    from pipelines.engine import extract_source, spec_hash

    running = [spec for spec in readers if spec.name in selected_syncs(context)]
    if not running:
        engine, shared, tags = session.runtime.engine(), shared_read(readers), context.run.tags
        if (window := window_of_run(tags, shared)) is not None:
            return extract_window(engine, shared, window, backfill_of_run(tags) or context.run.run_id)
        return extract_source(engine, shared, full=full)
    batch = sync_run(context, session, shared_read(running)).extract(full=full)
    ledger = session.runtime.ledger
    for spec in running[1:]:
        run = sync_run(context, session, spec)
        ledger.begin_run(run.run_id, spec.name, spec_hash(spec))
        ledger.note_run(run.run_id, {"raw": batch.id})
    return batch


def _policy(readers: Sequence[SyncSpec]) -> dg.BackfillPolicy | None:
    """One run for every window, unless the first sync of the stream says how many."""
    return policy(readers[0]) if common_partitions(readers) is not None else None


def _end_runs(context: dg.AssetExecutionContext, session: Session, readers: Sequence[SyncSpec], reason: str) -> None:
    """The syncs of this run whose plans will not be made, because a check stopped them."""
    for spec in readers:
        end_run(session, ledger_run_id(context, spec.name), reason)
