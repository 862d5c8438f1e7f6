"""Writing Kragle: one stack a request, only what changed, never a secret; blocks only where they differ, their state kept."""

from collections.abc import Iterator, Sequence
from typing import Any

from connectors.base import Change, JsonValue, Receipt, Record, Result, Stream
from connectors.errors import ConfigError, ContractError, CredentialsError, RefusedError, RetryableError, UnknownOutcome
from connectors.http import Answer
from connectors.kragle.body import carried, create_body, same_blocks, unfit, update_body
from connectors.kragle.source import KragleSource
from connectors.kragle.view import same_id

__all__ = ["KragleSink"]

_SHOWN_BY_PUT = ("id", "owner", "name", "is_approved", "needs_approval", "webhook", "webhook_method")


class KragleSink(KragleSource):
    """One login that reads, makes and changes stacks. It cannot delete any."""

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """Write changes of one op, one request each; see `connectors.base.Sink.write`."""
        ops = {change.op for change in changes}
        if len(ops) > 1:
            raise ConfigError(f"one call writes changes of one kind, not {', '.join(sorted(ops))}; send them apart")
        if changes and stream.capabilities.write(changes[0].op) is None:
            raise ConfigError(f"Kragle has no {changes[0].op} for its {stream.name}: only our stacks are made and changed, none deleted")
        for position, change in enumerate(changes):
            try:
                receipt = self._write_one(change)
            except (ConfigError, RetryableError) as error:
                if position == 0:
                    raise
                yield from (Receipt(rest.seq, Result.NOT_SENT, rest.sink_id, str(error)) for rest in changes[position:])
                return
            yield receipt

    def _write_one(self, change: Change) -> Receipt:
        """The receipt of one change. Raises only what concerns the changes after it, too."""
        why = unfit(change, self._settings) or _unaddressed(change)
        if why:
            return Receipt(change.seq, Result.REJECTED, change.sink_id, why)
        try:
            return self._create(change) if change.op == "create" else self._update(change)
        except RefusedError as refusal:
            return self._refused(change, refusal)
        except (UnknownOutcome, ContractError) as error:
            return Receipt(change.seq, Result.UNKNOWN, change.sink_id, str(error))

    def _create(self, change: Change) -> Receipt:
        answer = self._client.create(create_body(change.fields))
        if not answer.body.strip():
            return Receipt(change.seq, Result.ACCEPTED, reason="the answer does not name the new stack")
        told = answer.json()
        made = told.get("id") if isinstance(told, dict) else None
        if isinstance(made, bool) or not isinstance(made, int | str) or made == "":
            return Receipt(change.seq, Result.UNKNOWN, reason="the create was answered as a success without the id of the new stack")
        return Receipt(change.seq, Result.APPLIED, made)

    def _update(self, change: Change) -> Receipt:
        body = update_body(change.fields)
        if "blocks" in body:
            try:
                held = self._held(change.sink_id)
            except ContractError as error:  # nothing was sent yet
                return Receipt(change.seq, Result.NOT_SENT, change.sink_id, str(error))
            if held is None:
                return Receipt(change.seq, Result.REJECTED, change.sink_id, "the stack is somebody else's; nothing was sent")
            if same_blocks(body["blocks"], held):
                del body["blocks"]
            elif self._settings.block_state == "carry":
                body["blocks"] = carried(_listed(body["blocks"]), held)
        if not body:
            reason = "the blocks are there already; their names and state are not shown and were not sent, because that would reset them"
            return Receipt(change.seq, Result.APPLIED, change.sink_id, reason)
        return _updated(change, self._client.update(change.sink_id, body))

    def _held(self, sink_id: JsonValue) -> list[Record] | None:
        """The blocks of a stack as they are now; None where it is not ours. Raises CredentialsError where the login is not in force."""
        stack = self.shown(sink_id)
        if not self.owned(stack):
            return None
        if not same_id(stack["id"], sink_id):
            raise ContractError(f"the stack {stack['id']} was answered when {sink_id} was asked for; nothing was sent")
        return [one for one in _listed(stack.get("blocks") or []) if isinstance(one, dict)]

    def _refused(self, change: Change, refusal: RefusedError) -> Receipt:
        """A refusal concerns this stack alone, but for a 403 that a stack of ours gives under a login that expired."""
        words = f"refused with status {refusal.status}" + (f": {refusal.words}" if refusal.words else "")
        if refusal.status == 404 and change.op == "update":
            return Receipt(change.seq, Result.MISSING, change.sink_id, words)
        if refusal.status == 403 and change.op == "update" and not self._sees(change.sink_id):
            message = f"Kragle neither changes nor shows our stack {change.sink_id}: the login expired; renew the token"
            raise CredentialsError(message) from None
        return Receipt(change.seq, Result.REJECTED, change.sink_id, words)

    def _sees(self, sink_id: JsonValue) -> bool:
        """Whether a stack is shown to us at all, as its owner or as a stranger to somebody else's."""
        try:
            self.owned(self.shown(sink_id))
        except (RefusedError, ContractError, RetryableError):
            return False
        return True


def _updated(change: Change, answer: Answer) -> Receipt:
    """The receipt of an update: its answer is the stack, with blocks and jobs as bare ids."""
    if not answer.body.strip():
        return Receipt(change.seq, Result.ACCEPTED, change.sink_id, "the answer does not show the stack")
    told = answer.json()
    if not isinstance(told, dict) or "id" not in told:
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, "the update was answered as a success without the stack")
    if not same_id(told["id"], change.sink_id):
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, f"the update was answered with another stack ({told['id']})")
    shown = {name: told[name] for name in _SHOWN_BY_PUT if name in told}
    other = [name for name, value in change.fields.items() if name in shown and shown[name] != value]
    reason = f"Kragle answered with another {', '.join(other)} than was sent" if other else ""
    return Receipt(change.seq, Result.APPLIED, change.sink_id, reason, shown)


def _unaddressed(change: Change) -> str:
    if change.op == "create":
        return ""
    value = change.sink_id
    fine = not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, str) and bool(value.strip(" ./"))))
    return "" if fine else "an update without the stack's id cannot be sent"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
