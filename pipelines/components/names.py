"""What things are called in Dagster: asset keys, op names, groups, pools, owners. Pure."""

import hashlib
import re
from collections.abc import Iterable

import dagster as dg

from pipelines.spec import SyncSpec

__all__ = ["applied_key", "group", "op_name", "owners", "plan_key", "raw_key", "remote_key", "sync_of"]

_PLAN, _APPLIED = "plan", "applied"


def raw_key(address: str) -> dg.AssetKey:
    """The staged records of `connection.stream`. The graph shows only the last part, so that it says `contacts_raw`."""
    connection, _, stream = address.partition(".")
    return dg.AssetKey([connection, f"{stream}_raw"])


def remote_key(address: str) -> dg.AssetKey:
    """The records of `connection.stream` as they lie on their platform."""
    connection, _, stream = address.partition(".")
    return dg.AssetKey([connection, stream])


def plan_key(sync: str) -> dg.AssetKey:
    """What a sync would write."""
    return dg.AssetKey([sync, _PLAN])


def applied_key(sync: str) -> dg.AssetKey:
    """What a sync has written."""
    return dg.AssetKey([sync, _APPLIED])


def sync_of(key: dg.AssetKey) -> str | None:
    """The sync whose plan or applied records this is, or None."""
    return key.path[0] if len(key.path) == 2 and key.path[1] in (_PLAN, _APPLIED) else None


def op_name(key: dg.AssetKey) -> str:
    """The name of an asset's step, as run configuration spells it: `contacts_to_people__applied`."""
    written = "__".join(key.path)
    safe = re.sub(r"[^A-Za-z0-9_]", "_", written)
    return safe if safe == written else f"{safe}_{hashlib.sha256(written.encode()).hexdigest()[:6]}"


def group(spec: SyncSpec) -> str:
    """The group a sync's assets stand in."""
    return plain(spec.group or spec.name)


def plain(name: str) -> str:
    """`name` in the letters that groups, pools and teams may have."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def owners(written: Iterable[str]) -> list[str]:
    """Owners as Dagster takes them: an address stays, anything else is a team."""
    return [one if "@" in one else "team:" + plain(one.removeprefix("team:")) for one in written]
