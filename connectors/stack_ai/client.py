"""Stack AI's documented operations on connections, one function each, in the platform's own JSON.

No path ends in a slash. Errors are those of `Sender.send`; an answer without a body is None. Bodies that hold
a masked secret are refused here, so that nobody can go round it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from connectors.base import Delivery, JsonValue
from connectors.errors import ConfigError
from connectors.http import ABSENT, Answer, Request, Sender
from connectors.settings import Ports, Secret
from connectors.stack_ai.login import PasswordLogin
from connectors.stack_ai.masks import refuse_masks
from connectors.stack_ai.operations import OPERATION
from connectors.stack_ai.settings import StackAiSettings

__all__ = ["StackAiClient"]

_WRITTEN = frozenset({200, 201, 202, 204})  # writes show a status only where it is 200
_REFUSALS = frozenset({400, 404, 409, 413, 422})
_OF_ONE = _REFUSALS | {403, 424}  # of one connection: 403 says nothing about the others

Params = Sequence[tuple[str, str]]


class StackAiClient:
    """One user in the user's current organization. Threads may share it."""

    def __init__(self, settings: StackAiSettings, ports: Ports) -> None:
        self._mask = settings.mask
        self._login = PasswordLogin(settings, ports)
        secrets = [secret for fields in settings.provider_data.values() for secret in fields.values()]
        self.sender = Sender(settings, ports, auth=self._login.login, hidden=[*self._login.hidden, *secrets])

    def list_available_connections(self) -> JsonValue:
        """The connection types with their configuration parameters."""
        return value_of(self.send("list_available_connections"))

    def list_connections(self, limit: int = 1000, offset: int = 0, connection_provider: str | None = None) -> JsonValue:
        """One page of the connections, those of one provider if asked."""
        params = {"connection_provider": connection_provider, "limit": limit, "offset": offset}
        return value_of(self.send("list_connections", params=_params(params)))

    def list_connections_v1(
        self, limit: int = 10, offset: int = 0, sort_by: str = "created_at", sort_dir: str = "desc", **filters: JsonValue
    ) -> JsonValue:
        """One page of the connections. `filters` are written as field__operator; the document names neither fields nor operators."""
        params = {"limit": limit, "offset": offset, "sort_by": sort_by, "sort_dir": sort_dir, **filters}
        return value_of(self.send("list_connections_v1", params=_params(params)))

    def create_connection(
        self, provider_id: str, connection_type_id: str, connection_provider_data: JsonValue, name: str | None = None
    ) -> JsonValue:
        """A new connection; without a name the platform calls it "Unnamed connection". The same call twice makes two."""
        return value_of(self.send("create_connection", json=_model(provider_id, connection_type_id, connection_provider_data, name)))

    def get_connection(self, connection_id: str, refresh_oauth_tokens: bool = False) -> JsonValue:
        """One connection. With `refresh_oauth_tokens` the platform acts, so that the call is never repeated."""
        return value_of(self.send("get_connection", connection_id, params=_refresh(refresh_oauth_tokens)))

    def update_connection(
        self, connection_id: str, name: str, provider_id: str, connection_type_id: str, connection_provider_data: JsonValue
    ) -> JsonValue:
        """Replace a connection. The name is required here, because a PUT without one resets it; so are the secrets, whole."""
        if not name:
            raise ConfigError("a connection is updated with its name, because without one it would be called Unnamed connection; add name")
        body = _model(provider_id, connection_type_id, connection_provider_data, name)
        return value_of(self.send("update_connection", connection_id, json=body))

    def patch_connection(self, connection_id: str, name: str) -> JsonValue:
        """Rename a connection."""
        return value_of(self.send("patch_connection", connection_id, json={"name": name}))

    def delete_connection(self, connection_id: str) -> JsonValue:
        """Remove a connection."""
        return value_of(self.send("delete_connection", connection_id))

    def get_connection_health(self, connection_id: str) -> JsonValue:
        """The health of a connection, in whatever way the platform tells it."""
        return value_of(self.send("get_connection_health", connection_id))

    def start_oauth(
        self, provider_id: str, connection_type_id: str, connection_provider_data: JsonValue, name: str | None = None
    ) -> JsonValue:
        """The URL at which a person lets the provider in; the code it comes back with goes to one of the callbacks."""
        return value_of(self.send("start_oauth", json=_model(provider_id, connection_type_id, connection_provider_data, name)))

    def create_connection_from_callback(
        self, code: str, provider_id: str, connection_type_id: str, connection_provider_data: JsonValue, name: str | None = None
    ) -> JsonValue:
        """A new connection from an OAuth code. A code works once: after a lost answer look whether the connection is there."""
        self.sender.hide(Secret(code))
        body = _model(provider_id, connection_type_id, connection_provider_data, name)
        return value_of(self.send("create_connection_from_callback", params=[("code", code)], json=body))

    def update_connection_from_callback(
        self,
        connection_id: str,
        code: str,
        name: str,
        provider_id: str,
        connection_type_id: str,
        connection_provider_data: JsonValue,
    ) -> JsonValue:
        """New OAuth credentials for a connection, from a single-use code. The name is required for the same reason as in an update."""
        if not name:
            raise ConfigError("a connection is updated with its name, because without one it would be called Unnamed connection; add name")
        self.sender.hide(Secret(code))
        body = _model(provider_id, connection_type_id, connection_provider_data, name)
        return value_of(self.send("update_connection_from_callback", connection_id, params=[("code", code)], json=body))

    def get_connection_resources(
        self, connection_id: str, resource_ids: Sequence[str] = (), refresh_oauth_tokens: bool = False
    ) -> JsonValue:
        """The resources with these ids."""
        ids = [resource_ids] if isinstance(resource_ids, str) else resource_ids
        params = [*(("resource_ids", one) for one in ids), *_refresh(refresh_oauth_tokens)]
        return value_of(self.send("get_connection_resources", connection_id, params=params))

    def get_children_resources(
        self,
        connection_id: str,
        resource_id: str | None = None,
        cursor: str | None = None,
        page_size: int = 50,
        refresh_oauth_tokens: bool = False,
    ) -> JsonValue:
        """One page of what is one level below a resource (None: at the root). `cursor` is the platform's word for a page token."""
        params = _params({"resource_id": resource_id, "cursor": cursor, "page_size": page_size})
        return value_of(self.send("get_children_resources", connection_id, params=[*params, *_refresh(refresh_oauth_tokens)]))

    def search_resources(
        self, connection_id: str, query: str, cursor: str | None = None, page_size: int = 50, refresh_oauth_tokens: bool = False
    ) -> JsonValue:
        """One page of the resources that match the query."""
        params = _params({"query": query, "cursor": cursor, "page_size": page_size})
        return value_of(self.send("search_resources", connection_id, params=[*params, *_refresh(refresh_oauth_tokens)]))

    def get_connection_rbac(self, connection_id: str) -> JsonValue:
        """Who may use a connection."""
        return value_of(self.send("get_connection_rbac", connection_id))

    def update_connection_rbac(self, connection_id: str, subject_type: str, subject_id: str, role: str) -> JsonValue:
        """Give a subject a role, in place of the one it may have."""
        body: JsonValue = {"subject_type": subject_type, "role": role, "subject_id": subject_id}
        return value_of(self.send("update_connection_rbac", connection_id, json=body))

    def delete_connection_rbac(self, connection_id: str, subject_type: str, subject_id: str) -> JsonValue:
        """Take a subject's role away."""
        params = [("subject_type", subject_type), ("subject_id", subject_id)]
        return value_of(self.send("delete_connection_rbac", connection_id, params=params))

    def update_connection_organization_role(self, connection_id: str, role: str | None) -> JsonValue:
        """The role of everyone in the organization; None takes it away."""
        return value_of(self.send("update_connection_organization_role", connection_id, json={"role": role}))

    def send(self, name: str, connection_id: str | None = None, *, params: Params = (), json: JsonValue = ABSENT) -> Answer:
        """The answer to an operation, as it came. Raises ConfigError for a body that holds a masked secret."""
        operation = OPERATION[name]
        path = operation.path
        if "{connection_id}" in path:
            if not connection_id:
                raise ConfigError(f"{name} needs the id of a connection")
            path = path.replace("{connection_id}", quote(connection_id, safe=""))
        if json is not ABSENT:
            refuse_masks(json, self._mask)
        if ("refresh_oauth_tokens", "true") in params:
            operation = replace(operation, delivery=Delivery.E3)
        success = frozenset({200}) if operation.method == "GET" else _WRITTEN
        certified = _OF_ONE if connection_id else _REFUSALS
        return self.sender.send(Request(operation, path, params=params, json=json, success=success, certified=certified))

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far, without those that log in: {"read": n, "write": n}."""
        return self.sender.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self.sender.close()
        self._login.close()


def value_of(answer: Answer) -> JsonValue:
    """The answer's JSON, or None where it has no body."""
    return answer.json() if answer.body.strip() else None


def _model(provider_id: str, connection_type_id: str, data: JsonValue, name: str | None) -> dict[str, JsonValue]:
    if not isinstance(data, dict):
        raise ConfigError("connection_provider_data must be an object, with the fields that list_available_connections tells")
    body: dict[str, JsonValue] = {
        "provider_id": provider_id,
        "connection_type_id": connection_type_id,
        "connection_provider_data": {key: value.reveal() if isinstance(value, Secret) else value for key, value in data.items()},
    }
    return body if name is None else {"name": name, **body}


def _params(given: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in given.items() if value is not None]


def _text(value: JsonValue) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _refresh(wanted: bool) -> list[tuple[str, str]]:
    return [("refresh_oauth_tokens", "true")] if wanted else []
