"""Kragle's document, sentence by sentence and sample by sample, against the emulator and through the client."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.errors import RefusedError
from connectors.kragle.client import KragleClient
from connectors.kragle.emulator import create_app
from connectors.kragle.emulator_store import Store
from connectors.kragle.operations import OPERATIONS
from connectors.kragle.settings import KragleSettings
from connectors.kragle.sink import KragleSink
from connectors.kragle.streams import OPTIONS, WRITTEN
from connectors.kragle.view import Sight, block_records, job_records, lacking, sight, stack_record
from connectors.settings import Ports
from pipelines.ports import SystemClock, SystemRng
from tests.loopback import RawServer, answer, serving

DOCUMENT = (Path(__file__).parent / "data" / "kragle-stacks.txt").read_text(encoding="utf-8")
FLAT = re.sub(r"[^a-z0-9]+", " ", DOCUMENT.lower())
LOGIN = {"authorization": "Bearer demo"}


def sample(opening: str) -> str:
    """The sample that follows these words, as it stands: from its first brace to the one that closes it."""
    after = DOCUMENT.split(opening, 1)[1]
    text, depth = after[after.index("{") :], 0
    for end, character in enumerate(text, 1):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:end]
    raise AssertionError(f"the sample after {opening!r} does not end")


def valid(text: str, **placeholders: Any) -> Any:
    """A sample as JSON: its `<…>` filled in, `...` and what strict JSON does not take (a comma after the last item) left out."""
    for words, value in placeholders.items():
        text = re.sub(rf"<[^>]*\b{words.replace('_', ' ')}\b[^>]*>", json.dumps(value), text)
    text = re.sub(r"<schedule config for job>", "", text)
    text = re.sub(r",?\s*\.\.\.", "", text)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", text))


FILLED = {
    "total": 1,
    "results_per_page": 20,
    "page_of": 1,
    "id_of_the_creator": 7,
    "id_of_user": 7,
    "id_of_the_Block": 12,
    "id_of_Stack": 12,
    "id_of_new_Stack": 13,
    "name_of_the": "Everything is Awesome",
    "null__or_one": None,
    "token_for_this": "1234567890ABCDEF",
    "GET_or_POST": "GET",
    "block_instance": 123,
    "job_id": 321,
}


def filled(opening: str) -> Any:
    text = sample(opening).replace("<null, or", "<null  or")
    return valid(text, **FILLED)


OWNERS_LIST = "structure returned by a successful request:"
PUBLIC_LIST = "successful reponse to a non-authenticated request:"
OWNERS_STACK = "(representing the Stack in question):"
PUBLIC_STACK = "the structure of the response will follow this format:"
CREATED = "in a JSON object like this:"
CREATE = "Sample JSON request body:"
UPDATED = "An example follows:"


@pytest.fixture
def store() -> Store:
    return Store(own=0, others=0)


@pytest.fixture
def base_url(store: Store) -> Iterator[str]:
    with serving(create_app(store)) as url:
        yield url


def settings(base_url: str) -> KragleSettings:
    return KragleSettings(connector="kragle", base_url=base_url, token="demo")


def client_of(base_url: str) -> KragleClient:
    return KragleClient(settings(base_url), Ports(SystemClock(), SystemRng()))


def shape(value: Any) -> Any:
    """The names and nesting of a value, whatever the values."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else []


# the samples


def test_the_document_has_two_samples_that_strict_json_refuses_for_a_comma_too_many() -> None:
    for opening in (CREATE, PUBLIC_STACK):
        with pytest.raises(json.JSONDecodeError):
            json.loads(re.sub(r"<[^>]*>", "null", sample(opening)).replace("...", "null"))
        filled(opening)


def test_the_sample_create_is_taken_and_answers_as_documented(base_url: str, store: Store) -> None:
    body = filled(CREATE)
    made = client_of(base_url).create_stack(**body)
    assert shape(made) == shape(filled(CREATED))
    sent = json.loads(store.log[0]["body"])
    assert sent == body
    assert sent["blocks"][0][1] == {"tweet_body": "\u0001/input/screen_name\u0002 says #gluetogetherallt3hthings!"}
    (stack,) = store.stacks.values()
    assert (stack["webhook"], stack["webhook_method"], stack["jobs"][0]["do_run"]) == ("token", "POST", True)


def test_the_sample_create_itself_is_refused_for_its_comma(base_url: str) -> None:
    refused = httpx.post(f"{base_url}/blockstacks", headers=LOGIN, content=sample(CREATE).encode())
    assert refused.status_code == 400


@pytest.fixture
def own_stack(store: Store) -> dict[str, Any]:
    block = {"type": "Post to Twitter", "conversion": {}, "state": {"input": {}, "output": {}}}
    return store.add(name="Everything is Awesome", public=True, blocks=[block], webhook="user", webhook_method="GET", schedules=[432])


@pytest.mark.parametrize(("opening", "headers"), [(OWNERS_LIST, LOGIN), (PUBLIC_LIST, {})])
def test_a_list_has_the_documented_shape_for_its_owner_and_for_anybody(
    opening: str, headers: dict[str, str], base_url: str, own_stack: dict[str, Any]
) -> None:
    told = httpx.get(f"{base_url}/blockstacks", headers=headers).json()
    told["stacks"][0].get("jobs", [{}])[0].pop("schedule", None)
    expected = filled(opening)
    expected["stacks"][0].get("jobs", [{}])[0].pop("schedule", None)
    assert shape(told) == shape(expected)


@pytest.mark.parametrize(("opening", "headers"), [(OWNERS_STACK, LOGIN), (PUBLIC_STACK, {})])
def test_a_stack_has_the_documented_shape_for_its_owner_and_for_anybody(
    opening: str, headers: dict[str, str], base_url: str, own_stack: dict[str, Any]
) -> None:
    told = httpx.get(f"{base_url}/blockstacks/{own_stack['id']}", headers=headers).json()
    told.get("jobs", [{}])[0].pop("schedule", None)
    expected = filled(opening)
    expected.get("jobs", [{}])[0].pop("schedule", None)
    assert shape(told) == shape(expected)


def test_an_update_answers_as_documented(base_url: str, own_stack: dict[str, Any]) -> None:
    told = client_of(base_url).update_stack(own_stack["id"], name="Still awesome")
    assert isinstance(told, dict)
    assert shape(told) == shape(filled(UPDATED))
    assert list(told) == list(filled(UPDATED))
    assert told["instances"] == [own_stack["blocks"][0]["id"]]


@pytest.mark.parametrize(("opening", "expected"), [(OWNERS_STACK, Sight.OWNER), (PUBLIC_STACK, Sight.PUBLIC)])
def test_the_two_views_of_the_document_are_told_apart(opening: str, expected: Sight) -> None:
    stack = filled(opening)
    assert sight(stack) is expected
    wanted = ("jobs", "webhook_token", "conversion", "state")
    assert lacking(stack, wanted) == ([] if expected is Sight.OWNER else list(wanted))


def test_the_documented_stack_becomes_records_without_its_token() -> None:
    stack = {**filled(OWNERS_STACK), "webhook": "user"}
    record = stack_record(stack)
    assert record == {
        **{name: stack[name] for name in ("id", "owner", "name", "webhook", "webhook_method", "jobs")},
        "blocks": [["name of Block", {}]],
    }
    (block,) = block_records(stack)
    (job,) = job_records(stack)
    assert (block["place"], block["type"], block["state"]) == ("12/0", "name of Block", {"input": {}, "output": {}})
    assert (job["id"], job["name"], job["do_run"], job["stack_id"]) == (321, "name of Job", True, 12)


def test_the_documented_list_is_read_by_the_source() -> None:
    body = json.dumps(filled(OWNERS_LIST)).encode()
    with RawServer(lambda number, request: answer(200, body, {"content-type": "application/json"})) as server:
        source = KragleSink(settings(server.base_url), Ports(SystemClock(), SystemRng()))
        listed = source.listed(1)
        source.close()
    assert listed is not None
    assert (listed.count, listed.size) == (1, 20)
    assert listed.stacks[0]["webhook_token"] is None


# the sentences


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_quotes_the_document(operation: Any) -> None:
    for sentence in re.split(r"(?<=\.)\s", operation.evidence):
        assert re.sub(r"[^a-z0-9]+", " ", sentence.lower()).strip() in FLAT


def test_every_documented_parameter_of_a_create_can_be_written() -> None:
    section = DOCUMENT.split("create a new Stack", 1)[1].split("Sample JSON", 1)[0]
    documented = set(re.findall(r"(?:^|[!.])([a-z_]+)\n- (?:string|array|integer|boolean) - ", section, re.MULTILINE)) - {"state"}
    assert documented == {*WRITTEN, *OPTIONS} - {"block_options"}


def test_a_private_stack_is_forbidden_without_a_login_and_its_public_sister_is_not(base_url: str, store: Store) -> None:
    """Unauthenticated calls for private Types will receive an HTTP 403 Forbidden response."""
    private, public = store.add(name="private"), store.add(name="public", public=True)
    assert httpx.get(f"{base_url}/blockstacks/{private['id']}").status_code == 403
    assert httpx.get(f"{base_url}/blockstacks/{public['id']}").status_code == 200
    theirs = store.add(owner=8, name="theirs")
    with pytest.raises(RefusedError) as refused:
        client_of(base_url).get_stack(theirs["id"])
    assert refused.value.status == 403


def test_a_stack_is_looked_up_by_id_or_name(base_url: str, store: Store) -> None:
    """Retrieve information about a single Stack, looked up by id or name."""
    made = [store.add(name=name)["id"] for name in ("Größe & 50 % / ?", "two")]
    client = client_of(base_url)
    for asked, number in (("Größe & 50 % / ?", 0), (made[0], 0), ("two", 1), (str(made[1]), 1)):
        stack = client.get_stack(asked)
        assert isinstance(stack, dict)
        assert stack["id"] == made[number]


def test_the_list_holds_public_stacks_of_all_and_private_ones_of_ours(base_url: str, store: Store) -> None:
    """This endpoint will return public Stacks owned by others, and your own public Stacks; authenticated, also your own private ones."""
    for owner in (7, 8):
        for public in (True, False):
            store.add(owner=owner, name=f"{owner} {public}", public=public)
    client = client_of(base_url)
    told, anybody = client.list_stacks(), httpx.get(f"{base_url}/blockstacks").json()
    assert isinstance(told, dict)
    assert [stack["name"] for stack in told["stacks"]] == ["7 True", "7 False", "8 True"]
    assert [stack["name"] for stack in anybody["stacks"]] == ["7 True", "8 True"]


def test_the_page_is_1_by_default_and_the_size_is_the_servers(base_url: str, store: Store) -> None:
    """page - integer - The page number from the full result set you wish to retrieve. Default: 1."""
    for n in range(25):
        store.add(name=f"stack {n}")
    client = client_of(base_url)
    first, again, second = client.list_stacks(), client.list_stacks(page=1), client.list_stacks(page=2)
    assert first == again
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["count"], first["pagesize"], first["page"], second["page"]) == (25, 20, 1, 2)
    assert [len(first["stacks"]), len(second["stacks"])] == [20, 5]


def test_an_update_leaves_what_is_not_passed_unchanged(base_url: str, own_stack: dict[str, Any]) -> None:
    """NB: Any optional parameters not passed in the request will be left unchanged."""
    before = json.loads(json.dumps(own_stack))
    client_of(base_url).update_stack(own_stack["id"], webhook_method="POST")
    assert own_stack == {**before, "webhook_method": "POST"}


def test_a_new_stack_has_no_job_and_no_webhook_by_default(base_url: str, store: Store) -> None:
    """Default: Do not create an initial Job for the Stack. … Default: null."""
    client_of(base_url).create_stack("plain", [["Filter", {}]])
    (stack,) = store.stacks.values()
    assert (stack["jobs"], stack["webhook"], stack["webhook_token"], stack["needs_approval"]) == ([], None, None, False)


@pytest.mark.parametrize(("method", "path"), [("POST", "/blockstacks"), ("PUT", "/blockstacks/1")])
def test_creating_and_updating_need_a_login(method: str, path: str, base_url: str) -> None:
    """(This endpoint requires authentication.)"""
    assert httpx.request(method, base_url + path, json={"name": "x", "blocks": []}).status_code == 401


def test_there_is_no_delete(base_url: str, own_stack: dict[str, Any]) -> None:
    assert httpx.delete(f"{base_url}/blockstacks/{own_stack['id']}", headers=LOGIN).status_code == 404
    assert not hasattr(KragleClient, "delete_stack")
