"""The emulator says of lists, projections, secrets and refusals what the document's own sentences say."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connectors.celigo.emulator import create_app
from connectors.celigo.emulator_store import Store
from tests.loopback import serving

MASK = "******"
SERVER = {"name": "Hooks", "type": "server", "server": {"hostURI": "https://hooks.example/a"}}


@pytest.fixture
def store() -> Store:
    return Store(servers=2, lambdas=2)


@pytest.fixture
def http(store: Store) -> Iterator[httpx.Client]:
    with serving(create_app(store)) as url, httpx.Client(base_url=f"{url}/v1", headers={"authorization": "Bearer demo"}) as client:
        yield client


def first(store: Store, kind: str) -> str:
    return next(stack_id for stack_id, stack in store.stacks.items() if stack["type"] == kind)


def errors(answer: httpx.Response) -> Any:
    return answer.json()["errors"][0]


def test_no_authorization_header_is_unauthorized_without_an_errors_envelope(http: httpx.Client) -> None:
    answer = httpx.get(f"{http.base_url}stacks")
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})


def test_a_token_that_is_not_valid_fails_bearer_authentication(http: httpx.Client) -> None:
    answer = http.get("/stacks", headers={"authorization": "Bearer other"})
    assert (answer.status_code, answer.json()) == (401, {"message": "Bearer Authentication Failed"})


def test_no_stacks_are_204_without_a_body(http: httpx.Client, store: Store) -> None:
    store.clear()
    answer = http.get("/stacks")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_link_leads_to_the_next_page_and_is_absent_on_the_final_one(http: httpx.Client, store: Store) -> None:
    store.set_switch("page_size", "3")
    answer = http.get("/stacks")
    link = answer.links["next"]["url"]
    assert link.startswith("http://127.0.0.1:")
    final = http.get(link)
    assert (len(answer.json()), len(final.json())) == (3, 1)
    assert "link" not in final.headers


def test_secrets_are_masked_in_every_standard_response(http: httpx.Client, store: Store) -> None:
    shown = [
        *http.get("/stacks").json(),
        *(http.get(f"/stacks/{stack_id}").json() for stack_id in store.stacks),
        http.post("/stacks", json=SERVER).json(),
    ]
    for stack in shown:
        secret = stack["server"]["systemToken"] if stack["type"] == "server" else stack["lambda"]["secretAccessKey"]
        assert secret == MASK


def test_the_system_token_is_shown_unmasked_by_its_own_endpoint_and_for_server_stacks_only(http: httpx.Client, store: Store) -> None:
    shown = http.get(f"/stacks/{first(store, 'server')}/systemToken").json()
    assert shown == {"systemToken": store.stacks[first(store, "server")]["server"]["systemToken"]}
    assert http.get(f"/stacks/{first(store, 'lambda')}/systemToken").status_code == 404


def test_a_new_secret_replaces_the_old_one_and_a_body_without_one_is_a_switch(http: httpx.Client, store: Store) -> None:
    one = first(store, "lambda")
    config = dict(store.stacks[one]["lambda"])
    body: Any = {"name": "x", "type": "lambda", "lambda": {**config, "secretAccessKey": "new"}}
    assert http.put(f"/stacks/{one}", json=body).status_code == 200
    assert store.stacks[one]["lambda"]["secretAccessKey"] == "new"
    del body["lambda"]["secretAccessKey"]
    for choice, left in (("keeps", "new"), ("clears", None)):
        store.set_switch("put_without_secret", choice)
        assert http.put(f"/stacks/{one}", json=body).status_code == 200
        assert store.stacks[one]["lambda"].get("secretAccessKey") == left
    store.set_switch("put_without_secret", "refused")
    assert http.put(f"/stacks/{one}", json=body).status_code == 422


def test_a_mask_sent_back_destroys_the_secret(http: httpx.Client, store: Store) -> None:
    one = first(store, "lambda")
    config = {**store.stacks[one]["lambda"], "secretAccessKey": MASK}
    http.put(f"/stacks/{one}", json={"name": "x", "type": "lambda", "lambda": config})
    assert store.stacks[one]["lambda"]["secretAccessKey"] == MASK


@pytest.mark.parametrize("missing", ["name", "type"])
def test_name_and_type_are_always_required(http: httpx.Client, store: Store, missing: str) -> None:
    body = {name: value for name, value in SERVER.items() if name != missing}
    for answer in (http.post("/stacks", json=body), http.put(f"/stacks/{first(store, 'server')}", json=body)):
        assert answer.status_code == 422
        assert {name: errors(answer)[name] for name in ("code", "field")} == {"code": "missing_required_field", "field": missing}


def test_all_fields_of_a_lambda_but_the_language_are_required(http: httpx.Client, store: Store) -> None:
    config = {"accessKeyId": "a", "secretAccessKey": "s", "awsRegion": "us-east-1", "functionName": "f"}
    body: Any = {"name": "x", "type": "lambda", "lambda": config}
    assert http.post("/stacks", json=body).status_code == 201
    for name in config:
        answer = http.post("/stacks", json={**body, "lambda": {k: v for k, v in config.items() if k != name}})
        assert errors(answer)["field"] == f"lambda.{name}"


def test_what_a_get_gives_is_no_body_for_a_put(http: httpx.Client, store: Store) -> None:
    one = first(store, "server")
    assert http.put(f"/stacks/{one}", json=http.get(f"/stacks/{one}").json()).status_code == 422


def test_include_gives_the_least_identity_and_the_fields_named_and_drops_unknown_ones_silently(http: httpx.Client) -> None:
    shown = http.get("/stacks", params={"include": "framework,server.hostURI,nothing,nothing.more"}).json()
    assert {frozenset(stack) for stack in shown} <= {
        frozenset({"_id", "name", *more}) for more in ((), ("framework",), ("server",), ("framework", "server"))
    }
    assert {frozenset(stack["server"]) for stack in shown if "server" in stack} == {frozenset({"hostURI"})}


def test_exclude_gives_the_full_record_without_the_named_fields_but_cannot_strip_identity(http: httpx.Client) -> None:
    shown = http.get("/stacks", params={"exclude": "name,_id,framework,lambda.awsRegion"}).json()
    assert all({"_id", "name", "type"} <= set(stack) and "framework" not in stack for stack in shown)
    assert all("awsRegion" not in stack["lambda"] for stack in shown if stack["type"] == "lambda")


def test_include_and_exclude_together_are_invalid(http: httpx.Client) -> None:
    answer = http.get("/stacks", params={"include": "name", "exclude": "type"})
    assert answer.status_code == 400
    assert errors(answer) == {
        "code": "invalid_query_params",
        "message": "Please provide either include or exclude param in the request query and not both.",
    }


@pytest.mark.parametrize("name", ["include", "exclude"])
def test_an_empty_projection_is_ignored_and_other_characters_are_invalid(http: httpx.Client, name: str) -> None:
    assert http.get("/stacks", params={name: ""}).json() == http.get("/stacks").json()
    assert errors(http.get("/stacks", params={name: "a-b"}))["code"] == "invalid_query_params"
    assert http.get("/stacks", params={f"{name}[]": "name"}).status_code == 500


def test_a_projection_is_ignored_when_one_stack_is_asked_for(http: httpx.Client, store: Store) -> None:
    one = first(store, "server")
    for params in ({"include": "name"}, {"exclude": "type"}, {"include": "name", "exclude": "type"}):
        assert http.get(f"/stacks/{one}", params=params).json() == http.get(f"/stacks/{one}").json()


def test_no_dependents_are_an_empty_object_for_a_stack_that_does_not_exist_too(http: httpx.Client, store: Store) -> None:
    used = {stack_id: http.get(f"/stacks/{stack_id}/dependencies").json() for stack_id in store.stacks}
    assert {} in used.values()
    entries = [entry for found in used.values() for entries in found.values() for entry in entries]
    assert all(set(entry) == {"id", "name", "paths", "accessLevel", "dependencyIds"} for entry in entries)
    assert http.get(f"/stacks/{'f' * 24}/dependencies").json() == {}


def test_a_deleted_stack_is_gone_from_the_list_and_kept_in_the_bin(http: httpx.Client, store: Store) -> None:
    one = first(store, "server")
    assert http.delete(f"/stacks/{one}").status_code == 204
    assert one not in {stack["_id"] for stack in http.get("/stacks").json()}
    assert (http.get(f"/stacks/{one}").status_code, http.delete(f"/stacks/{one}").status_code) == (404, 404)
    assert one in store.deleted


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/"), ("PATCH", "/x"), ("HEAD", ""), ("GET", "/x/systemToken/"), ("PUT", "")]
)
def test_paths_and_methods_that_are_not_documented_do_not_exist(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, f"/stacks{path}").status_code == 404


def test_error_codes_may_be_integers(http: httpx.Client, store: Store) -> None:
    store.set_switch("error_code", "int")
    assert errors(http.get(f"/stacks/{'0' * 24}"))["code"] == 404
