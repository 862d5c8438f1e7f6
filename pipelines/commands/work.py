"""Lending a hand: `work` writes shards of runs that were started elsewhere."""

from typing import Annotated

import typer

from connectors.errors import ConfigError, RetryableError
from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.commands.progress import watching
from pipelines.terminal import screen

__all__ = ["COMMANDS", "work"]

POLL_S = 1.0
LONGEST_S = 30.0  # between looks while the ledger's database, or the platform, is away


def work(
    sync: Annotated[str | None, typer.Argument(help="Only runs of this sync.")] = None,
    wait: Annotated[str, typer.Option(metavar="DURATION", help="How long to look for runs to help: 90s, 5m, 2h, 1d.")] = "0s",
) -> int:
    """Write shards of runs under way, as one of several workers; the run itself was planned and guarded where it began."""
    from pipelines.spec import duration
    from pipelines.working import work_once

    out, told = screen(), {"runs": 0, "records": 0}
    try:
        patience_s = duration(wait).total_seconds()
    except ValueError as error:
        raise exits.Stopped(f"--wait: {error}", exits.CONFIG) from None
    with open_project() as project:
        if sync is not None:
            project.syncs.file(sync)
        if not project.ledger.shared:
            why = "workers share their ledger, but this one is a file of this host; set CROSSDOCK_LEDGER to postgresql://…"
            raise ConfigError(why)
        until_s, pause_s = project.clock.monotonic() + patience_s, POLL_S
        while True:
            try:
                with watching(out, "work") as watch:
                    done = work_once(project, sync, tell=out.note, progress=watch)
            except RetryableError as error:
                left_s = until_s - project.clock.monotonic()
                if left_s <= 0:
                    raise
                out.note(f"{error}; this worker looks again in {pause_s:.0f} s")
                project.clock.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, LONGEST_S)
                continue
            pause_s = POLL_S
            told = {"runs": told["runs"] + done.run_count, "records": told["records"] + done.record_count}
            if project.clock.monotonic() >= until_s:
                break
            if not done.record_count:
                project.clock.sleep(POLL_S)
    if out.as_json:
        out.answer({"status": "ok", "exit": exits.OK, **told})
    else:
        out.line(f"{told['records']:,} records of {told['runs']} runs were written here")
    return exits.OK


COMMANDS = (work,)
