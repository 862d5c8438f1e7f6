"""The only sender: every request of every connector goes through `Sender.send`.

It paces (governor), repeats only what the operation's delivery class allows, leaves a failing host alone (breaker),
caps what it reads, keeps secrets out of messages, and turns every way a request can end into the error tree
(what one ending means is `http_outcome`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from threading import BoundedSemaphore, Lock
from urllib.parse import urlencode

import httpx

from connectors.base import Delivery
from connectors.errors import ConfigError, ConnectorError, ContractError, RefusedError
from connectors.governor import breaker_for, governor_for, parse_rate
from connectors.http_address import address, base_address, own_path, secret_spellings
from connectors.http_body import ACCEPT_ENCODING, Truncated, bounded
from connectors.http_headers import advised_pause_s, http_date
from connectors.http_login import Login
from connectors.http_messages import ABSENT, Answer, Request
from connectors.http_outcome import Ending, interrupted, judge, left_alone, not_sent, settle
from connectors.http_wire import Wire
from connectors.http_words import redact, words_of
from connectors.jsontext import dumps
from connectors.permission import may_write
from connectors.settings import ConnectionSettings, Ports, Secret

__all__ = ["ABSENT", "Answer", "Login", "Request", "Sender"]

_TRIES = 5  # of one request in trouble that may pass
_TRIES_GARBLED = 3  # of a read answered by a page, half a text or nothing; a wrong base_url is told soon
_TRIES_WHEN_ASKED = 50  # of one request that the platform keeps asking to wait; time ends it first
_BACKOFF_S, _BACKOFF_CAP_S = 0.5, 8.0  # full jitter: a random share of 0.5 s, 1 s, 2 s … between tries
_ASKED_S, _ASKED_CAP_S = 1.0, 60.0  # left alone where it asks for that without saying how long: 1 s, 2 s, 4 s …
_PATIENCE_S = 300.0  # waited in one call for a platform that asks to be left alone; beyond it the caller decides
_BELIEVED_S = 86_400.0  # a Retry-After beyond a day pauses everyone for a day; the caller is told the whole
_ERROR_BYTES = 64 * 1024  # read of an answer that is not a success
_SLOWEST_BYTES_S = 1_000  # slower than this after `timeout_s` is a drip, not an answer


class Sender:
    """Sends requests for one connection. Threads may share it.

    `auth` are headers sent with every request, or a Login that gives them. `hidden` are further secrets that a
    platform might quote back. Raises ConfigError for a base_url or a credential that cannot be used.
    """

    def __init__(
        self, settings: ConnectionSettings, ports: Ports, *, auth: Mapping[str, Secret] | Login, hidden: Iterable[Secret] = ()
    ) -> None:
        self._base = base_address(settings.base_url)
        self._login = auth if isinstance(auth, Login) else Login("", dict, kept=dict(auth))
        self._renewable = isinstance(auth, Login)
        self._secrets: frozenset[str] = frozenset()
        self._hidden_number = -1
        if not isinstance(auth, Login):
            self._hide(0, auth)
        self.hide(*hidden)
        self._settings, self._ports = settings, ports
        origin = f"{self._base.scheme}://{self._base.netloc.decode()}"
        self._governor = governor_for(origin, _account(origin, auth), ports)
        self._governor.limit(parse_rate(settings.rate_limit, settings.burst))
        self._breaker = breaker_for(origin, ports.clock, ports.rng)
        self._slots = BoundedSemaphore(settings.concurrency)
        self._lock = Lock()
        self._counts = {"read": 0, "write": 0}
        self._often_blank = False  # a read went on being answered without a body: that is how this platform says "none"
        self._last_read: tuple[Request, httpx.Request] | None = None
        self._wire = Wire(settings, ports.clock, ports.transport)

    def send(self, request: Request) -> Answer:
        """Send, wait as the platform asks, and give the answer to a success.

        Raises CredentialsError (401, 403 without a record), RefusedError (a certified refusal; with
        status 0 the body cannot be said in JSON and nothing was sent), RetryableError (nothing was
        changed), UnknownOutcome (a write whose effect is not known) or ContractError (a read answered
        by something undocumented).
        """
        prepared = self._prepared(request)
        resendable = request.operation.delivery in (Delivery.READ, Delivery.E1)
        perhaps_applied = renewed = False
        waited_s = 0.0
        asked = 0
        for tries in range(1, _TRIES_WHEN_ASKED + 1):
            number, outcome = self._guarded(request, prepared, perhaps_applied)
            if isinstance(outcome, Answer):
                odd = outcome.garbled or (outcome.blank and not self._often_blank)
                if not odd or tries >= _TRIES_GARBLED or not self._governor.may_repeat():
                    self._often_blank |= outcome.blank and tries >= _TRIES_GARBLED
                    return outcome
                self._ports.clock.sleep(self._jitter_s(tries))
                continue
            ending = outcome
            perhaps_applied |= request.write and ending.perhaps_applied
            if self._renewable and not renewed and ending.expired:
                renewed = True
                try:
                    self._login.renew(number)
                except ConnectorError as error:
                    ending = Ending(error)
                    break
                continue
            pause_s = self._pause_s(ending, tries, asked)
            waited_s += pause_s
            if ending.asked_to_wait:
                asked += 1
                self._governor.pause(min(pause_s, _BELIEVED_S))
            if not ending.passing or waited_s > _PATIENCE_S or (ending.perhaps_applied and not resendable):
                break
            if not ending.asked_to_wait:
                if tries >= _TRIES or not self._governor.may_repeat():
                    break
                self._ports.clock.sleep(pause_s)
        raise settle(request, ending, perhaps_applied)

    def path_of(self, link: str) -> str:
        """The path, for a `Request`, that a link of an answer names. Raises ContractError where it leads to another origin."""
        return own_path(self._base, link)

    def hide(self, *secrets: Secret) -> None:
        """Show these nowhere either: secret values of the platform's records, for example."""
        found = {secret.reveal() for secret in secrets}
        self._secrets |= frozenset(value for value in found if value)

    def request_counts(self) -> Mapping[str, int]:
        """Requests put on the wire so far: {"read": n, "write": n}, repeats included."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Close the sockets."""
        self._wire.close()

    def _pause_s(self, ending: Ending, tries: int, asked: int) -> float:
        jitter_s = self._jitter_s(tries)
        if ending.asked_to_wait and ending.retry_after_s is None:
            return jitter_s + min(_ASKED_CAP_S, _ASKED_S * 2.0 ** min(asked, 10))
        return jitter_s + (ending.retry_after_s or 0.0)

    def _jitter_s(self, tries: int) -> float:
        return min(_BACKOFF_CAP_S, _BACKOFF_S * 2.0 ** min(tries - 1, 10)) * self._ports.rng.random()

    def _prepared(self, request: Request) -> httpx.Request:
        """The request as bytes but for the credentials, before any token of the quota is taken for it."""
        url = address(self._base, request.path)
        headers = {"accept": request.accept, "accept-encoding": ACCEPT_ENCODING, "user-agent": "crossdock", **request.headers}
        if not all(text.isascii() and text.isprintable() for pair in headers.items() for text in pair):
            raise ConfigError(f"{request.where} was not sent: a header of it holds a character that no header can carry")
        try:
            if request.json is not ABSENT:
                headers["content-type"] = "application/json"
            elif request.form is not None:
                headers["content-type"] = "application/x-www-form-urlencoded"
            return self._wire.build_request(
                request.operation.method, url, params=list(request.params) or None, headers=headers, content=_content(request)
            )
        except ValueError as error:
            why = redact(str(error), self._secrets)
            message = f"{request.where} was not sent: its body cannot be said in JSON ({why}); correct the mapping of this record"
            raise RefusedError(message, status=0, words=why) from None

    def _guarded(self, request: Request, prepared: httpx.Request, repeated: bool) -> tuple[int, Answer | Ending]:
        """One try, unless the host is left alone: then after that time, and after a read found it back."""
        open_s = self._breaker.open_s()
        if open_s is None:
            return self._try(request, prepared, repeated)
        self._ports.clock.sleep(open_s)
        with self._breaker.probing:  # the others wait here for what the first finds
            open_s = self._breaker.open_s()
            if open_s == 0 and not request.write:
                return self._try(request, prepared, repeated)
            if open_s == 0 and self._last_read is not None:
                self._try(*self._last_read, False)
                open_s = self._breaker.open_s()
            if open_s is not None:
                return 0, left_alone(request, self._base.host, self._breaker.failures(), open_s)
        return self._try(request, prepared, repeated)

    def _try(self, request: Request, prepared: httpx.Request, repeated: bool) -> tuple[int, Answer | Ending]:
        """Put the request on the wire once. Gives the number of the credentials used, too."""
        try:
            number, headers = self._login.headers()
            self._hide(number, headers)
        except ConnectorError as error:
            return 0, Ending(error)
        with self._slots:
            try:
                sent_s = self._governor.wait(_PATIENCE_S)
            except ConnectorError as error:
                return number, Ending(error)
            if request.write and not may_write():
                return number, not_sent(request, "another run took over what is written to", passing=False)
            outcome = self._exchanged(request, prepared, headers, repeated)
        if isinstance(outcome, Ending):
            if outcome.too_fast:
                self._governor.too_fast(sent_s)
            if outcome.host_failed:
                self._breaker.failed()
                return number, outcome
        elif not request.write:
            self._last_read = (request, prepared)
        if isinstance(outcome, Answer) or not outcome.asked_to_wait:
            self._governor.taken()
            self._breaker.succeeded()
        return number, outcome

    def _exchanged(self, request: Request, prepared: httpx.Request, headers: Mapping[str, Secret], repeated: bool) -> Answer | Ending:
        """Send and receive. Whatever is raised on the way leaves no trace of the frames below, which hold the credentials."""
        response = None
        try:
            with self._wire.within(self._settings.max_response_s, write=request.write):
                for name, secret in headers.items():
                    prepared.headers[name] = secret.reveal()
                try:
                    response = self._wire.send(prepared, stream=True)
                except httpx.HTTPError as error:
                    return self._failed(request, error)
                self._count(request)
                return self._received(request, response, repeated)
        except httpx.HTTPError as error:
            return interrupted(request, f"the connection broke ({self._why(error)})")
        except Truncated as error:
            return interrupted(request, str(error))
        except ContractError as error:  # too large, or not encoded as it says
            return Ending(ContractError(f"{request.where}: {redact(str(error), self._secrets)}"), perhaps_applied=True)
        except Exception as error:  # noqa: BLE001 (an answer that breaks the HTTP library is one more way to break off)
            return interrupted(request, f"the answer could not be taken apart ({type(error).__name__})")
        except BaseException as error:  # noqa: BLE001 (raised again, without the frames below)
            raise error.with_traceback(None) from None
        finally:
            if response is not None:
                response.close()

    def _received(self, request: Request, response: httpx.Response, repeated: bool) -> Answer | Ending:
        headers = {name.lower(): value for name, value in response.headers.items()}
        now = self._ports.clock.now()
        if response.status_code not in request.success:
            words = words_of(self._error_body(response), self._secrets)
            if 200 <= response.status_code < 300:
                found = f"{request.where} was answered {response.status_code}, not {_spell(request.success)} as documented"
                return Ending(ContractError(f"{found}; look at the platform"), perhaps_applied=True)
            shown = {name: self._redact(value) if name == "location" else value for name, value in headers.items()}
            return judge(request, response.status_code, shown, words, now)
        body = bounded(self._flow(response), _encoding(response), self._settings.max_response_bytes)
        advised_s = advised_pause_s(headers, now)
        if advised_s > 0:
            self._governor.pause(advised_s)
        return Answer(response.status_code, headers, body, http_date(headers.get("date")), request, repeated, self._redact)

    def _flow(self, response: httpx.Response) -> Iterator[bytes]:
        """The body as it comes over the wire. Raises httpx.ReadTimeout when it only drips."""
        if response.is_stream_consumed:  # a transport that gave the body whole: httpx has decoded it
            yield response.content
            return
        started_s = self._ports.clock.monotonic()
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            elapsed_s = self._ports.clock.monotonic() - started_s
            slow = elapsed_s > self._settings.timeout_s and size < elapsed_s * _SLOWEST_BYTES_S
            if slow or elapsed_s > self._settings.max_response_s:
                raise httpx.ReadTimeout(f"only {size:,} bytes came in {elapsed_s:,.0f} s")
            yield chunk

    def _error_body(self, response: httpx.Response) -> bytes:
        """What came with a status that is no success. The status counts, so nothing wrong here matters."""
        try:
            return bounded(self._flow(response), _encoding(response), _ERROR_BYTES)
        except (ContractError, httpx.HTTPError):
            return b""

    def _failed(self, request: Request, error: httpx.HTTPError) -> Ending:
        why = self._why(error)
        if isinstance(error, httpx.LocalProtocolError):  # its text may quote a header's value
            return not_sent(request, "a header or the address holds what HTTP does not allow", passing=False)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError):
            return not_sent(request, why, passing=False)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            why = f"no connection to {self._base.host}:{self._base.port or self._base.scheme} ({why})"
            return not_sent(request, why, passing="CERTIFICATE_VERIFY" not in why)
        self._count(request)
        if isinstance(error, httpx.TimeoutException):
            told = f": {why}" if "max_response_s" in why else ""
            return interrupted(request, f"nothing came for {self._settings.timeout_s:g} s ({type(error).__name__}{told})")
        return interrupted(request, f"the connection broke ({why})")

    def _count(self, request: Request) -> None:
        with self._lock:
            self._counts["write" if request.write else "read"] += 1
        self._governor.sent()

    def _hide(self, number: int, headers: Mapping[str, Secret]) -> None:
        """Learn what newly issued credentials look like before they are used. Raises ConfigError for what no header can carry."""
        if number != self._hidden_number:
            self._secrets |= secret_spellings(headers)
            self._hidden_number = number

    def _redact(self, text: str) -> str:
        return redact(text, self._secrets)

    def _why(self, error: Exception) -> str:
        return self._redact(str(error))[:200] or type(error).__name__


def _account(origin: str, auth: Mapping[str, Secret] | Login) -> str:
    """A name for whoever's quota it is, fit to name a file: from it no credential can be had back."""
    if isinstance(auth, Login):
        credential = f"login\0{auth.account}"
    else:
        credential = "\0".join(f"{name.lower()}={auth[name].reveal()}" for name in sorted(auth))
    return hashlib.pbkdf2_hmac("sha256", credential.encode(), origin.encode(), 10_000, 16).hex()


def _content(request: Request) -> bytes | None:
    """The body. Raises ValueError for what cannot be said in JSON."""
    if request.json is not ABSENT:
        return dumps(request.json)
    if request.form is not None:
        return urlencode([(name, value.reveal() if isinstance(value, Secret) else value) for name, value in request.form.items()]).encode()
    return None


def _encoding(response: httpx.Response) -> str:
    return "" if response.is_stream_consumed else response.headers.get("content-encoding", "")


def _spell(statuses: frozenset[int]) -> str:
    return " or ".join(str(status) for status in sorted(statuses))
