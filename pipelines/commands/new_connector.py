"""`crossdock new connector`: writes a connector that works at once against its own emulator, to be turned into a real one."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.terminal import screen, visible

if TYPE_CHECKING:
    from pipelines.runtime import Runtime

__all__ = ["connector"]

_REGISTRY = "pipelines/runtime.py"


def connector(name: Annotated[str, typer.Argument(help="The connector's name: its folder below connectors.")]) -> int:
    """Write connectors/NAME and its tests: a small made-up platform, read and written, with its emulator."""
    from pipelines.scaffold import connector_files, unfit

    out = screen()
    why = unfit(name)
    if why:
        raise exits.Stopped(f"{visible(name)!r} cannot name a connector; {why}", exits.CONFIG)
    with open_project() as project:
        files = connector_files(name)
        _free(project, name, files)
        for place, text in files.items():
            path = project.places.root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    line = f'"{name}": "connectors.{name}",'
    tests = [place for place in files if place.startswith("tests/")]
    if out.as_json:
        out.answer({"status": "ok", "files": list(files), "register": {"file": _REGISTRY, "in": "CONNECTORS", "line": line}})
        return exits.OK
    for place in files:
        out.line("wrote ", (place, "bold"))
    out.line()
    out.line(f"To register it, add one line at the end of CONNECTORS in {_REGISTRY}:")
    out.line()
    out.line((line, "bold"), indent=4)
    out.line()
    out.line(f"Then: make format && make tables && .venv/bin/python -m pytest {' '.join(tests)}")
    out.paragraph(
        f"It speaks to a made-up platform until you put yours in its place: CONTRIBUTING.md and connectors/{name}/README.md tell how."
    )
    return exits.OK


def _free(project: "Runtime", name: str, files: dict[str, str]) -> None:
    """Raises Stopped where the name is taken, or this is no clone of the project."""
    root = project.places.root
    if not (root / "connectors" / "base.py").is_file():
        raise exits.Stopped(
            "connectors are part of Crossdock's own code, and this folder does not hold it; run the command in a clone of the project",
            exits.CONFIG,
        )
    taken = [f"connectors/{name}", f"connectors/{name}.py", *files]
    found = [place for place in taken if (root / place).exists()]
    if found or name in project.connectors:
        where = found[0] if found else _REGISTRY
        raise exits.Stopped(f"the name {name} is taken ({where}); nothing was written: choose another name", exits.CONFIG)
