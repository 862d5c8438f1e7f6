"""What happened so far: `status`, `runs`. Only the ledger and the syncs' files are read."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import known_sync, open_project
from pipelines.terminal import screen, visible

if TYPE_CHECKING:
    from pipelines.ledger import Run
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "runs", "status"]


def status() -> int:
    """Tell where every sync stands. Its last run, and what is still to be delivered."""
    out = screen()
    with open_project() as project:
        told = [_standing(project, name) for name in sorted({*project.syncs.files, *project.syncs.errors})]
        now = project.clock.now()
    broken = [one for one in told if one["problem"]]
    worst = exits.CONFIG if broken else exits.OK
    if out.as_json:
        out.answer({"status": "failed" if broken else "ok", "exit": worst, "syncs": told})
        return worst
    if not told:
        out.paragraph("There is no sync yet; write one with `crossdock new sync NAME --from a.b --to c.d`.")
    rows = []
    for one in told:
        last = one["last_run"] or {}
        rows.append(
            [
                one["sync"],
                f"{one['from']} → {one['to']}" if one["from"] else "cannot be loaded",
                one["mode"],
                last.get("status", "never run"),
                _ago(last.get("finished_at") or last.get("started_at"), now),
                f"{one['pending']:,}" if one["pending"] else "",
            ]
        )
    out.table(["sync", "from → to", "mode", "last", "ago", "pending"], rows, right=["pending"])
    for one in broken:
        out.error(str(one["problem"]))
    if any(one["pending"] for one in told):
        out.line()
        out.line(f"Next: crossdock failures {next(one['sync'] for one in told if one['pending'])}")
    return worst


def runs(
    sync: Annotated[str | None, typer.Argument(help="Only this sync's runs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Runs at most.")] = 20,
) -> int:
    """List the latest runs, newest first."""
    out = screen()
    with open_project() as project:
        if sync is not None:
            known_sync(project, sync)
        found = project.ledger.runs(sync, limit)
        now = project.clock.now()
    if out.as_json:
        out.answer({"sync": sync, "runs": [_told_run(one) for one in found]})
        return exits.OK
    if not found:
        out.line("No run yet; start one with " + (f"crossdock run {sync}" if sync else "crossdock run --all"))
    heads = ["run", "sync", "kind", "status", "ago", "changes", "same", "pending", "time"]
    out.table(heads, [_run_row(one, now) for one in found], right=heads[6:])
    for one in found:
        if one.status == "failed" and one.summary.get("message"):
            out.line()
            out.paragraph((f"{one.run_id[:8]} failed: ", "red"), visible(str(one.summary["message"])))
            break
    return exits.OK


def _standing(project: "Runtime", name: str) -> dict[str, Any]:
    error = project.syncs.errors.get(name)
    spec = None if error is not None else project.syncs.files[name].spec
    recent = project.ledger.runs(name, 20)
    last = next((one for one in recent if one.summary.get("kind", "run") == "run"), None)
    return {
        "sync": name,
        "from": spec.source if spec else "",
        "to": spec.target if spec else "",
        "mode": spec.mode if spec else "",
        "schedule": spec.schedule if spec else None,
        "last_run": _told_run(last) if last else None,
        "pending": project.ledger.failure_count(name),
        "problem": str(error) if error is not None else None,
    }


def _told_run(run: "Run") -> dict[str, Any]:
    times = {"started_at": run.started_at, "finished_at": run.finished_at}
    return {"kind": "run", **run.summary, "sync": run.sync, "run_id": run.run_id, "status": run.status, **times}


def _run_row(run: "Run", now: datetime) -> list[str]:
    one = _told_run(run)
    signs = (("+", "created"), ("~", "updated"), ("-", "deleted"))
    changes = " ".join(f"{sign}{one[name]:,}" for sign, name in signs if one.get(name)) or ("none" if run.finished_at else "")
    same = f"{one['unchanged']:,}" if one.get("unchanged") is not None else ""
    lost = sum(one.get(name) or 0 for name in ("invalid", "rejected", "conflicts", "unknown", "quarantined"))
    took = f"{one['duration_s']:,.1f} s" if one.get("duration_s") is not None else ""
    return [run.run_id[:8], run.sync, one["kind"], run.status, _ago(run.started_at, now), changes, same, f"{lost:,}", took]


def _ago(text: str | None, now: datetime) -> str:
    """How long ago, in one unit."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text)
    passed_s = (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).total_seconds()
    for size_s, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if passed_s >= size_s:
            return f"{passed_s / size_s:.0f} {word}"
    return "now" if passed_s < 10 else f"{passed_s:.0f} s"


COMMANDS = (status, runs)
