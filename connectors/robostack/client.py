"""Robostack's documented operations, one function each, in its own JSON. POST finds and PUT creates.

Update and delete pass the selection guard here, so that nobody can go round it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from connectors.base import JsonValue, Operation
from connectors.errors import ConfigError, RefusedError
from connectors.http import ABSENT, Answer, Request, Sender
from connectors.robostack.guard import guard_list, guard_selection
from connectors.robostack.operations import AGGREGATE, CREATE, DELETE, FIND, UPDATE
from connectors.robostack.settings import RobostackSettings
from connectors.settings import Ports

__all__ = ["RobostackClient"]

_ANY_SUCCESS = frozenset(range(200, 300))  # no status is documented
_REFUSALS = frozenset({400, 404, 405, 406, 409, 410, 412, 413, 414, 415, 422})

Selection = Mapping[str, JsonValue]


class RobostackClient:
    """One application. Threads may share it. Methods named after an operation give the answer's JSON, None where it is empty."""

    def __init__(self, settings: RobostackSettings, ports: Ports) -> None:
        self._settings = settings
        self.sender = Sender(settings, ports, auth={"x-api-key": settings.api_key, "x-api-secret": settings.api_secret})
        prefix = "" if urlsplit(settings.base_url).path.rstrip("/").endswith("/external/api") else "/external/api"
        self._prefix = f"{prefix}/{quote(settings.app_uuid, safe='')}/"

    def find_records(self, resource: str, selection: Selection | None = None) -> JsonValue:
        """The records whose fields have exactly these values; without a selection every record."""
        return _value(self.find(resource, {"selection": dict(selection or {})}))

    def create_records(self, resource: str, records: JsonValue) -> JsonValue:
        """Create one record (an object) or several (a list). Never repeated: the same call twice creates twice."""
        return _value(self.create(resource, records))

    def update_records(self, resource: str, selection: JsonValue, updation: JsonValue) -> JsonValue:
        """Change the fields in `updation` of the record that `selection` names by its key.

        Lists of both pair by position, where the connection allows it. Raises ConfigError for any
        selection that could match more than the record meant.
        """
        return _value(self.update(resource, selection, updation))

    def delete_records(self, resource: str, selection: JsonValue) -> JsonValue:
        """Delete the record that `selection` names by its key, or those of a list, under the same guard as an update."""
        return _value(self.delete(resource, selection))

    def aggregate_records(self, resource: str, pipeline: JsonValue = ABSENT) -> JsonValue:
        """Run an aggregation pipeline. The document only says "Coming soon": expect RefusedError (404, 405 or 501)."""
        request = replace(self._request(AGGREGATE, resource, pipeline), certified=_REFUSALS | {501})
        request = replace(request, path=request.path + "aggregation")
        try:
            return _value(self.sender.send(request))
        except RefusedError as error:
            if error.status in (404, 405, 501):
                message = f"Robostack documents aggregation as coming soon, and answered {error.status}; read the records instead"
                raise RefusedError(message, status=error.status, words=error.words) from None
            raise

    def find(self, resource: str, body: JsonValue) -> Answer:
        """The answer to a find with this body (ABSENT: none), as it came."""
        return self.sender.send(self._request(FIND, resource, body))

    def create(self, resource: str, records: JsonValue) -> Answer:
        """The answer to a create, as it came."""
        if not isinstance(records, dict | list) or not records or (isinstance(records, list) and not all(map(_is_record, records))):
            raise ConfigError(f"a create in {resource!r} needs a record with at least one field, or a list of them")
        return self.sender.send(self._request(CREATE, resource, records))

    def update(self, resource: str, selection: JsonValue, updation: JsonValue) -> Answer:
        """The answer to an update, as it came. Raises ConfigError under the guard."""
        self._guard(resource, selection)
        fine = isinstance(updation, list) == isinstance(selection, list) and (
            _is_record(updation) if not isinstance(updation, list) else all(map(_is_record, updation))
        )
        if not fine or (isinstance(updation, list) and isinstance(selection, list) and len(updation) != len(selection)):
            raise ConfigError(f"an update of {resource!r} needs the fields to change, as many objects as there are selections")
        return self.sender.send(self._request(UPDATE, resource, {"selection": selection, "updation": updation}))

    def delete(self, resource: str, selection: JsonValue) -> Answer:
        """The answer to a delete, as it came. Raises ConfigError under the guard."""
        self._guard(resource, selection)
        return self.sender.send(self._request(DELETE, resource, {"selection": selection}))

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self.sender.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self.sender.close()

    def _guard(self, resource: str, selection: Any) -> None:
        keys = self._settings.keys_of(resource)
        if isinstance(selection, Sequence) and not isinstance(selection, str):
            guard_list(selection, keys, resource, allowed=self._settings.list_selections)
        else:
            guard_selection(selection, keys, resource)

    def _request(self, operation: Operation, resource: str, body: JsonValue) -> Request:
        if not resource:
            raise ConfigError("a Robostack resource needs a name")
        path = f"{self._prefix}{quote(resource, safe='')}/"
        return Request(operation, path, json=body, success=_ANY_SUCCESS, certified=_REFUSALS)


def _value(answer: Answer) -> JsonValue:
    return answer.json() if answer.body.strip() else None


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)
