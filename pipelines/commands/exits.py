"""How a command ends: one sentence and an exit status for everything that can go wrong."""

import signal
import traceback
from pathlib import Path

from connectors.errors import ConfigError, ConnectorError, CredentialsError, RefusedError, UnknownOutcome, UnreachableError

__all__ = [
    "CONFIG",
    "INTERNAL",
    "INTERRUPTED",
    "OK",
    "PARTIAL",
    "REFUSED",
    "TERMINATED",
    "UNREACHABLE",
    "Stopped",
    "cause",
    "ending",
    "interruption",
]

OK, PARTIAL, REFUSED, CONFIG, UNREACHABLE, INTERNAL = range(6)
INTERRUPTED, TERMINATED = 130, 143  # as shells say it: 128 + SIGINT, 128 + SIGTERM


class Stopped(Exception):
    """A command that ends early, having decided so: the sentence, the exit status, and what else `--json` should tell."""

    def __init__(self, sentence: str, exit_status: int, **facts: object) -> None:
        super().__init__(sentence)
        self.exit_status, self.facts = exit_status, facts


def cause(error: BaseException) -> BaseException:
    """The first error of ours among `error` and what caused it (an orchestrator wraps them), or `error` itself."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and not any(seen is known for known in chain):  # a chain of causes may come back to itself
        if isinstance(seen, ConnectorError | Stopped | KeyboardInterrupt):
            return seen
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    return error


def ending(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit status for an error."""
    error = cause(error)
    if isinstance(error, Stopped):
        return str(error), error.exit_status
    if isinstance(error, KeyboardInterrupt):
        stopped, status = interruption(error)
        return f"{stopped}; nothing was being written", status
    if isinstance(error, CredentialsError):
        return str(error), UNREACHABLE
    if isinstance(error, ConfigError):
        return str(error), CONFIG
    if isinstance(error, UnknownOutcome):
        return str(error), PARTIAL
    if isinstance(error, RefusedError):  # of a read: what was asked for does not exist or is not allowed
        return str(error), CONFIG
    if isinstance(error, ConnectorError):
        on_this_machine = isinstance(error, UnreachableError) and " to 127.0.0.1:" in str(error)
        return str(error) + (" (`crossdock sandbox` starts the emulators)" if on_this_machine else ""), UNREACHABLE
    return _internal(error), INTERNAL


def interruption(error: KeyboardInterrupt) -> tuple[str, int]:
    """What stopped the command, and the exit status that shells know it by."""
    return ("stopped by SIGTERM", TERMINATED) if signal.SIGTERM in error.args else ("stopped by Ctrl-C", INTERRUPTED)


def _internal(error: BaseException) -> str:
    """Type and place only: the text of an unexpected error may hold a record or a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/pipelines/" in frame.filename or "/connectors/" in frame.filename] or list(frames)
    place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return f"Crossdock itself failed ({type(error).__name__}{place}), which is a defect; run it again with --debug and report what it shows"
