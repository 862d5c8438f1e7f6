"""The errors a connector raises, grouped by what the caller should do. Pure.

ConnectorError
├── ConfigError            a person must change something before this can work
│   └── CredentialsError   the platform refused who we say we are
├── ContractError          it answered, but not as documented: look at the answer
├── RefusedError           it understood and refused this one request; nothing was changed
├── RetryableError         nothing was changed; try again after `retry_after_s`
│   └── UnreachableError   the request never reached the platform
└── UnknownOutcome         sent, and no trustworthy answer came: find out, do not resend blindly
"""

__all__ = [
    "ConfigError",
    "ConnectorError",
    "ContractError",
    "CredentialsError",
    "RefusedError",
    "RetryableError",
    "UnknownOutcome",
    "UnreachableError",
]


class ConnectorError(Exception):
    """Anything that goes wrong between us and a platform. The message is one sentence without secrets."""


class ConfigError(ConnectorError):
    """A person must change a setting, a file or a permission; trying again changes nothing."""


class CredentialsError(ConfigError):
    """The platform refused the credentials (401, or 403 for the whole connection)."""


class ContractError(ConnectorError):
    """The platform answered in a way its document does not describe; nothing may be concluded from it."""


class RefusedError(ConnectorError):
    """The platform refused this request definitely (a certified 4xx): nothing was changed.

    `status` is the HTTP status; `words` is what the platform said, shortened and redacted.
    """

    def __init__(self, message: str, *, status: int, words: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.words = words


class RetryableError(ConnectorError):
    """Nothing was changed and a later try may work. `retry_after_s` is the platform's wish in seconds, if it told one."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnreachableError(RetryableError):
    """The request was definitely not sent: name look-up, connection or TLS failed."""


class UnknownOutcome(ConnectorError):
    """The request may or may not have taken effect. Whoever sent it must look before sending again."""
