"""Celigo integrator.io: server and lambda stacks of one account, listed by links, created, replaced and deleted by id."""

from connectors.celigo.client import CeligoClient
from connectors.celigo.operations import OPERATIONS
from connectors.celigo.settings import CeligoSettings
from connectors.celigo.sink import CeligoSink
from connectors.settings import Connector

__all__ = ["CONNECTOR", "CeligoSettings"]

CONNECTOR = Connector(
    name="celigo",
    settings=CeligoSettings,
    open=CeligoSink,
    client=CeligoClient,
    operations=OPERATIONS,
    emulator="connectors.celigo.emulator",
    demo={"token": "demo"},
)
