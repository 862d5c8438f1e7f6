"""In which order syncs run: one that looks something up in another runs after it. Pure."""

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from pipelines.spec import SyncSpec

__all__ = ["in_order"]

_LOOKUP = re.compile(r"\blookup\s*\(\s*'((?:[^']|'')*)'", re.IGNORECASE)


def in_order(specs: Mapping[str, SyncSpec]) -> list[str]:
    """The names of the syncs, those looked up first, otherwise by name. Syncs that look each other up stay by name."""
    sorter: TopologicalSorter[str] = TopologicalSorter({name: _needs(specs[name]) & specs.keys() - {name} for name in sorted(specs)})
    try:
        sorter.prepare()
    except CycleError:
        return sorted(specs)
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += ready
        sorter.done(*ready)
    return found


def _needs(spec: SyncSpec) -> set[str]:
    return {name.replace("''", "'") for expression in (spec.fields or {}).values() for name in _LOOKUP.findall(expression)}
