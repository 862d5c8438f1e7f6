"""`crossdock connect`: what a person allows in a browser. Shows the address to open, takes the code, and never prints a secret."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.commands.given import json_text, named_texts
from pipelines.terminal import screen, shown, visible

if TYPE_CHECKING:
    from connectors.settings import Consent, Secret
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "connect"]

PATIENCE_S = 600.0


def connect(
    connection: Annotated[str, typer.Argument(help="A connection of connections.yaml.")],
    given: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE…]", help="What is to be connected.")] = None,
    body: Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="The same, for what does not fit on a line.")] = None,
    renew: Annotated[str | None, typer.Option(metavar="ID", help="Renew this one's consent, instead of making a new one.")] = None,
    listen: Annotated[int | None, typer.Option(metavar="PORT", help="Wait on this port of 127.0.0.1 for the browser.")] = None,
    code: Annotated[str | None, typer.Option(metavar="-", help="Read the code from standard input, and finish what was begun.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is sent.")] = False,
) -> int:
    """Let a provider in: open the address that is shown, and give back the code it leads to."""
    from connectors.errors import ConfigError

    if code not in (None, "-"):
        raise exits.Stopped("a code on a command line is seen by others: write --code - and give it on standard input", exits.CONFIG)
    if code is not None and listen is not None:
        raise exits.Stopped("--code takes the code that --listen would wait for; give one of them", exits.CONFIG)
    values = _values(given, body)
    with open_project() as project:
        consent = project.connector_of(connection).consent
        if consent is None:
            raise ConfigError(f"{connection} is connected by its settings alone, as README.md shows; no address is opened for it")
        client, settings = project.open_client(connection), project.settings(connection)
        try:
            model = consent.model(client, settings, values, renew)
            _confirm(connection, {name: value for name, value in values.items() if name in consent.takes}, renew, yes=yes)
            found = _read_code() if code is not None else _asked(project, consent, client, model, listen)
            if found is None:
                return exits.OK
            made = consent.finish(client, settings, model, found, renew)
        finally:
            client.close()
    _say(connection, made, renew)
    return exits.OK


def _values(given: list[str] | None, body: str | None) -> dict[str, Any]:
    values = {name: json_text(text, name) if text.startswith(("{", "[")) else text for name, text in named_texts(given or []).items()}
    told = json_text(body, "--body") if body is not None else {}
    if not isinstance(told, dict):
        raise exits.Stopped('--body is an object; write it as {"name": …}', exits.CONFIG)
    return {**told, **values}


def _confirm(connection: str, given: Mapping[str, Any], renew: str | None, *, yes: bool) -> None:
    """Raises Stopped where the answer is no, or nobody can be asked."""
    if yes:
        return
    what = f"the consent for {visible(renew)} is renewed in {connection}" if renew else f"something new is connected to {connection}"
    if not screen().interactive:
        raise exits.Stopped(f"{what}; nothing was sent: add --yes to do it", exits.REFUSED)
    screen().note((f"{what}:", "yellow"))
    for name, value in given.items():
        screen().note(f"  {visible(name)} = {shown(value)[:200] if isinstance(value, str) else '…'}")
    if not typer.confirm("Do it?", err=True):
        raise exits.Stopped("nothing was sent", exits.REFUSED)


def _asked(project: "Runtime", consent: "Consent", client: Any, model: Any, listen: int | None) -> "Secret | None":
    """The code, from the browser or from the person. None where neither is there: then the address was all there is to tell."""
    from pipelines.consent import Listener, code_in, state_of

    if listen is not None:
        with Listener(listen) as listener:
            address = consent.start(client, model)
            _show(address, f"Waiting for the browser at {listener.address}")
            return listener.code(state_of(address), project.clock, PATIENCE_S)
    address = consent.start(client, model)
    out = screen()
    if not out.interactive:
        _show(address, "Then give the code that it leads to: the same command with --code -")
        if out.as_json:
            out.answer({"status": "started", "address": address})
        return None
    _show(address, "Then paste the address that the browser ends at, or the code in it. It is not shown.")
    return code_in(typer.prompt("Code", hide_input=True, err=True), state_of(address))


def _read_code() -> "Secret":
    from pipelines.consent import code_in

    return code_in(sys.stdin.read())


def _show(address: str, then: str) -> None:
    out = screen()
    out.line("Open this address, and let the provider in:")
    out.line()
    out.whole(visible(address))
    out.line()
    out.line(then)
    if out.as_json:
        out.note(f"open {visible(address)}")


def _say(connection: str, made: str | None, renew: str | None) -> None:
    out = screen()
    if out.as_json:
        out.answer({"status": "ok", "connection": connection, "id": made, "renewed": renew is not None})
        return
    told = f"its id is {visible(made)}" if made is not None else "the answer does not tell its id: look for it by its name"
    out.line(("renewed: " if renew else "connected: "), told)


COMMANDS = (connect,)
