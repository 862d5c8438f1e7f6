"""Every documented operation of every platform as one page of tables, made from what the connectors declare.

`python -m pipelines.operations` prints the page; `make tables` writes it to connectors/OPERATIONS.md, and a test compares.
"""

from collections.abc import Iterable, Iterator, Sequence

from connectors.base import Delivery, Operation
from connectors.settings import Connector

__all__ = ["page"]

_HEAD = """\
# Operations

Every operation in the platforms' documents, and what reaches it. Generated from the connectors' own declarations by
`make tables`; do not edit.

- *class*: `read` changes nothing; `E1` may be sent twice and leaves the same state; `E2` may not, but can be looked up by key
  afterwards; `E3` happens at most once.
- *source*: the streams whose reads use it. *sink*: the changes that do, by stream. A name in braces is any stream that the platform
  itself names. `call`: reached by `crossdock call CONNECTION OPERATION`; `call !` asks for a confirmation first.
"""
_COLUMNS = ("operation", "method and path", "class", "source", "sink", "by hand")


def page(connectors: Iterable[Connector]) -> str:
    """The whole page, as Markdown: how many operations each platform has, then one table for each."""
    known = list(connectors)
    rows = [(f"[{one.name}](#{one.name})", *_counts(one.operations)) for one in known]
    total = ("all", *(str(sum(int(row[at]) for row in rows)) for at in range(1, 4)))
    parts = [_HEAD, *_table(("platform", "operations", "used by a source", "used by a sink"), [*rows, total])]
    for one in known:
        parts += [f"\n## {one.name}\n", *_table(_COLUMNS, [_row(operation) for operation in one.operations])]
    return "\n".join(parts) + "\n"


def _counts(operations: Sequence[Operation]) -> tuple[str, str, str]:
    return str(len(operations)), str(sum(bool(one.sources) for one in operations)), str(sum(bool(one.sinks) for one in operations))


def _row(one: Operation) -> tuple[str, ...]:
    asks = one.dangerous or one.delivery is not Delivery.READ
    return (
        f"`{one.name}`",
        f"`{one.method} {one.path}`",
        one.delivery.value,
        ", ".join(one.sources) or "–",
        "; ".join(_changes(one.sinks)) or "–",
        "call !" if asks else "call",
    )


def _changes(sinks: Sequence[str]) -> Iterator[str]:
    """`stream: op, op` for each stream, in the order in which they are declared."""
    ops: dict[str, list[str]] = {}
    for sink in sinks:
        stream, _, op = sink.partition(":")
        ops.setdefault(stream, []).append(op)
    return (f"{stream}: {', '.join(told)}" for stream, told in ops.items())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' for _ in heads)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    from pipelines.runtime import CONNECTORS, connector

    print(page(connector(name) for name in CONNECTORS), end="")
