"""Credentials that expire: logged in when needed, once for all threads, and kept before they are used."""

from collections.abc import Callable, Mapping
from threading import Lock

from connectors.errors import ConnectorError, CredentialsError
from connectors.settings import Secret

__all__ = ["Login"]

Headers = Mapping[str, Secret]


class Login:
    """The headers that say who we are, from `log_in` (headers → values), which the platform may refuse after a while.

    `account` names who logs in (never a secret); connections of one account share their pace. `kept` are headers
    from before, where there are any; `keep` is given every new ones before their first use. Threads may share it.
    """

    def __init__(
        self, account: str, log_in: Callable[[], Headers], *, kept: Headers | None = None, keep: Callable[[Headers], None] | None = None
    ) -> None:
        self.account = account
        self._log_in, self._keep = log_in, keep
        self._lock = Lock()
        self._headers = kept
        self._number = 0
        self._failures = 0
        self._failed: ConnectorError | None = None

    def headers(self) -> tuple[int, Headers]:
        """The headers and their number, which `renew` wants. Logs in where that was not done. Raises ConnectorError."""
        number, headers = self._number, self._headers
        if headers is None:
            self.renew(number)
            with self._lock:
                number, headers = self._number, self._headers
            assert headers is not None
        return number, headers

    def renew(self, number: int) -> None:
        """Log in again because the headers of that number were refused, unless another thread did so meanwhile.

        Raises what `log_in` raises, and again to everyone who waited for it; refused credentials are never
        tried a second time, because that locks accounts.
        """
        failures = self._failures
        with self._lock:
            if self._number != number:
                return
            if self._failed is not None and (self._failures != failures or isinstance(self._failed, CredentialsError)):
                raise self._failed.with_traceback(None)
            try:
                headers = self._log_in()
            except ConnectorError as error:
                self._failures += 1
                self._failed = error
                raise
            if self._keep is not None:
                self._keep(headers)
            self._headers, self._number, self._failed = headers, number + 1, None
