"""What a run came to: one outcome per record, adding up, and the exit status that says it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pipelines.plan import Counts

Status = Literal["ok", "partial", "refused", "failed"]

EXIT_OK, EXIT_PARTIAL, EXIT_REFUSED, EXIT_CONFIG, EXIT_UNREACHABLE, EXIT_INTERNAL = range(6)

OUTCOMES = ("created", "updated", "deleted", "unchanged", "skipped", "invalid", "rejected", "conflicts", "unknown", "quarantined")
_UNDELIVERED = ("invalid", "rejected", "conflicts", "unknown", "quarantined")


@dataclass(frozen=True)
class Summary:
    """The counts of one run or plan. For a plan, created, updated and deleted are what it would do.

    `differences` counts written records that did not read back as they were sent (None: nothing was read back), `drifted` those
    that others had changed in the sink since this sync last wrote them. `reasons` say what shows that the read of the source is
    `complete`, or why that is not proven.
    """

    sync: str
    run_id: str
    status: Status
    read: int = 0
    desired: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    skipped: int = 0
    invalid: int = 0
    rejected: int = 0
    conflicts: int = 0
    unknown: int = 0
    quarantined: int = 0
    requests: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    digest: str = ""
    complete: bool = False
    reasons: tuple[str, ...] = ()
    duration_s: float = 0.0
    differences: int | None = None
    drifted: int = 0
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        """The stable fields, as `--json` prints them."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @staticmethod
    def from_kept(sync: str, run_id: str, kept: Mapping[str, Any]) -> "Summary":
        """The summary of a finished run from what the ledger keeps of it."""
        known = {item.name for item in fields(Summary)} - {"sync", "run_id"}
        facts = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items() if name in known}
        return Summary(**{"status": "failed", **facts, "sync": sync, "run_id": run_id})  # type: ignore[arg-type]

    @property
    def accounted(self) -> int:
        """The sum of all outcomes."""
        return sum(int(getattr(self, name)) for name in OUTCOMES)

    @property
    def undelivered(self) -> int:
        """Records that stay pending."""
        return sum(int(getattr(self, name)) for name in _UNDELIVERED)

    @property
    def exit_status(self) -> int:
        """0 ok · 1 some records not delivered · 2 refused by a guard · 5 failed."""
        return {"ok": EXIT_OK, "partial": EXIT_PARTIAL, "refused": EXIT_REFUSED, "failed": EXIT_INTERNAL}[self.status]


def adds_up(summary: Summary, counts: Counts) -> bool:
    """Whether every record read, and every record the plan deletes, has exactly one outcome."""
    return summary.accounted == counts.read + counts.missing


def planned(sync: str, run_id: str, counts: Counts, **facts: Any) -> Summary:
    """The summary of a plan that was not applied: what it would do, nothing delivered."""
    return Summary(
        sync=sync,
        run_id=run_id,
        read=counts.read,
        desired=counts.desired,
        created=counts.create,
        updated=counts.update,
        deleted=counts.delete,
        unchanged=counts.unchanged,
        skipped=counts.skipped,
        invalid=counts.invalid,
        conflicts=counts.conflicts,
        quarantined=counts.quarantined,
        drifted=counts.drifted,
        **facts,
    )
