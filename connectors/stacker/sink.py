"""Stacker as a sink: creates in bulk, updates and deletes one by one, every change answered by one receipt.

A bulk answer lists sids in no documented order, so they are never paired with what was sent: such
creates are "accepted" and the engine reads them back by key.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from connectors.base import Change, JsonValue, ReadRequest, Receipt, Result, Stream
from connectors.errors import ConfigError, ContractError, CredentialsError, RefusedError, RetryableError, UnknownOutcome
from connectors.stacker.source import StackerSource

_ID = "sid"
_RESERVED = (_ID, "include_fields")  # the platform's own id, and the one key of a create that is no field
_NO_BODY = "it was answered as done, without the record"
_PROBES = 5

Write: TypeAlias = Callable[[str, Change], Receipt]


class StackerSink(StackerSource):
    """A connection read and written."""

    _bulk = True  # until a bulk call is answered that there is none

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """One receipt per change, as answers come; see `connectors.base.Sink.write`."""
        ops = {change.op for change in changes}
        if len(ops) > 1:
            raise ConfigError(f"one call writes changes of one kind, not {', '.join(sorted(ops))}; send them apart")
        if not changes:
            return
        if stream.capabilities.write(changes[0].op) is None:
            raise ConfigError(f"Stacker's {stream.name} cannot be written: it takes no {changes[0].op}; write to an object's stream")
        yield from (refused for change in changes if (refused := self._unfit(change)) is not None)
        fit = [change for change in changes if self._unfit(change) is None]
        if not fit:
            return
        self.settle(stream)
        name = self.path(stream).settled or ""
        limit = 1000
        if changes[0].op == "create" and len(fit) > 1 and self._bulk:
            for start in range(0, len(fit), limit):
                yield from self._bulk_create(stream, name, fit[start : start + limit], first=start == 0)
        elif changes[0].op == "update" and self.settings.bulk_updates == "by_sid" and len(fit) > 1:
            for start in range(0, len(fit), limit):
                yield from self._bulk_update(name, fit[start : start + limit], first=start == 0)
        else:
            yield from self._singly(name, fit)

    def _unfit(self, change: Change) -> Receipt | None:
        """A rejection of what must not be sent at all, or None."""
        reserved = [name for name in _RESERVED if name in change.fields]
        if reserved and change.op != "delete":
            return Receipt(
                change.seq, Result.REJECTED, change.sink_id, f"{reserved[0]!r} is the platform's own and is never written; unmap it"
            )
        if change.op != "create" and (change.sink_id is None or change.sink_id == ""):
            return Receipt(change.seq, Result.REJECTED, reason=f"an {change.op} without a sid cannot be sent")
        nulls = [name for name, value in change.fields.items() if value is None]
        if nulls and change.op == "update" and self.settings.patch_nulls == "refuse":
            reason = f"null for {nulls[0]!r} is not sent in an update (patch_nulls: refuse); what it does is not documented"
            return Receipt(change.seq, Result.REJECTED, change.sink_id, reason)
        return None

    def _singly(self, name: str, changes: Sequence[Change]) -> Iterator[Receipt]:
        """One request each. What stops the first stops the call; what stops a later one leaves the rest unsent."""
        writes: dict[str, Write] = {"create": self._create, "update": self._update, "delete": self._delete}
        for position, change in enumerate(changes):
            try:
                receipt = _settled(change, lambda change=change: writes[change.op](name, change))  # type: ignore[misc]
            except (CredentialsError, RetryableError) as error:
                if position == 0:
                    raise
                for rest in changes[position:]:
                    yield Receipt(rest.seq, Result.NOT_SENT, rest.sink_id, str(error))
                return
            yield receipt

    def _create(self, name: str, change: Change) -> Receipt:
        record = self.client.create_record(name, change.fields)
        if record is None:
            return Receipt(change.seq, Result.ACCEPTED, reason=_NO_BODY)
        return Receipt(change.seq, Result.APPLIED, record[_ID], answer=record)

    def _update(self, name: str, change: Change) -> Receipt:
        record = self.client.update_record(name, str(change.sink_id), change.fields)
        if record is None:
            return Receipt(change.seq, Result.ACCEPTED, change.sink_id, _NO_BODY)
        if record[_ID] != change.sink_id:
            return Receipt(change.seq, Result.UNKNOWN, change.sink_id, "the update was answered with another record")
        kept = [field for field, value in change.fields.items() if value is None and record.get(field) is not None]
        reason = f"the platform did not clear {', '.join(kept)} when sent null" if kept else ""
        return Receipt(change.seq, Result.APPLIED, change.sink_id, reason, record)

    def _delete(self, name: str, change: Change) -> Receipt:
        try:
            self.client.delete_record(name, str(change.sink_id))
        except RefusedError as refusal:
            if refusal.status != 404:
                raise
            return Receipt(change.seq, Result.APPLIED, change.sink_id, "it was already gone")
        return Receipt(change.seq, Result.APPLIED, change.sink_id)

    def _bulk_create(self, stream: Stream, name: str, changes: Sequence[Change], *, first: bool) -> Iterator[Receipt]:
        try:
            answer = self.client.bulk_upsert_records(name, [change.fields for change in changes])
            created, updated = _sids(answer, "created"), _sids(answer, "updated")
        except RefusedError as refusal:
            if self._no_such_call(name, refusal) or (first and self._kept_from(stream, changes, refusal)):
                self._bulk = False
                yield from self._singly(name, changes)
            else:
                yield from self._refused_bulk(stream, changes, refusal)
            return
        except (ConfigError, RetryableError) as error:
            if first:
                raise
            yield from (Receipt(change.seq, Result.NOT_SENT, reason=str(error)) for change in changes)
            return
        except (UnknownOutcome, ContractError) as error:
            yield from (Receipt(change.seq, Result.UNKNOWN, reason=str(error)) for change in changes)
            return
        made = len({*created, *updated})
        if made != len(changes):
            reason = f"{len(changes)} records were sent, but the answer names {made} different ones"
            yield from (Receipt(change.seq, Result.UNKNOWN, reason=reason) for change in changes)
            return
        reason = f"{len(updated)} of {len(changes)} records of this call were taken as updates of records that exist" if updated else ""
        yield from (Receipt(change.seq, Result.ACCEPTED, reason=reason) for change in changes)

    def _bulk_update(self, name: str, changes: Sequence[Change], *, first: bool) -> Iterator[Receipt]:
        """Many updates in one call, each marked by its sid: only where a person has found out that this platform does so."""
        try:
            answer = self.client.bulk_upsert_records(name, [{**change.fields, _ID: change.sink_id} for change in changes])
            created, updated = _sids(answer, "created"), set(_sids(answer, "updated"))
        except RefusedError as refusal:
            reason = _words(refusal)
            yield from (Receipt(change.seq, Result.REFUSED_BATCH, change.sink_id, reason) for change in changes)  # each may be sent again
            return
        except (ConfigError, RetryableError) as error:
            if first:
                raise
            yield from (Receipt(change.seq, Result.NOT_SENT, change.sink_id, str(error)) for change in changes)
            return
        except (UnknownOutcome, ContractError) as error:
            yield from (Receipt(change.seq, Result.UNKNOWN, change.sink_id, str(error)) for change in changes)
            return
        for change in changes:
            if created:
                reason = f"the bulk call made {len(created)} new records instead of updating; set bulk_updates to off"
                yield Receipt(change.seq, Result.UNKNOWN, change.sink_id, reason)
            elif change.sink_id in updated:
                yield Receipt(change.seq, Result.APPLIED, change.sink_id)
            else:
                yield Receipt(change.seq, Result.UNKNOWN, change.sink_id, "the bulk answer does not name this record as updated")

    def _no_such_call(self, name: str, refusal: RefusedError) -> bool:
        """Whether a refusal says that there is no bulk call here, so that it wrote nothing.

        404 may speak of a record as well; that of a call without any can only speak of the call.
        """
        if refusal.status != 404:
            return refusal.status in (405, 501)
        try:
            self.client.bulk_upsert_records(name, [])
        except RefusedError as empty:
            return empty.status == 404
        except (ConfigError, ContractError, RetryableError, UnknownOutcome):
            pass
        return False

    def _kept_from(self, stream: Stream, changes: Sequence[Change], refusal: RefusedError) -> bool:
        """Whether a 403 may speak of the bulk call alone: nothing of it was written, and one record alone tells what the key may do.

        Raises CredentialsError where something of it may have been written.
        """
        if refusal.status == 403 and self._left_behind(stream, changes):
            raise CredentialsError(f"the bulk call was {_words(refusal)}; check the key of this connection and what it may do")
        return refusal.status == 403

    def _refused_bulk(self, stream: Stream, changes: Sequence[Change], refusal: RefusedError) -> Iterator[Receipt]:
        """Whether a refused call left anything behind is not documented: look before saying that it did not."""
        reason, result = _words(refusal), Result.REFUSED_BATCH
        if self.settings.bulk_failure == "partial" or (self.settings.bulk_failure == "probe" and self._left_behind(stream, changes)):
            reason, result = reason + "; some records of the call may have been written all the same", Result.UNKNOWN
        yield from (Receipt(change.seq, result, reason=reason) for change in changes)

    def _left_behind(self, stream: Stream, changes: Sequence[Change]) -> bool:
        """Whether any of a few records of a refused call is there now; also where that cannot be found out."""
        spread = {round(step * (len(changes) - 1) / (_PROBES - 1)) for step in range(_PROBES)}
        keys = tuple(changes[position].key for position in sorted(spread))
        if not all(keys):
            return True
        try:
            read = self.read(stream, ReadRequest(keys=keys, fields=tuple(keys[0])))
            return any(page.count for page in read)
        except (ConfigError, ContractError, RefusedError, RetryableError):
            return True


def _settled(change: Change, write: Callable[[], Receipt]) -> Receipt:
    """The receipt of one request, whatever became of it. Raises only where it was not sent for a reason that stops the others too."""
    try:
        return write()
    except RefusedError as refusal:
        missing = refusal.status == 404 and change.op != "create"
        return Receipt(change.seq, Result.MISSING if missing else Result.REJECTED, change.sink_id, _words(refusal))
    except (UnknownOutcome, ContractError) as error:
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, str(error))
    except CredentialsError:
        raise
    except ConfigError as error:  # this record cannot be sent, such as a sid that is no path segment
        return Receipt(change.seq, Result.REJECTED, change.sink_id, str(error))


def _words(refusal: RefusedError) -> str:
    return f"refused with status {refusal.status}" + (f": {refusal.words}" if refusal.words else "")


def _sids(answer: JsonValue, name: str) -> list[str]:
    """The sids under `name`; none where it is missing. Raises ContractError."""
    sids = answer.get(name) if isinstance(answer, dict) else ()
    if sids is None:  # one of the spellings of an empty list
        return []
    if not isinstance(sids, list) or not all(isinstance(sid, str) and sid for sid in sids):
        raise ContractError(f"the bulk call was answered without a list of sids under {name!r}; which records were written is not known")
    return sids
