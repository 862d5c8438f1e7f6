"""The asset checks: what is looked at after each step, and what it says when it is not fine."""

from typing import TYPE_CHECKING

import dagster as dg

from pipelines.checkpoint import finished
from pipelines.components.names import applied_key, plan_key

if TYPE_CHECKING:
    import pyarrow as pa

    from connectors.base import Stream
    from pipelines.plan import Plan
    from pipelines.spec import SyncSpec
    from pipelines.staging import Batch, Staging
    from pipelines.summary import Summary

__all__ = [
    "applied_results",
    "applied_specs",
    "newest_full",
    "plan_results",
    "plan_specs",
    "source_results",
    "source_specs",
]

IDS = "ids_unique_and_not_null"
WARN_SHARE, FAIL_SHARE = 0.02, 0.5
"""More undelivered records than this make the check warn, or fail: a few bad cells are normal, half of all records are not."""

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def source_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a source asset. Only the ids can stop a run: without them records cannot be told apart, and would be
    written anew each time; the others are judged where they matter, by the guards of each plan."""
    return [
        dg.AssetCheckSpec(IDS, asset=key, blocking=True, description="Every record has an id, and no other has it."),
        dg.AssetCheckSpec(
            "complete_where_needed", asset=key, description="The read proves that it saw every record, where a mirror deletes by it."
        ),
        dg.AssetCheckSpec("schema_unchanged", asset=key, description="The fields and their types are those of the last whole read."),
    ]


def source_results(
    staging: "Staging", batch: "Batch", stream: "Stream", previous: "Batch | None", *, needs_proof: bool
) -> list[dg.AssetCheckResult]:
    """What the checks of a freshly staged batch say. `previous` is the last whole read before it; `needs_proof`: a mirror reads it."""
    return [_ids(staging, batch, stream.id_field), _complete(batch, needs_proof), _schema(batch, previous)]


def _ids(staging: "Staging", batch: "Batch", field: str) -> dg.AssetCheckResult:
    name = IDS
    if batch.count == 0:
        return dg.AssetCheckResult(check_name=name, passed=True, description="No records were read.")
    if field not in batch.schema.names:
        said = f"No record has the field {field}, which should tell records apart; declare the stream's key in connections.yaml."
        return dg.AssetCheckResult(check_name=name, passed=False, severity=_ERROR, description=said)
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.chunked_array([part.column(0) for part in staging.scan(batch, [field])], batch.schema.field(field).type)
    nulls, repeated = ids.null_count, len(ids) - ids.null_count - len(pc.unique(ids.drop_null()))
    if nulls:
        said = f"{nulls:,} of {batch.count:,} records have no {field}; they cannot be told apart, so nothing is planned from this read."
    elif repeated:
        said = f"{repeated:,} records were read more than once; the last one read counts."
    else:
        said = f"Each of the {batch.count:,} records has its own {field}."
    metadata = {"nulls": nulls, "repeated": repeated, "field": field}
    return dg.AssetCheckResult(
        check_name=name, passed=not (nulls or repeated), severity=_ERROR if nulls else _WARN, description=said, metadata=metadata
    )


def _complete(batch: "Batch", needed: bool) -> dg.AssetCheckResult:
    proof = batch.note["completeness"]
    reasons = "; ".join(proof["reasons"]) or f"read by {proof['method']}"
    verdict = (
        "Complete"
        if proof["complete"]
        else "Not proven complete" + (", so nothing is deleted by it" if needed else ", which no sync of this stream relies on")
    )
    return dg.AssetCheckResult(
        check_name="complete_where_needed",
        passed=bool(proof["complete"]) or not needed,
        severity=_WARN,
        description=f"{verdict}: {reasons}.",
        metadata={"proven": bool(proof["complete"]), "method": proof["method"], "records": proof["count"]},
    )


def _schema(batch: "Batch", previous: "Batch | None") -> dg.AssetCheckResult:
    changes = schema_changes(previous.schema, batch.schema, whole=batch.note.get("mode") == "full") if previous and batch.count else []
    said = "; ".join(changes) if changes else "As in the last whole read." if previous else "This is the first read."
    return dg.AssetCheckResult(
        check_name="schema_unchanged", passed=not changes, severity=_WARN, description=said, metadata={"changes": len(changes)}
    )


def schema_changes(before: "pa.Schema", after: "pa.Schema", *, whole: bool) -> list[str]:
    """What is different about the fields, one phrase each. A part of the records may lack fields that others have."""
    old, new = ({field.name: kind(field) for field in schema if not field.name.startswith("__")} for schema in (before, after))
    gone = [f"{name} is gone" for name in old if name not in new] if whole else []
    added = [f"{name} is new ({new[name]})" for name in new if name not in old]
    changed = [
        f"{name} was {old[name]} and is {new[name]}"
        for name in new
        if name in old and new[name] != old[name] and (whole or new[name] != "null")
    ]
    return gone + added + changed


def kind(field: "pa.Field") -> str:
    """A staged column's type as people call it: a text that holds JSON or a time says so."""
    meant = (field.metadata or {}).get(b"crossdock.type")
    return meant.decode() if meant else str(field.type)


def newest_full(staging: "Staging", spec: "SyncSpec") -> "Batch | None":
    """The last whole read of the sync's source stream that had records."""
    from pipelines.engine import is_full, raw_dataset

    return next((batch for batch in reversed(finished(staging, raw_dataset(spec))) if is_full(batch) and batch.count), None)


def plan_specs(sync: str) -> list[dg.AssetCheckSpec]:
    """The check of a plan. It does not stop the run: an approval may lift what it says, and the next step looks for one."""
    return [dg.AssetCheckSpec("within_limits", asset=plan_key(sync), description="No guard refuses the plan as it is.")]


def plan_results(plan: "Plan") -> list[dg.AssetCheckResult]:
    """What the guards say."""
    said = " ".join(f"{refusal.message}." for refusal in plan.refusals) or f"{plan.counts.changes:,} changes, and no guard objects."
    metadata = {"refusals": len(plan.refusals), "approvable": sum(refusal.approvable for refusal in plan.refusals)}
    return [dg.AssetCheckResult(check_name="within_limits", passed=not plan.refusals, severity=_ERROR, description=said, metadata=metadata)]


def applied_specs(sync: str) -> list[dg.AssetCheckSpec]:
    """The checks of what was written."""
    key = applied_key(sync)
    return [
        dg.AssetCheckSpec("outcomes_add_up", asset=key, description="Every record read or deleted has exactly one outcome."),
        dg.AssetCheckSpec("reconciled", asset=key, description="What was written reads back as it was sent."),
        dg.AssetCheckSpec("delivered", asset=key, description="The share of records that could not be delivered is small."),
    ]


def applied_results(summary: "Summary", plan: "Plan") -> list[dg.AssetCheckResult]:
    """What a finished run came to."""
    return [_adds_up(summary, plan), _reconciled(summary), _delivered(summary, plan)]


def _adds_up(summary: "Summary", plan: "Plan") -> dg.AssetCheckResult:
    from pipelines.summary import adds_up

    expected = plan.counts.read + plan.counts.missing
    fine = adds_up(summary, plan.counts)
    said = f"{summary.accounted:,} outcomes for {expected:,} records."
    said = said if fine else f"{said} This is an error of Crossdock's own: please report it."
    metadata = {"outcomes": summary.accounted, "records": expected}
    return dg.AssetCheckResult(check_name="outcomes_add_up", passed=fine, severity=_ERROR, description=said, metadata=metadata)


def _reconciled(summary: "Summary") -> dg.AssetCheckResult:
    found = summary.differences
    if found is None:
        said = "Nothing was written, so nothing had to be read back."
    elif found:
        said = f"{found:,} written records read back differently; crossdock verify {summary.sync} shows them."
    else:
        said = "Everything that was written was read back and is as it was sent."
    return dg.AssetCheckResult(
        check_name="reconciled", passed=not found, severity=_ERROR, description=said, metadata={"differences": found or 0}
    )


def _delivered(summary: "Summary", plan: "Plan") -> dg.AssetCheckResult:
    known = max(summary.read, plan.counts.owned + summary.undelivered)  # an incremental run looks at few records, failed ones among them
    share = summary.undelivered / known if known else 0.0
    said = f"{summary.undelivered:,} of {known:,} records were not delivered ({share:.1%}) and stay pending; "
    said += f"crossdock failures {summary.sync} tells why."
    return dg.AssetCheckResult(
        check_name="delivered",
        passed=share <= WARN_SHARE,
        severity=_ERROR if share > FAIL_SHARE else _WARN,
        description=said if summary.undelivered else "Every record was delivered, or had nothing to deliver.",
        metadata={"undelivered": summary.undelivered, "share": round(share, 6)},
    )
