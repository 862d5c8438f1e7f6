"""What a look at a source tells: news only where a run would take something."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.polling import news
from tests.e2e.world import world

INCREMENTAL = {"mode": "incremental", "cursor": "updated_at", "lag": "5m"}


def contact(number: int, at: Any) -> dict[str, Any]:
    return {"email": f"c{number}@example.com", "name": f"Zoë {number}", "score": number, "updated_at": at}


@pytest.mark.parametrize("numbers", [False, True])
def test_a_source_has_news_until_the_sync_took_them_and_none_after_it(tmp_path: Path, numbers: bool) -> None:
    def at(minute: int) -> Any:
        return 1767225600 + 60 * minute if numbers else f"2026-01-01T00:{minute:02}:00Z"

    with world(tmp_path) as made:
        spec, other = made.spec(read=INCREMENTAL), made.spec(name="other", read=INCREMENTAL)
        made.put_contacts(*(contact(n, at(n)) for n in range(6)))
        assert news(made.core, spec) == "everything since None"
        made.run(spec)
        assert news(made.core, other) == "everything since None"  # read, but not by this one
        made.run(other)
        before = made.core.open("here").request_counts()["read"]
        assert news(made.core, spec) is news(made.core, other) is None  # though each read what the other had
        assert made.core.open("here").request_counts()["read"] - before <= 4
        contacts = [*(contact(n, at(n)) for n in range(6)), contact(7, at(20))]
        made.put_contacts(*contacts)
        found = news(made.core, spec)
        assert found is not None
        assert news(made.core, spec) == found  # a look keeps nothing
        contacts[2] |= {"name": "changed", "updated_at": at(20)}  # a tie with the newest
        made.put_contacts(*contacts)
        both = news(made.core, spec)
        assert both not in (None, found)
        made.run(other)
        assert news(made.core, other) is None
        assert news(made.core, spec) == both  # staged by now, but not taken
        made.run(spec)
        assert news(made.core, spec) is None
