"""A connector for tests of what stands above connectors: it declares streams of every kind and reads nothing."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from connectors.base import Capabilities, Completeness, Delivery, Finding, Page, Read, ReadCapability, ReadRequest, Stream, WriteCapability
from connectors.errors import ConfigError, ConnectorError
from connectors.settings import ConnectionSettings, Connector, Ports, Secret

WRITE = WriteCapability(Delivery.E1, 100, replaces=False, identifies=True, evidence="")
SINCE = ReadCapability(since=True)

STREAMS = {
    "everything": Capabilities(SINCE, WRITE, WRITE, WRITE),
    "keepers": Capabilities(SINCE, WRITE, WRITE, None),
    "read_only": Capabilities(SINCE),
    "whole": Capabilities(ReadCapability(since=False), WRITE, WRITE, WRITE),
    "shifting": Capabilities(ReadCapability(provable=False), WRITE, WRITE, WRITE),
}


class ShopSettings(ConnectionSettings):
    """`asks`: the platform would have to be asked for its streams."""

    token: Secret
    asks: bool = False


class Shop:
    """A Source that counts how often it was closed."""

    def __init__(self, settings: ShopSettings, ports: Ports) -> None:
        self.settings, self.ports, self.closed_count = settings, ports, 0

    def streams(self) -> Sequence[Stream]:
        if self.settings.asks:
            self._ask()
        return [Stream(name, "id", can, read_only=frozenset({"id"}), schema=pa.schema([])) for name, can in STREAMS.items()]

    def stream(self, name: str) -> Stream:
        for stream in self.streams():
            if stream.name == name:
                return stream
        raise ConfigError(f"there is no stream {name!r}")

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        def pages() -> Iterator[Page]:
            yield from ()
            return Completeness(complete=True, method="single answer", reasons=(), count=0)

        return Read(pages())  # type: ignore[arg-type]

    def check(self) -> Iterator[Finding]:
        yield from ()

    def request_counts(self) -> Mapping[str, int]:
        return {"read": 0, "write": 0}

    def close(self) -> None:
        self.closed_count += 1

    def _ask(self) -> None:
        import httpx

        if self.ports.transport is None:
            raise ConnectorError("a test reached for the network")
        self.ports.transport.handle_request(httpx.Request("GET", self.settings.base_url))


CONNECTOR = Connector(name="shop", settings=ShopSettings, open=Shop, client=Shop, operations=(), emulator="tests.shop")
