"""The user's current organization, which decides what everything here is about: seen in answers, and never allowed to change unseen."""

from collections.abc import Mapping
from threading import Lock

from connectors.base import JsonValue
from connectors.errors import ConfigError
from connectors.stack_ai.answers import organization_of

__all__ = ["Organization"]


class Organization:
    """What the answers of one connection tell about it. `declared` is the one it must be; `at` the field that tells it."""

    def __init__(self, declared: str | None, at: str | None) -> None:
        self._declared, self._at = declared, at
        self._seen: str | None = None
        self._foreign: str | None = None
        self._lock = Lock()

    @property
    def seen(self) -> str | None:
        """The organization as answers told it; None where they did not."""
        return self._seen

    def see(self, connection: Mapping[str, JsonValue]) -> None:
        """Note the organization of a connection that an answer shows. Raises ConfigError where it is another one."""
        told = organization_of(connection, self._at)
        if told is None:
            return
        with self._lock:
            expected = self._declared or self._seen
            if expected is not None and told != expected:
                self._foreign = told
            else:
                self._seen, self._foreign = told, None
        self.stop_elsewhere()

    def stop_elsewhere(self) -> None:
        """Raises ConfigError where the last answer was about another organization than the ones before, or the declared one."""
        if self._foreign is not None:
            raise ConfigError(
                f"Stack AI answers for the organization {self._foreign}, and this connection is for {self._declared or self._seen}; "
                "let its user switch back, or set organization to the one you mean (organization_at names the field that tells it)"
            )
