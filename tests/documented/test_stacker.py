"""Client and emulator speak exactly what Stacker's OpenAPI document says: every request and every answer is checked against it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from connectors.base import Change, ReadRequest, Since
from connectors.errors import ConfigError, RefusedError
from connectors.stacker import CONNECTOR
from connectors.stacker.client import StackerClient
from connectors.stacker.emulator import create_app
from connectors.stacker.emulator_store import Store
from connectors.stacker.operations import OPERATIONS
from tests.contract.connector_suite import ports
from tests.documented.schemas import strict
from tests.loopback import serving

DOCUMENT = json.loads((Path(__file__).parent / "data" / "stacker.openapi.json").read_text())


class Recorded:
    """An ASGI application that checks what goes through it against the document."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.seen: set[str] = set()
        self.wrong: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, answer, status = b"", b"", 0

        async def heard() -> Any:
            nonlocal body
            message = await receive()
            body += message.get("body", b"")
            return message

        async def said(message: Any) -> None:
            nonlocal answer, status
            status = message.get("status", status)
            answer += message.get("body", b"")
            await send(message)

        await self.app(scope, heard, said)
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        try:
            self.seen.add(check(scope["method"], scope["raw_path"].decode(), scope["query_string"].decode(), headers, body, status, answer))
        except (AssertionError, LookupError, StopIteration, jsonschema.ValidationError) as error:  # too late to tell the client
            self.wrong.append(f"{scope['method']} {scope['raw_path']!r} {body!r} → {status}: {error!r}")


def check(method: str, path: str, query: str, headers: dict[str, str], body: bytes, status: int, answer: bytes) -> str:
    """The operationId of one exchange, after every part of it was found in the document."""
    template = next(one for one in DOCUMENT["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), path))
    operation = DOCUMENT["paths"][template][method.lower()]
    assert headers["x-integration-key"]
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        if parameter["in"] == "header" and parameter["required"]:
            assert headers[parameter["name"].lower()]
    documented = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert set(httpx.QueryParams(query)) <= documented
    if "requestBody" in operation:
        assert headers["content-type"] == "application/json"
        valid(json.loads(body), operation["requestBody"]["content"]["application/json"]["schema"], closed=True)
    else:
        assert not body
    name: str = operation["operationId"]
    if status == 404:
        return name  # the document shows no error
    response = operation["responses"][str(status)]
    if "content" not in response:
        assert not answer
    elif headers["accept"] != "text/csv":
        valid(json.loads(answer), response["content"]["application/json"]["schema"], closed=True)
    return name


def valid(value: Any, schema: Any, *, closed: bool) -> None:
    """The value is what the schema says; `closed`: and no more than that, where the document does not say that there may be more."""
    jsonschema.Draft202012Validator({**(strict(schema) if closed else schema), "components": strict(DOCUMENT["components"])}).validate(
        value
    )


@contextmanager
def recorded(store: Store) -> Iterator[tuple[str, Recorded]]:
    app = Recorded(create_app(store))
    with serving(app) as base_url:
        yield base_url, app
    assert app.wrong == []


@pytest.fixture
def store() -> Store:
    return Store(contacts=30, companies=4, orders=4)


def settings(base_url: str) -> Any:
    given = {"connector": "stacker", "base_url": base_url, "integration_key": "demo", "account_id": "acc_demo", "stack_id": "stk_demo"}
    return CONNECTOR.settings(**given, page_size=10)


def test_every_operation_of_the_document_is_spoken_as_documented(store: Store) -> None:
    with recorded(store) as (base_url, app):
        client = StackerClient(settings(base_url), ports())
        assert client.hello() == {"message": "hello"}
        client.list_accounts()
        client.list_objects()
        client.list_action_buttons("contacts")
        found = client.search_records(
            "contacts", search="lovelace", search_fields=["email"], include_fields=["email"], count=5, start=0, order_by="email"
        )
        assert isinstance(found, dict)
        assert found["records"][0]["email"] == "ada.lovelace@example.com"
        made = client.create_record("contacts", {"email": "new@example.com"}, include_fields=["email"])
        assert made["email"] == "new@example.com"
        sid = str(made["sid"])
        assert client.get_record("contacts", sid, include_fields=["email"]) == {"sid": sid, "email": "new@example.com"}
        assert client.update_record("contacts", sid, {"phone": "1"})["phone"] == "1"
        bulk = client.bulk_upsert_records("contacts", [{"email": "x@example.com"}, {"email": "y@example.com"}])
        assert isinstance(bulk, dict)
        assert (len(bulk["created"]), bulk["updated"]) == (2, [])
        client.delete_record("contacts", sid)
        with pytest.raises(RefusedError):
            client.get_record("contacts", "a/b c?d#e")  # reaches the platform as one path segment
        client.close()
    documented = {one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()}
    assert app.seen == documented


def test_reads_and_writes_of_the_connector_stay_within_the_document(store: Store) -> None:
    with recorded(store) as (base_url, app):
        sink = CONNECTOR.open(settings(base_url), ports())
        stream = sink.stream("contacts")
        for request in (
            ReadRequest(proof=True),
            ReadRequest(fields=("email",)),
            ReadRequest(since=Since("updated_at", "2023-01-10T00:00:00Z", "2023-01-20T00:00:00Z")),
            ReadRequest(keys=({"email": "ada.lovelace@example.com"}, {"email": "nobody"})),
        ):
            assert list(sink.read(stream, request))
        assert list(sink.check())
        list(sink.write(stream, [Change(n, "create", {"email": f"{n}"}, {"email": f"{n}"}) for n in range(3)]))  # type: ignore[attr-defined]
        sink.close()
    assert {"searchRecords", "bulkUpsertRecords"} <= app.seen


def test_csv_is_asked_for_by_its_media_type_and_has_the_same_records(store: Store) -> None:
    with recorded(store) as (base_url, _):
        client = StackerClient(settings(base_url), ports())
        text = client.search_records_csv("companies", include_fields=["name", "domain"], order_by="domain")
        page = client.search_records("companies", include_fields=["name", "domain"], order_by="domain")
        client.close()
    assert isinstance(page, dict)
    assert text.splitlines()[0] == "sid,name,domain"
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [record["sid"] for record in page["records"]]


def test_more_than_a_thousand_bulk_records_are_never_sent(store: Store) -> None:
    with recorded(store) as (base_url, app):
        client = StackerClient(settings(base_url), ports())
        with pytest.raises(ConfigError, match="1001 records"):
            client.bulk_upsert_records("contacts", [{}] * 1001)
        client.close()
    assert not app.seen


def test_the_operations_are_those_of_the_document_with_its_own_sentences() -> None:
    documented = {(method.upper(), path): one for path, of in DOCUMENT["paths"].items() for method, one in of.items()}
    assert {(one.method, one.path) for one in OPERATIONS} == set(documented)
    for one in OPERATIONS:
        assert one.evidence in documented[one.method, one.path]["description"], one.name
