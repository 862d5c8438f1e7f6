"""In which order syncs run: after those that they look something up in, and after those that write what they read. Pure."""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from pipelines.spec import SyncSpec

__all__ = ["in_order"]

_LOOKUP = re.compile(r"\blookup\s*\(\s*'((?:[^']|'')*)'", re.IGNORECASE)


def in_order(specs: Mapping[str, SyncSpec]) -> list[str]:
    """The names of the syncs, those that others need first, otherwise by name.

    Where syncs wait for each other (two directions between the same streams), only look-ups count, and by name where those do, too.
    """
    looked_up = {name: _looked_up(spec) & specs.keys() - {name} for name, spec in specs.items()}
    written = {name: _written_before(spec, specs) - {name} for name, spec in specs.items()}
    for needs in ({name: looked_up[name] | written[name] for name in specs}, looked_up):
        try:
            return _sorted(needs)
        except CycleError:
            continue
    return sorted(specs)


def _sorted(needs: Mapping[str, set[str]]) -> list[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter({name: needs[name] for name in sorted(needs)})
    sorter.prepare()
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += ready
        sorter.done(*ready)
    return found


def _looked_up(spec: SyncSpec) -> set[str]:
    return {name.replace("''", "'") for expression in (spec.fields or {}).values() for name in _LOOKUP.findall(expression)}


def _written_before(spec: SyncSpec, specs: Mapping[str, SyncSpec]) -> set[str]:
    """The syncs that write what this one reads, and those that it is said to follow."""
    return {name for name, one in specs.items() if one.target == spec.source} | (set(spec.after) & specs.keys())
