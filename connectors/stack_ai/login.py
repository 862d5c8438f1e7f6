"""Logging in to Stack AI: username and password for a token, once for all threads, again when it is refused."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from connectors.base import Delivery, Operation
from connectors.errors import ConfigError, ContractError, CredentialsError, RefusedError
from connectors.http import Login, Request, Sender
from connectors.settings import Ports, Secret
from connectors.stack_ai.settings import StackAiSettings

__all__ = ["PasswordLogin"]

_LOG_IN = Operation(
    "log_in", "POST", "{token_url}", Delivery.READ, "A token for username and password", "OAuth2passwordRequired Token URL:", False
)
_REFUSALS = frozenset({400, 403, 404, 422})  # 401 is a refusal of who we are without being named


class PasswordLogin:
    """`login` is what a Sender takes. Nothing is asked for before the first request; tokens are kept in memory only."""

    def __init__(self, settings: StackAiSettings, ports: Ports) -> None:
        self._settings, self._ports = settings, ports
        self._sender: Sender | None = None
        kept = {"authorization": _bearer(settings.access_token)} if settings.access_token else None
        self.login = Login(settings.username or "access_token", self._log_in, kept=kept)

    @property
    def hidden(self) -> list[Secret]:
        """What a platform might quote and nothing may show."""
        settings = self._settings
        return [secret for secret in (settings.password, settings.client_secret, settings.access_token) if secret]

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        if self._sender is not None:
            self._sender.close()

    def _log_in(self) -> Mapping[str, Secret]:
        settings = self._settings
        if not settings.username or not settings.password or not settings.token_url:
            if settings.access_token:
                raise CredentialsError("the access_token was refused; renew it, or set token_url, username and password")
            raise ConfigError("this connection cannot log in: set token_url, username and password, or access_token")
        base, path = _parts(settings.token_url, settings.base_url)
        if self._sender is None:
            there = settings.model_copy(update={"base_url": base})
            self._sender = Sender(there, self._ports, auth={}, hidden=self.hidden)
        form: dict[str, str | Secret] = {"grant_type": "password", "username": settings.username, "password": settings.password}
        more = {"scope": settings.scope, "client_id": settings.client_id, "client_secret": settings.client_secret}
        form |= {name: value for name, value in more.items() if value}
        try:
            answer = self._sender.send(Request(_LOG_IN, path, form=form, success=frozenset({200, 201}), certified=_REFUSALS))
        except RefusedError as error:
            if error.status == 404:
                raise ConfigError(f"there is nothing to log in at: {error}; correct token_url") from None
            raise CredentialsError(f"Stack AI refused to log {settings.username} in: {error}; check username and password") from None
        told = answer.json()
        token = told.get("access_token") if isinstance(told, dict) else None
        if not isinstance(token, str) or not token:
            raise ContractError("logging in was answered without an access_token; check token_url")
        return {"authorization": _bearer(Secret(token))}


def _parts(token_url: str, base_url: str) -> tuple[str, str]:
    """Where to log in, as a base_url and a path. Raises ConfigError."""
    if token_url.startswith("/"):
        return base_url, token_url
    url = urlsplit(token_url)
    if not url.scheme or not url.netloc:
        raise ConfigError("token_url must be written as https://host/path, or as /path below base_url")
    return f"{url.scheme}://{url.netloc}", (url.path or "/") + (f"?{url.query}" if url.query else "")


def _bearer(token: Secret) -> Secret:
    return Secret(f"Bearer {token.reveal()}")
