"""What writing a stream does, tried on one throwaway record: created, read back, changed, read back, deleted, looked for again.

Nothing here knows a platform. Whatever happens on the way, the record is deleted again, or the findings say what was left.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from connectors.arrow import records_of
from connectors.base import Change, Clock, Finding, JsonBody, JsonValue, Op, ReadRequest, Receipt, Record, Result, Sink, Source, Stream
from connectors.canonical_json import canonical
from connectors.errors import ConfigError, ConnectorError

__all__ = ["MARK", "Throwaway", "first_record", "like", "probe", "spelled"]

MARK = "{probe}"  # in a record that a person gives: where the text that is nobody else's goes
_WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # before each look for what was written
_BY_HAND = "name one with --record, as a JSON object in which " + MARK + ' stands in a text, such as {"email": "' + MARK + '@example.com"}'


@dataclass(frozen=True)
class Throwaway:
    """The record to try with. `key` is the field by which nobody else's record can be meant."""

    fields: Record
    key: str


def first_record(source: Source, stream: Stream) -> Record | None:
    """Some record that is there, or None."""
    return next(_records(source, stream, ReadRequest()), None)


def like(stream: Stream, sample: Record | None, text: str) -> Throwaway:
    """A record with the values of `sample`, but for its natural key, which holds `text`. Raises ConfigError where none can be made so."""
    key = next(iter(stream.natural_key), None)
    shown = None if key is None else (sample or {}).get(key)
    if key is None or not isinstance(shown, str):
        why = "declares no natural key" if key is None else f"has no record whose {key} is a text, to make one like it"
        raise ConfigError(f"the stream {stream.name} {why}; {_BY_HAND}")
    kept = stream.read_only | stream.write_only | {stream.id_field}
    values = {name: value for name, value in (sample or {}).items() if name not in kept and value is not None}
    address = f"{text}@example.com" if "@" in shown else f"https://{text}.example.com/" if "://" in shown else text
    return Throwaway({**values, key: address}, key)


def spelled(record: Any, text: str) -> Throwaway:
    """A record that a person gives. Raises ConfigError where no text of it holds the mark."""
    if isinstance(record, dict):
        key = next((name for name, value in record.items() if isinstance(value, str) and MARK in value), None)
        if key is not None:
            filled = {name: value.replace(MARK, text) if isinstance(value, str) else value for name, value in record.items()}
            return Throwaway(filled, key)
    raise ConfigError(f"the record to try with holds {MARK} in none of its texts, so that it could not be told from others; {_BY_HAND}")


def probe(sink: Sink, stream: Stream, given: Throwaway, clock: Clock) -> Iterator[Finding]:
    """One finding after the other. Writes at most five times. The last one says so where something was left behind."""
    trial = _Trial(sink, stream, given, clock)
    try:
        yield from trial.findings()
    except ConnectorError as error:
        yield Finding("stopped", False, str(error))
    finally:
        left = trial.removed()
    if left is not None:
        yield left


class _Trial:
    """One record on its way."""

    def __init__(self, sink: Sink, stream: Stream, given: Throwaway, clock: Clock) -> None:
        self._sink, self._stream, self._given, self._clock = sink, stream, given, clock
        self._id: JsonValue = None
        self._there = False  # perhaps
        self._deleted = False

    def findings(self) -> Iterator[Finding]:
        """Create, update and delete in turn, each as far as the stream can."""
        yield (made := self._created())
        if not self._there:
            return
        held, found = self._awaited()
        if made.ok or held is not None:
            yield found
        if held is None:
            return
        self._id = held.get(self._stream.id_field)
        yield from _compared(self._given.fields, held, self._stream)
        if self._stream.capabilities.update is not None:
            yield from self._text(held)
            yield from self._null(held)
        if self._stream.capabilities.delete is not None:
            yield self._gone()

    def removed(self) -> Finding | None:
        """Delete the record where that did not happen yet; what to say where it may still be there."""
        if not self._there or self._deleted:
            return None
        where = f"{self._given.key} = {self._given.fields[self._given.key]!r}"
        where += f", {self._stream.id_field} = {self._id!r}" if self._id is not None else ""
        if self._stream.capabilities.delete is not None:
            with suppress(ConnectorError):
                held = self._look()
                self._id = held.get(self._stream.id_field) if held is not None else self._id
                if self._id is not None:
                    self._write("delete", {})
                if self._look() is None and held is not None:
                    return None
        if self._stream.capabilities.delete is None:
            return Finding("left behind", True, f"one record of {self._stream.name} stays, because none can be deleted: {where}")
        return Finding("left behind", False, f"one record of {self._stream.name} may still be there: {where}", "delete it by hand")

    def _created(self) -> Finding:
        self._there = True  # from the moment of sending on
        receipt = self._write("create", self._given.fields)
        self._id = receipt.sink_id
        if receipt.result in (Result.APPLIED, Result.ACCEPTED):
            told = (
                "the answer tells its id" if receipt.result is Result.APPLIED else "the answer does not tell its id: it is found by its key"
            )
            return Finding("create", True, f"one record was made; {told}")
        self._there = receipt.result is Result.UNKNOWN
        return Finding("create", False, receipt.reason or f"it was {receipt.result.value}", "" if self._there else _BY_HAND)

    def _awaited(self) -> tuple[Record | None, Finding]:
        began_s = self._clock.monotonic()
        for wait_s in _WAITS_S:
            self._clock.sleep(wait_s)
            held = self._look()
            if held is not None:
                late_s = self._clock.monotonic() - began_s
                if wait_s == 0:
                    return held, Finding("read back", True, "it was there at the first look")
                return held, Finding("read back", True, f"it was there after {late_s:.0f} s", f"T_lag_s: {round(2 * late_s) + 1}")
        return None, Finding(
            "read back", False, f"it did not appear within {sum(_WAITS_S):.0f} s", "T_lag_s: 60, or a login that may read what it writes"
        )

    def _text(self, held: Record) -> Iterator[Finding]:
        """What becomes of spaces around a text and of capitals, and of the fields that the update does not name."""
        key = self._given.key
        sent = f"  {str(self._given.fields[key]).upper()}  "
        receipt = self._write("update", {key: sent}, held)
        if receipt.result not in (Result.APPLIED, Result.ACCEPTED):
            yield Finding(
                "text",
                True,
                f"{key} is not taken with spaces around it and in capitals: {receipt.reason}",
                f"fields: {{{key}: lower(trim(…))}}",
            )
            return
        now = self._look()
        if now is None:
            yield Finding("update", False, "the record is not found any more after an update")
            return
        yield _normalised(key, sent, now.get(key))
        lost = [name for name, value in held.items() if name != key and value is not None and now.get(name) is None]
        kept = "keeps the fields that it does not name" if not lost else f"loses fields that it does not name: {', '.join(lost)}"
        yield Finding("update", not lost, f"an update {kept}")

    def _null(self, held: Record) -> Iterator[Finding]:
        """What becomes of a field that is updated to null, tried on one that names nothing."""
        sent, names = self._given.fields, {self._given.key, *self._stream.natural_key}
        name = next((one for one in sent if one not in names and held.get(one) is not None and _same(held[one], sent[one])), None)
        if name is None:
            return
        advice = "writes: {nulls: skip} in the syncs that write this stream"
        receipt = self._write("update", {name: None}, held)
        if receipt.result not in (Result.APPLIED, Result.ACCEPTED):
            yield Finding("null", True, f"an update of {name} to null is refused: {receipt.reason}", advice)
            return
        now = self._look()
        cleared = now is not None and now.get(name) is None
        yield Finding(
            "null", True, f"an update of {name} to null {'clears it' if cleared else 'changes nothing'}", "" if cleared else advice
        )

    def _gone(self) -> Finding:
        receipt = self._write("delete", {})
        if receipt.result not in (Result.APPLIED, Result.ACCEPTED, Result.MISSING):
            return Finding("delete", False, receipt.reason or f"it was {receipt.result.value}")
        for wait_s in _WAITS_S:
            self._clock.sleep(wait_s)
            if self._look() is None:
                self._deleted = True
                return Finding("delete", True, "it is gone: nothing is left behind")
        return Finding("delete", False, f"it is still shown {sum(_WAITS_S):.0f} s after it was deleted")

    def _write(self, op: Op, fields: Mapping[str, JsonValue], before: Record | None = None) -> Receipt:
        sink_id = None if op == "create" else self._id
        key = {self._given.key: self._given.fields[self._given.key]}
        (receipt,) = self._sink.write(self._stream, [Change(0, op, key, fields, sink_id, before or {})])
        return receipt

    def _look(self) -> Record | None:
        """The record by its id where that is known, else by its key."""
        name = self._stream.id_field if self._id is not None else self._given.key
        value = self._id if self._id is not None else self._given.fields[name]
        found = _records(self._sink, self._stream, ReadRequest(keys=({name: value},)))
        return next((record for record in found if _same(record.get(name), value)), None)


def _records(source: Source, stream: Stream, request: ReadRequest) -> Iterator[Record]:
    for page in source.read(stream, request):
        yield from records_of(page.records) if isinstance(page.records, JsonBody) else page.records


def _compared(sent: Record, held: Record, stream: Stream) -> Iterator[Finding]:
    """Which of the sent fields came back as they were, otherwise, or not at all; and which others the platform filled in."""
    told = {name: value for name, value in sent.items() if name not in stream.write_only and value is not None}
    dropped = [name for name in told if held.get(name) is None]
    changed = [name for name in told if name not in dropped and not _same(held[name], told[name])]
    filled = [name for name, value in held.items() if name not in sent and value is not None and name not in stream.read_only]
    yield Finding("fields", True, f"{len(told) - len(dropped) - len(changed)} of {len(told)} fields came back as they were sent")
    if dropped:
        yield Finding(
            "dropped",
            True,
            f"dropped without a word: {', '.join(dropped)}",
            "leave them out of the fields of the syncs that write this stream",
        )
    for name in changed:
        yield _normalised(name, told[name], held[name])
    if filled:
        yield Finding("defaults", True, f"filled in by the platform: {', '.join(filled)}")


def _normalised(name: str, sent: JsonValue, held: JsonValue) -> Finding:
    """What the platform makes of a value, as the expression that makes the same of it beforehand."""
    if _same(sent, held):
        return Finding("text", True, f"{name} is kept as it is sent, spaces and capitals included")
    if isinstance(sent, str) and isinstance(held, str):
        for does, by, expression in (
            ("trims", sent.strip(), "trim(…)"),
            ("lower-cases", sent.lower(), "lower(…)"),
            ("trims and lower-cases", sent.strip().lower(), "lower(trim(…))"),
        ):
            if by == held:
                return Finding("text", True, f"the platform {does} {name}", f"fields: {{{name}: {expression}}} in the syncs that write it")
    return Finding("text", True, f"{name} comes back as {held!r} where {sent!r} was sent", f"map {name} to what the platform makes of it")


def _same(one: JsonValue, other: JsonValue) -> bool:
    return canonical(one) == canonical(other)
