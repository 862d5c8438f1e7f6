"""`crossdock sandbox`: the platforms' emulators with demo data, for a person or for the length of a command."""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.everywhere import open_project
from pipelines.terminal import screen

if TYPE_CHECKING:
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "sandbox"]

Tell = Callable[[str], None]

# the demo's credentials are no secret
_SHOWN = ("integration_key", "api_key", "api_secret", "account_id", "stack_id", "app_uuid", "token")


def sandbox(
    command: Annotated[list[str] | None, typer.Argument(help="After --: the command to run inside.", metavar="[-- COMMAND…]")] = None,
    port_base: Annotated[int | None, typer.Option(help="Ports count up from here.", show_default="8701")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with the demo records again.")] = False,
    background: Annotated[bool, typer.Option("--background", help="Leave them running and give the prompt back.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop those that run.")] = False,
) -> int:
    """Start the emulators with demo data. Ctrl-C stops them.

    After --, a command runs inside, told where they are by NAME_URL of the environment; they stop when it ends.
    """
    out = screen()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if command:  # standard output belongs to the command
            out.note(line)
        else:
            out.paragraph(line)

    with open_project() as project:
        if stop:
            _stop(project, tell)
        else:
            return _run(project, command or [], tell, told, port_base=port_base, fresh=fresh, background=background)
    if out.as_json:
        out.answer({"status": "ok", "said": told})
    return 0


def _run(
    project: "Runtime", command: list[str], tell: Tell, told: list[str], *, port_base: int | None, fresh: bool, background: bool
) -> int:
    from pipelines.runtime import connector, dagster_home
    from pipelines.sandbox import addresses, environment, keep, run_command
    from pipelines.sandbox import sandbox as emulators

    known = {name: connector(name, known=project.connectors) for name in project.connectors}
    chosen = addresses({name: found.emulator for name, found in known.items()}, project.environ, port_base)
    folder = project.places.home / "sandbox"
    with emulators(chosen, folder, project.clock, fresh=fresh) as up:
        for one in up:
            told_keys = () if command else _SHOWN  # who types requests himself needs them
            demo = ", ".join(f"{key}: {value}" for key, value in known[one.name].demo.items() if key in told_keys)
            tell(f"{one.name:<10} {one.url}  {'started' if one.started else 'already running'}, process {one.pid}  {demo}".rstrip())
        if command:
            homes = {"CROSSDOCK_HOME": str(project.places.home), "DAGSTER_HOME": str(dagster_home(project.places, project.environ))}
            return run_command(command, {**environment(up, project.environ), **homes})
        if background:
            keep(folder)
        tell("they run until `crossdock sandbox --stop`" if background else f"their records are kept in {folder}; Ctrl-C stops them")
        if screen().as_json:
            screen().answer({"status": "ok", "emulators": [{"name": one.name, "url": one.url, "pid": one.pid} for one in up], "said": told})
        if not background:
            _wait_for_signal()
    return 0


def _stop(project: "Runtime", tell: Tell) -> None:
    from pipelines.sandbox import running, stop

    folder = project.places.home / "sandbox"
    users = {one.name: one for one in running(folder)}
    stopped = stop(folder, project.clock)
    for name in stopped:
        tell(f"{name:<10} {users[name].url}  stopped, process {users[name].pid}" if name in users else f"{name} stopped")
    if not stopped:
        tell("no emulator of this project runs")


def _wait_for_signal() -> None:
    """Until Ctrl-C, SIGTERM or SIGHUP."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


COMMANDS = (sandbox,)
