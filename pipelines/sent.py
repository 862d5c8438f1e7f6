"""What a plan sends: its rows, the desired records behind them, and how the sink shows them afterwards. Writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from connectors import jsontext
from pipelines import changes
from pipelines.arrays import texts
from pipelines.elsewhere import places_of_ids
from pipelines.engine import Engine
from pipelines.inorder import InOrder
from pipelines.keys import plain_id
from pipelines.ledger import Match, State, Write
from pipelines.observe import Observation, ids_at
from pipelines.otherform import folded
from pipelines.plan import Plan
from pipelines.planning import plan_dataset
from pipelines.settle import UNANSWERED, Hits, find
from pipelines.spec import SyncSpec
from pipelines.staging import Dataset, kept_batch


class Sent:
    """The rows of one plan. Writes are known by their number, which is that of their row."""

    def __init__(self, engine: Engine, spec: SyncSpec, plan: Plan) -> None:
        self.engine, self.spec = engine, spec
        self.stream = engine.sink(spec.target_connection).stream(spec.target_stream)
        self.rows = kept_batch(engine.staging, plan_dataset(spec), plan.batch_id)
        self.desired = kept_batch(engine.staging, Dataset(("desired", spec.name)), plan.desired_id)
        self.types = pa.schema([column for column in self.desired.schema if not column.name.startswith("__")])
        places = engine.staging.get_index(self.rows, "desired")
        self._places = places["position"] if places is not None else np.empty(0, np.int64)
        self._wanted = InOrder(self.desired, self._places[self._places >= 0])

    def desired_of(self, writes: Sequence[Write]) -> pa.Table:
        """The desired records of these creates and updates, in their order."""
        return self._wanted.take(self.engine.staging, self._places[[write.seq for write in writes]])

    def differing(
        self, writes: Sequence[Write], observed: Observation, hits: Hits, drift: Literal["overwrite"] | None = None
    ) -> dict[int, tuple[str, ...]]:
        """Creates and updates that do not read back as desired: number → the fields (the match fields where it is not found).

        Other people's edits count as `drift` says, or else as the sync does.
        """
        wanted = [number for number, write in enumerate(writes) if write.op != "delete"]
        wrong = {number: self.spec.match for number in wanted if hits.counts[number] != 1}
        there = np.array([number for number in wanted if hits.counts[number] == 1], np.int64)
        if not len(there):
            return wrong
        desired = self.desired_of([writes[number] for number in there])
        known = {match.key: match for match in self.engine.ledger.matches(self.spec.name, [writes[number].key for number in there])}
        found = changes.update_rows(
            desired,
            observed.rows.take(self.engine.staging, hits.positions[there]),
            texts([known[key].applied if (key := writes[number].key) in known else None for number in there]),
            match=self.spec.match,
            types=self.types,
            id_field=self.stream.id_field,
            nulls=self.spec.writes.nulls,
            existing_policy=self.spec.writes.existing,
            drift=drift or self.spec.drift,
            write_only=self.stream.write_only,
        )
        for place, fields in zip(found.positions.tolist(), found.rows.column("fields").to_pylist(), strict=True):
            wrong[int(there[place])] = tuple(fields)
        return wrong

    def rewritten(self, writes: Sequence[Write], observed: Observation, hits: Hits, wrong: Iterable[int]) -> list[int]:
        """Updates that the platform took without showing the record, and made a form of its own of: it shows otherwise than before, or
        did when just this was written last. Where nothing came of an update it is not among them.
        """
        taken = [n for n in wrong if writes[n].op == "update" and writes[n].state is State.ACCEPTED and hits.counts[n] == 1]
        if not taken:
            return []
        known = {match.key: match for match in self.engine.ledger.matches(self.spec.name, [writes[number].key for number in taken])}
        shown = observed.rows.take(self.engine.staging, hits.positions[taken]).to_pylist()
        return [
            number
            for number, row in zip(taken, shown, strict=True)
            if _written_before(writes[number], known.get(writes[number].key)) or _changed(writes[number], row)
        ]

    def shown_as(self, writes: Sequence[Write], observed: Observation) -> dict[int, Mapping[str, Any]]:
        """How the sink shows the records of these writes, under whatever match key, by the number of the write."""
        by_id = {plain_id(write.sink_id): write.seq for write in writes if write.sink_id is not None and write.op != "delete"}
        places = places_of_ids(self.engine.staging, self.stream, observed, by_id.keys())
        rows = observed.rows.take(self.engine.staging, np.array(list(places.values()), np.int64)).to_pylist() if places else []
        return {by_id[one]: row for one, row in zip(places, rows, strict=True)}

    def late(self, writes: Sequence[Write], observed: Observation) -> list[Write]:
        """Those of the creates whose key is not shown, and of the updates answered without the record that show it as it was before."""
        hits = find(observed, [write.key for write in writes], self.spec.match, self.types)
        late = {number for number, write in enumerate(writes) if write.op == "create" and not hits.counts[number]}
        numbers = [n for n, write in enumerate(writes) if write.op == "update" and hits.counts[n] == 1 and write.state is State.ACCEPTED]
        updates, their_hits = [writes[number] for number in numbers], hits.only(numbers)
        wrong = self.differing(updates, observed, their_hits)
        late.update(numbers[place] for place in wrong.keys() - set(self.rewritten(updates, observed, their_hits, wrong)))
        return [writes[number] for number in sorted(late)]

    def overtaken(
        self, writes: Sequence[Write], observed: Observation, hits: Hits, wrong: Iterable[int], otherwise: Mapping[int, tuple[str, ...]]
    ) -> list[int]:
        """Updates that no answer shows, whose record shows something else that is to stay, because it is other people's edit.

        `otherwise` is what does not read back just as it is desired, whoever changed it. A form of what was sent is no other's edit.
        """
        doubted = {n for n, write in enumerate(writes) if write.op == "update" and write.state in (*UNANSWERED, State.ACCEPTED)}
        numbers = sorted(n for n in doubted.difference(wrong) & otherwise.keys() if hits.counts[n] == 1)
        rows = observed.rows.take(self.engine.staging, hits.positions[numbers]).to_pylist() if numbers else []
        return [n for n, row in zip(numbers, rows, strict=True) if _shows_another(writes[n], row, otherwise[n])]

    def still_there(self, writes: Sequence[Write], observed: Observation, hits: Hits) -> dict[int, tuple[str, ...]]:
        """Deletes whose record the sink still shows: number in `writes` → the match fields."""
        suspects = [number for number, write in enumerate(writes) if write.op == "delete" and hits.counts[number] > 0]
        ids = ids_at(self.engine.staging, observed, self.stream, hits.positions[suspects])
        return {number: self.spec.match for number, sink_id in zip(suspects, ids, strict=True) if sink_id == writes[number].sink_id}


def _shows_another(write: Write, row: Mapping[str, Any], fields: Iterable[str]) -> bool:
    """Whether a record shows, in one of these fields, another value than the update sent, in whatever form."""
    after = jsontext.loads(write.after) if write.after else {}
    sent = after if isinstance(after, dict) else {}
    return any(folded(row.get(name)) != folded(sent[name]) for name in fields if name in sent)


def _written_before(write: Write, match: Match | None) -> bool:
    """Whether just this was written before and read back otherwise."""
    return match is not None and match.repeats > 0 and match.fingerprint == write.fingerprint


def _changed(write: Write, row: Mapping[str, Any]) -> bool:
    """Whether a text or number that was to change did, into whatever."""
    before = jsontext.loads(write.before) if write.before else {}
    held = before if isinstance(before, dict) else {}
    return any(isinstance(value, str | int | float) and row.get(name) != value for name, value in held.items() if name in row)
