"""Stack AI as a sink: connections, and roles on them. One request for each change, and never a secret that was read.

A rename is a PATCH. Everything else of a connection is a PUT of all of it, for which its secrets must be given by
reference; what the PUT does not change is read again just before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from connectors.base import Change, JsonValue, Receipt, Record, Result, Stream
from connectors.canonical_json import canonical
from connectors.errors import ConfigError, ContractError, CredentialsError, RefusedError, RetryableError, UnknownOutcome
from connectors.jsontext import loads
from connectors.marks import mark
from connectors.settings import Ports
from connectors.stack_ai.answers import CONNECTION_IDS, error_words, is_uuid, made_in
from connectors.stack_ai.grants import EVERYONE, Subject, grant_id, subject_of
from connectors.stack_ai.masks import Masked, masked_at, provider_data
from connectors.stack_ai.settings import StackAiSettings
from connectors.stack_ai.source import StackAiSource
from connectors.stack_ai.streams import BODY, SECRET_FIELD, SECRETS

__all__ = ["StackAiSink"]

_NAMELESS = "Unnamed connection"
Looked = TypeVar("Looked")
_GRANT = ("connection_id", "subject_type", "subject_id", "role")


class _Unfit(Exception):
    """Why a change is not sent at all."""


class StackAiSink(StackAiSource):
    """One user's connections, read and written."""

    def __init__(self, settings: StackAiSettings, ports: Ports) -> None:
        super().__init__(settings, ports)
        self._marks: dict[int, str] = {}

    def write(self, stream: Stream, changes: Sequence[Change]) -> Iterator[Receipt]:
        """One receipt per change, as answers come; see `connectors.base.Sink.write`."""
        ops = {change.op for change in changes}
        if len(ops) > 1:
            raise ConfigError(f"one call writes changes of one kind, not {', '.join(sorted(ops))}; send them apart")
        writes: dict[tuple[str, str], Callable[[Change], Receipt]] = {
            ("connections", "create"): self._create,
            ("connections", "update"): self._update,
            ("connections", "delete"): self._delete,
            ("rbac", "create"): self._grant,
            ("rbac", "update"): self._regrant,
            ("rbac", "delete"): self._revoke,
        }
        if changes and (stream.name, changes[0].op) not in writes:
            raise ConfigError(f"Stack AI's {stream.name} cannot be written; write to connections or rbac")
        for position, change in enumerate(changes):
            try:
                self.organization.stop_elsewhere()
                receipt = _settled(change, writes[stream.name, change.op])
            except (CredentialsError, RetryableError, ConfigError) as error:
                if position == 0:
                    raise
                yield from (Receipt(rest.seq, Result.NOT_SENT, rest.sink_id, str(error)) for rest in changes[position:])
                return
            yield receipt

    def mark(self, stream: Stream, deciding: Mapping[str, JsonValue]) -> str | None:
        """The mark of what the settings declare for a connection of this name and provider."""
        name, provider_id = str(deciding.get("name")), str(deciding.get("provider_id"))
        secrets = provider_data(self.settings.provider_data, name, provider_id)
        if not secrets:
            return None
        if id(secrets) not in self._marks:  # the settings hold it as long as this sink lives
            revealed = canonical({field: secret.reveal() for field, secret in secrets.items()})
            self._marks[id(secrets)] = mark(revealed, self.settings.account)
        return self._marks[id(secrets)]

    # connections

    def _create(self, change: Change) -> Receipt:
        fields = _only(_own(change), BODY, "a connection")
        name = fields.get("name")
        if not isinstance(name, str) or not name.strip() or name == _NAMELESS:
            raise _Unfit("a connection needs a name of its own, or it could not be found again; map one to name")
        provider_id, kind = _text(fields, "provider_id"), _text(fields, "connection_type_id")
        body: dict[str, JsonValue] = {"name": name, "provider_id": provider_id, "connection_type_id": kind}
        body[SECRET_FIELD] = self._data(fields, name, provider_id)
        return self._made(change, self._sent("create_connection", None, body))

    def _update(self, change: Change) -> Receipt:
        key, fields = _id(change), _only(_own(change), BODY, "a connection")
        if "name" in fields and (not isinstance(fields["name"], str) or not fields["name"].strip()):
            raise _Unfit("a connection cannot be left without a name; map one to name")
        if not change.fields:
            raise _Unfit("there is no field to write")
        if set(change.fields) == {"name"}:
            return self._made(change, self._sent("patch_connection", key, {"name": fields["name"]}))
        now = made_in(_looked_up(lambda: self.client.get_connection(key)), self.settings.id_at)
        if now is None or now["id"] != key:
            raise _Unfit("what is to be replaced could not be read: the answer shows another connection, or none")
        self.organization.see(now)
        whole = {**{field: now.get(field) for field in BODY if field != SECRET_FIELD}, **fields}
        name, provider_id, kind = (_text(whole, field) for field in BODY if field != SECRET_FIELD)
        if provider_data(self.settings.provider_data, name, provider_id) is None:
            raise _Unfit(
                f"replacing a connection takes all of its {SECRET_FIELD}, secrets included; "
                f"declare it by reference under provider_data, for {name!r} or for 'provider:{provider_id}'"
            )
        body: dict[str, JsonValue] = {"name": name, "provider_id": provider_id, "connection_type_id": kind}
        body[SECRET_FIELD] = self._data(fields, name, provider_id)
        return self._made(change, self._sent("update_connection", key, body))

    def _delete(self, change: Change) -> Receipt:
        key = _id(change)
        try:
            _taken(self.client.delete_connection(key))
        except RefusedError as refusal:
            if refusal.status != 404:
                raise
            return Receipt(change.seq, Result.APPLIED, key, "it was already gone")
        return Receipt(change.seq, Result.APPLIED, key)

    def _data(self, fields: Mapping[str, JsonValue], name: str, provider_id: str) -> JsonValue:
        """What a body says under `connection_provider_data`: what is mapped, and the declared references revealed."""
        declared = provider_data(self.settings.provider_data, name, provider_id)
        given = fields.get(SECRET_FIELD)
        if isinstance(given, str):
            given = _looked_up(lambda: loads(str(fields[SECRET_FIELD])))
        if given is None and declared is None:
            raise _Unfit(
                f"a connection needs its {SECRET_FIELD}; declare it by reference under provider_data, "
                f"for {name!r} or for 'provider:{provider_id}'"
            )
        if given is not None and not isinstance(given, dict):
            raise _Unfit(f"{SECRET_FIELD} is an object; map one to it")
        whole = {**(given or {}), **{field: secret.reveal() for field, secret in (declared or {}).items()}}
        place = masked_at(whole, self.settings.mask)
        if place is not None:
            raise _Unfit(
                f"{SECRET_FIELD}.{place} holds what is shown in place of a secret, which is never sent; declare it under provider_data"
            )
        return whole

    def _made(self, change: Change, answer: JsonValue) -> Receipt:
        """The receipt of a create or update, from what the answer shows of the connection."""
        made = made_in(answer, self.settings.id_at)
        if made is not None and made["id"] != change.sink_id and not is_uuid(made["id"]):
            made = None  # the id of something else: a job, a message
        if made is None or not isinstance(answer, dict) or not set(CONNECTION_IDS) & answer.keys():
            _taken(answer)  # what shows a connection may well say that its last check was an error
        if made is None:
            if change.op == "create":
                return Receipt(change.seq, Result.ACCEPTED, reason="the answer does not show the new connection: it is found by its name")
            return Receipt(change.seq, Result.APPLIED, change.sink_id)
        key = made["id"]
        if change.op == "update" and key != change.sink_id:
            return Receipt(change.seq, Result.UNKNOWN, change.sink_id, "the update was answered with another connection")
        reason = ""
        try:
            self.organization.see(made)
        except ConfigError as error:  # this one is made; the next write will not be sent
            reason = str(error)
        shown = {name: value for name, value in made.items() if name != SECRET_FIELD}
        return Receipt(change.seq, Result.APPLIED, key, reason, shown if len(shown) > 1 else None)

    # roles

    def _grant(self, change: Change) -> Receipt:
        fields = _only(change.fields, _GRANT, "a grant")
        who = None if fields.get("subject_id") == EVERYONE else fields.get("subject_id")
        if who is not None and (not isinstance(who, str) or not who):
            raise _Unfit("subject_id is the UUID of a user or group, or * for everyone in the organization")
        subject = Subject(_text(fields, "connection_id"), _text(fields, "subject_type"), who)
        return self._given(change, subject, fields)

    def _regrant(self, change: Change) -> Receipt:
        subject = _subject(change)
        fields = _only(change.fields, _GRANT, "a grant")
        if set(fields) - {"role"}:
            raise _Unfit("only the role of a grant can change; a grant to someone else is another record")
        held = _looked_up(lambda: self.behind.grants(subject.connection, None))
        if not any(record["id"] == grant_id(subject) for record in held.records):
            return Receipt(change.seq, Result.MISSING, change.sink_id, "there is no such grant any more, and an update makes none")
        return self._given(change, subject, fields)

    def _given(self, change: Change, subject: Subject, fields: Mapping[str, JsonValue]) -> Receipt:
        if "role" not in fields:
            raise _Unfit("a grant needs a role; map one to role")
        role = fields["role"]
        if role is not None and (not isinstance(role, str) or not role):
            raise _Unfit("a role is a text")
        if subject.id is not None:
            if role is None:
                raise _Unfit("null is no role of a user or group; to take a role away, delete the grant")
            _taken(self.client.update_connection_rbac(subject.connection, subject.kind, subject.id, role))
        else:
            self._organization_role(subject, role)
        return Receipt(change.seq, Result.APPLIED, grant_id(subject))

    def _revoke(self, change: Change) -> Receipt:
        subject = _subject(change)
        try:
            if subject.id is None:
                self._organization_role(subject, None)
            else:
                _taken(self.client.delete_connection_rbac(subject.connection, subject.kind, subject.id))
        except RefusedError as refusal:
            if refusal.status != 404:
                raise
            return Receipt(change.seq, Result.APPLIED, change.sink_id, "it was already gone")
        return Receipt(change.seq, Result.APPLIED, change.sink_id)

    def _organization_role(self, subject: Subject, role: str | None) -> None:
        if subject.kind != self.settings.organization_subject:
            raise _Unfit(f"a grant to * is for everyone: its subject_type is {self.settings.organization_subject!r}")
        if self.settings.organization_roles == "hidden":
            raise _Unfit("no answer tells the organization's role here (organization_roles: hidden), so that it is not written by a sync")
        _taken(self.client.update_connection_organization_role(subject.connection, role))

    def _sent(self, name: str, key: str | None, body: Mapping[str, JsonValue]) -> JsonValue:
        answer = self.client.send(name, key, json=dict(body))
        return answer.json() if answer.body.strip() else None


def _own(change: Change) -> Mapping[str, JsonValue]:
    """The fields of the platform's: what stands for secrets only says that they are to be sent."""
    return {name: value for name, value in change.fields.items() if name != SECRETS}


def _settled(change: Change, write: Callable[[Change], Receipt]) -> Receipt:
    """The receipt of one change, whatever became of it. Raises only where nothing was sent for a reason that stops the others too."""
    try:
        return write(change)
    except (_Unfit, Masked) as why:
        return Receipt(change.seq, Result.REJECTED, change.sink_id, str(why))
    except RefusedError as refusal:
        missing = refusal.status == 404 and change.op != "create"
        words = f"refused with status {refusal.status}" + (f": {refusal.words}" if refusal.words else "")
        return Receipt(change.seq, Result.MISSING if missing else Result.REJECTED, change.sink_id, words)
    except (UnknownOutcome, ContractError) as error:
        return Receipt(change.seq, Result.UNKNOWN, change.sink_id, str(error))


def _taken(answer: JsonValue) -> None:
    """Raises UnknownOutcome where an answer with the status of a success says that the write failed."""
    failed = error_words(answer) or ("false" if answer is False else "")
    if failed:
        raise UnknownOutcome(f"answered as a success that failed: {failed}")


def _looked_up(look: Callable[[], Looked]) -> Looked:
    """What is needed before anything is sent. Where it cannot be understood, the change is not sent."""
    try:
        return look()
    except ContractError as error:
        raise _Unfit(str(error)) from None


def _only(fields: Mapping[str, JsonValue], allowed: Sequence[str], what: str) -> Record:
    others = sorted(fields.keys() - set(allowed))
    if others:
        raise _Unfit(f"{others[0]!r} cannot be written: {what} takes {', '.join(allowed)}; unmap it")
    return dict(fields)


def _text(fields: Mapping[str, JsonValue], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise _Unfit(f"{name} is required, as a text; map one to it")
    return value


def _id(change: Change) -> str:
    if not isinstance(change.sink_id, str) or not change.sink_id:
        raise _Unfit(f"an {change.op} without the connection's id cannot be sent")
    return change.sink_id


def _subject(change: Change) -> Subject:
    subject = subject_of(change.sink_id)
    if subject is None:
        raise _Unfit("the id of a grant is written as connection/subject_type/subject_id, and this is none")
    return subject
