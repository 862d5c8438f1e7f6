"""What goes to a platform and what comes back: one request, one answer. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.base import Delivery, JsonValue, Operation
from connectors.errors import ContractError, UnknownOutcome
from connectors.jsontext import loads
from connectors.settings import Secret

__all__ = ["ABSENT", "Answer", "Request"]

ABSENT: Any = object()  # no JSON body, as opposed to a body of `null`


@dataclass(frozen=True)
class Request:
    """One request. `path` starts with "/" and is appended to the connection's base_url as it stands, slashes included.

    `success` names the statuses the document gives for success. `certified` names the statuses by
    which the platform definitely refuses a single-record request, nothing changed (→ RefusedError).
    403 concerns the whole connection (→ CredentialsError) unless it is named there. `form` is sent
    instead of JSON, as a web form is. Contents are not shown when a request is printed.
    """

    operation: Operation
    path: str
    params: Sequence[tuple[str, str]] = field(default=(), repr=False)
    json: JsonValue = field(default=ABSENT, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    accept: str = "application/json"
    success: frozenset[int] = frozenset({200})
    certified: frozenset[int] = frozenset({400, 404, 409, 413, 422})
    form: Mapping[str, str | Secret] | None = field(default=None, repr=False)

    @property
    def write(self) -> bool:
        """Whether this may change something."""
        return self.operation.delivery is not Delivery.READ

    @property
    def where(self) -> str:
        """Method and path, for messages."""
        return f"{self.operation.method} {self.path.partition('?')[0]}"


@dataclass(frozen=True)
class Answer:
    """What came back: header names in lower case, the whole decompressed body, the server's own date if it told one.

    `repeated`: an earlier try of the same call may have taken effect, so "no such record" may be our own doing.
    `redact` makes a text fit to be shown. Contents are not shown when an answer is printed.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    server_date: datetime | None
    request: Request | None = None
    repeated: bool = False
    redact: Callable[[str], str] = field(default=str, repr=False, compare=False)

    @property
    def garbled(self) -> bool:
        """Whether a read was answered by what is visibly not the JSON it asked for: markup, or a text that is cut off."""
        if not self._json_was_asked_for:
            return False
        first, last = self.body[:64].lstrip()[:1], self.body[-64:].rstrip()[-1:]
        return first == b"<" or last != {b"{": b"}", b"[": b"]", b'"': b'"'}.get(first, last)

    @property
    def blank(self) -> bool:
        """Whether a read that asked for JSON was answered 200 without a body: some platforms mean "none" by it, 204 says so."""
        return self._json_was_asked_for and self.status == 200 and not self.body.strip()

    @property
    def _json_was_asked_for(self) -> bool:
        return self.request is not None and not self.request.write and self.request.accept == "application/json"

    def json(self) -> JsonValue:
        """The body as JSON, numbers exact (Decimal for fractions).

        Anything else raises ContractError after a read, and UnknownOutcome after a write: it was
        taken, and what became of it is not told.
        """
        try:
            return loads(self.body)
        except ContractError as error:
            where = self.request.where if self.request else "the request"
            why = self.redact(str(error))
            message = f"{where} was answered {self.status} with {len(self.body):,} bytes that cannot be understood: {why}"
            if self.request is not None and self.request.write:
                raise UnknownOutcome(f"{message}; look at the platform before writing this again") from None
            raise ContractError(f"{message}; check base_url and whether a proxy answered") from None
