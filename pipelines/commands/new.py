"""`crossdock new sync`: writes a sync with a proposed mapping, for a person to correct."""

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits, new_connector
from pipelines.commands.connections import records_of
from pipelines.commands.everywhere import Command, Group, open_project
from pipelines.terminal import screen, visible

if TYPE_CHECKING:
    from pipelines.propose import Side
    from pipelines.runtime import Runtime

__all__ = ["app", "sync"]

app = typer.Typer(cls=Group, help="Write a new sync or connector.", rich_markup_mode=None)

SAMPLE = 200  # records of each side that are looked at


@app.callback()
def new() -> None:
    """Write a new sync, ready to be looked at and planned, or a new connector, ready to be made yours."""


app.command(cls=Command)(new_connector.connector)


@app.command(cls=Command)
def sync(
    name: Annotated[str, typer.Argument(help="The sync's name; its folder below pipelines/defs.")],
    source: Annotated[str, typer.Option("--from", metavar="CONNECTION.STREAM", help="What is read.")],
    target: Annotated[str, typer.Option("--to", metavar="CONNECTION.STREAM", help="What is written.")],
) -> int:
    """Write pipelines/defs/NAME/defs.yaml with a mapping proposed from the fields of both streams."""
    from pipelines.config import load_sync_file
    from pipelines.propose import propose, written

    out = screen()
    if not name.isidentifier() or not name.isascii():
        raise exits.Stopped(f"{visible(name)!r} cannot name a sync; use letters, digits and _, a letter first", exits.CONFIG)
    with open_project() as project:
        path = project.places.syncs / name / "defs.yaml"
        shown = project.places.shown(path)
        if path.exists() or name in project.syncs.files or name in project.syncs.errors:
            raise exits.Stopped(f"there is a sync {name} already ({shown}); nothing was written: choose another name", exits.CONFIG)
        sides = _side(project, source), _side(project, target)
        proposal = propose(*sides)
        if not proposal.fields:
            raise exits.Stopped(
                f"no field of {source} resembles one of {target}; nothing was written: write {shown} by hand, as README.md shows",
                exits.CONFIG,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(written(name, *sides, proposal))
        load_sync_file(path, project.places.root)
    if out.as_json:
        out.answer(
            {
                "status": "ok",
                "file": str(shown),
                "match": list(proposal.match),
                "fields": dict(proposal.fields),
                "unmatched": {"source": list(proposal.source_left), "sink": list(proposal.sink_left)},
            }
        )
        return exits.OK
    out.line("wrote ", (str(shown), "bold"))
    out.line()
    out.table(["field", "from"], [[visible(field), visible(expression)] for field, expression in proposal.fields.items()], indent=2)
    out.line()
    if proposal.sink_left:
        out.paragraph(f"nothing found for   {visible(', '.join(proposal.sink_left))}", indent=2)
    if proposal.source_left:
        out.paragraph(f"going nowhere       {visible(', '.join(proposal.source_left))}", indent=2)
    sure = "as declared" if proposal.sure else "a guess: check it"
    out.paragraph(f"records are matched by {visible(', '.join(proposal.match))} ({sure})", indent=2)
    out.line()
    out.line(f"Next: correct the file, then crossdock plan {name}")
    return exits.OK


def _side(project: "Runtime", address: str) -> "Side":
    """What is known of a stream's fields: declared ones, and those of its first records."""
    from connectors.base import ReadRequest
    from pipelines.propose import Field, Side

    connection, dot, name = address.partition(".")
    if not (connection and dot and name):
        raise exits.Stopped(f"{address!r} must be written as CONNECTION.STREAM, such as stacker_demo.contacts", exits.CONFIG)
    opened = project.open_connection(connection)
    stream = opened.stream(name)
    kinds: dict[str, Counter[str]] = {field.name: Counter({str(field.type): 1}) for field in stream.schema or ()}
    declared = frozenset(kinds)
    pages = (record for page in opened.read(stream, ReadRequest()) for record in records_of(page))
    for record in islice(pages, SAMPLE):
        for field, value in record.items():
            counted = kinds.setdefault(field, Counter())
            if value is not None and field not in declared:
                counted[_kind(value)] += 1
    fields = tuple(Field(field, counted.most_common(1)[0][0] if counted else "") for field, counted in kinds.items())
    return Side(address, fields, stream.id_field, stream.natural_key, stream.read_only | stream.write_only)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "nested" if isinstance(value, dict | list) else "number"
