"""Other forms: whether the sink holds a match key otherwise than it was written, so that a look by the key misses the record.

A platform may trim a key, lower-case it or write a number as text. What such a look misses must not be made a second time.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow
from itertools import islice
from typing import Any

from connectors.base import Stream
from pipelines.engine import Engine
from pipelines.keys import key_values
from pipelines.ledger import State, Write
from pipelines.observe import Observation, see
from pipelines.spec import SyncSpec
from pipelines.staging import Batch

__all__ = ["folded", "in_another_form"]

_EXACT = Context(prec=1_000, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation, Overflow])
_SAMPLE = 1_000  # creates of the run whose keys are looked for as they were written


def in_another_form(engine: Engine, spec: SyncSpec, stream: Stream, observed: Observation, writes: Sequence[Write]) -> list[bool]:
    """Whether each of these creates of one run, whose keys `observed` does not show, may be there under its key in another form.

    Reads the whole sink where only some keys were asked for, and none that the run made shows just as it was written.
    """
    if not writes:
        return []
    batch = observed.batch
    if not observed.full:
        if _kept_as_written(engine, spec, batch, writes[0].run_id):
            return [False] * len(writes)
        batch = see(engine, spec, stream, None)
    there = {tuple(map(folded, key)) for key in _keys(engine, spec, batch)}
    return [tuple(map(folded, key_values(write.key, spec.match).values())) in there for write in writes]


def _kept_as_written(engine: Engine, spec: SyncSpec, batch: Batch, run_id: str) -> bool:
    """Whether a record that this run made shows under the very key that it was made with."""
    made = (write.key for write in engine.ledger.writes(run_id, [State.CONFIRMED]) if write.op == "create")
    written = {tuple(key_values(key, spec.match).values()) for key in islice(made, _SAMPLE)}
    return bool(written) and any(key in written for key in _keys(engine, spec, batch))


def _keys(engine: Engine, spec: SyncSpec, batch: Batch) -> Iterator[tuple[Any, ...]]:
    """The match values of every record of a batch, where it shows all of them."""
    if all(name in batch.schema.names for name in spec.match):
        for part in engine.staging.scan(batch, list(spec.match)):
            yield from zip(*(part.column(name).to_pylist() for name in spec.match), strict=True)


def folded(value: Any) -> str:
    """A value without what platforms are apt to change: blanks around it, capitals, the spelling of letters, numbers and times."""
    text = unicodedata.normalize("NFKC", str(value)).strip().casefold()
    with suppress(ArithmeticError):  # what is too long to be told exactly is compared as it is spelt
        return str(Decimal(text).normalize(_EXACT))
    with suppress(ValueError):
        moment = datetime.fromisoformat(text.upper())
        return (moment if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()
    return text
