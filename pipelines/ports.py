"""The real clock and the real dice: what the engine is given outside simulations."""

import random
import secrets
import time
from datetime import UTC, datetime

__all__ = ["SystemClock", "SystemRng"]


class SystemClock:
    """The machine's time (`connectors.base.Clock`)."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. It may jump; measure durations with `monotonic`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait. Returns at once for zero or less."""
        if duration_s > 0:
            time.sleep(duration_s)


class SystemRng:
    """The machine's randomness (`connectors.base.Rng`), from the operating system: forked workers never draw the same."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def token(self) -> str:
        """32 hexadecimal digits that no other process will draw."""
        return secrets.token_hex(16)
