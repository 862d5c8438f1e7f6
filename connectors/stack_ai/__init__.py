"""Stack AI: the connections of an organization to other tools, who may use them, and what lies behind them."""

from connectors.settings import Connector
from connectors.stack_ai.client import StackAiClient
from connectors.stack_ai.consent import CONSENT
from connectors.stack_ai.operations import OPERATIONS
from connectors.stack_ai.settings import StackAiSettings
from connectors.stack_ai.sink import StackAiSink

__all__ = ["CONNECTOR"]

CONNECTOR = Connector(
    name="stack_ai",
    settings=StackAiSettings,
    open=StackAiSink,
    client=StackAiClient,
    operations=OPERATIONS,
    emulator="connectors.stack_ai.emulator",
    consent=CONSENT,
    demo={"token_url": "/token", "username": "demo", "password": "demo"},
)
