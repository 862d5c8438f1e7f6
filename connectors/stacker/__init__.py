"""Stacker: objects of a no-code application, searched, created, changed and deleted by sid."""

from connectors.settings import Connector
from connectors.stacker.client import StackerClient
from connectors.stacker.operations import OPERATIONS
from connectors.stacker.settings import StackerSettings
from connectors.stacker.sink import StackerSink

__all__ = ["CONNECTOR", "StackerSettings"]

CONNECTOR = Connector(
    name="stacker",
    settings=StackerSettings,
    open=StackerSink,
    client=StackerClient,
    operations=OPERATIONS,
    emulator="connectors.stacker.emulator",
    demo={"base_url": "http://127.0.0.1:8701", "integration_key": "demo", "account_id": "acc_demo", "stack_id": "stk_demo"},
)
