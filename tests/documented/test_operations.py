"""Every operation of every document has a client function, an emulator route, a test here that calls it, and a line in the table."""

import ast
import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Operation
from pipelines.operations import page
from pipelines.runtime import CONNECTORS, connector

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLES = (ROOT / "connectors" / "OPERATIONS.md").read_text(encoding="utf-8")

Endpoint = tuple[str, str]  # method, path with {} for what stands there
COUNTS = {"stacker": 10, "robostack": 5, "celigo": 8, "kragle": 4, "stack_ai": 19}  # endpoints, counted by hand in the documents
OPERATIONS = [(name, operation) for name in CONNECTORS for operation in connector(name).operations]


def text(name: str) -> str:
    return (HERE / "data" / name).read_text(encoding="utf-8")


def openapi(name: str) -> set[Endpoint]:
    paths: dict[str, Any] = json.loads(text(name))["paths"]
    verbs = {"get", "post", "put", "patch", "delete"}
    return {(verb.upper(), bare(path)) for path, item in paths.items() for verb in item if verb in verbs}


def robostack() -> set[Endpoint]:
    found = re.findall(r"Request URL\s+(\w+)\s+https://api\.robostack\.ai(\S+)", text("robostack.txt"))
    return {(method, bare(path.replace("{{", "{").replace("}}", "}"))) for method, path in found}


def stack_ai() -> set[Endpoint]:
    found = re.findall(r"^(get|post|put|patch|delete)\n(/\S+)$", text("stackai-connections.txt"), re.MULTILINE)
    return {(method.upper(), bare(path)) for method, path in found}


def kragle() -> set[Endpoint]:
    """The text has lost its headings: each endpoint begins with a bracket on authentication and says in words what it does."""
    document = text("kragle-stacks.txt")
    said = {
        "(No authentication is required for this endpoint.)\nThis endpoint is used to retrieve a list": ("GET", "/blockstacks"),
        "will receive an HTTP 403 Forbidden response.)\nRetrieve information about a single Stack": ("GET", "/blockstacks/{}"),
        "(This endpoint requires authentication.)\nThis endpoint it used to create a new Stack": ("POST", "/blockstacks"),
        "(This endpoint requires authentication.)\nUsed to modify an existing Stack": ("PUT", "/blockstacks/{}"),
    }
    assert all(document.count(words) == 1 for words in said)
    assert len(re.findall(r"^\([^()]*authentication", document, re.MULTILINE)) == len(said)
    return set(said.values())


DOCUMENTS = {
    "stacker": lambda: openapi("stacker.openapi.json"),
    "robostack": robostack,
    "celigo": lambda: openapi("celigo.openapi.json"),
    "kragle": kragle,
    "stack_ai": stack_ai,
}


def bare(path: str) -> str:
    return re.sub(r"\{\w*(?::\w+)?\}", "{}", path)


def endpoint(operation: Operation) -> Endpoint:
    return operation.method, bare(operation.path)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_operations_are_the_endpoints_of_the_document_and_no_others(name: str) -> None:
    documented = DOCUMENTS[name]()
    assert len(documented) == COUNTS[name]
    assert {endpoint(operation) for operation in connector(name).operations} == documented


def test_only_a_second_form_of_answer_makes_two_operations_of_one_endpoint() -> None:
    assert sum(len(connector(name).operations) for name in COUNTS) == sum(COUNTS.values()) + 1
    twice = [
        one
        for name, one in OPERATIONS
        if [endpoint(other) for other_name, other in OPERATIONS if other_name == name].count(endpoint(one)) > 1
    ]
    assert {one.name for one in twice} == {"search_records", "search_records_csv"}


@pytest.mark.parametrize("name", CONNECTORS)
def test_the_client_has_a_function_for_every_operation(name: str) -> None:
    client: Any = connector(name).client
    assert [one.name for one in connector(name).operations if not callable(getattr(client, one.name, None))] == []


@pytest.mark.parametrize("name", CONNECTORS)
def test_the_emulator_has_a_route_for_every_operation_and_for_nothing_else(name: str) -> None:
    routes = importlib.import_module(connector(name).emulator).create_app().routes
    served = {(method, bare(route.path)) for route in routes for method in route.methods}
    beside = {(method, path) for method, path in served if method == "HEAD" or path == "/token"}
    assert served - beside == {endpoint(operation) for operation in connector(name).operations}


@cache
def called(name: str) -> frozenset[str]:
    """The names that are called, or given as a parameter to be called, in the tests of one connector's document."""
    files = list(HERE.glob(f"test_{name}*.py"))
    assert files, f"no test in tests/documented is named after {name}"
    found: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return frozenset(found)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[f"{name}-{operation.name}" for name, operation in OPERATIONS])
def test_every_operation_is_tried_against_its_document_and_shown(name: str, operation: Operation) -> None:
    assert operation.name in called(name)
    assert (
        f"| `{operation.name}` | `{operation.method} {operation.path}` | {operation.delivery.value} |"
        in TABLES.partition(f"## {name}\n")[2]
    )


def test_the_tables_are_what_the_connectors_declare() -> None:
    assert page(connector(name) for name in CONNECTORS) == TABLES, "run `make tables`"
