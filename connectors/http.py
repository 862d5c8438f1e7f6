"""The only sender: every request of every connector goes through `Sender.send`.

It paces (governor), repeats only what the operation's delivery class allows, caps what it reads,
keeps secrets out of messages, and turns every way a request can end into the error tree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.base import JsonValue, Operation
from connectors.settings import ConnectionSettings, Ports, Secret

ABSENT: Any = object()  # no JSON body, as opposed to a body of `null`


@dataclass(frozen=True)
class Request:
    """One request. `path` starts with "/" and is appended to the connection's base_url as it stands, slashes included.

    `success` names the statuses the document gives for success. `certified` names the statuses by
    which the platform definitely refuses a single-record request, nothing changed (→ RefusedError).
    """

    operation: Operation
    path: str
    params: Sequence[tuple[str, str]] = ()
    json: JsonValue = ABSENT
    headers: Mapping[str, str] = field(default_factory=dict)
    accept: str = "application/json"
    success: frozenset[int] = frozenset({200})
    certified: frozenset[int] = frozenset({400, 404, 409, 413, 422})


@dataclass(frozen=True)
class Answer:
    """What came back: header names in lower case, the whole decompressed body, the server's own date if it told one."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    server_date: datetime | None

    def json(self) -> JsonValue:
        """The body as JSON, numbers exact (Decimal for fractions). Raises ContractError for anything else."""
        raise NotImplementedError


class Sender:
    """Sends requests for one connection. Threads may share it. `auth` are headers sent with every request."""

    def __init__(self, settings: ConnectionSettings, ports: Ports, *, auth: Mapping[str, Secret]) -> None:
        raise NotImplementedError

    def send(self, request: Request) -> Answer:
        """Send, wait as the platform asks, and give the answer to a success.

        Raises CredentialsError (401, 403 without a record), RefusedError (a certified refusal),
        RetryableError (nothing was changed), UnknownOutcome (a write whose effect is not known) or
        ContractError (a read answered by something undocumented).
        """
        raise NotImplementedError

    def request_counts(self) -> Mapping[str, int]:
        """Requests put on the wire so far: {"read": n, "write": n}, repeats included."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the sockets."""
        raise NotImplementedError
