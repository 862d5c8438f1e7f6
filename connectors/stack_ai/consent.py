"""How a person lets a provider in: the address to open, and what becomes of the single-use code that it leads back with."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from connectors.base import JsonValue, Record
from connectors.errors import ConfigError, ContractError
from connectors.settings import Consent, Secret
from connectors.stack_ai.answers import error_words, made_in
from connectors.stack_ai.client import StackAiClient
from connectors.stack_ai.masks import provider_data
from connectors.stack_ai.settings import StackAiSettings
from connectors.stack_ai.streams import BODY, SECRET_FIELD

__all__ = ["CONSENT"]


def _model(client: StackAiClient, settings: StackAiSettings, given: Mapping[str, JsonValue], renewed: str | None) -> Record:
    """The body of all three operations. Of a connection to renew, what is not given is as the platform shows it."""
    unknown = sorted(given.keys() - set(BODY))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is nothing that a connection is made of; it takes {', '.join(BODY)}")
    shown: Record = {}
    if renewed is not None:
        shown = made_in(client.get_connection(renewed), settings.id_at) or {}
        if shown.get("id") != renewed:
            raise ContractError(f"the connection {renewed} could not be read, so that its consent is not renewed; check its id")
    said = {name: given.get(name, shown.get(name)) for name in BODY if name != SECRET_FIELD}
    missing = [name for name, value in said.items() if not isinstance(value, str) or not value.strip()]
    if missing:
        told = "an unnamed connection could not be told from others" if missing == ["name"] else "available_connections tells the types"
        raise ConfigError(f"a connection needs {' and '.join(missing)}, given as NAME=VALUE; {told}")
    data = given.get(SECRET_FIELD, {})
    if not isinstance(data, dict):
        raise ConfigError(f"{SECRET_FIELD} is an object, with the fields that the stream available_connections tells")
    declared = provider_data(settings.provider_data, str(said["name"]), str(said["provider_id"])) or {}
    return {**said, SECRET_FIELD: {**data, **dict(declared.items())}}


def _start(client: StackAiClient, model: Record) -> str:
    """The address for a person to open. Raises ContractError for an answer that holds none."""
    told: Any = client.start_oauth(**model)  # type: ignore[arg-type]
    inner = list(told.values()) if isinstance(told, dict) else [told]
    found = [one for one in inner if isinstance(one, str) and urlsplit(one).scheme in ("https", "http") and urlsplit(one).hostname]
    if len(found) != 1:
        why = error_words(told) or "it holds no one address"
        raise ContractError(f"start_oauth was answered without an address to open ({why}); look at what the platform answered")
    return found[0]


def _finish(client: StackAiClient, settings: StackAiSettings, model: Record, code: Secret, renewed: str | None) -> str | None:
    """The id of the connection that was made or renewed, where the answer tells it."""
    if renewed is None:
        answer = client.create_connection_from_callback(code.reveal(), **model)  # type: ignore[arg-type]
    else:
        answer = client.update_connection_from_callback(renewed, code.reveal(), **model)  # type: ignore[arg-type]
    made = made_in(answer, settings.id_at)
    return renewed if made is None else str(made["id"])


CONSENT = Consent(model=_model, start=_start, finish=_finish, takes=BODY)
