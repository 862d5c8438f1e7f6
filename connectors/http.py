"""The only sender: every request of every connector goes through `Sender.send`.

It paces (governor), repeats only what the operation's delivery class allows, caps what it reads,
keeps secrets out of messages, and turns every way a request can end into the error tree
(what one ending means is `http_outcome`).
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import BoundedSemaphore, Lock

import httpx

from connectors.base import Delivery
from connectors.errors import ConnectorError, ContractError, RefusedError
from connectors.governor import governor_for, parse_rate
from connectors.http_address import address, base_address, secret_spellings
from connectors.http_body import ACCEPT_ENCODING, Truncated, bounded
from connectors.http_headers import advised_pause_s, http_date
from connectors.http_messages import ABSENT, Answer, Request
from connectors.http_outcome import Ending, interrupted, judge, not_sent, settle
from connectors.http_words import redact, words_of
from connectors.jsontext import dumps
from connectors.settings import ConnectionSettings, Ports, Secret

__all__ = ["ABSENT", "Answer", "Request", "Sender"]

_TRIES = 5  # of one request in trouble that may pass
_TRIES_WHEN_ASKED = 50  # of one request that the platform keeps asking to wait; time ends it first
_BACKOFF_S, _BACKOFF_CAP_S = 0.5, 8.0  # full jitter: a random share of 0.5 s, 1 s, 2 s … between tries
_PATIENCE_S = 300.0  # waited in one call for a platform that asks to be left alone; beyond it the caller decides
_BELIEVED_S = 86_400.0  # a Retry-After beyond a day pauses this process for a day; the caller is told the whole
_REPEAT_SHARE, _REPEATS_SAVED = 0.1, 20.0  # repeats are at most a tenth of the requests, after the first twenty
_ERROR_BYTES = 64 * 1024  # read of an answer that is not a success
_SLOWEST_BYTES_S = 1_000  # slower than this after `timeout_s` is a drip, not an answer
_IDLE_S = 3.0  # servers close idle connections after 5 s and more; a write must not meet one that is closing


class Sender:
    """Sends requests for one connection. Threads may share it. `auth` are headers sent with every request.

    Raises ConfigError for a base_url or a credential that cannot be used.
    """

    def __init__(self, settings: ConnectionSettings, ports: Ports, *, auth: Mapping[str, Secret]) -> None:
        self._base = base_address(settings.base_url)
        self._secrets = secret_spellings(auth)
        self._settings, self._ports, self._auth = settings, ports, dict(auth)
        credential = "\0".join(f"{name.lower()}={auth[name].reveal()}" for name in sorted(auth))
        origin = f"{self._base.scheme}://{self._base.netloc.decode()}"
        self._governor = governor_for(origin, hashlib.sha256(credential.encode()).hexdigest(), ports.clock)
        self._governor.limit(parse_rate(settings.rate_limit, settings.burst))
        self._slots = BoundedSemaphore(settings.concurrency)
        self._lock = Lock()
        self._counts = {"read": 0, "write": 0}
        self._repeats = _REPEATS_SAVED
        for name in ("httpx", "httpcore"):  # at INFO and DEBUG they write whole URLs and headers
            logging.getLogger(name).setLevel(logging.WARNING)
        limits = httpx.Limits(
            max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency, keepalive_expiry=_IDLE_S
        )
        self._client = httpx.Client(
            transport=ports.transport,
            timeout=settings.timeout_s,
            limits=limits,
            trust_env=settings.trust_env,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def send(self, request: Request) -> Answer:
        """Send, wait as the platform asks, and give the answer to a success.

        Raises CredentialsError (401, 403 without a record), RefusedError (a certified refusal; with
        status 0 the body cannot be said in JSON and nothing was sent), RetryableError (nothing was
        changed), UnknownOutcome (a write whose effect is not known) or ContractError (a read answered
        by something undocumented).
        """
        prepared = self._prepared(request)
        resendable = request.operation.delivery in (Delivery.READ, Delivery.E1)
        perhaps_applied = False
        waited_s = 0.0
        for tries in range(1, _TRIES_WHEN_ASKED + 1):
            outcome = self._try(request, prepared, perhaps_applied)
            if isinstance(outcome, Answer):
                return outcome
            ending = outcome
            perhaps_applied |= request.write and ending.perhaps_applied
            jitter_s = min(_BACKOFF_CAP_S, _BACKOFF_S * 2 ** min(tries - 1, 10)) * self._ports.rng.random()
            pause_s = jitter_s + (ending.retry_after_s or 0.0)
            waited_s += pause_s
            if ending.asked_to_wait:
                self._governor.pause(min(pause_s, _BELIEVED_S))
            if not ending.passing or waited_s > _PATIENCE_S or (ending.perhaps_applied and not resendable):
                break
            if not ending.asked_to_wait:
                if tries >= _TRIES or not self._may_repeat():
                    break
                self._ports.clock.sleep(pause_s)
        raise settle(request, ending, perhaps_applied)

    def request_counts(self) -> Mapping[str, int]:
        """Requests put on the wire so far: {"read": n, "write": n}, repeats included."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Close the sockets."""
        self._client.close()

    def _prepared(self, request: Request) -> httpx.Request:
        """The request as bytes, before any token of the quota is taken for it."""
        headers = {"accept": request.accept, "accept-encoding": ACCEPT_ENCODING, "user-agent": "crossdock", **request.headers}
        content = None
        if request.json is not ABSENT:
            headers["content-type"] = "application/json"
            try:
                content = dumps(request.json)
            except ValueError as error:
                message = f"{request.where} was not sent: its body cannot be said in JSON ({error}); correct the mapping of this record"
                raise RefusedError(message, status=0, words=str(error)) from None
        headers |= {name: secret.reveal() for name, secret in self._auth.items()}
        url = address(self._base, request.path)
        return self._client.build_request(
            request.operation.method, url, params=list(request.params) or None, headers=headers, content=content
        )

    def _try(self, request: Request, prepared: httpx.Request, repeated: bool) -> Answer | Ending:
        with self._slots:
            try:
                self._governor.wait(_PATIENCE_S)
            except ConnectorError as error:
                return Ending(error)
            try:
                response = self._client.send(prepared, stream=True)
            except httpx.HTTPError as error:
                return self._failed(request, error)
            self._count(request)
            try:
                return self._received(request, response, repeated)
            except httpx.HTTPError as error:
                return interrupted(request, f"the connection broke ({_why(error)})")
            except Truncated as error:
                return interrupted(request, str(error))
            except ContractError as error:  # too large, or not encoded as it says
                return Ending(ContractError(f"{request.where}: {error}"), perhaps_applied=True)
            finally:
                response.close()

    def _received(self, request: Request, response: httpx.Response, repeated: bool) -> Answer | Ending:
        headers = {name.lower(): value for name, value in response.headers.items()}
        now = self._ports.clock.now()
        if response.status_code not in request.success:
            words = words_of(self._error_body(response), self._secrets)
            if 200 <= response.status_code < 300:
                found = f"{request.where} was answered {response.status_code}, not {_spell(request.success)} as documented"
                return Ending(ContractError(f"{found}; look at the platform"), perhaps_applied=True)
            return judge(request, response.status_code, headers, words, now)
        body = bounded(self._flow(response), _encoding(response), self._settings.max_response_bytes)
        advised_s = advised_pause_s(headers, now)
        if advised_s > 0:
            self._governor.pause(advised_s)
        return Answer(response.status_code, headers, body, http_date(headers.get("date")), request, repeated)

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
            if elapsed_s > self._settings.timeout_s and size < elapsed_s * _SLOWEST_BYTES_S:
                raise httpx.ReadTimeout(f"only {size:,} bytes came in {elapsed_s:,.0f} s")
            yield chunk

    def _error_body(self, response: httpx.Response) -> bytes:
        """What came with a status that is no success. The status counts, so nothing wrong here matters."""
        try:
            return bounded(self._flow(response), _encoding(response), _ERROR_BYTES)
        except (ContractError, httpx.HTTPError):
            return b""

    def _failed(self, request: Request, error: httpx.HTTPError) -> Ending:
        why = redact(_why(error), self._secrets)
        if isinstance(error, httpx.LocalProtocolError):  # its text may quote a header's value
            return not_sent(request, "a header or the address holds what HTTP does not allow", passing=False)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError):
            return not_sent(request, why, passing=False)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            why = f"no connection to {self._base.host}:{self._base.port or self._base.scheme} ({why})"
            return not_sent(request, why, passing="CERTIFICATE_VERIFY" not in why)
        self._count(request)
        if isinstance(error, httpx.TimeoutException):
            return interrupted(request, f"nothing came for {self._settings.timeout_s:g} s ({type(error).__name__})")
        return interrupted(request, f"the connection broke ({why})")

    def _count(self, request: Request) -> None:
        with self._lock:
            self._counts["write" if request.write else "read"] += 1
            self._repeats = min(_REPEATS_SAVED, self._repeats + _REPEAT_SHARE)

    def _may_repeat(self) -> bool:
        with self._lock:
            if self._repeats < 1:
                return False
            self._repeats -= 1
            return True


def _encoding(response: httpx.Response) -> str:
    return "" if response.is_stream_consumed else response.headers.get("content-encoding", "")


def _why(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def _spell(statuses: frozenset[int]) -> str:
    return " or ".join(str(status) for status in sorted(statuses))
