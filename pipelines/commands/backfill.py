"""Re-reading windows of a sync: `backfill`."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.commands.progress import watching
from pipelines.terminal import screen

if TYPE_CHECKING:
    from pipelines.components.partitions import Backfill
    from pipelines.runtime import Runtime
    from pipelines.spec import SyncSpec
    from pipelines.summary import Summary
    from pipelines.terminal import Screen

__all__ = ["COMMANDS", "backfill"]

_NAME = re.compile(r"(\S+)\.\.\.(\S+) [0-9a-f]{8}")
_COUNTS = ("read", "created", "updated", "unchanged", "skipped", "undelivered")


def backfill(
    sync: Annotated[str, typer.Argument(help="The sync: a folder below pipelines/defs.")],
    first: Annotated[str | None, typer.Option("--from", metavar="WINDOW", help="The first window, such as 2026-01-01.")] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="WINDOW", help="The last window, which is included; default: the first.")
    ] = None,
    again: Annotated[bool, typer.Option("--continue", help="Go on with the last backfill, leaving out the windows that are done.")] = False,
    staged: Annotated[bool, typer.Option("--from-staging", help="Take what is staged, without asking the source.")] = False,
    approve: Annotated[str | None, typer.Option(metavar="DIGEST", help="Apply a refused plan, if it is still exactly this one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only.")] = False,
) -> int:
    """Read windows of the cursor field again, plan and apply them. The live cursor stays where it is, and nothing is deleted."""
    with open_project() as project:
        file = project.syncs.file(sync)
        project.validate(file.spec, file)
        spec = file.spec
        if again == (first is not None):
            raise exits.Stopped(
                f"name the windows with --from and --to, or go on with --continue: crossdock backfill {sync} …", exits.CONFIG
            )
        if again:
            name, keys = _unfinished(project, spec)
        else:
            name, keys = _fresh(project, spec, str(first), last or str(first))
        runs = list(_runs(spec, name, keys, staged=staged))
        return _carry_out(project, spec, name, runs, approve=approve, dry_run=dry_run)


def _fresh(project: "Runtime", spec: "SyncSpec", first: str, last: str) -> tuple[str, list[str]]:
    from pipelines.components.partitions import keys_between

    return f"{first}...{last} {project.ports.rng.token()[:8]}", keys_between(spec, first, last)


def _unfinished(project: "Runtime", spec: "SyncSpec") -> tuple[str, list[str]]:
    """The last backfill of the sync and what it has not done. Raises Stopped where there is none."""
    from pipelines.components.partitions import keys_between, window_of_keys
    from pipelines.window import window_of

    runs = [run for run in project.ledger.runs(spec.name, 10_000) if _NAME.fullmatch(str(run.summary.get("backfill")))]
    if not runs:
        raise exits.Stopped(f"{spec.name} has no backfill to go on with; start one with --from and --to", exits.CONFIG)
    name = str(runs[0].summary["backfill"])
    found = _NAME.fullmatch(name)
    assert found is not None
    done = [window_of(run.summary["window"]) for run in runs if run.summary["backfill"] == name and run.status in ("ok", "partial")]
    keys = keys_between(spec, found[1], found[2])
    return name, [key for key in keys if not any(window.covers(window_of_keys(spec, key, key)) for window in done)]


def _runs(spec: "SyncSpec", name: str, keys: Sequence[str], *, staged: bool) -> Iterator["Backfill"]:
    """One run for every `per_run` windows that follow each other."""
    from pipelines.components.partitions import Backfill, keys_of

    places = {key: place for place, key in enumerate(keys_of(spec))}
    most = spec.partitions.per_run if spec.partitions and spec.partitions.per_run else len(keys)
    group: list[str] = []
    for key in keys:
        if group and (len(group) == most or places[key] != places[group[-1]] + 1):
            yield Backfill(name, group[0], group[-1], staged)
            group = []
        group.append(key)
    if group:
        yield Backfill(name, group[0], group[-1], staged)


def _carry_out(project: "Runtime", spec: "SyncSpec", name: str, runs: Sequence["Backfill"], *, approve: str | None, dry_run: bool) -> int:
    """Run after run of the backfill of that name, until one is refused or fails; a person approves one plan at a time."""
    out = screen()
    told: list[tuple[Backfill, Summary]] = []
    for one in runs:
        try:
            with watching(out, f"{spec.name} {one.first}") as watch:
                summary = (_planned if dry_run else _applied)(project, spec, one, approve if not told else None, watch)
        except exits.Stopped:
            _table(out, told)  # what was done before
            raise
        told.append((one, summary))
        if summary.exit_status > exits.PARTIAL and not dry_run:
            break
    worst = max((summary.exit_status for _, summary in told), default=exits.OK)
    if out.as_json:
        out.answer(_as_json(spec, told, worst))
        return worst
    _table(out, told)
    if not told:
        first, _, last = name.partition(" ")[0].partition("...")
        out.line(f"Every window from {first} to {last} is done; --from and --to read windows again.")
    for message in dict.fromkeys(warning for _, summary in told for warning in summary.warnings):
        out.paragraph(("warning ", "yellow"), message)
    for one, summary in told:
        for message in summary.refusals:
            out.paragraph((f"{_span(one)} refused: ", "bold red"), message)
    if worst == exits.REFUSED:
        way = f"crossdock backfill {spec.name} {f'--from {runs[0].first} --to {runs[-1].last}' if dry_run else '--continue'}"
        out.line(f"Next: {way} --approve {next(summary.digest[:12] for _, summary in told if summary.refusals)}")
    elif any(summary.undelivered for _, summary in told):
        out.line(f"Next: crossdock failures {spec.name}")
    return worst


def _table(out: "Screen", told: "Sequence[tuple[Backfill, Summary]]") -> None:
    """The windows that were run, one line for each run."""
    heads = ["windows", "status", "read", "created", "updated", "unchanged", "skipped", "pending", "time"]
    rows = [
        [_span(one), summary.status, *(f"{getattr(summary, name):,}" for name in _COUNTS), f"{summary.duration_s:,.1f} s"]
        for one, summary in told
    ]
    out.table(heads, rows, right=heads[2:])
    if rows:
        out.line()


def _applied(project: "Runtime", spec: "SyncSpec", one: "Backfill", approve: str | None, watch: Callable[[str, int], None]) -> "Summary":
    from pipelines.commands.launch import apply_sync

    return apply_sync(project, spec, approve=approve, backfill=one, watch=watch)


def _planned(project: "Runtime", spec: "SyncSpec", one: "Backfill", approve: str | None, watch: Callable[[str, int], None]) -> "Summary":
    from pipelines.commands.launch import ending_of
    from pipelines.components.partitions import window_of_keys
    from pipelines.run import SyncRun

    run_id = project.ports.rng.token()
    with ending_of(project, spec, run_id):
        run = SyncRun(project.engine(), spec, run_id, watch, window=window_of_keys(spec, one.first, one.last), backfill=run_id)
        if not one.staged:
            run.extract()
        summary = run.close_planned(run.plan())
        project.ledger.note_run(run_id, {"kind": "plan"})
    return summary


def _as_json(spec: "SyncSpec", told: "Sequence[tuple[Backfill, Summary]]", worst: int) -> dict[str, Any]:
    words = {exits.OK: "ok", exits.PARTIAL: "partial", exits.REFUSED: "refused"}
    sums = {name: sum(getattr(summary, name) for _, summary in told) for name in ("read", "created", "updated", "deleted", "unchanged")}
    runs = [{"from": one.first, "to": one.last, **summary.as_json()} for one, summary in told]
    return {"sync": spec.name, "status": words.get(worst, "failed"), "exit": worst, **sums, "runs": runs}


def _span(one: "Backfill") -> str:
    return one.first if one.first == one.last else f"{one.first} … {one.last}"


COMMANDS: tuple[Callable[..., int], ...] = (backfill,)
