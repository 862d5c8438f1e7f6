"""Client and emulator speak exactly what Celigo's OpenAPI document says: every request and every answer is checked against it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from connectors.base import Change, ReadRequest
from connectors.celigo import CONNECTOR
from connectors.celigo.client import CeligoClient
from connectors.celigo.demo import key_pair
from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import Store
from connectors.celigo.operations import OPERATIONS
from connectors.errors import CredentialsError, RefusedError
from tests.contract.connector_suite import ports, read, write
from tests.documented.schemas import strict
from tests.loopback import serving

DOCUMENT = json.loads((Path(__file__).parent / "data" / "celigo.openapi.json").read_text())
SERVER = {"name": "Hooks", "type": "server", "server": {"hostURI": "https://hooks.example/a", "ipRanges": ["192.0.2.1"]}}
KEY, SECRET = key_pair(0)
LAMBDA = {"name": "Split", "type": "lambda", "lambda": {"accessKeyId": KEY, "awsRegion": "eu-west-1", "functionName": "split"}}
NOBODY = "0" * 24


class Recorded:
    """An ASGI application that checks what goes through it against the document."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.seen: set[tuple[str, int]] = set()
        self.wrong: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, answer, start = b"", b"", {"status": 0, "headers": []}

        async def heard() -> Any:
            nonlocal body
            message = await receive()
            body += message.get("body", b"")
            return message

        async def said(message: Any) -> None:
            nonlocal answer, start
            start = message if "status" in message else start
            answer += message.get("body", b"")
            await send(message)

        await self.app(scope, heard, said)
        headers, told = ({name.decode().lower(): value.decode() for name, value in given} for given in (scope["headers"], start["headers"]))
        try:
            self.seen.add(
                check(
                    scope["method"],
                    scope["raw_path"].decode(),
                    scope["query_string"].decode(),
                    headers,
                    body,
                    int(start["status"]),
                    told,
                    answer,
                )
            )
        except (AssertionError, LookupError, StopIteration, ValueError, jsonschema.ValidationError) as error:  # too late to tell the client
            self.wrong.append(f"{scope['method']} {scope['raw_path']!r} {body!r} → {start['status']}: {error!r}")


def check(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes, status: int, told: dict[str, str], answer: bytes
) -> tuple[str, int]:
    """The operationId and status of one exchange, after every part of it was found in the document."""
    template = next(one for one in DOCUMENT["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), path))
    operation = DOCUMENT["paths"][template][method.lower()]
    parameters = [resolved(parameter) for parameter in operation.get("parameters", [])]
    documented = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert set(httpx.QueryParams(query)) <= documented | {"pageToken"}  # the link is opaque, and followed as given
    if "requestBody" in operation:
        assert headers["content-type"] == "application/json"
        if status < 300:
            valid(json.loads(body), operation["requestBody"]["content"]["application/json"]["schema"])
    else:
        assert not body
    response = resolved(operation["responses"][str(status)])
    if "content" in response:
        valid(json.loads(answer), response["content"]["application/json"]["schema"])
    elif status < 300:
        assert not answer
    assert set(told) <= {"content-length", "content-type", "date", "server", *(name.lower() for name in response.get("headers", {}))}
    return str(operation["operationId"]), status


def resolved(part: Any) -> Any:
    """What a $ref of the document leads to."""
    if "$ref" not in part:
        return part
    found = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def valid(value: Any, schema: Any) -> None:
    """The value is what the schema says, and no more than that where the document does not say that there may be more."""
    jsonschema.Draft202012Validator({**strict(schema), "components": strict(DOCUMENT["components"])}).validate(value)


@contextmanager
def recorded(store: Store) -> Iterator[tuple[CeligoClient, Recorded]]:
    """A client whose every exchange is checked when it is done."""
    app = Recorded(create_app(store))
    with serving(app) as base_url:
        client = CeligoClient(settings(base_url), ports())
        yield client, app
        client.close()
    assert app.wrong == []


def settings(base_url: str, **changed: Any) -> Any:
    given = {"connector": "celigo", "base_url": base_url, "token": "demo", "secret_access_keys": {KEY: SECRET}}
    return CONNECTOR.settings(**{**given, **changed})


@pytest.fixture
def store() -> Store:
    return Store(servers=4, lambdas=3)


def test_every_operation_and_every_documented_status_is_spoken_as_documented(store: Store) -> None:
    with recorded(store) as (client, app):
        assert len(client.list_stacks()) == 7
        assert client.list_stacks(include="name")[0].keys() == {"_id", "name"}
        server, function = client.create_stack(SERVER), client.create_stack(LAMBDA)
        one, other = str(server["_id"]), str(function["_id"])
        assert client.get_stack_by_id(one) == server
        assert client.update_stack(one, {**SERVER, "name": "Renamed"})["name"] == "Renamed"
        token = client.get_stack_system_token(one)["systemToken"]
        client.recycle_stack_system_token(one)
        assert client.get_stack_system_token(one)["systemToken"] != token
        assert client.list_stack_dependencies(one) == {}
        assert any(client.list_stack_dependencies(str(stack["_id"])) for stack in client.list_stacks())
        client.delete_stack(one)
        for call in (client.get_stack_by_id, client.delete_stack, client.get_stack_system_token, client.recycle_stack_system_token):
            with pytest.raises(RefusedError, match="404"):
                call(one)
        for call in (client.get_stack_system_token, client.recycle_stack_system_token):
            with pytest.raises(RefusedError, match="no server stack"):
                call(other)
        bad = {**SERVER, "server": {"hostURI": "nonsense"}}
        for status in ("422", "400"):
            store.set_switch("invalid_status", status)
            with pytest.raises(RefusedError, match=rf"{status} \(server.hostURI: server.hostURI must be a valid"):
                client.create_stack(bad)
            with pytest.raises(RefusedError, match=status):
                client.update_stack(str(next(iter(store.stacks))), bad)
        with pytest.raises(RefusedError, match="404"):
            client.update_stack(NOBODY, SERVER)
        store.clear()
        assert client.list_stacks() == []
        store.token = "another"
        refused = [lambda: client.list_stacks(), lambda: client.create_stack(SERVER), lambda: client.update_stack(one, SERVER)]
        by_id = (client.get_stack_by_id, client.delete_stack, client.get_stack_system_token, client.recycle_stack_system_token)
        for call in (*refused, *(lambda call=call: call(one) for call in (*by_id, client.list_stack_dependencies))):
            with pytest.raises(CredentialsError, match="Bearer Authentication Failed"):
                call()
    documented = {
        (one["operationId"], int(status)) for path in DOCUMENT["paths"].values() for one in path.values() for status in one["responses"]
    }
    assert app.seen == documented


def test_reads_and_writes_of_the_connector_stay_within_the_document(store: Store) -> None:
    store.set_switch("page_size", "3")
    app = Recorded(create_app(store))
    with serving(app) as base_url:
        sink: Any = CONNECTOR.open(settings(base_url, secret_access_keys=dict(map(key_pair, range(3)))), ports())
        stacks, dependencies = sink.streams()
        before, _ = read(sink, stacks, ReadRequest(proof=True))
        read(sink, stacks, ReadRequest(fields=("name", "server.hostURI")))
        read(sink, stacks, ReadRequest(keys=({"_id": before[0]["_id"]}, {"_id": NOBODY})))
        assert read(sink, dependencies, ReadRequest())[0]
        assert list(sink.check())
        made = [{name: value for name, value in record.items() if name not in stacks.read_only} for record in before]
        receipts = write(sink, stacks, [Change(n, "create", {}, fields) for n, fields in enumerate(made)])
        assert {receipt.reason for receipt in receipts} == {""}
        targets = [(receipt.sink_id, {"name": f"N{receipt.seq}", "framework": None}) for receipt in receipts]
        updates = [Change(n, "update", {}, fields, sink_id) for n, (sink_id, fields) in enumerate(targets)]
        assert {receipt.result for receipt in write(sink, stacks, updates)} == {"applied"}
        deletes = [Change(n, "delete", {}, {}, sink_id) for n, (sink_id, _) in enumerate(targets)]
        assert {receipt.result for receipt in write(sink, stacks, deletes)} == {"applied"}
        sink.close()
    assert app.wrong == []


def test_the_operations_are_those_of_the_document_with_its_own_sentences() -> None:
    documented = {(method.upper(), path): one for path, of in DOCUMENT["paths"].items() for method, one in of.items()}
    assert {(one.method, one.path) for one in OPERATIONS} == set(documented)
    for one in OPERATIONS:
        said = plain(json.dumps(documented[one.method, one.path], ensure_ascii=False))
        assert [sentence for sentence in sentences(one.evidence) if sentence not in said] == [], one.name
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", documented[one.method, one.path]["operationId"]).lower()
        assert one.name == snake


def sentences(text: str) -> list[str]:
    return [plain(one) for one in re.split(r"(?<=\.)\s", text)]


def plain(text: str) -> str:
    """Without the marks of Markdown and JSON, on one line."""
    return " ".join(re.sub(r'\\"|[`"*]', "", re.sub(r"\\n(?:- )?", " ", text)).split())


def test_every_enum_of_the_document_is_taken_and_nothing_else(store: Store) -> None:
    told = DOCUMENT["components"]["schemas"]["Request"]["properties"]
    with recorded(store) as (client, _):
        for name in ("awsRegion", "language"):
            for value in told["lambda"]["properties"][name]["enum"]:
                made = client.create_stack({**LAMBDA, "lambda": {**LAMBDA["lambda"], name: value}})  # type: ignore[dict-item]
                assert made["lambda"][name] == value  # type: ignore[index, call-overload]
            with pytest.raises(RefusedError, match=name):
                client.create_stack({**LAMBDA, "lambda": {**LAMBDA["lambda"], name: "elsewhere"}})  # type: ignore[dict-item]


def test_a_lambda_stack_without_a_language_is_in_node(store: Store) -> None:
    assert DOCUMENT["components"]["schemas"]["Request"]["properties"]["lambda"]["properties"]["language"]["default"] == "Node.js"
    with recorded(store) as (client, _):
        assert client.create_stack(LAMBDA)["lambda"]["language"] == "Node.js"  # type: ignore[index, call-overload]


def test_the_two_regions_are_the_documents_servers() -> None:
    servers = [server["url"] for server in DOCUMENT["servers"]]
    assert CONNECTOR.settings(connector="celigo", token="t").base_url == servers[0]
    readme = (Path(__file__).parents[2] / "connectors" / "celigo" / "README.md").read_text()
    assert all(f"`{server}`" in readme for server in servers)
