"""Elsewhere: records of ours that the sink holds under another match key than they were written with, found by their ids.

A platform may give a key a form of its own (trim it, lower-case it, complete an address), and others may change it there.
Such a record does not show under its key, and is not made a second time all the same.
"""

from collections.abc import Set

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors import jsontext
from connectors.base import Stream
from pipelines.absence import can_look_up, look_up
from pipelines.engine import Engine, Progress, silent
from pipelines.keys import plain_id
from pipelines.observe import Observation, ids_at, key_hashes
from pipelines.spec import SyncSpec
from pipelines.staging import Staging

_CHUNK = 20_000


def places_of_ids(
    staging: Staging, stream: Stream, observed: Observation, ids: Set[str], *, apart_from: npt.NDArray[np.int64] | None = None
) -> dict[str, int]:
    """Where the observation has records with these ids (JSON text): plain id → position. `apart_from`: not those with these key hashes."""
    wanted = {plain_id(one) for one in ids}
    free = observed.index.position if wanted else np.empty(0, np.int64)
    if wanted and apart_from is not None:
        free = free[~np.isin(key_hashes(observed.index), apart_from)]
    free = np.sort(free)
    found: dict[str, int] = {}
    for start in range(0, len(free), _CHUNK):
        part = free[start : start + _CHUNK]
        shown = zip(ids_at(staging, observed, stream, part), part.tolist(), strict=True)
        found.update((plain, place) for one, place in shown if (plain := plain_id(one)) in wanted)
    return found


def ask_for_ids(
    engine: Engine, spec: SyncSpec, stream: Stream, observed: Observation, ids: Set[str], types: pa.Schema, *, progress: Progress = silent
) -> Observation:
    """The observation together with the records of those of these ids (JSON text) that it does not have. Raises ConnectorError."""
    shown = places_of_ids(engine.staging, stream, observed, ids)
    asked = [{stream.id_field: jsontext.loads(one)} for one in sorted(ids) if plain_id(one) not in shown]
    if observed.full or not asked or not can_look_up(stream, len(asked)):
        return observed
    return look_up(engine, spec, stream, observed, asked, types, progress=progress).observed
