"""`crossdock sandbox`: the emulators for a person, for the length of a command, or in the background."""

from collections.abc import Callable, Sequence

from pipelines.runtime import Runtime, connector, dagster_home
from pipelines.sandbox import choose_ports, environment, keep, run_command, running, sandbox, stop, wait_for_signal

__all__ = ["run_sandbox", "stop_sandbox"]

Tell = Callable[[str], None]


def run_sandbox(
    runtime: Runtime,
    tell: Tell,
    *,
    command: Sequence[str] = (),
    port_base: int | None = None,
    fresh: bool = False,
    background: bool = False,
) -> int:
    """Start the emulators and run `command` among them, or wait for Ctrl-C; in the background, return at once.

    The command is given NAME_URL of each emulator, CROSSDOCK_HOME and DAGSTER_HOME. Gives the exit status, the
    command's own where there is one. `tell` gets one line at a time. Raises ConfigError, UnreachableError.
    """
    known = {name: connector(name, known=runtime.connectors) for name in runtime.connectors}
    emulators = choose_ports({name: found.emulator for name, found in known.items()}, runtime.environ, port_base)
    folder = runtime.places.home / "sandbox"
    with sandbox(emulators, folder, runtime.clock, fresh=fresh) as up:
        for one in up:
            shown = ", ".join(f"{key}: {value}" for key, value in known[one.name].demo.items() if key != "base_url")
            tell(f"{one.name:<10} {one.url}  {'started' if one.started else 'already running'}, process {one.pid}  {shown}".rstrip())
        if background:
            keep(folder)
            tell("they run until `crossdock sandbox --stop`")
            return 0
        if command:
            homes = {
                "CROSSDOCK_HOME": str(runtime.places.home),
                "DAGSTER_HOME": str(dagster_home(runtime.places, runtime.environ)),
            }
            return run_command(command, {**environment(up, runtime.environ), **homes})
        tell(f"their records are kept in {folder}; Ctrl-C stops them")
        wait_for_signal()
        return 0


def stop_sandbox(runtime: Runtime, tell: Tell) -> int:
    """Stop the emulators of this project, whoever uses them. Gives the exit status."""
    folder = runtime.places.home / "sandbox"
    users = running(folder)
    stopped = stop(folder, runtime.clock)
    for one in users:
        if one.name in stopped:
            tell(f"{one.name:<10} {one.url}  stopped, process {one.pid}")
    if not stopped:
        tell("no emulator of this project runs")
    return 0
