"""Moving records: `plan`, `run`, `verify`, `undo`."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.commands import exits, picture
from pipelines.commands.everywhere import open_project
from pipelines.commands.keys import decoded
from pipelines.commands.progress import watching
from pipelines.terminal import screen

if TYPE_CHECKING:
    from pipelines.commands.troubles import Trouble
    from pipelines.ledger import Run
    from pipelines.plan import Plan
    from pipelines.run import Kind
    from pipelines.runtime import Runtime
    from pipelines.spec import SyncSpec
    from pipelines.summary import Summary

__all__ = ["COMMANDS", "plan", "run", "undo", "verify"]

Sync = Annotated[str, typer.Argument(help="The sync: a folder below pipelines/defs.")]
Full = Annotated[bool, typer.Option("--full", help="Read the whole source, not only what changed.")]

PENDING = 10_000  # pending records looked at to say what is wrong with them


def plan(sync: Sync, full: Full = False) -> int:
    """Show what a run would write, and what stands in its way. Nothing is written."""
    with open_project() as project:
        spec = _spec(project, sync)
        made, summary = _planned(project, spec, full=full)
        return _tell_plan(project, spec, made, summary, _command(spec, full=full))


def run(
    sync: Annotated[str | None, typer.Argument(help="The sync: a folder below pipelines/defs.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every sync, those looked up by others first.")] = False,
    full: Full = False,
    approve: Annotated[str | None, typer.Option(metavar="DIGEST", help="Apply a refused plan, if it is still exactly this one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only.")] = False,
) -> int:
    """Read, map, compare, write and verify one sync, or all of them."""
    if (sync is None) == (not every):
        raise exits.Stopped("name one sync, or say --all; `crossdock status` lists them", exits.CONFIG)
    if every and approve:
        raise exits.Stopped("--approve is for the plan of one sync; name that sync", exits.CONFIG)
    with open_project() as project:
        if every:
            return _run_all(project, full=full, dry_run=dry_run)
        assert sync is not None
        spec = _spec(project, sync)
        if dry_run:
            made, summary = _planned(project, spec, full=full)
            return _tell_plan(project, spec, made, summary, _command(spec, full=full))
        summary = _applied(project, spec, full=full, approve=approve)
        if screen().as_json:
            screen().answer(summary.as_json())
        else:
            picture.show_run(screen(), spec, summary, _pending(project, spec), _command(spec, full=full))
        return summary.exit_status


def verify(sync: Sync) -> int:
    """Read both sides whole and tell where they differ. Nothing is written."""
    out = screen()
    with open_project() as project:
        spec = _spec(project, sync).model_copy(update={"compare": "sink"})
        made, summary = _planned(project, spec, full=True, kind="verify")
        differences = made.counts.changes
        status = exits.OK if differences == 0 and summary.undelivered == 0 else exits.PARTIAL
        word: Literal["ok", "partial"] = "ok" if status == exits.OK else "partial"
        if out.as_json:
            out.answer({**replace(summary, status=word, differences=differences).as_json(), "changes": _changes(project, spec, made)})
            return status
        picture.title(out, spec, word, ": no difference" if not differences else f": {differences:,} records differ")
        picture.show_outcomes(out, summary, planned=True)
        out.line()
        picture.show_changes(out, made)
        picture.show_undelivered(out, _unplannable(project, spec, made))
        if differences:
            out.line(f"Next: crossdock plan {spec.name} --full")
        return status


def undo(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run to take back: its id, or how it begins.")],
    approve: Annotated[str | None, typer.Option(metavar="DIGEST", help="Apply a refused plan, if it is still exactly this one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only.")] = False,
) -> int:
    """Take back what a run wrote. What others changed since stays as it is."""
    from pipelines.commands.launch import ending_of
    from pipelines.undo import UndoRun

    out = screen()
    with open_project() as project:
        undone = _run_of(project, run_id)
        spec = _spec(project, undone.sync)
        own_id = project.ports.rng.token()
        with watching(out, f"undo {spec.name}") as watch, ending_of(project, spec, own_id):
            one = UndoRun(project.engine(), spec, own_id, undone.run_id, watch, kind="plan" if dry_run else "undo")
            made = one.plan()
            summary = one.close_planned(made) if dry_run else one.apply(made, approve=approve)
        if dry_run:
            return _tell_plan(project, spec, made, summary, f"crossdock undo {undone.run_id[:8]}")
        if out.as_json:
            out.answer(summary.as_json())
        else:
            picture.show_run(out, spec, summary, _pending(project, spec), f"crossdock undo {undone.run_id[:8]}")
        return summary.exit_status


def _run_of(project: "Runtime", word: str) -> "Run":
    """The run that the word names. Raises Stopped where it names none, or several."""
    found = [one for one in project.ledger.runs(limit=10_000) if one.run_id.startswith(word)]
    exact = [one for one in found if one.run_id == word] or found
    if len(exact) != 1:
        what = f"no run begins with {word!r}" if not exact else f"{len(exact)} runs begin with {word!r}"
        raise exits.Stopped(f"{what}; `crossdock runs` lists them with their ids", exits.CONFIG)
    return exact[0]


def _run_all(project: "Runtime", *, full: bool, dry_run: bool) -> int:
    from pipelines.commands.order import in_order

    out = screen()
    told: list[dict[str, Any]] = []
    worst = exits.OK
    syncs = project.syncs
    if not syncs.files and not syncs.errors:
        raise exits.Stopped("there is no sync yet; write one with `crossdock new sync NAME --from a.b --to c.d`", exits.CONFIG)
    names = [*in_order(syncs.specs), *syncs.errors]
    shown: list[list[str]] = []
    for name in names:
        try:
            spec = _spec(project, name)
            summary = _planned(project, spec, full=full)[1] if dry_run else _applied(project, spec, full=full, approve=None)
        except KeyboardInterrupt:
            raise
        except Exception as error:  # one sync's failure leaves the others untouched
            sentence, status = exits.ending(error)
            if status >= exits.INTERRUPTED:
                raise
            facts = error.facts if isinstance(error, exits.Stopped) else {}
            told.append({"sync": name, **facts, "error": sentence, "status": "failed", "exit": status})
            out.error(f"{name}: {sentence}")
            shown.append([name, "failed", *[""] * 8])
        else:
            status = summary.exit_status
            told.append(summary.as_json())
            _say_refused(spec, summary, _command(spec, full=full))
            shown.append(_row(summary))
        worst = max(worst, status)
    if out.as_json:
        out.answer({"status": _word(worst), "exit": worst, "syncs": told})
        return worst
    heads = ["sync", "status", "read", "created", "updated", "deleted", "unchanged", "skipped", "pending", "time"]
    out.table(heads, shown, right=heads[2:])
    out.line()
    pending = sum(one.get(name, 0) for one in told for name in ("invalid", "rejected", "conflicts", "unknown", "quarantined"))
    if worst <= exits.PARTIAL and not any(one["created"] or one["updated"] or one["deleted"] for one in told):
        out.line("Nothing to do: both sides are in step" + (f", but for {pending:,} records that stay pending." if pending else "."))
    for one in told:
        if one.get("invalid") or one.get("rejected") or one.get("conflicts") or one.get("unknown") or one.get("quarantined"):
            out.line(f"Next: crossdock failures {one['sync']}")
    return worst


def _say_refused(spec: "SyncSpec", summary: "Summary", command: str) -> None:
    """Why a sync among others was refused, and the command that lifts it where a person may."""
    for message in summary.refusals:
        screen().paragraph((f"{spec.name} refused: ", "bold red"), message)
    if summary.refusals and all(picture.approvable(message) for message in summary.refusals):
        screen().line((f"{command} --approve {summary.digest[:12]}", "bold"), indent=2)


def _row(summary: "Summary") -> list[str]:
    counts = [
        summary.read,
        summary.created,
        summary.updated,
        summary.deleted,
        summary.unchanged,
        summary.skipped,
        summary.undelivered,
    ]
    return [summary.sync, summary.status, *(f"{count:,}" for count in counts), f"{summary.duration_s:,.1f} s"]


def _word(status: int) -> str:
    return {exits.OK: "ok", exits.PARTIAL: "partial", exits.REFUSED: "refused"}.get(status, "failed")


def _spec(project: "Runtime", sync: str) -> "SyncSpec":
    """The sync's spec, checked against what its connections declare. Raises ConfigError."""
    file = project.syncs.file(sync)
    project.validate(file.spec, file)
    return file.spec


def _applied(project: "Runtime", spec: "SyncSpec", *, full: bool, approve: str | None) -> "Summary":
    from pipelines.commands.launch import apply_sync

    with watching(screen(), spec.name) as watch:
        return apply_sync(project, spec, full=full, approve=approve, watch=watch)


def _planned(project: "Runtime", spec: "SyncSpec", *, full: bool, kind: "Kind" = "plan") -> "tuple[Plan, Summary]":
    from pipelines.commands.launch import ending_of
    from pipelines.run import SyncRun

    run_id = project.ports.rng.token()
    with watching(screen(), spec.name) as watch, ending_of(project, spec, run_id):
        one = SyncRun(project.engine(), spec, run_id, watch, kind=kind)
        one.extract(full=full)
        made = one.plan()
        summary = one.close_planned(made)
    return made, summary


def _command(spec: "SyncSpec", *, full: bool) -> str:
    """What applies the plan that was made: a plan over increments is another one."""
    return f"crossdock run {spec.name}{' --full' if full else ''}"


def _tell_plan(project: "Runtime", spec: "SyncSpec", made: "Plan", summary: "Summary", command: str) -> int:
    out = screen()
    troubles = _unplannable(project, spec, made)
    if out.as_json:
        undelivered = [{**vars(one), "key": decoded(one.key) if one.key else None} for one in troubles]
        extra = {"changes": _changes(project, spec, made), "undelivered": undelivered, "promises": made.promises}
        out.answer({**summary.as_json(), **extra})
    else:
        picture.show_plan(out, spec, made, summary, troubles, command)
    return exits.REFUSED if made.refusals else exits.OK


def _changes(project: "Runtime", spec: "SyncSpec", made: "Plan") -> list[dict[str, Any]]:
    """The first changes, each with the page of its record in the sink where that has one."""
    return made.first_changes(project.engine().sink(spec.target_connection).stream(spec.target_stream).url)


def _pending(project: "Runtime", spec: "SyncSpec") -> "list[Trouble]":
    """What is pending in the ledger, gathered by reason."""
    from pipelines.commands.troubles import gathered

    return gathered(vars(failure) for failure in project.ledger.failures(spec.name, limit=PENDING))


def _unplannable(project: "Runtime", spec: "SyncSpec", made: "Plan") -> "list[Trouble]":
    """What the plan itself could not plan, gathered by reason."""
    from pipelines.commands.troubles import gathered
    from pipelines.planning import refused_dataset

    batch = next((one for one in project.staging.batches(refused_dataset(spec)) if one.id == made.refused_id), None)
    if batch is None:
        return []
    return gathered(row for part in project.staging.scan(batch) for row in part.to_pylist())


COMMANDS: tuple[Callable[..., int], ...] = (plan, run, verify, undo)
