"""What holds for every Celigo stack, link and mask, without a platform."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.celigo import CONNECTOR
from connectors.celigo.bodies import refusal, with_secret
from connectors.celigo.client import Listed
from connectors.celigo.links import next_link, relative_to
from connectors.celigo.masks import is_mask, masked, unmasked
from connectors.celigo.reading import listing
from connectors.celigo.stacks import WRITABLE, body_of, changed, dependents_of, record_of
from connectors.errors import ContractError
from connectors.settings import Secret

TEXTS = st.text(min_size=1, max_size=12).filter(lambda text: not is_mask(text))
MASKS = st.sampled_from(["***", "******", "••••••••", " ****** ", "●●●●"])
SERVERS = st.fixed_dictionaries(
    {"_id": TEXTS, "name": TEXTS, "type": st.just("server"), "createdAt": TEXTS, "lastModified": TEXTS},
    optional={
        "framework": st.just("twoDotZero"),
        "server": st.fixed_dictionaries(
            {"hostURI": TEXTS, "systemToken": MASKS | TEXTS}, optional={"ipRanges": st.lists(TEXTS, max_size=3)}
        ),
    },
)
LAMBDAS = st.fixed_dictionaries(
    {
        **{"_id": TEXTS, "name": TEXTS, "type": st.just("lambda")},
        "lambda": st.fixed_dictionaries(dict.fromkeys(("accessKeyId", "secretAccessKey", "awsRegion", "functionName", "language"), TEXTS)),
    }
)
STACKS = SERVERS | LAMBDAS
SECRETS = {"AKIA": Secret("s3cret")}


def readable(stack: Any) -> dict[str, Any]:
    """The part of a stack that can be written again."""
    kind = stack["type"]
    config = {name: value for name, value in stack.get(kind, {}).items() if name not in ("systemToken", "secretAccessKey")}
    return {name: stack[name] for name in ("name", "type", "framework") if name in stack} | ({kind: config} if config else {})


@given(STACKS)
def test_a_stack_read_and_written_again_is_the_same_without_its_secrets(stack: Any) -> None:
    record = record_of(stack)
    assert body_of({name: record[name] for name in WRITABLE}) == (readable(stack), "")
    assert body_of({name: record[name] for name in (*WRITABLE, "endpoint")}) == (readable(stack), "")


@given(STACKS, st.booleans())
def test_no_record_holds_a_secret_even_where_the_platform_shows_it(stack: Any, undocumented: bool) -> None:
    shown = {
        **stack,
        "server": {**stack.get("server", {}), "systemToken": "canary"},
        "lambda": {**stack.get("lambda", {}), "secretAccessKey": "canary"},
    }
    assert "canary" not in str(record_of(shown, undocumented=undocumented))


@given(STACKS, st.sampled_from(["name", "framework"]), MASKS)
def test_a_mask_in_a_field_leaves_the_field_out_and_no_other(stack: Any, name: str, mask: str) -> None:
    record, whole = record_of({**stack, name: mask}), record_of({**stack, name: "x"})
    assert set(whole) - set(record) == {name}
    assert not list(masked(record))


def test_a_masked_access_key_id_is_neither_known_nor_null() -> None:
    record = record_of({"_id": "1", "name": "n", "type": "lambda", "lambda": {"accessKeyId": "******", "functionName": "f"}})
    assert "lambda.accessKeyId" not in record
    assert (record["lambda.language"], record["endpoint"]) == (None, "f")


@given(STACKS, TEXTS)
def test_changing_one_field_changes_no_other(stack: Any, name: str) -> None:
    body, why = body_of(changed(stack, {"name": name}))
    assert (body, why) == ({**readable(stack), "name": name}, "")


def test_an_endpoint_is_the_field_that_it_stands_for() -> None:
    held: Any = {"_id": "1", "name": "n", "type": "server", "server": {"hostURI": "https://a"}}
    assert body_of(changed(held, {"endpoint": "https://b"}))[0]["server"] == {"hostURI": "https://b"}
    assert body_of({"name": "n", "type": "lambda", "endpoint": "f"})[0]["lambda"] == {"functionName": "f"}
    assert "differ" in body_of({"name": "n", "type": "server", "endpoint": "https://b", "server.hostURI": "https://a"})[1]


def test_the_config_of_another_type_is_refused_and_its_nulls_are_not() -> None:
    assert "does not belong" in body_of({"name": "n", "type": "server", "lambda.language": "Java"})[1]
    assert body_of({"name": "n", "type": "server", "lambda.language": None, "server.hostURI": "https://a"})[1] == ""


def test_a_null_is_left_out_of_a_body_or_sent_as_chosen() -> None:
    fields = {"name": "n", "type": "server", "framework": None, "server.hostURI": "https://a", "server.ipRanges": None}
    assert body_of(fields)[0] == {"name": "n", "type": "server", "server": {"hostURI": "https://a"}}
    sent = {"name": "n", "type": "server", "framework": None, "server": {"hostURI": "https://a", "ipRanges": None}}
    assert body_of(fields, nulls=True)[0] == sent


@pytest.mark.parametrize("stack", [{"name": "n"}, {"_id": ""}, {"_id": 1}, {"_id": "1", "server": "text"}, {"_id": "1", "lambda": [1]}])
def test_what_is_no_stack_is_not_taken_for_one(stack: Any) -> None:
    with pytest.raises(ContractError):
        record_of(stack)


@pytest.mark.parametrize("answer", [[], None, {"flows": {}}, {"flows": [1]}, {"flows": [{"name": "no id"}]}, {"errors": "x"}])
def test_what_is_no_list_of_dependents_is_not_taken_for_one(answer: Any) -> None:
    with pytest.raises(ContractError):
        dependents_of({"_id": "1"}, answer)


@given(
    st.recursive(TEXTS | MASKS | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=12)
)
def test_what_is_unmasked_holds_no_mask(value: Any) -> None:
    assert is_mask(value) or not list(masked(unmasked(value)))


@given(LAMBDAS, MASKS, st.sampled_from(["name", "lambda.accessKeyId", "lambda.functionName"]))
def test_a_body_with_a_mask_anywhere_is_refused_with_its_place(stack: Any, mask: str, place: str) -> None:
    fields: dict[str, Any] = {"name": "n", "type": "lambda", "lambda.accessKeyId": "AKIA", "lambda.functionName": "f", place: mask}
    body, _ = body_of(fields)
    assert place in refusal(body, SECRETS, without_secret=False)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"_id": "1", "name": "n", "type": "server"}, "'_id'"),
        ({"name": "n", "type": "server", "lastModified": "2026"}, "'lastModified'"),
        ({"name": "n"}, "'type' is always required"),
        ({"name": " ", "type": "server"}, "'name' is always required"),
        ({"name": "n", "type": "server", "server": {"systemToken": "t"}}, "cannot be set"),
        ({"name": "n", "type": "lambda", "lambda": {"accessKeyId": "AKIA", "secretAccessKey": "s"}}, "by reference only"),
        ({"name": "n", "type": "lambda", "lambda": {"accessKeyId": "AKIB"}}, "no secret is given for its access key id AKIB"),
        ({"name": "n", "type": "lambda"}, "missing access key id"),
        ([], "must be an object"),
    ],
)
def test_a_body_that_must_not_be_sent_is_refused_with_the_reason(body: Any, why: str) -> None:
    assert why in refusal(body, SECRETS, without_secret=False)


def test_a_secret_is_filled_in_by_the_access_key_id_and_only_for_a_lambda_stack() -> None:
    body: Any = {"name": "n", "type": "lambda", "lambda": {"accessKeyId": "AKIA"}}
    assert with_secret(body, SECRETS)["lambda"] == {"accessKeyId": "AKIA", "secretAccessKey": "s3cret"}
    assert body["lambda"] == {"accessKeyId": "AKIA"}
    assert with_secret({**body, "type": "server"}, SECRETS) == {**body, "type": "server"}
    assert with_secret({**body, "lambda": {"accessKeyId": "other"}}, SECRETS)["lambda"] == {"accessKeyId": "other"}


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", None),
        ("   ", None),
        ('<https://a/v1/stacks?x=1>; rel="next"', "https://a/v1/stacks?x=1"),
        ("</v1/stacks?x=1>;rel=next", "/v1/stacks?x=1"),
        ('<?x=a,b;c>; REL="Next"', "?x=a,b;c"),
        ("<https://a/2>; rel='next', <https://a/9>; rel='last'", "https://a/2"),  # no quotes to the RFC, but sent
        ('<https://a/1>; rel="first last", <https://a/2>; title="a, <b>; rel=\\"next\\"" ; rel="prefetch next"', "https://a/2"),
        ('<https://a/1>; rel="prev"', None),
        ('<https://a/1>; rel="nextish", <https://a/2>', None),
        ('<https://a/1>; rel="prev"; rel="next"', None),  # only the first rel counts
        ('<https://a/1>; rel="next",, <https://a/1>; rel="next"', "https://a/1"),
    ],
)
def test_the_next_link_is_found_whatever_stands_around_it(header: str, target: str | None) -> None:
    assert next_link(header) == target


@pytest.mark.parametrize("header", ["next", 'https://a/2; rel="next"', '<https://a/2; rel="next"', '<a>; rel="next", <b>; rel="next"'])
def test_a_link_header_that_cannot_be_read_is_no_end_of_the_list(header: str) -> None:
    with pytest.raises(ContractError):
        next_link(header)


@given(st.text("abc/?&=,;.%0123456789", max_size=20), st.sampled_from(['; rel="next"', ";rel=next", '; title="x"; rel="up next"']))
def test_any_target_is_given_back_as_it_stands(target: str, parameters: str) -> None:
    assert next_link(f"<{target}>{parameters}") == target


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("?page=2", "/v1/stacks?page=2"),
        ("stacks?page=2", "/v1/stacks?page=2"),
        ("/v1/stacks?page=2", None),
        ("//elsewhere/x", None),
        ("https://a/b", None),
    ],
)
def test_a_relative_link_is_relative_to_its_page(link: str, path: str | None) -> None:
    assert relative_to("/v1/stacks?page=1", link) == path


def walk(sweeps: list[list[list[str]]], *, agree: bool = True, max_pages: int = 100) -> tuple[list[str], Any, int]:
    """What a listing gives of these reads, each a list of pages of ids; the last read comes again and again."""
    asked: list[str | None] = []

    def ask(link: str | None) -> Listed:
        asked.append(link)
        number = min(asked.count(None) - 1, len(sweeps) - 1)
        at = int(link or 0)
        pages = sweeps[number]
        return Listed([{"_id": one} for one in pages[at]], str(at + 1) if at + 1 < len(pages) else None, None)

    pages = listing(ask, lambda stack: stack, agree=agree, max_pages=max_pages)
    found: list[str] = []
    while True:
        try:
            page = next(pages)
        except StopIteration as end:
            return found, end.value, len(asked)
        assert isinstance(page.records, list)
        assert page.records
        found += [str(record["_id"]) for record in page.records]


IDS = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), min_size=1, max_size=4)


@given(st.lists(IDS, min_size=1, max_size=5), st.booleans())
def test_every_id_that_was_seen_is_given_exactly_once(sweeps: list[list[list[str]]], agree: bool) -> None:
    found, proof, _ = walk(sweeps, agree=agree)
    assert len(found) == len(set(found)) == proof.count
    assert proof.complete or len(sweeps[0]) > 1


@given(IDS)
def test_a_list_that_stands_still_is_proven_by_as_few_reads_as_possible(pages: list[list[str]]) -> None:
    found, proof, requests = walk([pages])
    seen = {one for page in pages for one in page}
    comes_back = sum(len(set(page)) for page in pages) > len(seen)  # then it does not stand still, or keeps no order
    assert proof.complete is not comes_back
    assert set(found) == seen
    assert requests == (1 if len(pages) == 1 else (4 if comes_back else 2) * len(pages))
    assert bool(proof.doubts) is comes_back


def test_a_record_that_slipped_between_two_pages_is_found_by_the_next_read() -> None:
    found, proof, requests = walk([[["a", "b"], ["d"]], [["b", "c"], ["d"]]])
    assert (sorted(found), proof.complete, proof.method, requests) == (["a", "b", "c", "d"], True, "two equal reads", 6)
    assert "1 stacks vanished" in " ".join(proof.reasons)


def test_a_list_that_never_stands_still_is_not_called_complete() -> None:
    found, proof, _ = walk([[["a"], [str(n)]] for n in range(9)])
    assert not proof.complete
    assert set(found) == {"a", "0", "1", "2", "3"}


def test_one_read_of_several_pages_is_not_called_complete() -> None:
    assert not walk([[["a"], ["b"]]], agree=False)[1].complete


def test_a_list_longer_than_max_pages_is_an_error() -> None:
    with pytest.raises(ContractError, match="max_pages"):
        walk([[["a"], ["b"], ["c"]]], max_pages=2)


@pytest.mark.parametrize("secret", ["", "******", "••••"])
def test_a_secret_that_is_a_mask_or_empty_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValidationError, match="mask") as refused:
        CONNECTOR.settings(connector="celigo", token="t", secret_access_keys={"AKIA": secret})
    assert not secret or repr(secret) not in str(refused.value)
