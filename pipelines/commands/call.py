"""`crossdock call`: any documented operation of a platform, as its connector's client gives it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.commands.given import json_text, named_texts
from pipelines.terminal import screen, shown, visible

if TYPE_CHECKING:
    from connectors.base import JsonValue, Operation

__all__ = ["COMMANDS", "arguments_for", "call"]


def call(
    connection: Annotated[str, typer.Argument(help="A connection of connections.yaml.")],
    operation: Annotated[str | None, typer.Argument(help="The operation; left out, all of them are listed.")] = None,
    given: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE…]", help="Its arguments; values are JSON, or text.")] = None,
    body: Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="The body, for what does not fit on a line.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before an operation that writes.")] = False,
) -> int:
    """Call any documented operation of a platform. Those that write only after a confirmation."""
    out = screen()
    with open_project() as project:
        found = project.connector_of(connection)
        if operation is None:
            _list(connection, found.operations)
            return exits.OK
        chosen = _operation(connection, operation, found.operations)
        client = project.open_client(connection)
        try:
            method = getattr(client, chosen.name)
            arguments = arguments_for(
                method, named_texts(given or []), json_text(body, "--body") if body is not None else None, with_body=body is not None
            )
            _confirm(chosen, connection, arguments, yes=yes)
            answer = _sent(method, arguments, chosen, connection)
        finally:
            client.close()
    if out.as_json:
        out.answer({"status": "ok", "connection": connection, "operation": chosen.name, "answer": answer})
    else:
        _show(answer)
    return exits.OK


def arguments_for(method: Callable[..., Any], named: Mapping[str, str], body: Any, *, with_body: bool) -> dict[str, Any]:
    """The keyword arguments for a client's method. Pure.

    `named` are texts: JSON where the parameter is no plain text and they are JSON. A body that is an object of the
    method's own parameters fills those; any other body is the first parameter left that takes more than text.
    Raises Stopped for what the method does not take or still needs.
    """
    parameters = inspect.signature(method).parameters
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    plain = {name: one for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD}
    found: dict[str, Any] = {}
    for name, text in named.items():
        if name not in plain and not anything:
            raise exits.Stopped(f"{method.__name__} takes no {visible(name)!r}; it takes {_listed(plain)}", exits.CONFIG)
        found[name] = text if name in plain and plain[name].annotation is str else _value(text)
    if with_body:
        free = [name for name in plain if name not in found and plain[name].annotation is not str]
        if isinstance(body, dict) and (anything or (body and body.keys() <= plain.keys())):
            found.update({name: value for name, value in body.items() if name not in named})
        elif free:
            found[free[0]] = body
        else:
            raise exits.Stopped(f"{method.__name__} has no place for a body; it takes {_listed(plain) or 'no argument'}", exits.CONFIG)
    missing = [name for name, one in plain.items() if one.default is one.empty and name not in found]
    if missing:
        raise exits.Stopped(f"{method.__name__} needs {_listed(missing)}; write {' '.join(f'{name}=…' for name in missing)}", exits.CONFIG)
    return found


def _value(text: str) -> "JsonValue":
    """JSON where it is JSON, else the text itself."""
    from connectors.errors import ContractError
    from connectors.jsontext import loads

    try:
        return loads(text)
    except ContractError:
        return text


def _operation(connection: str, name: str, known: "Sequence[Operation]") -> "Operation":
    from pipelines.complaints import nearest

    for one in known:
        if one.name == name:
            return one
    meant = nearest(name, [one.name for one in known])
    hint = f"did you mean {meant!r}?" if meant else f"`crossdock call {connection}` lists them"
    raise exits.Stopped(f"{connection} has no operation {visible(name)!r}; {hint}", exits.CONFIG)


def _confirm(operation: "Operation", connection: str, arguments: Mapping[str, Any], *, yes: bool) -> None:
    """Ask before anything is written. Raises Stopped where the answer is no, or nobody can be asked."""
    from connectors.base import Delivery

    if yes or (operation.delivery is Delivery.READ and not operation.dangerous):
        return
    does = "writes to" if operation.delivery is not Delivery.READ else "shows what is better not shown of"
    what = f"{operation.name} ({operation.method} {operation.path}, {operation.delivery.value}) {does} {connection}"
    if not screen().interactive:
        raise exits.Stopped(f"{what}; nothing was sent: add --yes to call it", exits.REFUSED)
    screen().note((f"{what}:", "yellow"))
    for name, value in arguments.items():
        screen().note(f"  {visible(name)} = {shown(value)[:500]}")
    if not typer.confirm("Call it?", err=True):
        raise exits.Stopped("nothing was sent", exits.REFUSED)


def _sent(method: Callable[..., Any], arguments: Mapping[str, Any], operation: "Operation", connection: str) -> Any:
    from connectors.errors import RefusedError

    try:
        return method(**arguments)
    except RefusedError as error:
        raise exits.Stopped(str(error), exits.PARTIAL, connection=connection, operation=operation.name, http_status=error.status) from error


def _list(connection: str, operations: "Sequence[Operation]") -> None:
    out = screen()
    if out.as_json:
        told = [{**vars(one), "delivery": one.delivery.value} for one in operations]
        out.answer({"connection": connection, "operations": told})
        return
    rows = [[one.name + (" !" if one.dangerous else ""), one.method, one.path, one.delivery.value, one.summary] for one in operations]
    heads = ["operation", "method", "path", "class", "what it does"]
    if out.fits(heads, rows):
        out.table(heads, rows)
    else:
        for name, method, path, delivery, summary in rows:
            out.line((f"{name:<24}", "bold"), f"{delivery:<6} {summary}")
            out.line(" " * 24, (f"{method:<6} {path}", "dim"))
    out.line()
    out.paragraph("read changes nothing; E1 may be repeated; E2 may not, but can be looked up; E3 happens at most once; ! can do harm.")
    out.line(f"Call one: crossdock call {connection} {operations[0].name} NAME=VALUE…")


def _show(answer: Any) -> None:
    """JSON a person can read: indented, exact, its control characters written out."""
    import simplejson

    if isinstance(answer, str):
        for line in answer.splitlines():
            screen().paragraph(visible(line))
        return
    for line in simplejson.dumps(answer, indent=2, ensure_ascii=False, use_decimal=True).split("\n"):
        screen().paragraph(visible(line))


def _listed(words: Sequence[str] | Mapping[str, Any]) -> str:
    from pipelines.complaints import listed

    return listed(words) if words else ""


COMMANDS = (call,)
