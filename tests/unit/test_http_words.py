"""What a platform said is one short printable line, whatever it sent, and never holds a secret."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.http_words import redact, words_of

SECRET = "kanary-Q1w2"
SAYING = st.sampled_from(["message", "detail", "errors", "error", "title", "msg", "field", "loc", "code", "email"])
texts = st.text(max_size=30) | st.just(SECRET) | st.just(f"a {SECRET} b")
bodies: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAYING | texts, inner, max_size=4),
    max_leaves=15,
)


def assert_fit_to_be_shown(words: str) -> None:
    assert words.isprintable()
    assert len(words) <= 300
    assert SECRET.lower() not in words.lower()


@given(st.binary(max_size=400))
def test_any_bytes_give_a_line_that_can_be_shown(body: bytes) -> None:
    assert_fit_to_be_shown(words_of(body, [SECRET]))


@given(bodies, st.booleans())
def test_any_json_gives_a_line_without_the_secret(body: Any, escaped: bool) -> None:
    try:
        sent = json.dumps(body, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:
        return
    assert_fit_to_be_shown(words_of(sent, [SECRET]))


@given(texts, st.sampled_from(["<p>{}</p>", "<title>{}</title>", "<html><script>{}</script>x{}</html>", "{}", "<{}>", "<title>{}"]))
def test_any_page_gives_a_line_without_the_secret(text: str, page: str) -> None:
    assert_fit_to_be_shown(words_of(page.replace("{}", text).encode("utf-8", "replace"), [SECRET]))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"message": SECRET.upper()}),
        json.dumps({"message": "kan\x00ary-Q1w2"}),
        json.dumps({"message": "kan\u200bary-Q1w2"}),
        '{"message":"\\u006banary-Q1w2"}',
        "<title>&#107;anary-Q1w2</title>",
        "kan\x7fary-Q1w2",
        json.dumps({"message": "x" * 295 + SECRET}),
    ],
)
def test_a_secret_in_disguise_is_recognised(body: str) -> None:
    assert_fit_to_be_shown(words_of(body.encode(), [SECRET]))


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=4))
def test_redacting_takes_out_every_secret_and_nothing_else(text: str, secrets: list[str]) -> None:
    left = redact(text, secrets).split("[secret]")
    assert not any(secret in part for secret in secrets for part in left)
    if len(left) == 1:
        assert left == [text]


def test_the_longest_secret_goes_first() -> None:
    assert redact("abcdef abc", ["abc", "abcdef"]) == "[secret] [secret]"


def test_a_body_deeper_than_anything_gives_no_words() -> None:
    assert words_of(b'{"message":' * 5_000 + b'"x"' + b"}" * 5_000, [SECRET]) == ""
