"""The HTTP client under the sender: no redirects, no cookies, no loud logs, and one deadline over the whole of an exchange.

httpx times every single read and write; a server that sends a byte a minute, endless headers or endless
"100 Continue" stays within that for ever. So the streams under httpx ask for the time left of the exchange first.
"""

import logging
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

from connectors.base import Clock
from connectors.permission import may_write
from connectors.settings import ConnectionSettings

__all__ = ["Wire", "hush"]

_IDLE_S = 3.0  # servers close idle connections after 5 s and more; a write must not meet one that is closing
_LOUD = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "hpack")


class Wire:
    """An `httpx.Client` for one connection. `transport` replaces the network."""

    def __init__(self, settings: ConnectionSettings, clock: Clock, transport: httpx.BaseTransport | None) -> None:
        hush()
        self._clock = clock
        self._deadline = threading.local()
        count = settings.concurrency
        self._client = httpx.Client(
            transport=transport,
            timeout=settings.timeout_s,
            limits=httpx.Limits(max_connections=count, max_keepalive_connections=count, keepalive_expiry=_IDLE_S),
            verify=_authorities(settings.trust_env),
            trust_env=settings.trust_env,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        if transport is None:
            _time(self._client, self._left, self._start)
        self.build_request, self.send, self.close = self._client.build_request, self._client.send, self._client.close

    @contextmanager
    def within(self, duration_s: float, *, write: bool = False) -> Iterator[None]:
        """Whatever this thread sends and reads in the block ends with a timeout after `duration_s` in all.

        A `write` is sent only while it is permitted (`connectors.permission`): that is asked right before each part of it.
        """
        self._deadline.at_s = self._clock.monotonic() + duration_s
        self._deadline.asks = write
        try:
            yield
        finally:
            self._deadline.at_s = None
            self._deadline.asks = False

    def _start(self) -> None:
        """Right before bytes are sent. Raises httpcore.WriteTimeout where a write may not go on any more."""
        if getattr(self._deadline, "asks", False) and not may_write():
            raise httpcore.WriteTimeout("the right to write was lost before the whole request was sent")

    def _left(self, wanted_s: float | None) -> float | None:
        """The time a single read or write may take; below zero when the exchange is over its time."""
        at_s = getattr(self._deadline, "at_s", None)
        if at_s is None:
            return wanted_s
        left_s: float = at_s - self._clock.monotonic()
        return left_s if wanted_s is None else min(wanted_s, left_s)


@cache
def _authorities(trust_env: bool) -> ssl.SSLContext:
    """Whose certificates count, read once per process: that takes 20 ms, and a process opens many connections."""
    return httpx.create_ssl_context(trust_env=trust_env)


def hush() -> None:
    """Keep httpx and httpcore from logging below a warning, whatever levels are set: they log whole URLs and the headers of answers."""
    for name in _LOUD:
        logger = logging.getLogger(name)
        if _only_warnings not in logger.filters:
            logger.addFilter(_only_warnings)


def _only_warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


Left = Callable[[float | None], float | None]
Start = Callable[[], None]


def _time(client: httpx.Client, left: Left, start: Start) -> None:
    """Put the deadline under every connection of the client.

    httpx 0.28 has no public way to its network backend, hence the private names; the tests with a server that
    drips fail should these move.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool: Any = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend, left, start)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, left: Left, start: Start) -> None:
        self._inner, self._left, self._start = inner, left, start

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self._left, self._start)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left: Left, start: Start) -> None:
        self._inner, self._left, self._start = inner, left, start

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left_s = self._left(timeout)
        if left_s is not None and left_s <= 0:
            raise httpcore.ReadTimeout("the answer took longer than max_response_s in all")
        return self._inner.read(max_bytes, left_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), 65_536):  # a reader that takes a byte now and then meets the deadline too
            left_s = self._left(timeout)
            if left_s is not None and left_s <= 0:
                raise httpcore.WriteTimeout("sending took longer than max_response_s in all")
            self._start()
            self._inner.write(buffer[start : start + 65_536], left_s)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._left, self._start)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()
