"""The code that a browser comes back with: read from what a person pastes, or caught on loopback."""

from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from connectors.base import Clock
from connectors.errors import ConfigError, RefusedError, UnreachableError
from connectors.settings import Secret

__all__ = ["Listener", "code_in", "state_of"]

HOST = "127.0.0.1"
_DONE = b"<!doctype html><title>Crossdock</title><p>Done. You may close this page.</p>"
_NOT_THIS = b"<!doctype html><title>Crossdock</title><p>This is not what Crossdock is waiting for.</p>"


def state_of(address: str) -> str | None:
    """The `state` that an address to open carries, which comes back with the code. None: it carries none."""
    return next(iter(parse_qs(urlsplit(address).query).get("state", ())), None)


def code_in(text: str, state: str | None = None) -> Secret:
    """The code in what a person pastes: the code itself, or the whole address that the browser ended at.

    Raises RefusedError where the provider says no, ConfigError where there is no code or it belongs to another `state`.
    """
    text = text.strip()
    if "://" not in text and "code=" not in text:
        if not text or any(sign.isspace() for sign in text):
            raise ConfigError("what was given is no code; paste the address that the browser ended at, or the code in it")
        return Secret(text)
    parts = urlsplit(text)
    query = parse_qs(parts.query or parts.fragment or text.rpartition("?")[2])
    if "error" in query:
        said = query.get("error_description", query["error"])[0][:200]
        raise RefusedError(f"the provider did not let us in ({said}); begin again", status=0, words=said)
    code = query.get("code", [""])[0]
    if not code:
        raise ConfigError("the address holds no code; paste the one that the browser ended at, after consent was given")
    if state is not None and query.get("state", [state])[0] != state:
        raise ConfigError("the address belongs to another attempt (its state is not the one of this attempt); begin again")
    return Secret(code)


@dataclass
class Listener:
    """A port of this machine that waits for the browser. Use it in a `with`, begun before the address is opened."""

    port: int

    def __enter__(self) -> "Listener":
        try:
            self._server = HTTPServer((HOST, self.port), _handler(self))
        except OSError as error:
            raise ConfigError(f"port {self.port} of {HOST} cannot be listened on ({error.strerror}); choose another --listen") from None
        self._came: list[str] = []
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    @property
    def address(self) -> str:
        """Where the browser has to be sent."""
        return f"http://{HOST}:{self._server.server_address[1]}/"

    def code(self, state: str | None, clock: Clock, patience_s: float) -> Secret:
        """The code, once the browser comes. What comes without the state is left aside: any page may send a browser here.

        Raises UnreachableError after `patience_s`.
        """
        until_s = clock.monotonic() + patience_s
        while (left_s := until_s - clock.monotonic()) > 0:
            self._server.timeout = min(left_s, 1.0)
            self._server.handle_request()
            while self._came:
                came = self._came.pop(0)
                if state is None or state_of(came) == state:
                    return code_in(came, state)
        raise UnreachableError(f"no browser came to {self.address} within {patience_s:.0f} s; begin again, or paste the code with --code -")

    def take(self, path: str) -> bool:
        """Note an address that was asked for; whether it is one to wait for."""
        query = parse_qs(urlsplit(path).query)
        if "code" in query or "error" in query:
            self._came.append(f"http://{HOST}{path}")
            return True
        return False


def _handler(listener: Listener) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # of a browser that connects and says nothing

        def do_GET(self) -> None:
            taken = listener.take(self.path)
            self.send_response(200 if taken else 404)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(_DONE if taken else _NOT_THIS)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the address holds the code."""

    return Handler
