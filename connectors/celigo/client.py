"""Celigo's documented operations on stacks, one function each, in the platform's own JSON.

No path ends in a slash. Bodies pass the guard of `bodies` here, so that nobody can go round it: what is
refused there raises ConfigError. Other errors are those of `Sender.send`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from connectors.base import JsonValue, Operation, Record
from connectors.celigo.bodies import refusal, with_secret
from connectors.celigo.links import next_link, relative_to
from connectors.celigo.operations import CREATE, DELETE, DEPENDENCIES, GET, LIST, READ_TOKEN, ROTATE_TOKEN, UPDATE
from connectors.celigo.settings import CeligoSettings
from connectors.errors import ConfigError, ContractError, RefusedError, UnknownOutcome
from connectors.http import ABSENT, Answer, Request, Sender
from connectors.settings import Ports, Secret

__all__ = ["CeligoClient", "Listed"]

_FIELDS = re.compile(r"[A-Za-z0-9._]+(?:,[A-Za-z0-9._]+)*")
_REFUSALS = frozenset({400, 404, 405, 409, 413, 422})


@dataclass(frozen=True)
class Listed:
    """One page of the list. `next` is the path of the next page (None: this is the last); it is opaque."""

    stacks: list[Record]
    next: str | None
    server_date: datetime | None


class CeligoClient:
    """One account. Threads may share it."""

    def __init__(self, settings: CeligoSettings, ports: Ports) -> None:
        self._settings = settings
        auth = {"authorization": Secret(f"Bearer {settings.token.reveal()}" if settings.token else "")}
        self._sender = Sender(settings, ports, auth=auth, hidden=settings.secret_access_keys.values())
        prefix = "" if urlsplit(settings.base_url).path.rstrip("/").endswith("/v1") else "/v1"
        self._root = f"{prefix}/stacks"

    def list_stacks(self, include: str | None = None, exclude: str | None = None) -> list[Record]:
        """Every stack of the account, as listed: secrets masked, soft-deleted ones perhaps among them.

        `include` or `exclude` (never both) name fields, separated by commas; fields that do not exist drop out silently.
        """
        found: list[Record] = []
        asked: set[str | None] = set()
        page = self.list_page(include=include, exclude=exclude)
        found += page.stacks
        while page.next is not None:
            if page.next in asked or len(asked) >= self._settings.max_pages:
                raise ContractError(f"the list of stacks did not end after {len(asked) + 1:,} pages; its links go round, or see max_pages")
            asked.add(page.next)
            page = self.list_page(page.next)
            found += page.stacks
        return found

    def list_page(self, link: str | None = None, *, include: str | None = None, exclude: str | None = None) -> Listed:
        """The first page, or the one that the `next` of an earlier page named. No answer at all (204) is an empty page."""
        chosen = [(name, _projection(name, value)) for name, value in (("include", include), ("exclude", exclude)) if value]
        if len(chosen) > 1:
            raise ConfigError("include and exclude of list_stacks exclude each other; give one of them")
        path = link or self._root
        answer = self._sender.send(Request(LIST, path, params=chosen, success=frozenset({200, 204}), certified=_REFUSALS))
        stacks = _stacks(answer)
        following = next_link(answer.headers.get("link", ""))
        if following is not None:
            following = relative_to(path, following) or self._sender.path_of(following)
        return Listed(stacks, following, answer.server_date)

    def create_stack(self, stack: Mapping[str, JsonValue]) -> Record:
        """The new stack, with its _id. The secret of a lambda stack is filled in from `secret_access_keys`; give it nowhere else."""
        body = self._sendable(stack, CREATE)
        return _stack(self._sender.send(Request(CREATE, self._root, json=body, success=frozenset({200, 201}), certified=_REFUSALS)))

    def get_stack_by_id(self, stack_id: str) -> Record:
        """One stack, whole, secrets masked. Raises RefusedError with status 404 where there is none."""
        return _stack(self._sender.send(self._request(GET, stack_id)))

    def update_stack(self, stack_id: str, stack: Mapping[str, JsonValue]) -> Record:
        """The stack after it was replaced by this whole body, which always has a name and a type."""
        return _stack(self._sender.send(self._request(UPDATE, stack_id, body=self._sendable(stack, UPDATE))))

    def delete_stack(self, stack_id: str) -> None:
        """Put a stack into the recycle bin, for 30 days. Who depends on it is not asked: see list_stack_dependencies."""
        self._sender.send(self._request(DELETE, stack_id, success=frozenset({200, 204})))

    def get_stack_system_token(self, stack_id: str) -> Record:
        """`{"systemToken": …}`: the actual token of a server stack."""
        value = self._server_stacks_only(READ_TOKEN, stack_id).json()
        if not isinstance(value, dict) or not isinstance(value.get("systemToken"), str):
            raise ContractError("the system token came as something else than a text; look at what the platform answered")
        self._sender.hide(Secret(value["systemToken"]))
        return value

    def recycle_stack_system_token(self, stack_id: str) -> None:
        """Give a server stack a new system token: whoever uses the old one is locked out. Never repeated."""
        self._server_stacks_only(ROTATE_TOKEN, stack_id, success=frozenset({200, 204}))

    def list_stack_dependencies(self, stack_id: str) -> JsonValue:
        """`{resource type: [who uses the stack]}`. `{}` means nobody, and is no sign that the stack exists.

        A token may well read stacks and not this: 403 is a RefusedError.
        """
        asked = self._request(DEPENDENCIES, stack_id)
        return self._sender.send(replace(asked, certified=asked.certified | {403})).json()

    def unfit(self, stack: Any, *, create: bool) -> str:
        """Why this body would be refused before it is sent; "" where it would not."""
        without = not create and self._settings.update_without_secret == "send"  # noqa: S105 (a choice, no secret)
        return refusal(stack, self._settings.secret_access_keys, without_secret=without)

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self._sender.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self._sender.close()

    def _sendable(self, stack: Any, operation: Operation) -> Record:
        why = self.unfit(stack, create=operation is CREATE)
        if why:
            raise ConfigError(f"{operation.name} was not sent: {why}")
        return with_secret(stack, self._settings.secret_access_keys)

    def _server_stacks_only(self, operation: Operation, stack_id: str, success: frozenset[int] = frozenset({200})) -> Answer:
        try:
            return self._sender.send(self._request(operation, stack_id, success=success))
        except RefusedError as error:
            if error.status != 404:
                raise
            raise RefusedError(f"{error}: there is no such stack, or it is no server stack", status=404, words=error.words) from None

    def _request(
        self, operation: Operation, stack_id: str, *, body: JsonValue = ABSENT, success: frozenset[int] = frozenset({200})
    ) -> Request:
        text = str(stack_id)
        if text.strip() in ("", ".", ".."):
            raise ConfigError(f"{text!r} cannot be the _id of a stack")
        path = f"{self._root}/{quote(text, safe='')}{operation.path.partition('{_id}')[2]}"
        return Request(operation, path, json=body, success=success, certified=_REFUSALS)


def _projection(name: str, fields: Any) -> str:
    if not isinstance(fields, str) or not _FIELDS.fullmatch(fields):
        raise ConfigError(f"{name} of list_stacks takes field names separated by commas: letters, digits, dots and underscores only")
    return fields


def _stacks(answer: Answer) -> list[Record]:
    if answer.status == 204:
        return []
    found = answer.json()
    if not isinstance(found, list) or not all(isinstance(stack, dict) for stack in found):
        raise ContractError("GET of the stacks was answered with something else than a list of objects; check base_url")
    return found


def _stack(answer: Answer) -> Record:
    """The stack of an answer. A write that was taken but shows none is UnknownOutcome, a read ContractError."""
    found = answer.json()
    if isinstance(found, dict) and isinstance(found.get("_id"), str):
        return found
    where = answer.request.where if answer.request else "the request"
    message = f"{where} was answered {answer.status} without a stack that has an _id; look at the platform"
    if answer.request is not None and answer.request.write:
        raise UnknownOutcome(message)
    raise ContractError(message)
