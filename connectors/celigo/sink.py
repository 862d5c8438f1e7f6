"""Writing Celigo: one stack a call. An update is the stack as it is now, changed; a delete comes after a look at who uses it.

Secrets are never in a change: the client fills them in from the connection when it sends.
"""

from collections.abc import Iterator, Mapping, Sequence

from connectors.base import Change, JsonValue, Receipt, Record, Result, Stream
from connectors.celigo.settings import CeligoSettings
from connectors.celigo.source import CeligoSource
from connectors.celigo.stacks import ID, SECRETS, body_of, changed, dependents_of
from connectors.errors import ConfigError, ContractError, RefusedError, RetryableError, UnknownOutcome
from connectors.marks import mark
from connectors.settings import Ports

__all__ = ["CeligoSink"]

_NAMED = 3  # dependents that a refusal names


class CeligoSink(CeligoSource):
    """One account that can be read and written."""

    def __init__(self, settings: CeligoSettings, ports: Ports) -> None:
        super().__init__(settings, ports)
        self._marks: dict[str, str] = {}

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """One request each (and one read before an update or delete), one receipt each; see `connectors.base.Sink.write`."""
        ops = {change.op for change in changes}
        if len(ops) > 1:
            raise ConfigError(f"one call writes changes of one kind, not {', '.join(sorted(ops))}; send them apart")
        if changes and stream.capabilities.write(changes[0].op) is None:
            raise ConfigError(f"Celigo's {stream.name} can only be read; write to its stacks")
        return self._one_by_one(changes)

    def mark(self, stream: Stream, deciding: Mapping[str, JsonValue]) -> str | None:
        """The mark of the secret access key that a lambda stack is written with."""
        key = deciding.get("lambda.accessKeyId")
        if deciding.get("type") != "lambda" or not isinstance(key, str) or key not in self.settings.secret_access_keys:
            return None
        if key not in self._marks:
            self._marks[key] = mark(self.settings.secret_access_keys[key].reveal(), self.settings.account)
        return self._marks[key]

    def _one_by_one(self, changes: Sequence[Change]) -> Iterator[Receipt]:
        """Stops sending at the first change that could not be sent; raises only if that is the first of them."""
        for number, change in enumerate(changes):
            try:
                yield self._write_one(change)
            except (ConfigError, RetryableError) as error:
                if number == 0:
                    raise
                yield from (Receipt(rest.seq, Result.NOT_SENT, rest.sink_id, str(error)) for rest in changes[number:])
                return

    def _write_one(self, change: Change) -> Receipt:
        if change.op != "create" and (not isinstance(change.sink_id, str) or not change.sink_id.strip()):
            return _rejected(change, f"an {change.op} without the stack's {ID} cannot be sent")
        try:
            if change.op == "create":
                return self._create(change)
            return self._update(change, str(change.sink_id)) if change.op == "update" else self._delete(change, str(change.sink_id))
        except UnknownOutcome as error:
            return Receipt(change.seq, Result.UNKNOWN, change.sink_id, str(error))
        except RefusedError as error:
            result = Result.MISSING if error.status == 404 and change.op == "update" else Result.REJECTED
            return Receipt(change.seq, result, change.sink_id, error.words or str(error))

    def _create(self, change: Change) -> Receipt:
        body, why = body_of(_own(change))
        why = why or self.client.unfit(body, create=True)
        if why:
            return _rejected(change, why)
        made = self.client.create_stack(body)
        return Receipt(change.seq, Result.APPLIED, made[ID], answer=self._answer(made))

    def _update(self, change: Change, stack_id: str) -> Receipt:
        """Read whole, changed, written back whole: fields that are not in the change stay as they are at this moment."""
        try:
            held = self.client.get_stack_by_id(stack_id)
            if self.live(held) is None:
                return Receipt(change.seq, Result.MISSING, stack_id, "it is in the recycle bin")
            wanted = changed(held, _own(change))
        except ContractError as error:
            return Receipt(change.seq, Result.NOT_SENT, stack_id, str(error))
        if held[ID] != stack_id:
            return Receipt(change.seq, Result.NOT_SENT, stack_id, "asked for before the update, the platform gave another stack")
        if "type" in change.fields and change.fields["type"] != held.get("type"):
            return _rejected(change, "the type of a stack cannot be updated: remove it and make a new one")
        body, why = body_of(wanted, nulls=self.settings.put_nulls == "send")
        why = why or self.client.unfit(body, create=False)
        if why:
            return _rejected(change, why)
        made = self.client.update_stack(stack_id, body)
        if made[ID] != stack_id:
            return Receipt(change.seq, Result.UNKNOWN, stack_id, "the update was answered with another stack")
        answer = self._answer(made)
        kept = [name for name, value in _own(change).items() if value is None and (answer or {}).get(name) is not None]
        told = f"the platform did not clear {', '.join(kept)}; try put_nulls: send" if kept else ""
        return Receipt(change.seq, Result.APPLIED, stack_id, told, answer)

    def _delete(self, change: Change, stack_id: str) -> Receipt:
        if self.settings.dependents == "refuse":
            try:
                users = self._users(stack_id)
            except (ContractError, RefusedError) as error:
                result = Result.REJECTED if isinstance(error, RefusedError) else Result.NOT_SENT
                why = f"who uses it cannot be told, so it is not deleted; dependents: ignore deletes it all the same ({error})"
                return Receipt(change.seq, result, stack_id, why)
            if users:
                return _rejected(change, _used_by(users))
        try:
            self.client.delete_stack(stack_id)
        except RefusedError as error:
            if error.status != 404:
                raise
            return Receipt(change.seq, Result.APPLIED, stack_id, "it was already gone")
        return Receipt(change.seq, Result.APPLIED, stack_id)

    def _users(self, stack_id: str) -> list[Record]:
        """Who depends on a stack. Nobody, where there is no such stack: deleting it will tell."""
        try:
            return dependents_of({ID: stack_id}, self.client.list_stack_dependencies(stack_id))
        except RefusedError as error:
            if error.status != 404:
                raise
            return []

    def _answer(self, stack: Record) -> Record | None:
        """What the platform made of it, where that can be read."""
        try:
            return self.live(stack)
        except ContractError:
            return None


def _own(change: Change) -> Record:
    """The fields of the platform's; the client adds the secret to every body that needs it."""
    return {name: value for name, value in change.fields.items() if name != SECRETS}


def _rejected(change: Change, why: str) -> Receipt:
    return Receipt(change.seq, Result.REJECTED, change.sink_id, why)


def _used_by(users: Sequence[Record]) -> str:
    named = "; ".join(f"{user['type']} {user['name'] or user['id']}" for user in users[:_NAMED])
    more = f" and {len(users) - _NAMED:,} more" if len(users) > _NAMED else ""
    return f"{len(users):,} resources still use it ({named}{more}); detach them first, or set dependents: ignore"
