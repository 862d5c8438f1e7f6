"""A read becomes a batch whole or not at all, in bounded memory, and its note says what was read."""

import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.arrow_types import ABSENT, declared
from connectors.base import Capabilities, Completeness, Finding, JsonBody, Page, Read, ReadCapability, ReadRequest, Record, Since, Stream
from connectors.errors import ConfigError, ContractError, RetryableError
from pipelines.extract import extract
from pipelines.staging import Batch, BatchWriter, Dataset
from pipelines.staging.parquet import ParquetStaging
from tests.clock import FakeClock

CONTACTS = Dataset(("raw", "here", "contacts"))
COMPLETE = Completeness(True, "keyset", ("every page was seen",), 0, None, 3)


def stream(schema: dict[str, str] | None = None) -> Stream:
    return Stream("contacts", "sid", Capabilities(ReadCapability()), declared(schema) if schema else None)


class Pages:
    """A source whose read gives these pages, then this certificate, or raises in between."""

    def __init__(self, pages: Iterable[Page], proof: Completeness | None = COMPLETE, error: BaseException | None = None) -> None:
        self.pages = pages
        self.proof = proof
        self.error = error

    def read(self, stream: Stream, request: ReadRequest) -> Read:
        return Read(self._generate())

    def _generate(self) -> Generator[Page, None, Completeness]:
        yield from self.pages
        if self.error is not None:
            raise self.error
        assert self.proof is not None
        return self.proof

    def streams(self) -> Sequence[Stream]:
        return [stream()]

    def stream(self, name: str) -> Stream:
        return stream()

    def check(self) -> Iterator[Finding]:
        yield from ()

    def request_counts(self) -> Mapping[str, int]:
        return {"read": 0, "write": 0}

    def close(self) -> None:
        return None


def page(*records: Record, drop: tuple[int, ...] = (), date: datetime | None = None) -> Page:
    body = json.dumps({"records": records, "total": 9}).encode()
    return Page(JsonBody(body, ("records",)), len(records), None, drop, date)


def run(source: Pages, folder: Path, request: ReadRequest = ReadRequest(), *, of: Stream | None = None, **options: Any) -> Batch:  # noqa: B008
    return extract(source, of or stream(), request, ParquetStaging(folder), CONTACTS, clock=FakeClock(), **options)


def rows(folder: Path, batch: Batch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ParquetStaging(folder).scan(batch).read_all().to_pylist()
    return found


def numbered(first: int, count: int) -> Page:
    records: list[Record] = [{"sid": f"r{n:07d}", "n": n} for n in range(first, first + count)]
    return page(*records)


def test_all_records_are_staged_in_order_whatever_the_pages(tmp_path: Path) -> None:
    sizes = [1, 0, 3, 1000, 2, 0, 500, *[7] * 40]
    pages, first = [], 0
    for size in sizes:
        pages.append(numbered(first, size))
        first += size
    batch = run(Pages(pages), tmp_path)
    assert [row["n"] for row in rows(tmp_path, batch)] == list(range(sum(sizes)))


def test_decoded_lists_and_bytes_may_be_mixed(tmp_path: Path) -> None:
    batch = run(Pages([page({"sid": "a"}), Page([{"sid": "b"}, {"sid": "c"}], 2), page({"sid": "d"})]), tmp_path)
    assert [row["sid"] for row in rows(tmp_path, batch)] == ["a", "b", "c", "d"]


def test_dropped_positions_are_left_out_wherever_their_page_falls(tmp_path: Path) -> None:
    pages = [page({"sid": f"{n}a"}, {"sid": f"{n}b", "x": n}, {"sid": f"{n}c"}, drop=(0, 2) if n else ()) for n in range(40)]
    batch = run(Pages(pages), tmp_path)
    assert [row["sid"] for row in rows(tmp_path, batch)] == ["0a", "0b", "0c", *(f"{n}b" for n in range(1, 40))]


def test_records_of_another_scope_are_not_staged_over_those_of_the_one_before(tmp_path: Path) -> None:
    def of(scope: str | None) -> Pages:
        return Pages([page({"sid": "a"})], Completeness(True, "keyset", ("all",), 1, scope=scope))

    for scope in ("one", None, "one"):
        run(of(scope), tmp_path)
    with pytest.raises(ConfigError, match="now shows records of two, and those read before were of one; nothing was staged"):
        run(of("two"), tmp_path)
    assert [batch.note["completeness"]["scope"] for batch in ParquetStaging(tmp_path).batches(CONTACTS)] == ["one", None, "one"]


def test_the_note_says_what_was_read_and_proved(tmp_path: Path) -> None:
    date = datetime(2026, 1, 2, tzinfo=UTC)
    first, second = page({"sid": "a", "at": "2025-01-01T00:00:00Z"}, date=date), page({"sid": "b", "at": None})
    proof = Completeness(True, "keyset", ("one", "two"), 2, 2, 5)
    batch = run(Pages([first, second], proof), tmp_path, cursor_field="at", note={"sync": "x"})
    note = dict(ParquetStaging(tmp_path).batches(CONTACTS)[0].note)
    assert note == dict(batch.note)
    assert note["completeness"] == {
        "complete": True,
        "method": "keyset",
        "reasons": ["one", "two"],
        "count": 2,
        "total": 2,
        "requests": 5,
        "doubts": [],
        "scope": None,
    }
    assert (note["mode"], note["cursor_field"], note["cursor"], note["requests"], note["sync"]) == (
        "full",
        "at",
        "2025-01-01T00:00:00Z",
        5,
        "x",
    )
    assert note["server_date"] == date.isoformat()
    assert note["started_at"] <= note["finished_at"]
    assert note["bytes"] == sum(len(one.records.body) for one in (first, second) if isinstance(one.records, JsonBody))


def test_progress_counts_what_was_staged(tmp_path: Path) -> None:
    seen: list[int] = []
    run(Pages([numbered(n * 100, 100) for n in range(50)]), tmp_path, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 5000


def test_an_error_of_the_read_comes_through_unchanged_and_commits_nothing(tmp_path: Path) -> None:
    error = RetryableError("slow down", retry_after_s=7)
    with pytest.raises(RetryableError) as caught:
        run(Pages([numbered(n * 100, 100) for n in range(50)], error=error), tmp_path)
    assert caught.value is error
    assert ParquetStaging(tmp_path).batches(CONTACTS) == []


def test_a_page_that_cannot_be_parsed_commits_nothing_and_stops_the_fetching(tmp_path: Path) -> None:
    fetched = 0

    def endless() -> Iterator[Page]:
        nonlocal fetched
        while True:
            fetched += 1
            yield Page(JsonBody(b'{"records":[{"sid":NaN}]}', ("records",)), 1)

    before = threading.active_count()
    with pytest.raises(ContractError, match="NaN"):
        run(Pages(endless()), tmp_path)
    assert threading.active_count() == before
    assert fetched < 200
    assert ParquetStaging(tmp_path).batches(CONTACTS) == []


def test_a_page_that_holds_another_number_of_records_than_it_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="said to hold 3 records hold 2"):
        run(Pages([Page(page({"sid": "a"}, {"sid": "b"}).records, 3)]), tmp_path)


class FullDisk(ParquetStaging):
    """A folder whose disk is full after the first write."""

    def begin(self, dataset: Dataset) -> BatchWriter:  # type: ignore[override]
        writer = super().begin(dataset)
        fail = iter([False, True])

        def write(records: pa.RecordBatch) -> None:
            if next(fail, True):
                raise OSError(28, "No space left on device")

        writer.write = write  # type: ignore[method-assign]
        return writer


def test_a_disk_that_is_full_stops_the_fetching(tmp_path: Path) -> None:
    def endless() -> Iterator[Page]:
        while True:
            yield numbered(0, 1000)

    before = threading.active_count()
    with pytest.raises(OSError, match="No space"):
        extract(Pages(endless()), stream(), ReadRequest(), FullDisk(tmp_path), CONTACTS, clock=FakeClock())
    assert threading.active_count() == before


def test_an_interrupt_in_the_caller_stops_the_threads_and_commits_nothing(tmp_path: Path) -> None:
    def endless() -> Iterator[Page]:
        n = 0
        while True:
            n += 1
            yield numbered(n * 1000, 1000)

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(Pages(endless()), tmp_path, progress=interrupt)
    assert threading.active_count() == before
    assert ParquetStaging(tmp_path).batches(CONTACTS) == []


def test_pages_wait_when_staging_is_slow(tmp_path: Path) -> None:
    ahead = 0
    fetched = 0

    def many() -> Iterator[Page]:
        nonlocal fetched
        for n in range(400):
            fetched += 1
            yield numbered(n * 1000, 1000)

    def watch(count: int) -> None:
        nonlocal ahead
        ahead = max(ahead, fetched - count // 1000)

    run(Pages(many()), tmp_path, progress=watch)
    assert 0 < ahead <= 16 + 16 + 4 * 16 + 16


def test_an_empty_read_is_a_batch_with_the_fields_that_are_known(tmp_path: Path) -> None:
    known = declared({"sid": "string", "score": "integer"})
    batch = run(Pages([]), tmp_path, of=stream({"at": "timestamp"}), known=known)
    assert batch.count == 0
    assert batch.schema.names == ["at", "sid", "score"]


def test_a_known_field_that_no_record_has_any_more_stops_a_complete_full_read(tmp_path: Path) -> None:
    known = declared({"sid": "string", "mail": "string"})
    with pytest.raises(ContractError, match=r"'mail'.*removed or renamed"):
        run(Pages([page({"sid": "a", "email": "x"}, {"sid": "b"})]), tmp_path, known=known)
    with pytest.raises(ContractError, match="'mail'"):
        run(Pages([page({"sid": "a"})]), tmp_path, of=stream({"mail": "string"}))
    assert ParquetStaging(tmp_path).batches(CONTACTS) == []


@pytest.mark.parametrize("last", [{"sid": "b", "mail": "x"}, {"sid": "b", "mail": None}])
def test_a_known_field_that_one_record_has_is_there(tmp_path: Path, last: Record) -> None:
    known = declared({"sid": "string", "mail": "string"})
    pages = [*(numbered(n * 10, 10) for n in range(20)), page(last)]
    batch = run(Pages(pages), tmp_path, known=known)
    found = rows(tmp_path, batch)
    assert found[0][ABSENT] == '["mail"]'
    assert found[-1][ABSENT] == '["n"]'


@pytest.mark.parametrize(
    ("request_", "proof"),
    [
        (ReadRequest(since=Since("at", None)), COMPLETE),
        (ReadRequest(keys=({"sid": "a"},)), COMPLETE),
        (ReadRequest(fields=("sid",)), COMPLETE),
        (ReadRequest(), Completeness(False, "offset", ("a page was cut",), 1)),
    ],
)
def test_a_partial_read_proves_nothing_about_fields(tmp_path: Path, request_: ReadRequest, proof: Completeness) -> None:
    known = declared({"sid": "string", "mail": "string"})
    assert run(Pages([page({"sid": "a"})], proof), tmp_path, request_, known=known).count == 1


def test_a_partial_read_keeps_the_types_of_earlier_batches(tmp_path: Path) -> None:
    known = declared({"sid": "string", "score": "json"})
    request = ReadRequest(since=Since("at", "2025-01-01T00:00:00Z"))
    assert rows(tmp_path, run(Pages([page({"sid": "a", "score": 5})]), tmp_path, request, known=known))[0]["score"] == "5"
    assert rows(tmp_path, run(Pages([page({"sid": "a", "score": 5})]), tmp_path, known=known))[0]["score"] == 5


def test_fewer_staged_records_than_the_read_counted_make_it_incomplete(tmp_path: Path) -> None:
    batch = run(Pages([page({"sid": "a"})], Completeness(True, "keyset", (), 2)), tmp_path)
    assert batch.note["completeness"]["complete"] is False
    assert "only 1" in batch.note["completeness"]["reasons"][-1]


CURSORS: list[tuple[list[Any], Any]] = [
    (["2025-01-01T00:00:00Z", "2025-01-01T01:30:00+02:00", "2024-12-31T23:59:59.999Z"], "2025-01-01T00:00:00Z"),
    (["2025-01-01T00:00:00.1234567891Z", "2025-01-01T00:00:00.1234567890Z"], "2025-01-01T00:00:00.1234567891Z"),
    (["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60Z", None], "9999-12-31T23:59:60Z"),
    (["2025-02-28", "2025-03-01", "2025-02-28T23:00:00"], "2025-03-01"),
    ([3, 10, 9], 10),
    ([2**53 + 1, 2**53 + 3, 0.5], 2**53 + 3),
    ([1.5, 2], 2),
    ([Decimal("0.1234567890123456789"), Decimal("0.1234567890123456788")], Decimal("0.1234567890123456789")),
    (["0009", "0010"], "0010"),
    (["9", "10"], None),
    (["2025-01-01T00:00:00Z", "2025-01-01T00:00:00"], None),
    (["2025-01-01T00:00:00Z", 5], None),
    ([True], None),
    ([None, None], None),
    ([], None),
]


@pytest.mark.parametrize(("values", "expected"), CURSORS)
@pytest.mark.parametrize("arrange", [lambda pages: [[one] for one in pages], lambda pages: [pages]])
def test_the_cursor_is_the_largest_value_as_it_was_spelled(
    tmp_path: Path, values: list[Any], expected: Any, arrange: Callable[[list[Any]], list[list[Any]]]
) -> None:
    for order in (values, values[::-1]):
        pages: list[Page] = [Page([{"sid": "x", "at": value} for value in some], len(some)) for some in arrange(order)]
        batch = run(Pages(pages), tmp_path, cursor_field="at")
        assert batch.note["cursor"] == expected
        assert type(batch.note["cursor"]) is type(expected) or isinstance(expected, int)
