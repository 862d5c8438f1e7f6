"""`crossdock check --probe-writes`: one throwaway record, shown and confirmed before it is sent."""

from typing import TYPE_CHECKING

import typer

from pipelines.commands import exits
from pipelines.commands.given import json_text
from pipelines.terminal import screen, shown, visible

if TYPE_CHECKING:
    from connectors.base import Finding, Record
    from pipelines.runtime import Runtime

__all__ = ["probed_writes"]


def probed_writes(
    project: "Runtime", connection: str, name: str, record: str | None, *, leave: bool, yes: bool
) -> "tuple[list[Finding], int]":
    """What writing the stream showed, and the exit status that goes with it. Raises Stopped before anything is sent."""
    from connectors.base import Sink
    from pipelines.probe import first_record, like, probe, spelled

    opened = project.open_connection(connection)
    stream = opened.stream(name)
    if not isinstance(opened, Sink) or stream.capabilities.create is None:
        raise exits.Stopped(f"{connection}.{name} takes no new record, so that there is nothing to probe", exits.CONFIG)
    if stream.capabilities.delete is None and not leave:
        raise exits.Stopped(
            f"{connection}.{name} cannot delete: what is tried there stays for ever; nothing was sent: add --leave to try it all the same",
            exits.REFUSED,
        )
    text = f"crossdock-probe-{project.ports.rng.token()[:8]}"
    given = spelled(json_text(record, "--record"), text) if record is not None else like(stream, first_record(opened, stream), text)
    _confirm(f"{connection}.{name}", given.fields, deletes=stream.capabilities.delete is not None, yes=yes)
    screen().note(f"if this is interrupted, look for the record with {visible(given.key)} = {shown(given.fields[given.key])}")
    with project.lock(f"{project.settings(connection).account} {stream.name}"):
        found = list(probe(opened, stream, given, project.clock))
    return found, exits.OK if all(one.ok for one in found) else exits.PARTIAL


def _confirm(address: str, fields: "Record", *, deletes: bool, yes: bool) -> None:
    """Raises Stopped where the answer is no, or nobody can be asked."""
    if yes:
        return
    what = f"one record is created in {address} and changed" + (", then deleted again" if deletes else ", and stays")
    said = ", ".join(f"{visible(name)} = {shown(value)[:60]}" for name, value in fields.items())
    if not screen().interactive:
        raise exits.Stopped(f"{what} ({said}); nothing was sent: add --yes to do it", exits.REFUSED)
    screen().note((f"{what}:", "yellow"))
    for name, value in fields.items():
        screen().note(f"  {visible(name)} = {shown(value)[:500]}")
    if not typer.confirm("Do it?", err=True):
        raise exits.Stopped("nothing was sent", exits.REFUSED)
