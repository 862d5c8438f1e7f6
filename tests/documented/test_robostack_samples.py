"""The samples of Robostack's document, verbatim, against the emulator and through the client, byte for byte."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.errors import ConfigError, RefusedError
from connectors.robostack.client import RobostackClient
from connectors.robostack.emulator import create_app
from connectors.robostack.emulator_store import Store
from connectors.robostack.operations import OPERATIONS
from connectors.robostack.settings import RobostackSettings
from connectors.settings import Ports
from pipelines.ports import SystemClock, SystemRng
from tests.loopback import RawServer, answer, serving

DOCUMENT = (Path(__file__).parent / "data" / "robostack.txt").read_text(encoding="utf-8")
APP = "00000000-0000-4000-8000-000000000001"
HEADERS = {"x-api-key": "demo", "x-api-secret": "demo"}


@dataclass(frozen=True)
class Sample:
    """One request body of the document, as it stands there."""

    method: str
    title: str
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


SECTION = re.compile(
    r"Request URL\s+(\w+)\s+https://api\.robostack\.ai\S+\s+Request Body Samples\n"
    r"(.*?)(?=\n(?:Create|Update|Delete|Aggregate on) records\n|\Z)",
    re.DOTALL,
)
BLOCK = re.compile(r"^(\w[^\n]*)\n([{\[]\n.*?^[}\]])", re.DOTALL | re.MULTILINE)


def samples() -> Iterator[Sample]:
    for section in SECTION.finditer(DOCUMENT):
        for block in BLOCK.finditer(section[2]):
            yield Sample(section[1], block[1].strip(), block[2])


SAMPLES = {sample.title: sample for sample in samples()}


@pytest.fixture
def store() -> Store:
    store = Store(people=0, orgs=0, invoices=0)
    values = [{"fieldName": "Matching Field Value"}, {"fieldName": ""}, {"fieldName": "Field Value"}, {"fieldName": "Unknown Field Value"}]
    store.add_resource("things", [*values, {"status": "pending", "quantity": 10000}, {"status": "done", "quantity": 10000}])
    return store


@pytest.fixture
def base_url(store: Store) -> Iterator[str]:
    with serving(create_app(store)) as url:
        yield url


def client_for(base_url: str, **settings: Any) -> RobostackClient:
    given = {"connector": "robostack", "base_url": base_url, "api_key": "demo", "api_secret": "demo", "app_uuid": APP, **settings}
    return RobostackClient(RobostackSettings(**given), Ports(SystemClock(), SystemRng()))


def test_the_document_has_the_samples_that_are_tried_here() -> None:
    assert {sample.method for sample in SAMPLES.values()} == {"POST", "PUT", "PATCH", "DELETE"}
    assert len(SAMPLES) == 8


@pytest.mark.parametrize("title", SAMPLES)
def test_the_emulator_takes_every_sample_as_it_stands(title: str, base_url: str) -> None:
    sample = SAMPLES[title]
    url = f"{base_url}/external/api/{APP}/things/"
    headers = {**HEADERS, "content-type": "application/json"}
    assert httpx.request(sample.method, url, headers=headers, content=sample.text.encode()).status_code == 200


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_has_the_method_and_path_of_the_document(operation: Any) -> None:
    path = operation.path.replace("{app_uuid}", "{{appUUID}}").replace("{resource}", "{{resourceName}}")
    assert f"{operation.method}\nhttps://api.robostack.ai{path}\n" in DOCUMENT


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_evidence_of_every_operation_stands_in_the_document(operation: Any) -> None:
    for sentence in re.split(r"(?<=\.) ", re.sub(r" \((.*)\)$", r" \1", operation.evidence)):
        assert sentence.strip(" .").casefold() in DOCUMENT.casefold()


@pytest.mark.parametrize("title", SAMPLES)
def test_the_client_sends_the_documented_bytes(title: str) -> None:
    sample = SAMPLES[title]
    with RawServer(lambda number, request: answer(200, b"[]")) as server:
        client = client_for(server.base_url, streams={"things": {"key": ["fieldName"]}}, list_selections=True)
        body = sample.body
        if '""' in sample.text:
            with pytest.raises(ConfigError, match="an empty text"):
                _call(client, sample.method, body)
            assert server.requests == []
            return
        _call(client, sample.method, body)
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"{sample.method} /external/api/{APP}/things/ HTTP/1.1\r\n".encode())
    assert {b"x-api-key: demo", b"x-api-secret: demo"} <= set(head.split(b"\r\n"))
    assert sent == json.dumps(body, separators=(",", ":")).encode()


def test_the_list_samples_without_their_empty_value_are_sent_as_documented() -> None:
    with RawServer(lambda number, request: answer(200, b"[]")) as server:
        client = client_for(server.base_url, streams={"things": {"key": ["fieldName"]}}, list_selections=True)
        for title in ("Update Multiple Records", "Delete Multiple Records"):
            filled = json.loads(SAMPLES[title].text.replace('""', '"Second"'))
            _call(client, SAMPLES[title].method, filled)
            assert server.requests[-1].endswith(json.dumps(filled, separators=(",", ":")).encode())


def test_the_find_samples_find_what_they_say(base_url: str) -> None:
    client = client_for(base_url)
    by_id = client.find_records("things", SAMPLES["Match exact id"].body["selection"])
    both = client.find_records("things", {"status": "pending", "quantity": 10000})
    assert isinstance(by_id, list)
    assert [record["id"] for record in by_id] == [1]
    assert isinstance(both, list)
    assert [record["status"] for record in both] == ["pending"]


def test_aggregation_has_no_slash_at_its_end_and_fails_plainly(base_url: str, store: Store) -> None:
    with pytest.raises(RefusedError, match="coming soon") as refused:
        client_for(base_url).aggregate_records("things", [{"anything": 1}])
    assert refused.value.status == 501
    assert store.log[-1]["path"] == f"/external/api/{APP}/things/aggregation"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", f"/external/api/{APP}/things", HEADERS, 404),
        ("POST", f"/external/api/{APP}/things/aggregation/", HEADERS, 404),
        ("GET", f"/external/api/{APP}/things/", HEADERS, 404),
        ("POST", f"/external/api/{APP}/nothing/", HEADERS, 404),
        ("POST", "/external/api/other/things/", HEADERS, 404),
        ("POST", f"/external/api/{APP}/things/", {"x-api-key": "demo"}, 401),
        ("POST", f"/external/api/{APP}/things/", {**HEADERS, "x-api-secret": "no"}, 401),
        ("GET", "/_control/log", HEADERS, 404),
    ],
)
def test_the_emulator_refuses_what_the_document_does_not_have(method: str, path: str, headers: Any, status: int, base_url: str) -> None:
    found = httpx.request(method, base_url + path, headers=headers, json={})
    assert (found.status_code, found.headers.get("location")) == (status, None)


def test_a_base_url_that_ends_in_the_documented_prefix_is_fine_too(base_url: str) -> None:
    assert client_for(base_url + "/external/api/").find_records("things", {"id": 1}) != []


def _call(client: RobostackClient, method: str, body: Any) -> None:
    if method == "POST":
        client.find_records("things", body["selection"])
    elif method == "PUT":
        client.create_records("things", body)
    elif method == "PATCH":
        client.update_records("things", **body)
    else:
        client.delete_records("things", **body)
