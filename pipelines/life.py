"""The life of one record in the runs that staging still shows: read, mapped, compared. No run pays for it, only who asks.

A run keeps no word about a record that it left alone; but its plan names the batches it was made from, and while those
are kept they tell of every record what the run saw of it and came to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors import jsontext
from connectors.arrow_types import text_kind
from connectors.base import Record
from pipelines.arrays import texts
from pipelines.keys import key_of
from pipelines.ledger import Ledger, Run
from pipelines.staging import ABSENT, Batch, Dataset, Staging, batch_of

RUNS = 1_000  # looked back at most

_READ_NOT = {
    True: "the source did not show it",
    False: "it had not changed since the run before",
}


@dataclass(frozen=True)
class Lived:
    """What one run made of the record.

    `outcome` is create, update, delete (planned), unchanged, skipped, not read, left alone, or how it was refused;
    `read` is the record as the source showed it, `mapped` what the sink was to hold (None: not shown, not mapped).
    """

    run: Run
    outcome: str
    reason: str = ""
    read: Record | None = None
    mapped: Record | None = None


def life(
    staging: Staging, ledger: Ledger, sync: str, key: str | None, source_id: str | None, raw: Dataset | None, by_mode: str = ""
) -> list[Lived]:
    """What became of one record in each run whose plan is still staged, oldest first. `raw` is where its source's batches lie, if known.

    `by_mode` says why the sync's mode, or a person, leaves this record alone, where they do.
    """
    plans = {batch.id: batch for batch in staging.batches(Dataset(("plan", sync)))}
    planned = [run for run in ledger.runs(sync, RUNS) if run.summary.get("plan") in plans]
    looked = _Looked(staging, sync, key, source_id, staging.batches(raw) if raw is not None else [], by_mode)
    return [looked.at(run, plans[run.summary["plan"]]) for run in reversed(planned)]


@dataclass(frozen=True)
class _Looked:
    staging: Staging
    sync: str
    key: str | None
    source_id: str | None
    reads: Sequence[Batch]
    by_mode: str

    def at(self, run: Run, plan: Batch) -> Lived:
        """What the run with this plan made of the record."""
        desired = self._batch("desired", plan.note["desired_id"])
        mapped = self._first(desired, {"__source_id": self.source_id, "__key": self.key}) if desired is not None else None
        taken = [] if desired is None else desired.note.get("raw", [])
        source_id = self.source_id if mapped is None else str(mapped["__source_id"][0].as_py())
        read = self._as_read([batch for batch in self.reads if batch.id in taken], source_id)
        outcome, reason = self._outcome(plan, mapped is not None, read is not None)
        return Lived(run, outcome, reason, read, _record(mapped) if mapped is not None else None)

    def _outcome(self, plan: Batch, mapped: bool, read: bool) -> tuple[str, str]:
        for op in self._planned(plan):
            return op, ""
        refused = self._batch("refused", plan.note["refused_id"])
        found = None if refused is None else self._first(refused, {"source_id": self.source_id, "key": self.key})
        if found is not None:
            row = found.to_pylist()[0]
            return str(row["outcome"]), str(row["reason"])
        if mapped:
            return ("skipped", self.by_mode) if self.by_mode else ("unchanged", "")
        if read:
            return "skipped", "where leaves it out"
        whole = next((batch.note.get("mode") == "full" for batch in self.reads if batch.id == plan.note["raw_id"]), None)
        return ("left alone", "what this run read is no longer staged") if whole is None else ("not read", _READ_NOT[whole])

    def _planned(self, plan: Batch) -> Iterator[str]:
        """The ops of the plan's rows for this record."""
        for rows in self.staging.scan(plan, ["op", "source_id", "key"]):
            if self.source_id is not None:
                yield from rows.filter(_is(rows["source_id"], self.source_id))["op"].to_pylist()
            for row in rows.filter(_is(rows["op"], "delete")).select(["key"]).to_pylist():
                if key_of(row["key"]) == self.key:
                    yield "delete"

    def _as_read(self, batches: Sequence[Batch], source_id: str | None) -> Record | None:
        """The record as the newest of these reads showed it."""
        for batch in reversed(batches):
            field = batch.note.get("stream", {}).get("id_field")
            if source_id is not None and field in batch.schema.names:
                found = self._first(batch, {str(field): source_id})
                if found is not None:
                    return _record(found)
        return None

    def _first(self, batch: Batch, values: dict[str, str | None]) -> pa.Table | None:
        """The last row of the batch that has any of these texts in its field."""
        wanted = {name: value for name, value in values.items() if value is not None}
        at, found = 0, -1
        for rows in self.staging.scan(batch, list(wanted)):
            for name, value in wanted.items():
                places = pc.indices_nonzero(_is(rows[name].cast(pa.string()), value))
                if len(places):
                    found = at + int(places[-1].as_py())
                    break
            at += rows.num_rows
        if found < 0:
            return None
        return self.staging.take(batch, np.array([found]))

    def _batch(self, kind: str, batch_id: Any) -> Batch | None:
        return batch_of(self.staging, Dataset((kind, self.sync)), batch_id)


def _is(column: pa.Array, value: str) -> pa.BooleanArray:
    """Where the column has exactly this text. Not `pc.equal` with a Python text: making a scalar of one imports pandas."""
    return pc.is_in(column, value_set=texts([value]))


def _record(row: pa.Table) -> Record:
    """The one row as a record, without our own columns and without the fields that it does not have."""
    found = row.to_pylist()[0]
    absent = jsontext.loads(found.get(ABSENT) or "[]")
    kept = {field.name: field for field in row.schema if not field.name.startswith("__") and field.name not in (absent or ())}  # type: ignore[operator]
    return {name: _value(found[name], text_kind(field)) for name, field in kept.items()}


def _value(value: Any, kind: str | None) -> Any:
    if kind == "json" and isinstance(value, str):
        return jsontext.loads(value)
    return value.isoformat() if isinstance(value, date | time) else value
