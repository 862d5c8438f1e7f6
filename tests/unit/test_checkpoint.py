"""A long read that is interrupted goes on at its page, and gives what an uninterrupted one gives."""

import json
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Completeness, JsonBody, Page, Read, ReadRequest, Stream
from connectors.errors import ConfigError, RetryableError, UnreachableError
from pipelines.checkpoint import finished
from pipelines.extract import extract
from pipelines.staging import Batch, Staging
from pipelines.staging.open import open_staging
from tests.clock import FakeClock
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.unit.test_extract import CONTACTS, Pages, stream

PAGES, SIZE = 60, 3


class Book(Pages):
    """Sixty pages that can be read from any page on. `fails_at`: the page at which the platform goes away, once."""

    def __init__(
        self, fails_at: int | None = None, *, complete: bool = True, forgets: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__([])
        self.retry_after_s = retry_after_s
        self.fails_at, self.complete, self.forgets = fails_at, complete, forgets
        self.asked: list[int] = []

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        return Read(self._from(request.resume))

    def _from(self, resume: str | None) -> Generator[Page, None, Completeness]:
        if resume is not None and self.forgets:
            raise ConfigError("this page token is not known any more")
        first = int(resume) if resume else 0
        for number in range(first, PAGES):
            if number == self.fails_at:
                self.fails_at = None
                raise UnreachableError("gone", retry_after_s=self.retry_after_s)
            self.asked.append(number)
            records = [
                {"sid": f"r{number * SIZE + n:05}", "n": number * SIZE + n, "at": f"2026-01-01T00:{number:02}:00Z"} for n in range(SIZE)
            ]
            yield Page(JsonBody(json.dumps({"records": records}).encode(), ("records",)), SIZE, str(number + 1))
        proven = self.complete or resume is None
        return Completeness(proven, "keyset", ("the end was reached",), (PAGES - first) * SIZE, None, PAGES - first)


@pytest.fixture(params=["parquet", "postgres"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Staging]:
    made = open_staging(request.getfixturevalue("postgres_url") if request.param == "postgres" else str(tmp_path / "staging"))
    yield made
    made.close()


def run(source: Book, staging: Staging, clock: FakeClock, request: ReadRequest = ReadRequest(), **options: Any) -> Batch:  # noqa: B008
    given: dict[str, Any] = {"alone": nullcontext, "checkpoint_s": 0, "cursor_field": "at", **options}
    return extract(source, stream(), request, staging, CONTACTS, clock=clock, **given)


def numbers(staging: Staging, batch: Batch) -> list[int]:
    found: list[int] = staging.scan(batch).read_all()["n"].to_pylist()
    return found


def test_a_read_whose_quota_runs_out_keeps_every_page_however_few_so_that_it_ends_one_day(staging: Staging, clock: FakeClock) -> None:
    book = Book(fails_at=7, retry_after_s=3600)
    with pytest.raises(UnreachableError):
        run(book, staging, clock, checkpoint_s=60)
    assert finished(staging, CONTACTS) == []
    clock.advance(3600)
    assert numbers(staging, run(book, staging, clock, checkpoint_s=60)) == list(range(PAGES * SIZE))
    assert book.asked == list(range(PAGES))


def test_a_read_that_was_interrupted_asks_only_for_the_pages_it_did_not_keep(staging: Staging, clock: FakeClock) -> None:
    book = Book(fails_at=50)
    with pytest.raises(UnreachableError):
        run(book, staging, clock)
    assert finished(staging, CONTACTS) == []
    assert len(staging.batches(CONTACTS)) > 0
    again = len(book.asked)
    batch = run(book, staging, clock)
    assert min(book.asked[again:]) >= 32
    assert numbers(staging, batch) == list(range(PAGES * SIZE))
    assert (batch.note["completeness"]["count"], batch.note["cursor"], batch.note["resumed"]) == (
        PAGES * SIZE,
        "2026-01-01T00:59:00Z",
        True,
    )
    assert staging.batches(CONTACTS) == [batch]


def test_a_long_read_without_interruption_is_one_batch(staging: Staging, clock: FakeClock) -> None:
    batch = run(Book(), staging, clock)
    assert numbers(staging, batch) == list(range(PAGES * SIZE))
    assert (staging.batches(CONTACTS), batch.note["resumed"]) == ([batch], False)


def test_a_short_read_keeps_no_parts(staging: Staging, clock: FakeClock) -> None:
    with pytest.raises(UnreachableError):
        run(Book(fails_at=50), staging, clock, checkpoint_s=60)
    assert staging.batches(CONTACTS) == []


@pytest.mark.parametrize("why", ["another request", "too old", "the platform forgot the page", "it would prove less"])
def test_parts_that_cannot_be_gone_on_from_are_dropped_and_the_read_starts_anew(staging: Staging, clock: FakeClock, why: str) -> None:
    book = Book(fails_at=50, complete=why != "it would prove less", forgets=why == "the platform forgot the page")
    with pytest.raises(UnreachableError):
        run(book, staging, clock)
    if why == "too old":
        clock.advance(7 * 3600)
    book.asked.clear()
    batch = run(book, staging, clock, ReadRequest(proof=why == "another request"))
    assert book.asked[-PAGES:] == list(range(PAGES))
    assert numbers(staging, batch) == list(range(PAGES * SIZE))
    assert staging.batches(CONTACTS) == [batch]


def test_parts_of_a_read_that_is_still_going_on_elsewhere_are_left_alone(staging: Staging, clock: FakeClock) -> None:
    with pytest.raises(UnreachableError):
        run(Book(fails_at=50), staging, clock)
    parts = staging.batches(CONTACTS)
    other = Book()
    batch = run(other, staging, clock, alone=taken)
    assert other.asked == list(range(PAGES))
    assert numbers(staging, batch) == list(range(PAGES * SIZE))
    assert staging.batches(CONTACTS) == [*parts, batch]


def taken() -> AbstractContextManager[None]:
    """A lock that somebody else has."""

    @contextmanager
    def held() -> Iterator[None]:
        raise RetryableError("in use")
        yield

    return held()
