"""Where alerts go and how they get there: Slack-compatible webhooks and e-mail. I/O only when something is sent.

The addresses hold secrets (a webhook's path is one, a mail server's password another): they are shown nowhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from connectors.errors import ConfigError
from connectors.settings import Secret

__all__ = ["Channel", "channels", "send"]

PATIENCE_S = 10.0
_HERE = ("127.0.0.1", "localhost", "::1")
_FORMS = "write https://… for a webhook, or smtps://user:password@host/?from=a@b.example&to=c@d.example for e-mail"


@dataclass(frozen=True)
class Channel:
    """One place that alerts go to. `host` may be shown."""

    address: Secret
    host: str

    def send(self, subject: str, text: str) -> None:
        """Deliver one message. Raises OSError, or what the library raises; the address stands in none of ours."""
        parts = urlsplit(self.address.reveal())
        if parts.scheme.startswith("smtp"):
            _mail(parts, subject, text)
        else:
            _post(self.address.reveal(), subject, text)


def channels(written: str | None, folder: Path) -> tuple[Channel, ...]:
    """The channels that CROSSDOCK_ALERTS names: addresses between blanks, or `file:path` (from `folder`) of a file that holds them.

    Raises ConfigError for what is no such address, without showing it.
    """
    text = written or ""
    if text.startswith("file:"):
        path = folder / text.removeprefix("file:").strip()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"CROSSDOCK_ALERTS names the file {path}, which cannot be read ({type(error).__name__}); create it") from None
    return tuple(_channel(number, one) for number, one in enumerate(text.split(), 1))


def _channel(number: int, written: str) -> Channel:
    try:
        parts = urlsplit(written)
        host, asked = parts.hostname or "", parse_qs(parts.query)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"address {number} of CROSSDOCK_ALERTS is none; {_FORMS}") from None
    mail = parts.scheme in ("smtp", "smtps")
    if not host or (not mail and parts.scheme not in ("https", "http")):
        raise ConfigError(f"address {number} of CROSSDOCK_ALERTS is none; {_FORMS}")
    if parts.scheme in ("http", "smtp") and host not in _HERE:
        raise ConfigError(f"address {number} of CROSSDOCK_ALERTS goes to {host} without encryption; use {parts.scheme}s")
    if mail and not (asked.get("from") and asked.get("to")):
        raise ConfigError(f"address {number} of CROSSDOCK_ALERTS does not say from whom and to whom; {_FORMS}")
    return Channel(Secret(written), host)


def send(to: Sequence[Channel], subject: str, text: str) -> Iterator[str]:
    """Deliver to every channel, and give a sentence for each that did not take it."""
    for channel in to:
        try:
            channel.send(subject, text)
        except Exception as error:  # noqa: BLE001 (whatever a mail server does, a run must not fail by it)
            why = str(error) if isinstance(error, ConfigError) else type(error).__name__
            yield f"an alert was not taken by {channel.host} ({why}); see CROSSDOCK_ALERTS"


def _post(address: str, subject: str, text: str) -> None:
    """As Slack's incoming webhooks take it, and Mattermost's, Discord's (below `/slack`) and others."""
    import httpx

    from connectors.http_wire import hush

    hush()
    said = {"text": f"*{subject}*\n{text}"}
    with httpx.stream("POST", address, json=said, timeout=PATIENCE_S, follow_redirects=False, trust_env=False) as answer:
        if answer.status_code >= 300:  # what else it says, for however long, is not waited for
            raise ConfigError(f"it answered {answer.status_code}")


def _mail(parts: SplitResult, subject: str, text: str) -> None:
    import smtplib
    from email.message import EmailMessage

    asked = parse_qs(parts.query)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, asked["from"][0], ", ".join(asked["to"])
    message.set_content(text)
    host = parts.hostname or ""
    encrypted = parts.scheme == "smtps"
    server = (
        smtplib.SMTP_SSL(host, parts.port or 465, timeout=PATIENCE_S)
        if encrypted
        else smtplib.SMTP(host, parts.port or 25, timeout=PATIENCE_S)
    )
    with server:
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)
