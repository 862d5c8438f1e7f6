"""The `crossdock` command: one object or readable text out, one sentence and an exit status when it fails.

Exit status: 0 ok · 1 some records not delivered · 2 refused by a guard · 3 configuration ·
4 platform out of reach or credentials refused · 5 internal · 130 stopped by Ctrl-C · 143 by SIGTERM.
"""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import click
import typer

from pipelines.commands import (
    backfill,
    call,
    connect,
    connections,
    exits,
    explain,
    failures,
    health,
    history,
    kept,
    metrics,
    new,
    runs,
    sandbox,
    work,
)
from pipelines.commands.everywhere import Command, Group, asked
from pipelines.terminal import Screen, screen, show_on

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Group,
    add_completion=False,
    suggest_commands=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def crossdock(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    """Keeps records in step between platforms that only offer an API.

    Every command takes --json (one object on standard output, nothing else) and --debug (the traceback of an error).

    Exit status: 0 ok, 1 some records not delivered, 2 refused by a guard, 3 configuration,
    4 platform out of reach or credentials refused, 5 internal.
    """
    if version:
        raise typer.Exit(_say_version())
    if context.invoked_subcommand is None:
        if screen().as_json:
            raise exits.Stopped("name a command; `crossdock --help` lists them", exits.CONFIG)
        click.echo(context.get_help())


for family in (connections, runs, backfill, history, health, metrics, explain, failures, kept, call, connect, sandbox, work):
    for function in family.COMMANDS:
        app.command(cls=Command)(function)
app.add_typer(new.app, name="new")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = execute(given, Screen(as_json=asked(given, "--json")))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read us, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = exits.OK
    if status in (exits.INTERRUPTED, exits.TERMINATED):  # what was broken off still holds DuckDB's objects, whose library would say so
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def execute(arguments: Sequence[str], screen: Screen) -> int:
    """Run the command line on a screen and give its exit status. Raises BrokenPipeError only."""
    command = typer.main.get_command(app)
    with show_on(screen):
        try:
            with command.make_context("crossdock", list(arguments)) as context:
                status = command.invoke(context)
                return status if isinstance(status, int) else exits.OK
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except click.Abort:
            return _ended(screen, exits.Stopped("stopped by Ctrl-C; nothing was changed", exits.INTERRUPTED), arguments)
        except click.ClickException as error:
            return _ended(screen, exits.Stopped(_usage(error), exits.CONFIG), arguments)
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (every way to end becomes a sentence and a status)
            return _ended(screen, error, arguments)


def _ended(screen: Screen, error: BaseException, arguments: Sequence[str]) -> int:
    sentence, status = exits.ending(error)
    if asked(arguments, "--debug"):
        screen.trace("".join(traceback.format_exception(error)))
    screen.error(sentence)
    if screen.as_json:
        facts = error.facts if isinstance(error, exits.Stopped) else {}
        screen.answer({**facts, "error": sentence, "status": "failed", "exit": status})
    return status


def _usage(error: click.ClickException) -> str:
    """What was wrong with the command line, and where its help is."""
    message = error.format_message().strip().rstrip(".").replace("\n", " ")
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "crossdock"
    return f"{message[:1].lower()}{message[1:]}; see `{path} --help`"


def _say_version() -> int:
    from importlib.metadata import version

    if screen().as_json:
        screen().answer({"version": version("crossdock")})
    else:
        screen().line(f"crossdock {version('crossdock')}")
    return exits.OK
