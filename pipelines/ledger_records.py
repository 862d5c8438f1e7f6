"""What the ledger keeps, as values: a write and where it stands, who is who, what failed, how runs went. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where one write stands."""

    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"  # the call succeeded; which record is which is still to be read back
    CONFIRMED = "confirmed"
    REFUSED = "refused"  # its whole call was; whether nothing of it happened is still to be looked at
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    CONFLICT = "conflict"  # the record changed or went away in the sink meanwhile
    NOT_APPLIED = "not_applied"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"  # its outcome was never seen; a later plan started from what the sink shows


READ_BACK_OTHERWISE = "it read back otherwise"  # the reason of a confirmed write that did
OPEN = (State.IN_FLIGHT, State.ACCEPTED, State.REFUSED, State.UNKNOWN)


@dataclass(frozen=True)
class Write:
    """One record's write. `key`, `before`, `after` are JSON text; `sink_id` is JSON text of the platform's id.

    `epoch` is the one of the target under which it was sent.
    """

    run_id: str
    seq: int
    sync: str
    key: str
    source_id: str | None
    op: str
    sink_id: str | None
    state: State
    attempt: int
    intent_at: datetime
    before: str | None
    after: str | None
    fingerprint: int | None
    epoch: int = 0
    reason: str = ""


NEVER_SHOWN = -1


@dataclass(frozen=True)
class Match:
    """One row of the crosswalk: this record here is that record there. `applied` is JSON text of what we last know we wrote.

    `repeats` counts how often that was written and read back otherwise; NEVER_SHOWN: the platform says it made it, and no read showed it.
    """

    key: str
    key_hash: int
    source_id: str | None
    sink_id: str
    applied: str | None = None
    fingerprint: int | None = None
    repeats: int = 0


@dataclass(frozen=True)
class Failure:
    """A record that was not delivered and stays pending.

    `released`: a person allowed it to be tried again. `dismissed`: a person settled it, so that just this `request` is not tried again.
    """

    key: str
    source_id: str
    outcome: str
    reason: str
    field: str = ""
    op: str | None = None
    request: str | None = None
    attempts: int = 1
    released: bool = False
    dismissed: bool = False
    run_id: str = ""
    first_seen: str = ""
    last_seen: str = ""


@dataclass(frozen=True)
class Run:
    """One run of a sync. `summary` is what `run --json` printed, or what is known so far."""

    run_id: str
    sync: str
    status: str
    started_at: str
    finished_at: str | None
    spec_hash: str | None
    summary: Mapping[str, Any]
