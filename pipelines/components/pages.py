"""The metadata of each step: counts that plot, tables that a person reads, types and lineage that Dagster understands."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines import listings, metadata
from pipelines.components.checks import kind
from pipelines.components.names import raw_key

if TYPE_CHECKING:
    import pyarrow as pa

    from connectors.base import Stream
    from pipelines.health import Health
    from pipelines.ledger import Ledger, Run
    from pipelines.plan import Plan
    from pipelines.spec import SyncSpec
    from pipelines.staging import Batch, Staging
    from pipelines.summary import Summary

__all__ = ["of_applied", "of_batch", "of_health", "of_plan", "of_refusal"]

Metadata = dict[str, Any]

HISTORY = 30
_MODES = {"full": "everything", "since": "what changed since the cursor", "window": "a window of the cursor field"}


def _listed(sentences: Iterable[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(metadata.bullets(sentences))


def _short_and_long(name: str, short: str, long: str, any_rows: bool) -> Metadata:
    """A list as long as Dagster shows in place, and the table, which it shows behind a button."""
    found = {name: dg.MetadataValue.md(short)}
    return {**found, f"{name}_table": dg.MetadataValue.md(long)} if any_rows else found


def _not_delivered(name: str, rows: Sequence[Mapping[str, Any]], total: int, source: "Stream") -> Metadata:
    short, long = listings.refused_list(rows, total, metadata.INLINE, source.url), listings.refused_table(rows, total, source.url)
    return _short_and_long(name, short, long, bool(rows))


def of_batch(batch: "Batch", stream: "Stream", cursor: str | None) -> Metadata:
    """A read: how many, how they were read, what it proved, and their fields."""
    note, proof = batch.note, batch.note["completeness"]
    verdict = "complete" if proof["complete"] else "not proven complete"
    found: Metadata = {
        "dagster/row_count": batch.count,
        "dagster/column_schema": column_schema(batch.schema, {stream.id_field: "tells records apart", cursor: "grows with every change"}),
        "read": _MODES.get(str(note.get("mode")), str(note.get("mode"))),
        "completeness": _listed([f"{verdict}; method: {proof['method']}", *proof["reasons"]]),
        "requests": proof["requests"],
        "batch": batch.id,
    }
    if note.get("cursor") is not None:
        found["cursor"] = f"{note.get('cursor_field')} = {note['cursor']}"
    if note.get("bytes"):
        found["size_bytes"] = int(note["bytes"])
    duration = _between(note.get("started_at"), note.get("finished_at"))
    return found if duration is None else {**found, "duration_s": duration}


def _between(started: Any, finished: Any) -> float | None:
    if not isinstance(started, str) or not isinstance(finished, str):
        return None
    return round((datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds(), 3)


def of_plan(plan: "Plan", refused: Sequence[Mapping[str, Any]], source: "Stream", sink: "Stream", kept: Mapping[str, Any]) -> Metadata:
    """A plan: what would change, before → after, what cannot be planned and why, what is promised, and how to let it pass."""
    counts = plan.counts
    outcomes = {"created": counts.create, "updated": counts.update, "deleted": counts.delete, "unchanged": counts.unchanged}
    others = {"skipped": counts.skipped, "invalid": counts.invalid, "conflicts": counts.conflicts, "quarantined": counts.quarantined}
    undeliverable = counts.invalid + counts.conflicts + counts.quarantined
    found: Metadata = {
        **_short_and_long(
            "changes",
            listings.changes_list(plan.first_changes(), counts.changes, metadata.INLINE, sink.url),
            listings.changes_table(plan.first_changes(), counts.changes, sink.url),
            bool(plan.samples),
        ),
        "records": dg.MetadataValue.md(metadata.counts_table({**outcomes, **others})),
        "create": counts.create,
        "update": counts.update,
        "delete": counts.delete,
        **_not_delivered("not_deliverable", refused, undeliverable, source),
        "promises": _listed(plan.promises),
        "completeness": _listed(plan.reasons),
        "digest": plan.digest[:16],
        **_cost(kept),
    }
    if plan.warnings:
        found["warnings"] = _listed(plan.warnings)
    return {**of_refusal(plan), **found} if plan.refusals else found


def of_refusal(plan: "Plan") -> Metadata:
    """Why a plan is not applied, and what to type to apply exactly this one."""
    found: Metadata = {
        "refused_because": _listed(refusal.message for refusal in plan.refusals),
        "digest": plan.digest[:16],
    }
    if all(refusal.approvable for refusal in plan.refusals):
        found["approve_by"] = f"crossdock run {plan.sync} --approve {plan.digest[:12]}"
    return found


def of_applied(spec: "SyncSpec", summary: "Summary", plan: "Plan", ledger: "Ledger", staging: "Staging", source: "Stream") -> Metadata:
    """A finished run: outcomes, what was not delivered and why, the last runs, what it cost, and the written fields."""
    outcomes = {name: int(getattr(summary, name)) for name in metadata.OUTCOMES}
    failures, runs = ledger.failures(spec.name, limit=listings.ROWS), ledger.runs(spec.name, HISTORY)
    types = desired_schema(spec, staging)
    return {
        "dagster/row_count": ledger.match_count(spec.name),
        "read": summary.read,
        "outcomes": dg.MetadataValue.md(metadata.counts_table(outcomes)),
        "last_runs": dg.MetadataValue.md(metadata.outcomes_chart(history(runs))),
        **_not_delivered("not_delivered", [vars(failure) for failure in failures], summary.undelivered, source),
        **{name: count for name, count in outcomes.items() if count or name in {"created", "updated", "deleted", "unchanged"}},
        "promises": _listed(plan.promises),
        "digest": plan.digest[:16],
        **_cost(summary.as_json()),
        **({"warnings": _listed(summary.warnings)} if summary.warnings else {}),
        **({"dagster/column_schema": column_schema(types, spec.fields or {})} if types is not None else {}),
        **lineage(spec, types),
    }


def of_health(found: "Health") -> Metadata:
    """Whether the sync is healthy, and if not, what to do."""
    lines = [f"- {metadata.text(finding.said, 400)}\n  - **{metadata.text(finding.next, 200)}**" for finding in found.findings]
    return {"health": dg.MetadataValue.md("\n".join([f"**{found.verdict}**", "", *lines])), "pending": found.pending_count}


def _cost(kept: Mapping[str, Any]) -> Metadata:
    """Requests to each side, and seconds."""
    sides = kept.get("requests", {})
    cells = [[side, str(sides[side].get("read", 0)), str(sides[side].get("write", 0))] for side in ("source", "sink") if side in sides]
    found: Metadata = {"duration_s": float(kept.get("duration_s", 0.0))}
    for side, count in sides.items():
        found |= {f"{side}_{kind}_requests": int(count.get(kind, 0)) for kind in ("read", "write")}
    return (
        {**found, "requests": dg.MetadataValue.md(metadata.table(["requests", "read", "write"], cells, right=[1, 2]))} if cells else found
    )


def history(runs: Iterable["Run"]) -> list[Mapping[str, int]]:
    """What applied runs came to, oldest first; `runs` come newest first. A run that was only planned read nothing back."""
    applied = [run.summary for run in runs if run.finished_at is not None and run.status in ("ok", "partial")]
    written = ("created", "updated", "deleted")
    return [summary for summary in reversed(applied) if summary.get("differences") is not None or not any(map(summary.get, written))]


def column_schema(schema: "pa.Schema", descriptions: Mapping[Any, str]) -> dg.TableSchema:
    """The fields of records, their types, and what is said about some of them."""
    columns = [dg.TableColumn(field.name, kind(field), descriptions.get(field.name)) for field in schema if not field.name.startswith("__")]
    return dg.TableSchema(columns=columns)


def desired_schema(spec: "SyncSpec", staging: "Staging") -> "pa.Schema | None":
    """The sink fields that the last plan wanted and their types, or None where nothing was ever mapped."""
    from pipelines.staging import Dataset

    staged = staging.batches(Dataset(("desired", spec.name)))
    return staged[-1].schema if staged else None


def lineage(spec: "SyncSpec", types: "pa.Schema | None") -> Metadata:
    """Which source fields each sink field is made of, where the mapping shows it."""
    from pipelines import duck
    from pipelines.expressions import Parser

    if spec.python is not None:
        return {}
    with duck.session() as connection:
        parser = Parser(connection, None)
        inputs = {name: parser.parse(name, written).inputs for name, written in (spec.fields or {}).items()}
    if spec.fields is None and types is not None:
        inputs = {name: (name,) for name in types.names if not name.startswith("__")}
    known = {name: [dg.TableColumnDep(raw_key(spec.source), field) for field in fields] for name, fields in inputs.items() if fields}
    return {"dagster/column_lineage": dg.TableColumnLineage(known)} if known else {}


def refused_rows(spec: "SyncSpec", staging: "Staging", plan: "Plan") -> list[dict[str, Any]]:
    """The first records that the plan could not plan."""
    from pipelines.planning import refused_dataset
    from pipelines.staging import batch_of

    staged = batch_of(staging, refused_dataset(spec), plan.refused_id)
    parts = staging.scan(staged) if staged is not None else ()
    return list(islice((row for part in parts for row in part.slice(0, listings.ROWS).to_pylist()), listings.ROWS))
