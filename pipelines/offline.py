"""What a connector knows of a stream before it asks the platform: it is opened on a wire that leads nowhere.

Definitions load without an API call, yet a sync that cannot work should not load. The connection opened
here has no secrets worth having, an address of its own (so that nothing it learns is shared with real
ones) and a clock that does not wait.
"""

from datetime import UTC, datetime
from typing import Any

import httpx

from connectors.base import Stream
from connectors.errors import ConfigError, ConnectorError, UnreachableError
from connectors.settings import ConnectionSettings, Connector, Ports
from pipelines.complaints import listed, nearest

__all__ = ["declared_stream"]

NOWHERE = "https://offline.invalid"


class _NoWire(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise UnreachableError("nothing is asked while definitions load")


class _StillClock:
    def __init__(self) -> None:
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime(2000, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self._elapsed_s

    def sleep(self, duration_s: float) -> None:
        self._elapsed_s += max(0.0, duration_s)


class _NoChance:
    def random(self) -> float:
        return 0.5

    def token(self) -> str:
        return "0" * 32


def declared_stream(connector: Connector, settings: ConnectionSettings, name: str, *, wanted_by: str = "") -> Stream | None:
    """The stream as the connector knows it without asking; None where only the platform can tell.

    Raises ConfigError where the stream cannot exist: the connector says so, or all its streams are declared and
    this one is not.
    """
    unpaced: dict[str, Any] = {"base_url": NOWHERE, "rate_limit": None, "burst": None}
    source = connector.open(settings.model_copy(update=unpaced), Ports(_StillClock(), _NoChance(), _NoWire()))
    try:
        try:
            known = {stream.name: stream for stream in source.streams()}
        except ConnectorError:
            known = {}
        if known and name not in known:
            raise ConfigError(_undeclared(name, sorted(known), wanted_by))
        return known[name] if known else source.stream(name)
    except ConfigError as error:
        prefix = f"{wanted_by}: " if wanted_by and not str(error).startswith(wanted_by) else ""
        raise ConfigError(f"{prefix}{error}") from None
    except ConnectorError:
        return None
    finally:
        source.close()


def _undeclared(name: str, known: list[str], wanted_by: str) -> str:
    meant = nearest(name, known)
    hint = f"did you mean {meant!r}?" if meant else f"declared are {listed(known)}; add it under 'streams:' of its connection"
    return f"there is no stream {name!r}; {hint}"
