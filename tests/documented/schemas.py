"""JSON schemas of the documents, made strict. Pure."""

from typing import Any


def strict(schema: Any) -> Any:
    """The schema, every object in it without further members where the document does not say that there may be more."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: strict(one) for name, one in schema.items()}
    return {"additionalProperties": False, **schema} if schema.get("type") == "object" else schema
