"""What a connection may set, and the type that keeps secrets from being shown. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import core_schema

from connectors.base import Clock, JsonValue, Operation, Record, Rng, Source

Result = TypeVar("Result")

DAY_S = 86_400.0  # no wait of one request is longer; infinity is no wait at all


class Secret:
    """A value that prints as `[secret]` wherever it is formatted, logged, pickled into a message or compared.

    `reveal()` is called by the sender only, at the moment a request is built.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "[secret]"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(str(value)),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


class StreamSettings(BaseModel):
    """What a person declares about a stream because its API does not tell."""

    model_config = ConfigDict(extra="forbid")

    key: list[str] = Field(default_factory=list, description="fields that identify a record; the first is the id field")
    types: dict[str, str] = Field(
        default_factory=dict,
        alias="schema",
        description="field: string | integer | number | decimal(p,s) | boolean | timestamp | date | json",
    )
    cursor: str | None = Field(None, description="the field that grows whenever a record changes")
    natural_key: list[str] = Field(default_factory=list, description="fields that name a record for people")


class ConnectionSettings(BaseModel):
    """The settings every connector has. A connector adds its own by inheriting."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    connector: str
    base_url: str
    rate_limit: str | None = Field(None, description="requests, as `10/s` or `600/m`; unset: as fast as answers come")
    burst: int | None = Field(None, description="requests that may go at once; default: the limit's per-second share")
    concurrency: int = Field(4, ge=1, le=64, description="requests under way at once")
    timeout_s: float = Field(60.0, gt=0, le=DAY_S)
    max_response_bytes: int = Field(256 * 1024 * 1024, gt=0, description="an answer larger than this is refused")
    max_response_s: float = Field(600.0, gt=0, le=DAY_S, description="an answer that takes longer than this in all is given up")
    page_size: int | None = Field(None, gt=0)
    T_server_max_s: float = Field(60.0, ge=0, le=DAY_S, description="the longest a write may still take effect after we stopped waiting")
    T_lag_s: float = Field(0.0, ge=0, le=DAY_S, description="the longest a written record may stay invisible to a read")
    on_unknown: Literal["quarantine", "retry"] | None = Field(None, description="for syncs that do not say it themselves")
    trust_env: bool = Field(False, description="honour proxy variables of the environment")
    streams: dict[str, StreamSettings] = Field(default_factory=dict)

    @property
    def account(self) -> str:
        """Which account of the platform this is, without secrets: what two connections to the same one have in common."""
        return self.base_url.rstrip("/")


class Cell(Protocol):
    """A few bytes that outlive a process and are shared by all processes of a host. `where` names the place for people.

    Where it cannot be used it is tried again after `alone_s` seconds.
    """

    where: str
    alone_s: float

    def change(self, step: Callable[[bytes], tuple[bytes, Result]]) -> Result:
        """Give `step` what is kept (empty: nothing yet), alone; keep what it gives back first, return the second. Raises OSError."""
        ...


@dataclass(frozen=True)
class Ports:
    """What a connector is given to reach the world: time, chance, the wire, and what is known of an account's pace.

    `transport` is an `httpx.BaseTransport`, or None for the real network. `paces` gives the cell of an account
    (letters and digits) and is equal for equal places; None: each process paces itself.
    """

    clock: Clock
    rng: Rng
    transport: Any = None
    paces: Callable[[str], Cell] | None = None


@dataclass(frozen=True)
class Consent:
    """How a person lets a provider in, on a platform that is connected that way: an address to open, and a code that works once.

    `takes` names what may be given. `model(client, settings, given, renewed)` gives what both steps are about; `renewed` is the
    id of a record whose consent is given anew, None for a new one. `start(client, model)` gives the address.
    `finish(client, settings, model, code, renewed)` gives the id of what was made or renewed, or None where the answer tells none.
    All raise ConnectorError; neither step is ever sent twice.
    """

    takes: Sequence[str]
    model: Callable[[Any, Any, Mapping[str, JsonValue], str | None], Record]
    start: Callable[[Any, Record], str]
    finish: Callable[[Any, Any, Record, Secret, str | None], str | None]


@dataclass(frozen=True)
class Connector:
    """A platform as `runtime` registers it.

    `open` gives a Source (or Sink) for a connection; `client` gives the object whose methods are the
    documented operations, by name; `emulator` is the module that serves the platform on loopback; `consent` is there where
    connections of the platform are made by a person who opens an address.
    """

    name: str
    settings: type[ConnectionSettings]
    open: Callable[[Any, Ports], Source]
    client: Callable[[Any, Ports], Any]
    operations: Sequence[Operation]
    emulator: str
    demo: dict[str, Any] = field(default_factory=dict)
    consent: Consent | None = None
