"""What is assumed of a write whose answer was lost, and what then follows: the sync's word, else its connection's. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from connectors.settings import ConnectionSettings
from pipelines.spec import SyncSpec

__all__ = ["Assumed", "assumed"]


@dataclass(frozen=True)
class Assumed:
    """The times that a lost write is waited for, in seconds, and what becomes of a create that is not found after them."""

    T_server_max_s: float
    T_lag_s: float
    on_unknown: Literal["quarantine", "retry"]

    @property
    def quiet(self) -> timedelta:
        """How long after its sending a write can neither take effect nor stay hidden any more."""
        return timedelta(seconds=self.T_server_max_s + self.T_lag_s)


def assumed(spec: SyncSpec, settings: ConnectionSettings) -> Assumed:
    """What holds for this sync, whose sink has these settings."""
    said = spec.writes
    return Assumed(
        settings.T_server_max_s if said.T_server_max_s is None else said.T_server_max_s,
        settings.T_lag_s if said.T_lag_s is None else said.T_lag_s,
        said.on_unknown or settings.on_unknown or "quarantine",
    )
