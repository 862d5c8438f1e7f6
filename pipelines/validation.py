"""What a sync asks for against what its streams can do, so that the impossible is refused before anything runs. Pure."""

from collections.abc import Callable, Iterator

from connectors.base import Capabilities, Op, Stream
from pipelines.spec import Mode, SyncSpec

__all__ = ["problems"]

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
    if spec.mode == "mirror":
        yield from _mirror(spec, at, source)
    if source is not None:
        yield from _since(spec, at, source)
    if sink is not None:
        yield from _mode(spec, at, sink)
        yield from _fields(spec, at, sink)


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
    if source.capabilities.read.since is not False:
        return
    if spec.read.mode == "incremental":
        yield f"{at('read')}: {spec.source} cannot be asked for what changed since a cursor; remove 'read' to read it whole each time"
    if spec.partitions is not None:
        yield f"{at('partitions')}: {spec.source} cannot be asked for a window of a cursor; remove 'partitions'"


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
