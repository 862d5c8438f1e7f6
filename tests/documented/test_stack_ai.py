"""Stack AI's document against the client and the emulator: every endpoint, every parameter, every sentence it states."""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.base import Delivery
from connectors.errors import ConfigError, RefusedError
from connectors.settings import Ports
from connectors.stack_ai.client import StackAiClient
from connectors.stack_ai.emulator import create_app
from connectors.stack_ai.emulator_store import Store
from connectors.stack_ai.operations import OPERATIONS
from connectors.stack_ai.settings import StackAiSettings
from pipelines.ports import SystemClock, SystemRng
from tests.loopback import RawServer, answer, serving

DOCUMENT = (Path(__file__).parent / "data" / "stackai-connections.txt").read_text(encoding="utf-8")
UUID = "3f0c8a52-5a0e-4d0c-9f6e-0d6c1f2b7a11"
OTHER = "9d2c1d3e-0000-4000-8000-00000000000b"
MODEL: dict[str, Any] = {"provider_id": "slack", "connection_type_id": "oauth2", "connection_provider_data": {"bot_token": "b"}}

ENDPOINT = re.compile(r"^(get|post|put|patch|delete)\n(/\S+)$", re.MULTILINE)
PARAMETER = re.compile(
    r"^([a-z_]+?)(?:string|integer|boolean|object|any of)\S*(?: .*)?(Required|Optional)(?:Default: (.*?))?(?:Possible values:)?$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Endpoint:
    """One endpoint as the document has it. `parameters` maps each name to whether it is required and its default."""

    method: str
    path: str
    parameters: dict[str, tuple[bool, str]]


def endpoints() -> Iterator[Endpoint]:
    begin = 0
    for found in ENDPOINT.finditer(DOCUMENT):
        section = DOCUMENT[begin : found.start()]
        begin = found.end()
        named = {one[1]: (one[2] == "Required", one[3] or "") for one in PARAMETER.finditer(section)}
        yield Endpoint(found[1].upper(), found[2], named)


ENDPOINTS = {(endpoint.method, endpoint.path): endpoint for endpoint in endpoints()}
BY_NAME = {operation.name: operation for operation in OPERATIONS}


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create({"name": "Slack", **MODEL}, id=UUID)
    return store


@pytest.fixture
def base_url(store: Store) -> Iterator[str]:
    with serving(create_app(store)) as url:
        yield url


def client_for(base_url: str, **settings: Any) -> StackAiClient:
    given = {"connector": "stack_ai", "base_url": base_url, "token_url": "/token", "username": "demo", "password": "demo", **settings}
    return StackAiClient(StackAiSettings(**given), Ports(SystemClock(), SystemRng()))


@pytest.fixture
def client(base_url: str) -> Iterator[StackAiClient]:
    made = client_for(base_url)
    yield made
    made.close()


@pytest.fixture
def bearer(base_url: str) -> dict[str, str]:
    form = {"grant_type": "password", "username": "demo", "password": "demo"}
    return {"authorization": "Bearer " + httpx.post(base_url + "/token", data=form).json()["access_token"]}


def test_what_is_read_from_the_document_is_what_stands_there() -> None:
    assert ENDPOINTS["GET", "/api/v1/connections"].parameters == {
        "limit": (False, "10"),
        "offset": (False, "0"),
        "sort_by": (False, "created_at"),
        "sort_dir": (False, "desc"),
    }
    assert set(ENDPOINTS["GET", "/connections/{connection_id}/resources/children"].parameters) == {
        *("connection_id", "resource_id", "cursor", "page_size", "refresh_oauth_tokens")
    }


def test_the_client_has_every_documented_endpoint_and_no_other() -> None:
    assert len(ENDPOINTS) == 19
    assert {(operation.method, operation.path) for operation in OPERATIONS} == set(ENDPOINTS)


def test_the_emulator_has_every_documented_endpoint_and_no_other_but_the_token() -> None:
    routes = {(method, route.path) for route in create_app(Store()).routes for method in route.methods}  # type: ignore[attr-defined]
    assert routes == {*ENDPOINTS, ("POST", "/token")}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_evidence_of_every_operation_stands_in_the_document(operation: Any) -> None:
    for sentence in re.split(r"(?<=\.) ", operation.evidence):
        assert sentence in DOCUMENT


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_documented_parameter_is_one_of_the_clients_function(operation: Any) -> None:
    taken = inspect.signature(getattr(StackAiClient, operation.name)).parameters
    documented = ENDPOINTS[operation.method, operation.path].parameters
    assert documented.keys() - taken.keys() == set()
    assert taken.keys() - documented.keys() <= {"self", "filters"}
    for name, (required, default) in documented.items():
        if required:
            assert taken[name].default is inspect.Parameter.empty
        elif default not in ("", "Unnamed connection"):
            assert str(taken[name].default).lower() == default


@pytest.mark.parametrize(("method", "path"), sorted(ENDPOINTS))
def test_everything_but_the_available_types_needs_a_token(method: str, path: str, base_url: str) -> None:
    found = httpx.request(method, base_url + path.replace("{connection_id}", UUID))
    assert found.status_code == (200 if path == "/connections/available" else 401)


@pytest.mark.parametrize(("method", "path"), sorted(ENDPOINTS))
def test_a_slash_at_the_end_is_another_path_and_nothing_is_redirected(
    method: str, path: str, base_url: str, bearer: dict[str, str]
) -> None:
    found = httpx.request(method, base_url + path.replace("{connection_id}", UUID) + "/", headers=bearer)
    assert (found.status_code, found.headers.get("location")) == (404, None)


@pytest.mark.parametrize("path", [path for _, path in sorted(ENDPOINTS) if "{connection_id}" in path])
def test_an_id_that_is_no_uuid_is_422_with_a_detail_list(path: str, base_url: str, bearer: dict[str, str]) -> None:
    method = next(method for method, one in ENDPOINTS if one == path)
    found = httpx.request(method, base_url + path.replace("{connection_id}", "nonsense"), headers=bearer)
    assert found.status_code == 422
    assert found.json()["detail"][0]["loc"] == ["path", "connection_id"]


def test_the_two_lists_have_their_own_defaults(base_url: str, store: Store, bearer: dict[str, str]) -> None:
    for n in range(12):
        store.create({"name": f"n{n}", **MODEL})
    assert len(httpx.get(base_url + "/connections", headers=bearer).json()) == 13
    newest_first = [one["created_at"] for one in httpx.get(base_url + "/api/v1/connections", headers=bearer).json()]
    assert len(newest_first) == 10
    assert newest_first == sorted(newest_first, reverse=True)


def test_lists_are_filtered_sorted_and_cut_as_asked(client: StackAiClient, store: Store) -> None:
    store.create({"name": "Zebra", "provider_id": "notion", "connection_type_id": "api_key", "connection_provider_data": {}})
    assert names(client.list_connections(connection_provider="notion")) == ["Zebra"]
    assert names(client.list_connections(limit=1, offset=1)) == ["Zebra"]
    assert names(client.list_connections_v1(sort_by="name", sort_dir="desc")) == ["Zebra", "Slack"]
    assert names(client.list_connections_v1(name__eq="Slack")) == ["Slack"]
    with pytest.raises(RefusedError, match="422"):
        client.list_connections_v1(nothing__eq="x")


def test_a_create_without_a_name_makes_an_unnamed_connection(client: StackAiClient, store: Store) -> None:
    client.create_connection(**MODEL)
    assert [one["name"] for one in store.connections.values()] == ["Slack", "Unnamed connection"]


def test_a_put_without_a_name_resets_it_and_the_client_sends_none(base_url: str, bearer: dict[str, str], store: Store) -> None:
    assert httpx.put(f"{base_url}/connections/{UUID}", headers=bearer, json=MODEL).status_code == 200
    assert store.connections[UUID]["name"] == "Unnamed connection"
    with pytest.raises(ConfigError, match="Unnamed connection"):
        client_for(base_url).update_connection(UUID, "", **MODEL)


def test_a_patch_renames_and_leaves_the_rest(client: StackAiClient, store: Store) -> None:
    before = dict(store.connections[UUID])
    client.patch_connection(UUID, "Slack Größe")
    assert store.connections[UUID] == {**before, "name": "Slack Größe"}


def test_a_connection_is_replaced_looked_at_and_removed(client: StackAiClient, store: Store) -> None:
    data = {"provider_id": "notion", "connection_type_id": "api_key", "connection_provider_data": {"api_key": "k"}}
    client.update_connection(UUID, "Notes", **data)
    assert {name: store.connections[UUID][name] for name in data} == data
    assert client.get_connection_health(UUID) == {"healthy": True, "message": "OK"}
    assert client.delete_connection(UUID) is None
    with pytest.raises(RefusedError, match="404"):
        client.get_connection(UUID)


def test_a_get_that_refreshes_acts_and_is_counted_as_a_write(client: StackAiClient, store: Store) -> None:
    client.get_connection(UUID)
    assert "refreshed" not in store.connections[UUID]
    client.get_connection(UUID, refresh_oauth_tokens=True)
    assert store.connections[UUID]["refreshed"] == 1
    assert client.request_counts() == {"read": 1, "write": 1}


def test_an_oauth_code_works_once(client: StackAiClient, store: Store) -> None:
    url = client.start_oauth(**MODEL)
    assert isinstance(url, str)
    assert url.startswith("https://")
    client.create_connection_from_callback("code-1", name="By code", **MODEL)
    with pytest.raises(RefusedError, match="used before"):
        client.update_connection_from_callback(UUID, "code-1", "Slack", **MODEL)
    client.update_connection_from_callback(UUID, "code-2", "Renewed", **MODEL)
    assert [one["name"] for one in store.connections.values()] == ["Renewed", "By code"]


@pytest.mark.parametrize("name", ["start_oauth", "create_connection_from_callback", "update_connection_from_callback"])
def test_nothing_of_the_oauth_flow_is_ever_sent_again(name: str) -> None:
    assert BY_NAME[name].delivery is Delivery.E3
    assert BY_NAME[name].dangerous is (name != "start_oauth")


def test_children_are_one_level_and_a_file_has_none(client: StackAiClient, store: Store) -> None:
    folder = store.add_resource(UUID, None, "Folder", folder=True)
    file = store.add_resource(UUID, folder, "deep.txt")
    assert names(client.get_children_resources(UUID)) == ["Folder"]
    assert names(client.get_children_resources(UUID, folder)) == ["deep.txt"]
    assert names(client.get_children_resources(UUID, file)) == []
    assert names(client.get_connection_resources(UUID, [file, folder])) == ["deep.txt", "Folder"]
    assert names(client.search_resources(UUID, "DEEP")) == ["deep.txt"]


def test_pages_of_children_hold_fifty_unless_asked_and_go_on_by_token(client: StackAiClient, store: Store) -> None:
    for n in range(120):
        store.add_resource(UUID, None, f"{n:03d}")
    met, token = [], None
    for expected in (50, 50, 20):
        page: Any = client.get_children_resources(UUID, cursor=token)
        assert len(page["data"]) == expected
        met, token = met + names(page), page["next_cursor"]
    assert met == [f"{n:03d}" for n in range(120)]
    assert token is None
    assert len(names(client.search_resources(UUID, "1", page_size=7))) == 7


@pytest.mark.parametrize("size", [0, 1001])
def test_a_page_size_outside_its_range_is_refused(size: int, client: StackAiClient) -> None:
    with pytest.raises(RefusedError, match="422"):
        client.get_children_resources(UUID, page_size=size)


def test_roles_are_given_and_taken_away(client: StackAiClient, store: Store) -> None:
    client.update_connection_rbac(UUID, "user", OTHER, "viewer")
    client.update_connection_rbac(UUID, "user", OTHER, "editor")
    client.update_connection_organization_role(UUID, "viewer")
    found: Any = client.get_connection_rbac(UUID)
    assert {(one["subject_type"], one["role"]) for one in found} == {("user", "editor"), ("organization", "viewer")}
    client.update_connection_organization_role(UUID, None)
    client.delete_connection_rbac(UUID, "user", OTHER)
    assert client.get_connection_rbac(UUID) == []


def test_an_organization_role_that_is_missing_is_an_error(base_url: str, bearer: dict[str, str]) -> None:
    path = f"{base_url}/api/v1/connections/{UUID}/organization-role"
    assert httpx.patch(path, headers=bearer, json={}).status_code == 422
    assert httpx.patch(path, headers=bearer, json={"role": None}).status_code == 200


CALLS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "list_available_connections": ({}, "/connections/available", ...),
    "list_connections": ({}, "/connections?limit=1000&offset=0", ...),
    "create_connection": ({**MODEL, "name": "N"}, "/connections", {"name": "N", **MODEL}),
    "get_connection": ({"connection_id": UUID}, f"/connections/{UUID}", ...),
    "update_connection": ({"connection_id": UUID, "name": "N", **MODEL}, f"/connections/{UUID}", {"name": "N", **MODEL}),
    "delete_connection": ({"connection_id": UUID}, f"/connections/{UUID}", ...),
    "patch_connection": ({"connection_id": UUID, "name": "N"}, f"/connections/{UUID}", {"name": "N"}),
    "get_connection_health": ({"connection_id": UUID}, f"/connections/{UUID}/health", ...),
    "start_oauth": (MODEL, "/connections/oauth/start", MODEL),
    "create_connection_from_callback": ({"code": "a b", **MODEL}, "/connections/oauth/callback?code=a+b", MODEL),
    "update_connection_from_callback": (
        {"connection_id": UUID, "code": "c", "name": "N", **MODEL},
        f"/connections/oauth/callback/{UUID}?code=c",
        {"name": "N", **MODEL},
    ),
    "get_connection_resources": (
        {"connection_id": UUID, "resource_ids": ["a", "b"]},
        f"/connections/{UUID}/resources?resource_ids=a&resource_ids=b",
        ...,
    ),
    "get_children_resources": (
        {"connection_id": UUID, "resource_id": "r", "cursor": "ZXhhbXBsZV9jdXJzb3I="},
        f"/connections/{UUID}/resources/children?resource_id=r&cursor=ZXhhbXBsZV9jdXJzb3I%3D&page_size=50",
        ...,
    ),
    "search_resources": (
        {"connection_id": UUID, "query": "q", "page_size": 1000, "refresh_oauth_tokens": True},
        f"/connections/{UUID}/resources/search?query=q&page_size=1000&refresh_oauth_tokens=true",
        ...,
    ),
    "list_connections_v1": (
        {"name__contains": "x"},
        "/api/v1/connections?limit=10&offset=0&sort_by=created_at&sort_dir=desc&name__contains=x",
        ...,
    ),
    "get_connection_rbac": ({"connection_id": UUID}, f"/api/v1/connections/{UUID}/rbac", ...),
    "update_connection_rbac": (
        {"connection_id": UUID, "subject_type": "user", "subject_id": OTHER, "role": "viewer"},
        f"/api/v1/connections/{UUID}/rbac",
        {"subject_type": "user", "role": "viewer", "subject_id": OTHER},
    ),
    "delete_connection_rbac": (
        {"connection_id": UUID, "subject_type": "user", "subject_id": OTHER},
        f"/api/v1/connections/{UUID}/rbac?subject_type=user&subject_id={OTHER}",
        ...,
    ),
    "update_connection_organization_role": (
        {"connection_id": UUID, "role": None},
        f"/api/v1/connections/{UUID}/organization-role",
        {"role": None},
    ),
}


@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_the_client_sends_method_path_parameters_and_body_as_documented(name: str) -> None:
    arguments, path, body = CALLS[name]
    with RawServer(lambda number, request: answer(200, b"null")) as server:
        getattr(client_for(server.base_url, access_token="t0"), name)(**arguments)
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"{BY_NAME[name].method} {path} HTTP/1.1\r\n".encode())
    assert b"authorization: bearer t0" in head.lower().split(b"\r\n")
    assert (json.loads(sent) if sent else ...) == body


def names(answer: Any) -> list[str]:
    items = answer if isinstance(answer, list) else answer["data"]
    return [one["name"] for one in items]
