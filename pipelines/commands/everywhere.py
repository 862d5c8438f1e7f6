"""What every command has: `--json` and `--debug`, wherever they stand on the line, and a project to work in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from pipelines.runtime import Runtime

__all__ = ["Command", "Group", "asked", "known_sync", "open_project"]

_FLAGS = {
    "--json": "Print one JSON object on standard output, and nothing else.",
    "--debug": "Show the traceback of an error.",
}


def asked(arguments: Sequence[str], flag: str) -> bool:
    """Whether the flag stands on the line, before a `--` that hands the rest to another command."""
    ours = list(arguments)
    return flag in (ours[: ours.index("--")] if "--" in ours else ours)


def open_project() -> "Runtime":
    """The project around the current folder. Nothing is opened before it is used; use it in a `with`."""
    from pipelines.runtime import open_runtime

    return open_runtime()


def known_sync(project: "Runtime", sync: str) -> None:
    """Raises ConfigError for a sync that neither the files nor the ledger know."""
    if sync not in project.syncs.errors and not project.ledger.runs(sync, 1):
        project.syncs.file(sync)


class Command(TyperCommand):
    """A command that also takes the flags of every command; they are looked up on the line itself."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.params += _flags()


class Group(TyperGroup):
    """The same for a group, so that the flags may stand before the command's name too."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.params += _flags()


def _flags() -> list[click.Parameter]:
    return [click.Option([flag], is_flag=True, expose_value=False, help=text) for flag, text in _FLAGS.items()]
