"""Backfill: a window of the source read into staging beside the live reads, whose cursor it never moves, and what of it is due."""

from connectors.base import Capabilities, ReadCapability, ReadRequest, Stream
from connectors.errors import ConfigError
from pipelines.checkpoint import finished
from pipelines.desired import Due
from pipelines.engine import Engine, Progress, completeness, increments, is_full, newest_with_cursor, raw_dataset, silent
from pipelines.extract import extract, require_scope
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging
from pipelines.window import Window, window_of


def window_dataset(spec: SyncSpec) -> Dataset:
    """Where windows of the source stream lie, apart from what live reads staged."""
    return Dataset(("window", spec.source_connection, spec.source_stream))


def extract_window(engine: Engine, spec: SyncSpec, window: Window, backfill: str, *, progress: Progress = silent) -> Batch:
    """Read the window into staging, or give what this backfill read before that holds it.

    Where the platform cannot be asked for a window everything is read, once for the whole backfill. Raises ConnectorError,
    and ConfigError where no record has a time in the window's field; then nothing is staged.
    """
    held = finished(engine.staging, window_dataset(spec))
    for batch in reversed(held):
        if batch.note.get("backfill") == backfill and _covers(batch, window):
            return batch
    source = engine.open(spec.source_connection)
    stream = source.stream(spec.source_stream)
    live = finished(engine.staging, raw_dataset(spec))
    last = newest_with_cursor(live, window.field)
    asked = stream.capabilities.read.since is not False
    batch = extract(
        source,
        stream,
        ReadRequest(since=window.since(None if last is None else last.note["cursor"])) if asked else ReadRequest(),
        engine.staging,
        window_dataset(spec),
        clock=engine.clock,
        cursor_field=window.field,
        known=next((before.schema for before in reversed(live) if is_full(before) and before.count), None) if asked else None,
        note={"mode": "window", "backfill": backfill, "window": window.as_json() if asked else None},
        alone=lambda: engine.lock(f"read a window of {spec.source}"),
        progress=increments(progress, "extract"),
    )
    try:
        require_scope(completeness(batch), live, stream)
        if batch.count and untimed_count(engine.staging, batch, window) == batch.count:
            raise ConfigError(
                f"none of {batch.count} records of {spec.source} has a time in {window.field!r}, so they lie in no window; "
                "name the field that does under partitions: {by: …}, and its unit where it holds numbers: {epoch: seconds} or milliseconds"
            )
    except ConfigError:
        engine.staging.drop(batch)
        raise
    return batch


def window_batch(staging: Staging, spec: SyncSpec, batch_id: str | None) -> Batch | None:
    """The window of that id, or the newest read of the stream at all where none is named (a replay); None where there is none."""
    staged = finished(staging, raw_dataset(spec) if batch_id is None else window_dataset(spec))
    return next((batch for batch in reversed(staged) if batch_id in (None, batch.id)), None)


def source_stream(engine: Engine, spec: SyncSpec, replayed: Batch | None) -> Stream:
    """The source stream as its platform describes it; for a replay of that live read as it was described then, asking nobody."""
    kept = None if replayed is None or replayed.dataset != raw_dataset(spec) else replayed.note.get("stream")
    if kept is None:
        return engine.open(spec.source_connection).stream(spec.source_stream)
    return Stream(spec.source_stream, kept["id_field"], Capabilities(ReadCapability()), url=kept["url"])


def due_in(staging: Staging, spec: SyncSpec, window: Window, raw: Batch) -> list[Due]:
    """What a run over a window must map, oldest first.

    Of a window that was read: that, and every live read that ended after it began, so that a version which is newer than the
    window's, and which a live run may have written already, is never taken back; a whole read that began after it takes its place,
    so that what was gone by then is not made again. Else (`raw` is a live read): all that is staged.
    """
    live, windows = finished(staging, raw_dataset(spec)), finished(staging, window_dataset(spec))
    if raw.dataset == window_dataset(spec):
        later = [batch for batch in live if batch.note["finished_at"] >= raw.note["started_at"]]
        newest = max((number for number, batch in enumerate(later) if _replaces(batch, raw)), default=None)
        return [Due(batch, within=window) for batch in ([raw, *later] if newest is None else later[newest:])]
    base = max((number for number, batch in enumerate(live) if is_full(batch)), default=None)
    if base is None:
        raise ConfigError(f"staging holds no whole read of {spec.source} to replay; leave out --from-staging, or run the sync once")
    since = [batch for batch in windows if batch.note["finished_at"] >= live[base].note["started_at"]]
    return [Due(batch, within=window) for batch in sorted([*live[base:], *since], key=lambda batch: str(batch.note["finished_at"]))]


def warnings_of(staging: Staging, spec: SyncSpec, window: Window, raw: Batch) -> tuple[str, ...]:
    """What a person should know about a plan over a window."""
    said = [f"a backfill deletes nothing: what left {spec.source} is seen by a whole read only"] if spec.mode == "mirror" else []
    untimed = untimed_count(staging, raw, window)
    if untimed:
        said.append(f"{untimed} of {raw.count} records have no time in {window.field!r} and lie in no window; a run with --full takes them")
    return tuple(said)


def untimed_count(staging: Staging, batch: Batch, window: Window) -> int:
    """How many records of the batch have no time in the window's field."""
    if window.field not in batch.schema.names:
        return batch.count
    return sum(window.untimed_count(part) for part in staging.scan(batch, [window.field]))


def _replaces(batch: Batch, window: Batch) -> bool:
    """Whether the batch says all that the window's says, and later: a complete read that began after that one had ended."""
    whole = is_full(batch) and completeness(batch).complete
    return bool(whole and batch.note["started_at"] >= window.note["finished_at"])


def _covers(batch: Batch, window: Window) -> bool:
    """Whether the batch, of this backfill, holds the window; what was read whole holds every one."""
    asked = batch.note.get("window")
    return asked is None or completeness(batch).method != "since" or window_of(asked).covers(window)
