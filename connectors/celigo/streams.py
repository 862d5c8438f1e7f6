"""What Celigo's streams are and can do, with the sentence of the document that shows it. Pure."""

from connectors.arrow_types import declared
from connectors.base import Capabilities, Delivery, Filled, ReadCapability, Stream, WriteCapability
from connectors.celigo.operations import CREATE, DELETE, DEPENDENCIES, LIST, UPDATE
from connectors.celigo.settings import CeligoSettings
from connectors.celigo.stacks import ENDPOINT, ID, SECRET, SECRETS, TOKEN, UNDOCUMENTED, WRITABLE

__all__ = ["DEPENDENCY_STREAM", "STACK_STREAM", "streams_of"]

STACK_STREAM, DEPENDENCY_STREAM = "stacks", "dependencies"

_STACK_TYPES = {
    **dict.fromkeys((ID, "name", "type", ENDPOINT, *WRITABLE), "string"),
    "server.ipRanges": "json",
    **dict.fromkeys(("createdAt", "lastModified"), "timestamp"),
}
_DEPENDENCY_TYPES = {
    **dict.fromkeys(("key", "stackId", "stackName", "type", "id", "name", "accessLevel"), "string"),
    **dict.fromkeys(("paths", "dependencyIds"), "json"),
}


def streams_of(settings: CeligoSettings) -> tuple[Stream, Stream]:
    """Both streams. They are known without asking the platform."""
    return _stacks(settings), _dependencies(settings)


def _stacks(settings: CeligoSettings) -> Stream:
    told = settings.streams.get(STACK_STREAM)
    types = {**_STACK_TYPES, **({UNDOCUMENTED: "json"} if settings.undocumented_fields == "read" else {}), **(told.types if told else {})}
    return Stream(
        name=STACK_STREAM,
        id_field=ID,
        capabilities=Capabilities(
            read=ReadCapability(page_size=0, total=False, evidence=LIST.evidence),
            create=WriteCapability(Delivery.E2, 1, replaces=False, identifies=True, evidence=CREATE.evidence),
            update=WriteCapability(Delivery.E1, 1, replaces=True, identifies=True, evidence=UPDATE.evidence),
            delete=WriteCapability(Delivery.E1, 1, replaces=False, identifies=True, evidence=DELETE.evidence),
        ),
        schema=declared(types),
        natural_key=tuple(told.natural_key) if told and told.natural_key else ("name", "type", ENDPOINT),
        write_only=frozenset({SECRET, SECRETS}),
        read_only=frozenset({ID, "createdAt", "lastModified", UNDOCUMENTED, TOKEN, SECRET, SECRETS}),  # only this connector writes secrets
        filled=Filled(SECRETS, by=("type", "lambda.accessKeyId")),
    )


def _dependencies(settings: CeligoSettings) -> Stream:
    told = settings.streams.get(DEPENDENCY_STREAM)
    schema = declared({**_DEPENDENCY_TYPES, **(told.types if told else {})})
    return Stream(
        name=DEPENDENCY_STREAM,
        id_field="key",
        capabilities=Capabilities(read=ReadCapability(page_size=0, total=False, evidence=DEPENDENCIES.evidence)),
        schema=schema,
        natural_key=("stackId", "type", "id"),
        read_only=frozenset(schema.names),
    )
