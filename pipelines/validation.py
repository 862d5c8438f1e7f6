"""What a sync asks for against what its streams can do, so that the impossible is refused before anything runs. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping

from connectors.base import Capabilities, Op, Stream
from pipelines.complaints import listed, nearest
from pipelines.spec import Mode, SyncSpec

__all__ = ["problems", "trigger_problems"]

NEEDS: dict[Mode, tuple[Op, ...]] = {
    "insert": ("create",),
    "update": ("update",),
    "upsert": ("create", "update"),
    "mirror": ("create", "update", "delete"),
}

At = Callable[..., str]


def problems(spec: SyncSpec, at: At, source: Stream | None, sink: Stream | None) -> Iterator[str]:
    """One sentence for each thing that cannot be done, or not safely. None for a stream: only the platform can tell what it does.

    `at(*keys)` says where a setting of the sync is written.
    """
    if spec.source == spec.target and spec.mode != "update":
        yield (
            f"{at('to')}: from and to are both {spec.target}, and mode: {spec.mode} would read what it wrote as new records; "
            "use mode: update, or write to another stream"
        )
    if spec.mode == "mirror":
        yield from _mirror(spec, at, source)
    if source is not None:
        yield from _since(spec, at, source)
    if sink is not None:
        yield from _mode(spec, at, sink)
        yield from _fields(spec, at, sink)


def trigger_problems(spec: SyncSpec, at: At, specs: Mapping[str, SyncSpec], broken: Collection[str]) -> Iterator[str]:
    """One sentence for each sync that this one cannot run after. `specs` are those that can be read, `broken` the names of the others."""
    known = sorted({*specs, *broken} - {spec.name})
    for name in spec.after:
        if name not in {*known, spec.name}:
            meant = nearest(name, known)
            hint = f"did you mean {meant!r}?" if meant else f"there is {listed(known)}"
            yield f"{at('after')}: there is no sync {name!r} to run after; {hint}"
        elif circle := _way(spec.name, name, specs):
            yield f"{at('after')}: {' after '.join((spec.name, *circle))}: they would run one another for ever; take one of them out"


def _way(goal: str, start: str, specs: Mapping[str, SyncSpec]) -> list[str]:
    """The syncs from `start` to `goal`, each running after the next; nothing where there is no such way."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop()
        if way[-1] == goal:
            return way
        further = [name for name in (specs[way[-1]].after if way[-1] in specs else ()) if name not in seen]
        seen.update(further)
        ways += [[*way, name] for name in further]
    return []


def _mirror(spec: SyncSpec, at: At, source: Stream | None) -> Iterator[str]:
    if spec.read.mode == "incremental":
        yield (
            f"{at('read')}: mode: mirror deletes what the source no longer has, which an incremental read cannot prove; "
            "remove 'read', or use mode: upsert"
        )
    if source is not None and not source.capabilities.read.provable:
        yield (
            f"{at('mode')}: mode: mirror deletes what {spec.source} no longer has, but no read of it can prove that all was seen; "
            "use mode: upsert"
        )


def _since(spec: SyncSpec, at: At, source: Stream) -> Iterator[str]:
    if source.capabilities.read.since is False and spec.read.mode == "incremental":
        yield f"{at('read')}: {spec.source} cannot be asked for what changed since a cursor; remove 'read' to read it whole each time"


def _mode(spec: SyncSpec, at: At, sink: Stream) -> Iterator[str]:
    missing = [op for op in NEEDS[spec.mode] if sink.capabilities.write(op) is None]
    if not missing:
        return
    possible = _possible(sink.capabilities)
    instead = f"use mode: {' or '.join(possible)}" if possible else "it can only be read: write to another stream"
    yield f"{at('mode')}: {spec.target} cannot {' or '.join(missing)} records, which mode: {spec.mode} needs; {instead}"


def _possible(capabilities: Capabilities) -> list[Mode]:
    """The modes that can be done, the one that does most first."""
    return [mode for mode in ("mirror", "upsert", "update", "insert") if all(capabilities.write(op) for op in NEEDS[mode])][:1]


def _fields(spec: SyncSpec, at: At, sink: Stream) -> Iterator[str]:
    for field in spec.fields or {}:
        if field in sink.read_only and field in sink.write_only:
            yield (
                f"{at('fields', field)}: {field!r} of {spec.target} is a secret, which no plan or ledger may hold; remove it here, and "
                f"give it by reference in the settings of the connection {spec.target_connection}"
            )
        elif field in sink.read_only:
            yield f"{at('fields', field)}: {field!r} of {spec.target} is set by the platform itself and is never written; remove it"
