"""Kragle's documented operations, one function each, in the platform's own JSON. There is no operation that deletes.

No path ends in a slash. A 403 for one stack says that it is somebody else's, not that the login failed.
Errors are those of `Sender.send`.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from connectors.base import Delivery, JsonValue, Operation
from connectors.errors import ConfigError, CredentialsError
from connectors.http import ABSENT, Answer, Request, Sender
from connectors.kragle.operations import CREATE, GET, LIST, UPDATE
from connectors.kragle.settings import KragleSettings
from connectors.settings import Ports, Secret

__all__ = ["KragleClient"]

_SUCCESS = frozenset({200, 201, 202, 204})  # no status is documented but 403
_REFUSALS = frozenset({400, 404, 405, 409, 410, 413, 414, 415, 422})
_PATH = "/blockstacks"


class KragleClient:
    """One login. Threads may share it. Methods named after an operation give the answer's JSON, None where it is empty."""

    def __init__(self, settings: KragleSettings, ports: Ports) -> None:
        hidden = [secret for secret in (settings.token, settings.password) if secret is not None]
        self._sender = Sender(settings, ports, auth={"Authorization": _authorization(settings)}, hidden=hidden)

    def list_stacks(self, page: int | None = None) -> JsonValue:
        """`{"count", "pagesize", "page", "stacks": […]}`: one page, counted from 1, of the platform's own size."""
        return _value(self.page(page))

    def get_stack(self, stack: JsonValue) -> JsonValue:
        """One stack. `stack` is its id or name. Raises RefusedError: 403 for a private one of others, 404 where there is none."""
        return _value(self.one(stack))

    def create_stack(self, name: str, blocks: JsonValue, **options: JsonValue) -> JsonValue:
        """`{"id"}` of the new stack. Never repeated: the same call twice makes two.

        `blocks` is a list of `[name of the block, conversion, {name, state}]`, the last part optional.
        `options` are any of schedule_id, enabled, needs_approval, webhook and webhook_method.
        """
        return _value(self.create({"name": name, "blocks": blocks, **options}))

    def update_stack(self, stack: JsonValue, **changes: JsonValue) -> JsonValue:
        """The stack after only these parameters were changed; its blocks and jobs as bare ids.

        With `blocks` every block is made anew. With `schedule_id` another job may be added, so that such a call is never repeated.
        """
        return _value(self.update(stack, changes))

    def page(self, number: int | None = None) -> Answer:
        """The answer to a list, as it came."""
        params = () if number is None else (("page", str(number)),)
        return self._send(LIST, _PATH, params=params)

    def one(self, stack: JsonValue) -> Answer:
        """The answer to a get, as it came."""
        return self._send(GET, _one(stack), private=True)

    def create(self, body: Mapping[str, JsonValue]) -> Answer:
        """The answer to a create, as it came."""
        return self._send(CREATE, _PATH, json=dict(body))

    def update(self, stack: JsonValue, changes: Mapping[str, JsonValue]) -> Answer:
        """The answer to an update, as it came."""
        if not changes:
            raise ConfigError("an update of a stack needs at least one parameter to change")
        operation = replace(UPDATE, delivery=Delivery.E3) if "schedule_id" in changes else UPDATE
        return self._send(operation, _one(stack), json=dict(changes), private=True)

    def hide(self, *secrets: Secret) -> None:
        """Show these nowhere: the tokens of webhooks."""
        self._sender.hide(*secrets)

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self._sender.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self._sender.close()

    def _send(self, operation: Operation, path: str, *, json: Any = ABSENT, params: Any = (), private: bool = False) -> Answer:
        certified = _REFUSALS | {403} if private else _REFUSALS
        request = Request(operation, path, params=params, json=json, success=_SUCCESS, certified=certified)
        try:
            return self._sender.send(request)
        except CredentialsError as error:
            raise CredentialsError(f"{error}; if they are right, try the other auth (bearer or basic)") from None


def _authorization(settings: KragleSettings) -> Secret:
    token = settings.token.reveal() if settings.token is not None else ""
    if settings.auth == "bearer":
        return Secret(f"Bearer {token}" if token else "")
    user = settings.username if settings.username is not None else token
    password = settings.password.reveal() if settings.password is not None else token if settings.username is not None else ""
    return Secret("Basic " + b64encode(f"{user}:{password}".encode()).decode())


def _one(stack: JsonValue) -> str:
    if isinstance(stack, bool) or not isinstance(stack, int | str) or str(stack).strip() in ("", ".", ".."):
        raise ConfigError("a stack is named by its id or its name, and '.' or '..' cannot stand in a path")
    return f"{_PATH}/{quote(str(stack), safe='')}"


def _value(answer: Answer) -> JsonValue:
    return answer.json() if answer.body.strip() else None
