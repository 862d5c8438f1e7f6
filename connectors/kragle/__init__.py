"""Kragle: block stacks, listed among everybody's public ones, made and changed one by one, never deleted."""

from connectors.kragle.client import KragleClient
from connectors.kragle.operations import OPERATIONS
from connectors.kragle.settings import KragleSettings
from connectors.kragle.sink import KragleSink
from connectors.settings import Connector

__all__ = ["CONNECTOR"]

CONNECTOR = Connector(
    name="kragle",
    settings=KragleSettings,
    open=KragleSink,
    client=KragleClient,
    operations=OPERATIONS,
    emulator="connectors.kragle.emulator",
    demo={"token": "demo", "owner": "7"},
)
