"""Writing Robostack: creates in one call, never resent and never paired by position; updates and deletes one by one, by key."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.base import Change, JsonValue, Receipt, Record, Result, Stream
from connectors.canonical_json import canonical
from connectors.errors import ConfigError, ContractError, RefusedError, RetryableError, UnknownOutcome
from connectors.http import Answer
from connectors.robostack.answers import Told, same, told_by
from connectors.robostack.settings import RobostackSettings
from connectors.robostack.source import RobostackSource, has_key
from connectors.settings import Ports

__all__ = ["RobostackSink"]

_PROBES = 50  # of the first creates where a list that finds nothing may not be how everything is found


class RobostackSink(RobostackSource):
    """One application that can be read and written."""

    def __init__(self, settings: RobostackSettings, ports: Ports) -> None:
        super().__init__(settings, ports)
        self._selects: set[str] = set()  # resources where a selection by id was seen to find that record alone
        self._merges: set[str] = set()  # resources where an update was seen to leave the fields alone that it does not name
        self._silent: set[str] = set()  # resources where an update that did happen was answered as if there were no such record
        self._made: set[str] = set()  # resources where a create was taken
        self._unsafe: dict[str, str] = {}  # resource → why nothing is updated or deleted there any more
        self._alone = threading.Lock()  # held by the first write of a kind until it is known what such a write does

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """Write changes of one op: creates in a single call, updates and deletes one call each. One receipt per change.

        Raises ConfigError or RetryableError only while nothing of these changes was applied.
        """
        ops = {change.op for change in changes}
        if len(ops) > 1:
            raise ConfigError(f"one call writes changes of one kind, not {', '.join(sorted(ops))}; send them apart")
        if changes and changes[0].op == "create":
            return iter(self._create(stream, changes))
        return self._one_by_one(stream, changes)

    def _create(self, stream: Stream, changes: Sequence[Change]) -> list[Receipt]:
        refused = [Receipt(change.seq, Result.REJECTED, reason=why) for change in changes if (why := _unwritable(stream, change))]
        sent = [change for change in changes if not _unwritable(stream, change)]
        if not sent:
            return refused
        self._check_blank(stream, sent)
        records: list[Record] = [dict(change.fields) for change in sent]
        try:
            answer = self._client.create(stream.name, records[0] if len(records) == 1 else records)
            told = _told(answer, stream)
        except UnknownOutcome as error:
            return refused + [Receipt(change.seq, Result.UNKNOWN, reason=str(error)) for change in sent]
        except RefusedError as error:
            if error.status in (404, 405):
                raise ConfigError(
                    f"Robostack takes no new records for {stream.name!r}: {error}; check the resource's name and the token's access"
                ) from None
            alone = Result.REJECTED if len(sent) == 1 else Result.REFUSED_BATCH
            return refused + [Receipt(change.seq, alone, reason=error.words or str(error)) for change in sent]
        self._made.add(stream.name)
        return refused + created(sent, told, stream.id_field)

    def _check_blank(self, stream: Stream, changes: Sequence[Change]) -> None:
        """Refuse (ConfigError) to create where asking for everything finds nothing although some of these records are there.

        Where it still finds nothing after records were made, each record is looked up before it is created.
        """
        with self._alone:
            if stream.name in self._blank and stream.name in self._made:
                self._find_everything(stream)
            refused = self._blank.get(stream.name)
            if refused is None:
                return
            step = 1 if stream.name in self._made else -(-len(changes) // _PROBES)
            asked = [change.key for change in changes[::step] if change.key]
            found = sum(any(has_key(row, key) for row in self._look_up(stream, key).decoded()) for key in asked)
            if found:
                raise ConfigError(
                    f"asking for all records of {stream.name!r} finds none, but {found} of {len(asked)} that would be created are there; "
                    f"another way of asking was refused ({refused}): see with `crossdock call` which body finds all, and set find_all"
                )

    def _one_by_one(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """Stops sending at the first change that could not be sent; raises only if that is the first of them."""
        for number, change in enumerate(changes):
            try:
                yield self._checked(stream, change)
            except (ConfigError, RetryableError) as error:
                if number == 0:
                    raise
                yield from (Receipt(rest.seq, Result.NOT_SENT, reason=str(error)) for rest in changes[number:])
                return

    def _checked(self, stream: Stream, change: Change) -> Receipt:
        """The receipt of a change that is sent only where those before it did no more than they said."""
        with self._alone:
            seen = self._check_selection(stream, change)
            if change.op == "update" and stream.name not in self._merges and not _unselectable(change):
                return self._first_update(stream, change, self._record(stream, change) if seen is None else seen)
        return self._write_one(stream, change)

    def _first_update(self, stream: Stream, change: Change, before: Record) -> Receipt:
        """Update one record and see whether its other fields stay; where they are gone, put them back, and stop updating there."""
        receipt = self._write_one(stream, change)
        others = {name for name in before if _holds(before, name)} - change.fields.keys() - {stream.id_field}
        if receipt.result not in (Result.APPLIED, Result.ACCEPTED) or not others:
            return receipt
        shown = receipt.answer or {}
        now = shown if all(_holds(shown, name) for name in others) else self._record(stream, change)
        gone = sorted(name for name in others if not _holds(now, name))
        if not now or same(dict(now), before):  # nothing was learnt: the next update is looked at in its turn
            return receipt
        if not (gone and (set(gone) & change.key.keys() or 2 * len(gone) > len(others))):
            self._merges.add(stream.name)
            return receipt
        self._unsafe[stream.name] = f"an update of one record cleared {', '.join(gone)}, which it did not name,"
        own = stream.read_only | {stream.id_field}
        whole = {name: value for name, value in {**before, **change.fields}.items() if name not in own}
        restored = self._write_one(stream, replace(change, fields=whole))
        now = self._record(stream, change)
        if restored.result in (Result.APPLIED, Result.ACCEPTED) and all(same(now.get(name), before[name]) for name in others):
            return receipt
        reason = f"{self._unsafe[stream.name]} and they could not be put back: {', '.join(gone)} of this record are to be restored by hand"
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, reason)

    def _record(self, stream: Stream, change: Change) -> Record:
        """The record that the change is of, as it is now; empty where it is not found."""
        try:
            rows = self._look_up(stream, {stream.id_field: change.sink_id}).decoded()
        except (ContractError, RefusedError):
            return {}
        return next((row for row in rows if _is(row, stream, change)), {})

    def _check_selection(self, stream: Stream, change: Change) -> Record | None:
        """Refuse (ConfigError) to update or delete where a selection by id does not find that record alone: it might hit every record.

        Gives the record as it was found, empty where it was not; None where nothing was asked.
        """
        seen: Record | None = None
        if (stream.name not in self._selects and stream.name not in self._unsafe) and not _unselectable(change):
            try:
                asked: Record = {stream.id_field: change.sink_id}
                rows = self._look_up(stream, asked).decoded() or self._look_up(stream, asked).decoded()  # one empty answer proves nothing
            except (ContractError, RefusedError) as error:
                raise ConfigError(
                    f"{stream.name!r} could not be asked for one record by {stream.id_field}, so nothing is changed: {error}"
                ) from None
            seen = next((row for row in rows if _is(row, stream, change)), {})
            if others := [row for row in rows if not _is(row, stream, change)]:
                self._unsafe[stream.name] = f"a selection of one record by {stream.id_field} found {len(others):,} others"
            else:
                self._selects.add(stream.name)
        if stream.name in self._unsafe:
            raise ConfigError(
                f"{self._unsafe[stream.name]} in {stream.name!r}, so updates and deletes are not safe there and are not sent; "
                f"see with `crossdock call` what a selection by {stream.id_field} finds and what an update does, "
                "and declare the right key under streams"
            )
        return seen

    def _write_one(self, stream: Stream, change: Change) -> Receipt:
        why = _unselectable(change) or (_unwritable(stream, change) if change.op == "update" else "")
        if why:
            return Receipt(change.seq, Result.REJECTED, change.sink_id, why)
        selection: Record = {stream.id_field: change.sink_id}
        try:
            if change.op == "update":
                answer = self._client.update(stream.name, selection, dict(change.fields))
            else:
                answer = self._client.delete(stream.name, selection)
            told = _told(answer, stream)
            if told.count is not None and told.count > 1:
                self._unsafe[stream.name] = f"a write that selected one record by {stream.id_field} was answered with {told.count:,}"
            receipt = touched(change, told, stream.id_field, repeated=answer.repeated)
            if receipt.result is Result.MISSING and change.op == "update" and (stream.name in self._silent or self._record(stream, change)):
                self._silent.add(stream.name)  # looking for one is enough: all of them are read back
                return replace(receipt, result=Result.ACCEPTED, reason="the answer speaks of no record, as here of one that is there")
            return receipt
        except UnknownOutcome as error:
            return Receipt(change.seq, Result.UNKNOWN, change.sink_id, str(error))
        except RefusedError as error:
            result = Result.MISSING if error.status == 404 else Result.REJECTED
            return Receipt(change.seq, result, change.sink_id, error.words or str(error))


def created(sent: Sequence[Change], told: Told, id_field: str) -> list[Receipt]:
    """One receipt for each created record, from what the answer told. Pure.

    A record of the answer belongs to the change whose match key, or else all of whose values, it alone
    has. Its place in the answer means nothing.
    """
    if told.failed:  # whether some of them were made all the same is looked up before any is sent again
        result = Result.UNKNOWN if len(sent) == 1 else Result.REFUSED_BATCH
        return [Receipt(change.seq, result, reason=f"answered as a success that failed: {told.failed}") for change in sent]
    if told.count is not None and told.count != len(sent):
        reason = f"{len(sent):,} records were sent and the answer speaks of {told.count:,}"
        return [Receipt(change.seq, Result.UNKNOWN, reason=reason) for change in sent]
    records = told.records or []
    if len({canonical(record.get(id_field)) for record in records}) != len(records):
        records = []
    by_key = _unique(sent, records, lambda change: change.key)
    by_value = _unique(sent, records, lambda change: change.fields)
    receipts = []
    for change in sent:
        record = by_key.get(change.seq) or by_value.get(change.seq)
        if record is None:
            receipts.append(Receipt(change.seq, Result.ACCEPTED, reason="the answer does not say which record is which"))
        else:
            receipts.append(Receipt(change.seq, Result.APPLIED, record[id_field], answer=record))
    return receipts


def touched(change: Change, told: Told, id_field: str, *, repeated: bool) -> Receipt:
    """The receipt of one update or delete by key, from what the answer told. Pure."""
    if told.failed:
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, f"answered as a success that failed: {told.failed}")
    if told.count is not None and told.count > 1:
        reason = f"one record was selected and the answer speaks of {told.count:,}: check what {id_field} selects"
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, reason)
    if told.count == 0:
        if repeated:  # our own first try may be why there is nothing left to do
            return Receipt(change.seq, Result.ACCEPTED, change.sink_id, "a repeat of a lost call found nothing to do")
        return Receipt(change.seq, Result.MISSING, change.sink_id, "the selection matched no record")
    if told.records:
        shown = told.records[0]
        if not same(shown.get(id_field), change.sink_id):
            return Receipt(change.seq, Result.UNKNOWN, change.sink_id, f"the answer shows another {id_field} than the one selected")
        return Receipt(change.seq, Result.APPLIED, change.sink_id, answer=shown if change.op == "update" else None)
    if told.count == 1:
        return Receipt(change.seq, Result.APPLIED, change.sink_id)
    return Receipt(change.seq, Result.ACCEPTED, change.sink_id, "the answer does not say whether a record was found")


def _told(answer: Answer, stream: Stream) -> Told:
    return told_by(answer.json(), stream.id_field) if answer.body.strip() else Told()


def _unique(sent: Sequence[Change], records: Sequence[Record], part: Callable[[Change], Mapping[str, JsonValue]]) -> dict[int, Record]:
    """seq → the one record that has exactly this part of the change, where no other change of the call has it too."""
    wanted = {change.seq: part(change) for change in sent}
    names = {tuple(sorted(values)) for values in wanted.values()}
    having: dict[tuple[Any, ...], list[Record]] = {}
    for some in names:
        for record in records:
            if all(name in record for name in some):
                having.setdefault((some, canonical([record[name] for name in some])), []).append(record)
    marks = {seq: (tuple(sorted(values)), canonical([values[name] for name in sorted(values)])) for seq, values in wanted.items() if values}
    often = Counter(marks.values())
    return {seq: having[mark][0] for seq, mark in marks.items() if often[mark] == len(having.get(mark, ())) == 1}


def _unwritable(stream: Stream, change: Change) -> str:
    own = sorted(stream.read_only & change.fields.keys())
    if own:
        return f"{own[0]} is set by the platform and is never written; remove it from the mapping"
    return "" if change.fields else "there is no field to write"


def _holds(record: Mapping[str, JsonValue], name: str) -> bool:
    return record.get(name) not in (None, "", [], {})


def _is(row: Record, stream: Stream, change: Change) -> bool:
    return same(row.get(stream.id_field), change.sink_id)


def _unselectable(change: Change) -> str:
    value = change.sink_id
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, str) and not value.strip()):
        return "the record's id is not known as a text or an integer, and nothing else may select it"
    return ""
