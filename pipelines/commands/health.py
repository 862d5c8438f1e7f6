"""Is it healthy, and if not, what to do: `health`. Only the ledger and the syncs' files are read."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectors.errors import ConfigError
from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.terminal import screen, visible

if TYPE_CHECKING:
    from pipelines.health import Health
    from pipelines.runtime import Runtime
    from pipelines.terminal import Screen

__all__ = ["COMMANDS", "health"]

_STYLES = {"healthy": "green", "attention": "yellow", "failing": "red"}


def health(
    sync: Annotated[str | None, typer.Argument(help="The sync: a folder below pipelines/defs. Default: all of them.")] = None,
    tell: Annotated[bool, typer.Option("--tell", help="Also send what is new to where CROSSDOCK_ALERTS says.")] = False,
) -> int:
    """Tell whether a sync, or every one, is healthy, and if not, what to do."""
    out = screen()
    with open_project() as project:
        if sync is not None:
            project.syncs.file(sync)
        problems = _problems(project, [sync] if sync else [*project.syncs.files, *project.syncs.errors])
        found = [_looked(project, name, problems[name], tell) for name in sorted(problems)]
    worst = exits.CONFIG if any(problems.values()) else exits.OK if all(one.verdict == "healthy" for one in found) else exits.PARTIAL
    if out.as_json:
        told: list[dict[str, Any]] = [one.as_json() | {"problem": problems[one.sync]} for one in found]
        out.answer(told[0] if sync else {"status": "ok" if worst == exits.OK else "partial", "exit": worst, "syncs": told})
        return worst
    widest = max((len(one.sync) for one in found), default=0)
    for one in sorted(found, key=lambda one: -list(_STYLES).index(one.verdict)):  # what asks for a person stands first
        _show(out, one, widest)
    return worst


def _problems(project: "Runtime", names: Iterable[str]) -> dict[str, str | None]:
    """Why each of these syncs cannot run; None: it can."""
    found: dict[str, str | None] = {}
    for name in names:
        found[name] = str(project.syncs.errors[name]) if name in project.syncs.errors else None
        if found[name] is None:
            try:
                project.validate(project.syncs.files[name].spec, project.syncs.files[name])
            except ConfigError as error:
                found[name] = str(error)
    return found


def _looked(project: "Runtime", name: str, problem: str | None, tell: bool) -> "Health":
    from pipelines import watch
    from pipelines.health import broken

    found = broken(name, problem) if problem else watch.look(project.ledger, project.syncs.files[name].spec, project.clock.now())
    return watch.tell_of(project.ledger, found, project.alerts) if tell else found


def _show(out: "Screen", one: "Health", widest: int) -> None:
    last = f": last run {one.last.status}, {one.last.finished_at[:16].replace('T', ' ')} UTC" if one.last and one.last.finished_at else ""
    out.line((f"{one.sync:<{widest}}", "bold"), "  ", (one.verdict, f"bold {_STYLES[one.verdict]}"), last)
    for finding in one.findings:
        out.fact("!" if finding.grave or finding.alert else "·", visible(finding.said))
        out.fact("", (f"→ {visible(finding.next)}", "dim"))


COMMANDS = (health,)
