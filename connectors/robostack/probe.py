"""What `crossdock check` looks at in Robostack, by finds alone."""

from collections.abc import Callable, Iterator, Sequence

from connectors.base import Finding, Stream
from connectors.errors import ConnectorError, ContractError, CredentialsError, RefusedError, RetryableError
from connectors.http import Answer
from connectors.robostack.answers import Found, found_in
from connectors.robostack.client import RobostackClient
from connectors.robostack.settings import ID_FIELD, RobostackSettings

__all__ = ["findings"]

_NO_SUCH_RESOURCE = "crossdock-check-no-such-resource"
_NO_SUCH_ID = 0


def findings(
    settings: RobostackSettings,
    client: RobostackClient,
    streams: Sequence[Stream],
    find_everything: Callable[[Stream], tuple[Answer, Found]],
    hiding: Callable[[Found], tuple[str, ...]],
) -> Iterator[Finding]:
    """One finding for the credentials, one for unknown resources, one for each declared stream.

    `hiding` says why an answer may not show all there are.
    """
    try:
        told_apart = _unknown_resource(client)
    except CredentialsError as error:
        yield Finding("credentials", False, str(error), "api_key and api_secret; add the token to the application under API Access")
        return
    except RetryableError as error:
        yield Finding("reachability", False, str(error), "base_url")
        return
    except ConnectorError as error:
        yield Finding("reachability", False, str(error), "base_url and app_uuid")
        return
    yield Finding("credentials", True, f"accepted for the application {settings.app_uuid}")
    yield told_apart
    if not streams:
        yield Finding("streams", False, "no resource is declared, and nothing lists them", "declare each resource under streams")
    for stream in streams:
        yield from _stream(settings, stream, find_everything, hiding)


def _unknown_resource(client: RobostackClient) -> Finding:
    subject = "unknown resource"
    try:
        answer = client.find(_NO_SUCH_RESOURCE, {"selection": {ID_FIELD: _NO_SUCH_ID}})
    except RefusedError as error:
        return Finding(subject, True, f"a resource that does not exist is answered {error.status}, so a misspelt name is noticed")
    try:
        shape = found_in(answer, ID_FIELD, None).shape
    except ContractError as error:
        return Finding(subject, True, f"a resource that does not exist is answered unlike others ({error})")
    return Finding(
        subject,
        False,
        f"a resource that does not exist is answered {answer.status} with {shape}: a misspelt name looks like an empty resource",
        "compare the names under streams with those in the application",
    )


def _stream(
    settings: RobostackSettings,
    stream: Stream,
    find_everything: Callable[[Stream], tuple[Answer, Found]],
    hiding: Callable[[Found], tuple[str, ...]],
) -> Iterator[Finding]:
    subject = f"stream {stream.name}"
    try:
        answer, found = find_everything(stream)
    except ConnectorError as error:
        yield Finding(subject, False, str(error), f"streams.{stream.name}")
        return
    doubts = "; ".join(found.doubts)
    size = f"{found.count:,} records, answered {answer.status} as {found.shape}"
    yield Finding(subject, not doubts, f"{size}; {doubts}" if doubts else size, f"streams.{stream.name}.key" if doubts else "")
    others = [reason for reason in hiding(found) if reason not in found.doubts]
    if others and settings.result_cap != "none":
        yield Finding(
            f"all of {stream.name}",
            True,
            "; ".join(others),
            f"result_cap: none, if these are all there are, else result_cap: {found.count}",
        )
