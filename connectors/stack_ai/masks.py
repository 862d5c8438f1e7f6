"""Secrets that belong to connections: filled in by reference when sending, and never sent as the mask they are shown as. Pure."""

import re
from collections.abc import Mapping

from connectors.base import JsonValue
from connectors.errors import ConfigError
from connectors.settings import Secret

__all__ = ["Masked", "masked_at", "provider_data", "refuse_masks"]

_MASK = re.compile(r"[*•●∙·█xX]{4,}|.*[*•●█]{4,}.*|[<\[(]?(redacted|hidden|masked|secret)[>\])]?", re.IGNORECASE | re.DOTALL)

_ROW = re.compile(r"[*•●∙·█]{4,}")


class Masked(ConfigError):
    """A body holds a mask and is not sent. It says nothing about other bodies."""


def masked_at(value: JsonValue, mask: str | None, place: str = "") -> str | None:
    """Where in a value something stands that is shown in place of a secret (dotted; "" at its top), or None."""
    if isinstance(value, str):
        return place if _MASK.fullmatch(value) or (mask and value == mask) else None
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    places = (masked_at(one, mask, f"{place}.{name}".lstrip(".")) for name, one in inner)
    return next((found for found in places if found is not None), None)


def refuse_masks(value: JsonValue, mask: str | None) -> None:
    """Raises Masked where a body holds a mask: sending it would destroy the secret.

    A connection may well be named "Secret": of its name only a row of signs, or the declared mask, is refused.
    """
    named = isinstance(value, dict) and isinstance(name := value.get("name"), str) and not _ROW.fullmatch(name) and name != mask
    place = masked_at({field: one for field, one in value.items() if field != "name"} if isinstance(value, dict) and named else value, mask)
    if place is not None:
        raise Masked(f"{place or 'the body'} holds what is shown in place of a secret, which is never sent; give the secret itself")


def provider_data(declared: Mapping[str, Mapping[str, Secret]], name: str, provider_id: str) -> Mapping[str, Secret] | None:
    """What the settings declare for the connection of that name, else for its provider; None: nothing."""
    return declared.get(name, declared.get(f"provider:{provider_id}"))
