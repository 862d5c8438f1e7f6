"""What is kept of records and runs: `history`, `compact`."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.terminal import screen, shown, visible

if TYPE_CHECKING:
    from pipelines.runtime import Runtime
    from pipelines.spec import SyncSpec

__all__ = ["COMMANDS", "compact", "history"]


def history(
    address: Annotated[str, typer.Argument(metavar="CONNECTION.STREAM", help="A stream that a sync with `history: scd2` reads.")],
    key: Annotated[str | None, typer.Argument(help="The record's id, or a value of one of its fields.")] = None,
    export: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table to this Parquet file.")] = None,
) -> int:
    """Show every version of a record, and when each was the current one; or write the versions of all records to a file."""
    from pipelines.history import history_dataset, versions

    out = screen()
    if key is None and export is None:
        raise exits.Stopped("name a record, or a file to write all of them to: --export FILE.parquet", exits.CONFIG)
    with open_project() as project:
        spec = _kept_by(project, address)
        found = versions(project.staging, history_dataset(spec), key=key)
    if export is not None:
        import pyarrow.parquet as pq

        pq.write_table(found, export)
    rows = found.slice(0, None if key is not None else 0).to_pylist()
    if key is not None and not rows:
        raise exits.Stopped(
            f"the history of {address} knows no record {visible(key)!r}; it begins with the first run that keeps it", exits.CONFIG
        )
    if out.as_json:
        out.answer({"stream": address, "count": found.num_rows, "versions": [{**row, "record": _record(row)} for row in rows]})
        return exits.OK
    for number, row in enumerate(rows):
        before = _record(rows[number - 1]) if number and rows[number - 1]["id"] == row["id"] else {}
        if not before:
            out.line(f"{visible(row['id'])}  in {address}")
        until = "now" if row["current"] else _moment(row["valid_to"])
        out.line()
        out.line(f"  {_moment(row['valid_from'])} … {until}")
        for name, old, new in _differences(before, _record(row)):
            out.line(f"      {visible(name)}  {f'{shown(old)} → ' if before else ''}{shown(new)}")
    if export is not None:
        out.line(f"{found.num_rows:,} versions written to {export}: id, valid_from, valid_to, current, and the record as JSON")
    return exits.OK


def compact() -> int:
    """Drop what the syncs' retention settings let go, and give the room back. What a run still needs stays."""
    from pipelines import retention

    out = screen()
    told: list[dict[str, Any]] = []
    with open_project() as project:
        engine = project.engine()
        for name, spec in sorted(project.syncs.specs.items()):
            batches, runs = retention.prune(engine.staging, spec), retention.forget(engine, spec)
            told.append({"sync": name, "batches": batches, "runs": runs, "versions": retention.compact(engine, spec)})
        project.ledger.compact()
    if out.as_json:
        out.answer({"status": "ok", "exit": exits.OK, "syncs": told})
        return exits.OK
    heads = ["sync", "batches", "runs", "versions"]
    out.table(heads, [[str(one["sync"]), *(f"{one[name]:,}" for name in heads[1:])] for one in told], right=heads[1:])
    out.line()
    out.line("That much was dropped: batches of staging, runs of the ledger, versions of histories.")
    return exits.OK


def _kept_by(project: "Runtime", address: str) -> "SyncSpec":
    """A sync that keeps the history of this stream. Raises Stopped where none does."""
    found = [spec for spec in project.syncs.specs.values() if spec.source == address and spec.history]
    if not found:
        kept = sorted({spec.source for spec in project.syncs.specs.values() if spec.history})
        hint = f"there is one of {', '.join(kept)}" if kept else "write `history: scd2` into a sync that reads it"
        raise exits.Stopped(f"no history of {visible(address)} is kept; {hint}", exits.CONFIG)
    return found[0]


def _record(row: dict[str, Any]) -> dict[str, Any]:
    from connectors.jsontext import loads

    found: Any = loads(row["record"])
    return dict(found)


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The fields that differ; one that is not there counts as null."""
    names: Iterable[str] = dict.fromkeys((*after, *before))
    return ((name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name) or not before)


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


COMMANDS: tuple[Callable[..., int], ...] = (history, compact)
