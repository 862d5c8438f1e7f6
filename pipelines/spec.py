"""One sync as a person writes it, and the rules it must obey on its own. Pure.

What a spec says about a connection (does it exist, can its sink do that mode) is checked where
connections are known: `runtime.validate`.
"""

import re
from datetime import date, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.settings import DAY_S

Mode = Literal["insert", "update", "upsert", "mirror"]
Epoch = Literal["seconds", "milliseconds"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> timedelta:
    """`90s`, `5m`, `2h`, `1d` as a timedelta. Raises ValueError naming the forms."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write it as 90s, 5m, 2h or 1d")
    return timedelta(seconds=float(match[1]) * _UNIT_S[match[2]])


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ReadSettings(_Settings):
    """How the source is read. Incremental needs `cursor`; `lag` re-reads that much before it."""

    mode: Literal["full", "incremental"] = "full"
    cursor: str | None = None
    lag: str = "0s"

    @field_validator("lag")
    @classmethod
    def _lag_is_a_duration(cls, value: str) -> str:
        duration(value)
        return value

    @model_validator(mode="after")
    def _incremental_has_a_cursor(self) -> "ReadSettings":
        if self.mode == "incremental" and not self.cursor:
            raise ValueError("read: incremental needs a cursor, the source field that grows when a record changes")
        return self


class DeleteSettings(_Settings):
    """When and how much a mirror may delete; other modes never delete, whatever stands here. Shares run from 0 to 1."""

    when: Literal["missing"] = "missing"
    max_count: int = Field(100, ge=0)
    max_share: float = Field(0.1, ge=0, le=1)


class LimitSettings(_Settings):
    """Plans above these are refused until approved by digest. None: no limit."""

    update_share: float | None = Field(None, ge=0, le=1)
    update_count: int | None = Field(None, ge=0)
    create_count: int | None = Field(None, ge=0)


class AlertSettings(_Settings):
    """What a person is told about, where alerts go anywhere. Shares run from 0 to 1. None: never about that."""

    failed_runs: int | None = Field(1, ge=1, description="this many runs in a row that failed or were refused")
    rejected_share: float | None = Field(0.05, ge=0, le=1, description="more undelivered records than this share of those known")
    quarantined_count: int | None = Field(0, ge=0, description="more quarantined records than this")
    drift_count: int | None = Field(None, ge=0, description="more records than this changed by others in the sink between two runs")


class WriteSettings(_Settings):
    """How records are written."""

    batch: int = Field(500, ge=1, description="records in one call at most; the platform's own limit still holds")
    nulls: Literal["write", "skip"] = "write"
    existing: Literal["overwrite", "fill_empty", "keep"] = "overwrite"
    on_unknown: Literal["quarantine", "retry"] | None = Field(None, description="None: what the connection says, else quarantine")
    T_server_max_s: float | None = Field(None, ge=0, le=DAY_S, description="over the connection's")
    T_lag_s: float | None = Field(None, ge=0, le=DAY_S, description="over the connection's")
    shards: int = Field(1, ge=1, le=1000, description="parts, by the match key's hash, that workers on several hosts write side by side")


class PartitionSettings(_Settings):
    """Windows of the cursor field, in UTC, for backfills. A week begins on Monday."""

    by: str
    every: Literal["hour", "day", "week", "month"] = "day"
    start: str
    epoch: Epoch | None = Field(None, description="the field holds numbers that count these units since 1970; None: it holds times as text")
    per_run: int | None = Field(None, ge=1, description="windows that one run of a backfill takes at most; None: all of them")

    @field_validator("start")
    @classmethod
    def _start_is_a_day(cls, value: str) -> str:
        try:
            date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a day; write it as 2026-01-31") from None
        return value


class RetentionSettings(_Settings):
    """How long what runs leave behind is kept. Counts are of the newest; a duration is `90d`; None: for ever."""

    reads: int = Field(3, ge=1, description="whole reads of the source, and every increment since the oldest of them")
    runs: int = Field(5, ge=1, description="runs whose rows and windows stay in staging")
    ledger: str | None = None
    history: str | None = None

    @field_validator("ledger", "history")
    @classmethod
    def _is_a_duration(cls, value: str | None) -> str | None:
        if value is not None:
            duration(value)
        return value


class SyncSpec(_Settings):
    """One sync: from a source stream to a sink stream. Only `from`, `to` and `match` are required."""

    name: str = ""
    source: str = Field(alias="from", description="connection.stream that is read")
    target: str = Field(alias="to", description="connection.stream that is written")
    match: tuple[str, ...] = Field(min_length=1, description="sink fields that say 'the same record'")
    mode: Mode = "upsert"
    read: ReadSettings = ReadSettings()
    where: str | None = None
    fields: dict[str, str] | None = Field(None, description="sink field: SQL expression over the source's fields")
    python: str | None = Field(None, description="module:function, a pure DataFrame → DataFrame function")
    deletes: DeleteSettings | None = None
    limits: LimitSettings = LimitSettings()
    writes: WriteSettings = WriteSettings()
    compare: Literal["sink", "ledger"] = "sink"
    drift: Literal["overwrite", "keep", "conflict"] = "overwrite"
    schedule: str | None = None
    poll: str | None = Field(None, description="ask the source this often whether it holds anything new, and run only then")
    after: tuple[str, ...] = Field((), description="syncs after which this one runs, when they wrote something")
    partitions: PartitionSettings | None = None
    fresh_within: str | None = Field(None, description="the last good run is not older than this; else the sync counts as late")
    alerts: AlertSettings = AlertSettings()
    history: Literal["scd2"] | None = Field(None, description="scd2: every version of the source's records is kept, with its time")
    retention: RetentionSettings = RetentionSettings()
    description: str | None = None
    owners: tuple[str, ...] = ()
    group: str | None = None

    @field_validator("source", "target")
    @classmethod
    def _names_a_stream(cls, value: str) -> str:
        connection, dot, stream = value.partition(".")
        if not (connection and dot and stream):
            raise ValueError(f"{value!r} must be written as connection.stream")
        return value

    @field_validator("fresh_within", "poll")
    @classmethod
    def _is_a_duration(cls, value: str | None) -> str | None:
        if value is not None:
            duration(value)
        return value

    @model_validator(mode="after")
    def _settings_agree(self) -> "SyncSpec":
        if self.poll is not None and self.read.mode != "incremental":
            raise ValueError("poll asks what changed since the cursor; add read: {mode: incremental, cursor: FIELD}, or use schedule")
        for field in self.match:
            if self.match.count(field) > 1:
                raise ValueError(f"match names {field!r} twice; name each field once")
        if self.fields is not None:
            for field in self.match:
                if field not in self.fields:
                    raise ValueError(f"match names {field!r}, but fields does not map it")
        return self

    @property
    def source_connection(self) -> str:
        """The name before the dot of `from`."""
        return self.source.partition(".")[0]

    @property
    def source_stream(self) -> str:
        """The name after the first dot of `from`."""
        return self.source.partition(".")[2]

    @property
    def target_connection(self) -> str:
        """The name before the dot of `to`."""
        return self.target.partition(".")[0]

    @property
    def target_stream(self) -> str:
        """The name after the first dot of `to`."""
        return self.target.partition(".")[2]

    @property
    def cursor_epoch(self) -> Epoch | None:
        """What the numbers of the cursor field count, where `partitions` says it of that field."""
        return self.partitions.epoch if self.partitions is not None and self.partitions.by == self.read.cursor else None

    @property
    def delete_settings(self) -> DeleteSettings:
        """The delete limits in force (the defaults where none are written)."""
        return self.deletes or DeleteSettings()
