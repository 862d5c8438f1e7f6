"""Robostack: resources of an application, found by equality, created in batches, changed and deleted by id."""

from connectors.robostack.client import RobostackClient
from connectors.robostack.operations import OPERATIONS
from connectors.robostack.settings import RobostackSettings
from connectors.robostack.sink import RobostackSink
from connectors.settings import Connector

__all__ = ["CONNECTOR"]

CONNECTOR = Connector(
    name="robostack",
    settings=RobostackSettings,
    open=RobostackSink,
    client=RobostackClient,
    operations=OPERATIONS,
    emulator="connectors.robostack.emulator",
    demo={
        "api_key": "demo",
        "api_secret": "demo",
        "app_uuid": "00000000-0000-4000-8000-000000000001",
        "result_cap": "none",
        "streams": {
            "people": {"key": ["id"], "natural_key": ["email"]},
            "orgs": {"key": ["id"], "natural_key": ["domain"]},
            "invoices": {"key": ["id"], "natural_key": ["number"]},
        },
    },
)
