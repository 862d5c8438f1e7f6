"""What is remembered as written once it read back otherwise."""

import json
from typing import Any

import pytest

from pipelines.remembering import as_kept


@pytest.mark.parametrize(
    ("sent", "shown", "kept"),
    [
        ({"name": "Ada ", "score": 1.26}, {"name": "ada", "score": 1.3}, {"name": "ada", "score": 1.3}),
        ({"tags": ["b", "a"]}, {"tags": '["a","b"]'}, {"tags": ["a", "b"]}),
        ({"tags": ["b"], "name": "Ada"}, {"name": "Ada"}, {"tags": None, "name": "Ada"}),
        ({"tags": ["b"]}, {"tags": "no JSON"}, {"tags": ["b"]}),
        ({"name": "Ada", "secret": "s"}, {"name": "Eve"}, {"name": "Eve", "secret": "s"}),
        ({"name": "Ada"}, {}, {"name": "Ada"}),
    ],
)
def test_whatever_the_sink_shows_is_its_form_where_others_edits_are_overwritten(sent: Any, shown: Any, kept: Any) -> None:
    assert json.loads(as_kept(json.dumps(sent), shown, whatever=True, unread=("secret",))) == kept


@pytest.mark.parametrize(
    ("sent", "shown", "kept"),
    [
        ({"name": "Ada "}, {"name": "ada"}, {"name": "ada"}),
        ({"name": "Ada"}, {"name": "Eve"}, {"name": "Ada"}),
        ({"name": "Ada", "tags": ["b"]}, {"name": None, "tags": '["a"]'}, {"name": "Ada", "tags": ["b"]}),
    ],
)
def test_only_another_form_of_the_same_is_its_form_where_others_edits_stay(sent: Any, shown: Any, kept: Any) -> None:
    assert json.loads(as_kept(json.dumps(sent), shown, whatever=False)) == kept
