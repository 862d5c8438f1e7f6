"""How one try of a request ended, and what that means for the record it was about. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from connectors.errors import (
    ConfigError,
    ConnectorError,
    ContractError,
    CredentialsError,
    RefusedError,
    RetryableError,
    UnknownOutcome,
    UnreachableError,
)
from connectors.http_headers import retry_after_s

__all__ = ["Ending", "interrupted", "judge", "left_alone", "not_sent", "settle"]

_TRANSIENT = frozenset({408, 425, 500, 502, 503, 504, 507, 508, 509, 520, 521, 522, 523, 524, 529, 599})


class Sent(Protocol):
    """What is asked of a request here."""

    @property
    def write(self) -> bool: ...
    @property
    def where(self) -> str: ...
    @property
    def certified(self) -> frozenset[int]: ...


@dataclass(frozen=True)
class Ending:
    """A try that gave no answer to use.

    `passing`: the trouble may pass by itself. `perhaps_applied`: the platform may have done what it was asked.
    `asked_to_wait`: it wants to be left alone by everyone, for `retry_after_s` where it said how long.
    `too_fast`: because there were too many requests. `host_failed`: it says nothing good about the host.
    `expired`: the platform does not, or no longer, know who asks.
    """

    error: ConnectorError
    passing: bool = False
    perhaps_applied: bool = False
    asked_to_wait: bool = False
    retry_after_s: float | None = None
    too_fast: bool = False
    host_failed: bool = False
    expired: bool = False


def judge(request: Sent, status: int, headers: Mapping[str, str], words: str, now: datetime) -> Ending:
    """The ending of a try whose answer was not a success. `words` is what the platform said, fit to be shown."""
    said = f" ({words})" if words else ""
    where = f"{request.where} was answered {status}{said}"
    wish_s = retry_after_s(headers, now)
    too_fast = status == 429 or (status == 403 and wish_s is not None)  # no login becomes valid by waiting
    if status == 401 or (status == 403 and not too_fast and 403 not in request.certified):
        refused = CredentialsError(f"{where}: the platform refused the credentials; check the keys of this connection and what they may do")
        return Ending(refused, expired=status == 401)
    if too_fast:
        wait = f" for {wish_s:,.0f} s" if wish_s is not None else ""
        error = RetryableError(
            f"{where}: too many requests, it asks to be left alone{wait}; lower rate_limit, or run again later", retry_after_s=wish_s
        )
        return Ending(error, passing=True, asked_to_wait=True, retry_after_s=wish_s, too_fast=True)
    if status in request.certified:
        return Ending(RefusedError(f"{where}; nothing was changed", status=status, words=words))
    if 300 <= status < 400:
        return Ending(_redirected(request, where, headers, status), perhaps_applied=status not in (307, 308))
    if status in _TRANSIENT:
        waits = status == 503 and wish_s is not None
        failed = RetryableError(f"{where}: it is in trouble; run again later", retry_after_s=wish_s)
        return Ending(failed, passing=True, perhaps_applied=True, asked_to_wait=waits, retry_after_s=wish_s, host_failed=not waits)
    return Ending(
        ContractError(f"{where}, which its document does not describe here; look at base_url and at the platform"), perhaps_applied=True
    )


def not_sent(request: Sent, why: str, *, passing: bool = True) -> Ending:
    """The request never reached the platform: name look-up, connection, TLS or the pool failed."""
    error = UnreachableError(f"{request.where} was not sent: {why}; check base_url and the network")
    return Ending(error, passing=passing, host_failed=passing)


def left_alone(request: Sent, host: str, failures: int, for_s: float) -> Ending:
    """Nothing was sent: the host failed too often in a row, and what was tried since failed too."""
    for_now = f"is left alone for {for_s:,.0f} s" if for_s else "no read has found it back"
    message = f"{request.where} was not sent: {host} failed {failures} times in a row and {for_now}; run again later"
    return Ending(RetryableError(message, retry_after_s=for_s or None))


def interrupted(request: Sent, why: str, *, passing: bool = True) -> Ending:
    """The request may have arrived, and no whole answer came back."""
    error = RetryableError(f"{request.where} got no whole answer: {why}; run again later")
    return Ending(error, passing=passing, perhaps_applied=True, host_failed=True)


def settle(request: Sent, ending: Ending, perhaps_applied: bool) -> ConnectorError:
    """The error for the caller after the last try; `perhaps_applied` is true when any try may have changed something.

    A write that may have been applied is unknown whatever came last, except that 404 says there is no such record now.
    """
    error = ending.error
    gone = isinstance(error, RefusedError) and error.status == 404
    if not (request.write and perhaps_applied) or gone:
        return error
    if isinstance(error, ConfigError):
        return UnknownOutcome(str(error))
    words = str(error).removesuffix("; run again later")
    return UnknownOutcome(f"{words}; whether the write took effect is not known: look at the platform before sending it again")


def _redirected(request: Sent, where: str, headers: Mapping[str, str], status: int) -> ConfigError:
    target = headers.get("location", "").partition("?")[0].partition("#")[0].rpartition("@")[2][:120]
    to = f" to {target}" if target.isprintable() and target else ""
    return ConfigError(
        f"{where}, a redirect{to}; redirects are not followed, because they can drop the body or send the credentials elsewhere; "
        "check base_url (https, host, path prefix) and the trailing slash"
    )
