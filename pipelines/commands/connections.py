"""Looking at connections: `check`, `streams`, `read`. Nothing here writes anywhere, but for the record that `--probe-writes` asks for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.commands.probe import probed_writes
from pipelines.terminal import screen, shown, visible

if TYPE_CHECKING:
    from connectors.base import Finding, Op, Record, Source, Stream, WriteCapability
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "check", "read", "streams"]


def check(
    connection: Annotated[str | None, typer.Argument(help="A connection of connections.yaml; all of them where left out.")] = None,
    probe_writes: Annotated[
        str | None, typer.Option(metavar="STREAM", help="Also write one throwaway record there: create, change, delete it.")
    ] = None,
    record: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="That record, with {probe} in a text; else one like those that are there.")
    ] = None,
    leave: Annotated[bool, typer.Option("--leave", help="Try it also on a stream that cannot delete: the record stays.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the record is written.")] = False,
    files: Annotated[
        bool, typer.Option("--files", help="Look at the syncs' files only, without asking any platform: before a deploy.")
    ] = False,
) -> int:
    """Try credentials, reachability and each platform's abilities. Nothing is written without --probe-writes."""
    out = screen()
    if probe_writes is not None and connection is None:
        raise exits.Stopped("--probe-writes needs the connection whose stream it names: crossdock check CONNECTION …", exits.CONFIG)
    if files and connection is not None:
        raise exits.Stopped("--files is about all syncs; leave out the connection", exits.CONFIG)
    with open_project() as project:
        if connection is not None:
            project.connections.entry(connection)
        names = [] if files else list(project.connections.entries) if connection is None else [connection]
        if not names and not project.connections.entries:
            raise exits.Stopped("connections.yaml declares no connection; add one, as README.md shows", exits.CONFIG)
        worst, told = exits.OK, []
        for name in names:
            findings, status = _findings(project, name)
            if probe_writes is not None and status == exits.OK:
                probed, status = probed_writes(project, name, probe_writes, record, leave=leave, yes=yes)
                findings += [_told(one) for one in probed]
            worst = max(worst, status)
            told.append({"connection": name, "ok": status == exits.OK, "findings": findings})
            out.line((name, "bold"), "  ", ("fine", "green") if status == exits.OK else ("needs attention", "red"))
            for one in findings:
                out.paragraph(
                    ("✓ ", "green") if one["ok"] else ("✗ ", "red"), (one["subject"], "bold"), f"  {visible(one['detail'])}", indent=2
                )
                if one["suggestion"]:
                    out.paragraph("→ ", visible(one["suggestion"]), indent=4)
        problems = _sync_problems(project) if connection is None else []
        for problem in problems:
            out.paragraph(("✗ ", "red"), visible(problem), indent=2)
        if files and not problems:
            out.line(f"{len(project.syncs.files):,} syncs, and every one can be loaded")
        worst = max(worst, exits.CONFIG) if problems else worst
        if out.as_json:
            status_word = "ok" if worst == exits.OK else "failed"
            out.answer({"status": status_word, "exit": worst, "connections": told, "syncs": problems})
    return worst


def streams(connection: Annotated[str, typer.Argument(help="A connection of connections.yaml.")]) -> int:
    """List what a connection can read and write."""
    out = screen()
    with open_project() as project:
        found = list(project.open_connection(connection).streams())
        told = [_described(stream) for stream in found]
        if out.as_json:
            out.answer({"connection": connection, "streams": told})
            return exits.OK
        if not found:
            out.paragraph(f"{connection} shows no stream; declare them under streams: in connections.yaml")
        rows = [[one["name"], one["id_field"], ", ".join(one["key"]), _abilities(one), _reading(one)] for one in told]
        out.table(["stream", "id", "key", "can", "read by"], rows)
        if found:
            out.line()
            out.line(f"Look into one: crossdock read {connection}.{found[0].name}")
    return exits.OK


def read(
    address: Annotated[str, typer.Argument(metavar="CONNECTION.STREAM", help="What to read.")],
    limit: Annotated[int, typer.Option(min=1, help="Records at most.")] = 10,
) -> int:
    """Show the first records of a stream, as the platform gives them."""
    connection, dot, name = address.partition(".")
    if not (connection and dot and name):
        raise exits.Stopped(f"{address!r} must be written as CONNECTION.STREAM, such as stacker_demo.contacts", exits.CONFIG)
    out = screen()
    with open_project() as project:
        source = project.open_connection(connection)
        stream = source.stream(name)
        records, more = _first(source, stream, limit)
    hidden = sorted(stream.write_only)
    if out.as_json:
        out.answer({"stream": address, "count": len(records), "more": more, "records": records})
        return exits.OK
    _show_records(records, stream.id_field)
    out.line()
    out.line(f"{len(records):,} records" + (", and there are more: --limit N shows them" if more else ", all there are"))
    if hidden:
        out.line(f"never read back: {', '.join(hidden)}")
    return exits.OK


def records_of(page: Any) -> "Iterator[Record]":
    """The records of a page, decoded exactly, without those that an earlier page already had."""
    from connectors.base import JsonBody
    from connectors.errors import ContractError
    from connectors.jsontext import loads

    found: Any = page.records
    if isinstance(found, JsonBody):
        value: Any = loads(found.body)
        for name in found.path:
            value = value.get(name) if isinstance(value, dict) else None
        found = value
    if not isinstance(found, list):
        raise ContractError("the platform's answer holds no list of records; look at it with `crossdock call`")
    drop = frozenset(page.drop)
    return (record for at, record in enumerate(found) if at not in drop)


def _first(source: "Source", stream: "Stream", limit: int) -> "tuple[list[Record], bool]":
    from connectors.base import ReadRequest

    records: list[Record] = []
    for page in source.read(stream, ReadRequest()):
        for record in records_of(page):
            if len(records) == limit:
                return records, True
            records.append(record)
    return records, False


def _show_records(records: "list[Record]", id_field: str) -> None:
    """A table as long as it can be read, else one block per record."""
    out = screen()
    names = list(dict.fromkeys(name for record in records for name in record))
    names.sort(key=lambda name: name != id_field)
    if not out.on_terminal or len(names) * 10 <= out.width:
        rows = [[shown(record[name]) if name in record else "" for name in names] for record in records]
        out.table([visible(name) for name in names], rows, verbatim=True)
        return
    widest = max(len(visible(name)) for name in names)
    for record in records:
        out.line((shown(record.get(id_field)), "bold"))
        for name, value in record.items():
            if name != id_field:
                out.line((f"{visible(name):<{widest}}  ", "dim"), shown(value), indent=2)


def _findings(project: "Runtime", name: str) -> tuple[list[dict[str, Any]], int]:
    """What `check` found, and the exit status that goes with the worst of it."""
    from connectors.errors import ConnectorError

    told: list[dict[str, Any]] = []
    status = exits.OK
    try:
        model = project.connector_of(name).settings
        told += [_found("secrets", False, sentence, "") for sentence in project.connections.entry(name).written_out_secrets(model)]
        status = exits.CONFIG if told else exits.OK
        opened = project.open_connection(name)
        for finding in opened.check():
            told.append(_told(finding))
            status = status if finding.ok else max(status, exits.UNREACHABLE)
        if status == exits.OK:
            told.append(_found("may", True, _allowed(opened.streams()), ""))
    except ConnectorError as error:
        sentence, found = exits.ending(error)
        told.append(_found("stopped", False, sentence, ""))
        status = max(status, found)
    return told, status


def _allowed(streams: "Sequence[Stream]") -> str:
    """What the connection may do, as far as its documents and settings say: no platform tells what a key is allowed to."""
    ops: tuple[Op, ...] = ("create", "update", "delete")
    able: dict[str, list[str]] = {}
    for stream in streams:
        does = ", ".join(f"{op} ({can.delivery.value})" for op in ops if (can := stream.capabilities.write(op)) is not None)
        able.setdefault(does, []).append(stream.name)
    only_read = able.pop("", [])
    writes = [f"{does}: {_some(names)}" for does, names in able.items()]
    return "; ".join([*writes, *([f"only read: {_some(only_read)}"] if only_read else [])]) or "nothing: it has no stream"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _told(finding: "Finding") -> dict[str, Any]:
    return _found(finding.subject, finding.ok, finding.detail, finding.suggestion)


def _found(subject: str, ok: bool, detail: str, suggestion: str) -> dict[str, Any]:
    return {"subject": subject, "ok": ok, "detail": detail, "suggestion": suggestion}


def _sync_problems(project: "Runtime") -> list[str]:
    """What is wrong with the syncs' files, one sentence for each broken sync: all that Dagster would find when it loads them."""
    from pipelines.components.project import Project

    found = Project(project)
    for name in found.specs:
        found.sync_defs(name)
    return [sentence for _, sentence in sorted(found.problems.items())]


def _described(stream: "Stream") -> dict[str, Any]:
    able = stream.capabilities
    ops: tuple[Op, ...] = ("create", "update", "delete")
    writes = {op: _write(able.write(op)) for op in ops}
    return {
        "name": stream.name,
        "id_field": stream.id_field,
        "key": list(stream.natural_key),
        "cursors": list(stream.cursors),
        "fields": {field.name: str(field.type) for field in stream.schema} if stream.schema is not None else None,
        "write_only": sorted(stream.write_only),
        "read_only": sorted(stream.read_only),
        "read": {
            "filters": sorted(able.read.filters),
            "keyset": able.read.keyset,
            "since": able.read.since,
            "keys_per_request": able.read.keys_per_request,
            "page_size": able.read.page_size,
            "evidence": able.read.evidence,
        },
        "write": writes,
    }


def _write(able: "WriteCapability | None") -> dict[str, Any] | None:
    if able is None:
        return None
    return {"delivery": able.delivery.value, "max_batch": able.max_batch, "replaces": able.replaces, "evidence": able.evidence}


def _abilities(one: dict[str, Any]) -> str:
    return ", ".join(f"{op} ({one['write'][op]['delivery']})" for op in ("create", "update", "delete") if one["write"][op]) or "read only"


def _reading(one: dict[str, Any]) -> str:
    facts = one["read"]
    size = f"pages of {facts['page_size'] or 'its own size'}" if facts["page_size"] is not None else "a single answer"
    since = {True: ", by cursor", None: ", perhaps by cursor", False: ""}[facts["since"]]
    return size + since


COMMANDS = (check, streams, read)
