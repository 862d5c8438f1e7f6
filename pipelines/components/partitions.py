"""Partitions: the windows of a sync as Dagster names them, and which of them a run is about."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from connectors.errors import ConfigError
from pipelines.spec import SyncSpec
from pipelines.window import Window

__all__ = ["LIVE", "Backfill", "common_partitions", "current_key", "keys_between", "keys_of", "partitions", "policy", "window_of_keys"]

LIVE = "crossdock/live"
"""The tag of a run that reads from the ledger's cursor and not a window; it stands at the newest partition."""

NAME = "crossdock/backfill"
_ONE, _FIRST, _LAST, _BACKFILL = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
    "dagster/backfill",
)

# Dagster calls these two beta features, at every asset that uses one.
for _feature in ("backfill_policy", "allow_nonexistent_upstream_partitions"):
    warnings.filterwarnings("ignore", category=dg.BetaWarning, message=f".*`{_feature}`")


@dataclass(frozen=True)
class Backfill:
    """What one run of a backfill takes: the windows from one key to another. `staged`: of what is staged, without asking the source."""

    name: str
    first: str
    last: str
    staged: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """The tags of its run."""
        return {NAME: self.name, _FIRST: self.first, _LAST: self.last}


def partitions(spec: SyncSpec) -> dg.TimeWindowPartitionsDefinition | None:
    """The windows of the sync, up to the one that has begun; None where it has none."""
    if (asked := spec.partitions) is None:
        return None
    if asked.every == "hour":
        return dg.HourlyPartitionsDefinition(start_date=f"{asked.start}-00:00", end_offset=1)
    if asked.every == "week":
        return dg.WeeklyPartitionsDefinition(start_date=asked.start, day_offset=1, end_offset=1)
    kind = dg.DailyPartitionsDefinition if asked.every == "day" else dg.MonthlyPartitionsDefinition
    return kind(start_date=asked.start, end_offset=1)


def common_partitions(readers: Sequence[SyncSpec]) -> dg.TimeWindowPartitionsDefinition | None:
    """The windows of a stream: those of its syncs, where all have the same."""
    found = {(one.partitions.every, one.partitions.start) if one.partitions else None for one in readers}
    return partitions(readers[0]) if len(found) == 1 else None


def policy(spec: SyncSpec) -> dg.BackfillPolicy | None:
    """How many windows one run of a backfill takes: all, unless the sync says how many."""
    if spec.partitions is None:
        return None
    if spec.partitions.per_run is None:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(spec.partitions.per_run)


def keys_of(spec: SyncSpec, at: datetime | None = None) -> list[str]:
    """The names of all windows that have begun by then (None: now), oldest first. Raises ConfigError where the sync has none."""
    found = partitions(spec)
    if found is None or spec.partitions is None:
        raise ConfigError(f"{spec.name} has no windows to backfill; add partitions: {{by: CURSOR_FIELD, start: 2026-01-31}} to its file")
    keys = list(found.get_partition_keys(at))
    if not keys:
        raise ConfigError(f"the windows of {spec.name} begin on {spec.partitions.start}, which is yet to come; let them begin earlier")
    return keys


def keys_between(spec: SyncSpec, first: str, last: str) -> list[str]:
    """The names of the windows from one to another, both included. Raises ConfigError for a name that is none."""
    known = keys_of(spec)
    for key in (first, last):
        if key not in known:
            begun = [name for name in known if name <= key and len(name) == len(key)] if key < known[-1] else []
            hint = f"did you mean {begun[-1]}, which it may lie in?" if begun else f"name one from {known[0]} to {known[-1]}, spelled so"
            raise ConfigError(f"{spec.name} has no window {key!r}; {hint}")
    found = known[known.index(first) : known.index(last) + 1]
    if not found:
        raise ConfigError(f"there is no window of {spec.name} from {first} to {last}; name the earlier one first")
    return found


def current_key(spec: SyncSpec, at: datetime | None = None) -> str | None:
    """The window that a live run stands at: the last that has begun by then (None: now); None where the sync has none."""
    return None if spec.partitions is None else keys_of(spec, at)[-1]


def window_of_keys(spec: SyncSpec, first: str, last: str) -> Window:
    """The window from the beginning of one to the end of another."""
    found = partitions(spec)
    assert found is not None
    assert spec.partitions is not None
    began, end = found.time_window_for_partition_key(first).start, found.time_window_for_partition_key(last).end
    return Window(spec.partitions.by, began, end, spec.partitions.epoch)


def window_of_run(tags: Mapping[str, str], spec: SyncSpec) -> Window | None:
    """The window that a run with these tags is about; None: it is a live run, or the sync has no windows."""
    first, last = tags.get(_FIRST, tags.get(_ONE)), tags.get(_LAST, tags.get(_ONE))
    if spec.partitions is None or first is None or last is None or (LIVE in tags and _BACKFILL not in tags):
        return None
    return window_of_keys(spec, first, last)


def backfill_of_run(tags: Mapping[str, str]) -> str | None:
    """The backfill that a run belongs to, or that it is an attempt of; None: it stands by itself."""
    return next((tags[name] for name in (_BACKFILL, NAME, "dagster/root_run_id") if name in tags), None)
