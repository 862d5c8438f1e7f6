"""What every staging back end must do, over Parquet in a folder and over a real PostgreSQL."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.arrow_exact import records_to_batch
from pipelines.staging import ABSENT, ROW_GROUP, TYPE, Batch, Dataset, Staging, StagingError
from pipelines.staging.open import open_staging
from tests.postgres import PostgresServer, postgres_server, postgres_url  # noqa: F401

CONTACTS = Dataset(("raw", "stacker_demo", "contacts"))


@pytest.fixture(params=["parquet", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty staging area is."""
    if request.param == "parquet":
        return str(tmp_path / "staging")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def staging(address: str) -> Iterator[Staging]:
    opened = open_staging(address)
    yield opened
    opened.close()


def put(staging: Staging, *batches: pa.RecordBatch, dataset: Dataset = CONTACTS, **note: Any) -> Batch:
    with staging.begin(dataset) as writer:
        for batch in batches:
            writer.write(batch)
        return writer.commit(note)


def everything(staging: Staging, batch: Batch, columns: list[str] | None = None) -> pa.Table:
    return staging.scan(batch, columns).read_all()


def numbers(count: int, first: int = 0) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": range(first, first + count), "text": [f"row {n}" for n in range(first, first + count)]})


ALL_TYPES = pa.RecordBatch.from_arrays(
    [
        pa.array(["a", None, "", "é 李 \U0001f600", "a\x00b\x1b0\x1b1\x1b", "\x00", "\\N", "line\nbreak\ttab"]),
        pa.array([0, None, 2**63 - 1, -(2**63), 2**53 + 1, 1, 2, 3]),
        pa.array([0.1, None, -0.0, 5e-324, 1.7976931348623157e308, 1.0, 2.5, 3.0]),
        pa.array([True, None, False, True, True, True, False, False]),
        pa.array(
            [Decimal("1.50"), None, Decimal("-12345678901234567890123456789012345.678"), *[Decimal("0.001")] * 5], pa.decimal128(38, 3)
        ),
        pa.array([Decimal(10) ** 37, None, *[Decimal(1)] * 6], pa.decimal128(38, 0)),
        pa.nulls(8),
        pa.array(['{"a":1.10,"b":[1e400,"\\u0000"]}', None, "null", '""', "[]", "{}", "1.0", "123456789012345678901234567890"]),
        pa.array(["2025-01-01T00:00:00.123456789+01:00", None, *["0001-01-01T00:00:00Z"] * 6]),
        pa.array([["a", "b\x00\x1b"], None, [], [""], ["x"], ["y"], ["z"], ["\x1b0"]], pa.list_(pa.string())),
        pa.array([None, '["n","text"]', *[None] * 6]),
    ],
    schema=pa.schema(
        [
            ("text", pa.string()),
            ("n", pa.int64()),
            ("x", pa.float64()),
            ("yes", pa.bool_()),
            ("money", pa.decimal128(38, 3)),
            ("big", pa.decimal128(38, 0)),
            ("never", pa.null()),
            pa.field("nested", pa.string(), metadata={TYPE: b"json"}),
            pa.field("at", pa.string(), metadata={TYPE: b"timestamp"}),
            ("__omitted", pa.list_(pa.string())),
            (ABSENT, pa.string()),
        ]
    ),
)


def test_what_was_written_is_what_a_scan_gives(staging: Staging) -> None:
    batch = put(staging, ALL_TYPES, ALL_TYPES.slice(3, 4))
    found = everything(staging, batch)
    assert found.schema.equals(ALL_TYPES.schema, check_metadata=True)
    assert batch.schema.equals(ALL_TYPES.schema, check_metadata=True)
    assert found.equals(pa.Table.from_batches([ALL_TYPES, ALL_TYPES.slice(3, 4)]))
    assert str(found.column("x")[2]) == "-0.0"
    assert batch.count == found.num_rows


def test_a_batch_is_found_again_with_its_note(address: str, staging: Staging) -> None:
    note: dict[str, Any] = {
        "cursor": 2**70,
        "price": Decimal("0.1234567890123456789"),
        "half": 0.5,
        "text": 'é"\x00',
        "list": [None, True, {}],
    }
    batch = put(staging, numbers(3), **note)
    other = open_staging(address)
    assert other.batches(CONTACTS) == [batch]
    assert dict(other.batches(CONTACTS)[0].note) == note
    assert everything(other, batch) == pa.Table.from_batches([numbers(3)])
    other.close()


def test_batches_come_oldest_first_and_their_ids_sort_so(staging: Staging) -> None:
    written = [put(staging, numbers(1), turn=turn).id for turn in range(5)]
    assert [batch.id for batch in staging.batches(CONTACTS)] == written == sorted(set(written))


def test_a_dataset_nobody_wrote_has_no_batches(staging: Staging) -> None:
    assert staging.batches(Dataset(("raw", "none"))) == []


def test_an_empty_batch_is_a_batch(staging: Staging) -> None:
    for batch in (put(staging), put(staging, numbers(0))):
        assert batch.count == 0
        assert everything(staging, batch).num_rows == 0
        assert staging.take(batch, np.empty(0, np.int64)).num_rows == 0
    assert len(staging.batches(CONTACTS)) == 2


def test_an_uncommitted_batch_is_not_seen(staging: Staging) -> None:
    with staging.begin(CONTACTS) as writer:
        writer.write(numbers(ROW_GROUP + 1))
        assert staging.batches(CONTACTS) == []
    assert staging.batches(CONTACTS) == []


def test_a_writer_that_fails_leaves_nothing(staging: Staging) -> None:
    def fail() -> None:
        with staging.begin(CONTACTS) as writer:
            writer.write(numbers(ROW_GROUP + 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert staging.batches(CONTACTS) == []
    assert put(staging, numbers(2)).count == 2


KILLED = """
import os, signal, sys
import pyarrow as pa
from pipelines.staging import Dataset
from pipelines.staging.open import open_staging
with open_staging(sys.argv[1]).begin(Dataset(("raw", "stacker_demo", "contacts"))) as writer:
    writer.write(pa.RecordBatch.from_pydict({"n": range(100_000)}))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_nothing_that_counts(address: str, staging: Staging) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, address], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert staging.batches(CONTACTS) == []
    batch = put(staging, numbers(2))
    assert staging.batches(CONTACTS) == [batch]


@pytest.mark.parametrize("count", [1, ROW_GROUP - 1, ROW_GROUP, ROW_GROUP + 1, 2 * ROW_GROUP + 7])
def test_rows_keep_their_order_and_positions_across_row_groups(staging: Staging, count: int) -> None:
    pieces = [numbers(min(30_000, count - first), first) for first in range(0, count, 30_000)]
    batch = put(staging, *pieces)
    assert batch.count == count
    assert everything(staging, batch).column("n").to_pylist() == list(range(count))
    positions = np.array([count - 1, 0, count // 2, 0, min(ROW_GROUP, count - 1)], np.int64)
    taken = staging.take(batch, positions, ["text", "n"])
    assert taken.column_names == ["text", "n"]
    assert taken.column("n").to_pylist() == positions.tolist()
    assert taken.column("text").to_pylist() == [f"row {position}" for position in positions]


def test_a_scan_holds_no_more_than_a_row_group_at_a_time(staging: Staging) -> None:
    batch = put(staging, numbers(3 * ROW_GROUP))
    assert max(piece.num_rows for piece in staging.scan(batch)) <= ROW_GROUP


def test_a_position_outside_the_batch_is_refused(staging: Staging) -> None:
    batch = put(staging, numbers(3))
    for position in (-1, 3):
        with pytest.raises(IndexError):
            staging.take(batch, np.array([position], np.int64))


def test_columns_are_given_in_the_order_asked_for(staging: Staging) -> None:
    batch = put(staging, ALL_TYPES)
    assert everything(staging, batch, ["x", "text"]).equals(pa.Table.from_batches([ALL_TYPES.select(["x", "text"])]))
    assert everything(staging, batch, []).num_columns == 0


def test_a_schema_that_widens_keeps_every_value(staging: Staging) -> None:
    parts = [
        records_to_batch([{"id": 1, "score": None}, {"id": 2, "score": None}]),
        records_to_batch([{"id": 3, "score": 5}]),
        records_to_batch([{"id": 4, "score": Decimal("2.5"), "new": "x"}]),
        records_to_batch([{"id": 2**70, "score": "n/a", "new": "y"}]),
    ]
    for slices in (parts, [piece for part in parts for piece in [part] * ROW_GROUP][:: ROW_GROUP // 2]):
        batch = put(staging, *slices, dataset=Dataset(("raw", str(len(slices)))))
        found = everything(staging, batch)
        assert found.schema.field("id").type == pa.decimal128(22, 0) or pa.types.is_decimal(found.schema.field("id").type)
        assert found.schema.field("score").metadata == {TYPE: b"json"}
        rows = {row["id"]: (row["score"], row["new"], row[ABSENT]) for row in found.to_pylist()}
        assert rows == {
            1: (None, None, '["new"]'),
            2: (None, None, '["new"]'),
            3: ("5", None, '["new"]'),
            4: ("2.5", "x", None),
            2**70: ('"n/a"', "y", None),
        }
        some = np.arange(batch.count, dtype=np.int64)[::-1]
        assert staging.take(batch, some).equals(found.take(pa.array(some)))


def test_row_groups_of_different_schemas_read_as_one(staging: Staging) -> None:
    first = pa.RecordBatch.from_pydict({"n": range(ROW_GROUP), "gone": ["x"] * ROW_GROUP})
    second = pa.RecordBatch.from_pydict({"n": [0.5, 1.5], "late": ["l", None]})
    batch = put(staging, first, second)
    assert batch.schema.names == ["n", "gone", "late", ABSENT]
    found = everything(staging, batch)
    assert found.schema.field("n").type == pa.float64()
    assert found.slice(ROW_GROUP - 1).to_pylist() == [
        {"n": ROW_GROUP - 1.0, "gone": "x", "late": None, ABSENT: '["late"]'},
        {"n": 0.5, "gone": None, "late": "l", ABSENT: '["gone"]'},
        {"n": 1.5, "gone": None, "late": None, ABSENT: '["gone"]'},
    ]
    taken = staging.take(batch, np.array([ROW_GROUP, 3]), ["late", ABSENT])
    assert taken.to_pylist() == [{"late": "l", ABSENT: '["gone"]'}, {"late": None, ABSENT: '["late"]'}]
    assert everything(staging, batch, ["late"]).num_rows == ROW_GROUP + 2


def test_integers_beyond_the_floats_survive_fractions_that_come_later_or_before(staging: Staging) -> None:
    whole = pa.RecordBatch.from_pydict({"n": [2**53 + 1] * ROW_GROUP})
    fraction = pa.RecordBatch.from_pydict({"n": [0.5] * ROW_GROUP})
    for order in ((whole, fraction), (fraction, whole)):
        batch = put(staging, *order)
        assert set(everything(staging, batch).column("n").to_pylist()) == {str(2**53 + 1), "0.5"}


HOSTILE = [
    "",
    "/",
    "..",
    ".",
    "CON",
    "con",
    "a/b",
    "a\\b",
    "A",
    "a",
    "%41",
    "=1",
    "x" * 300,
    "x" * 299 + "y",
    "é",
    "\x00",
    "nul\x1b",
    "'; DROP",
]


def test_names_of_any_text_are_safe_and_distinct(address: str, staging: Staging) -> None:
    written = {name: put(staging, numbers(1, number), dataset=Dataset(("raw", name, "s"))) for number, name in enumerate(HOSTILE)}
    deeper = put(staging, numbers(1, 99), dataset=Dataset(("raw",)))
    for number, (name, batch) in enumerate(written.items()):
        staging.put_index(batch, name, {name: np.array([number])})
        assert staging.batches(Dataset(("raw", name, "s"))) == [batch]
        assert everything(staging, batch).column("n").to_pylist() == [number]
    for number, (name, batch) in enumerate(written.items()):
        index = staging.get_index(batch, name)
        assert index is not None
        assert index[name].tolist() == [number]
    assert staging.batches(Dataset(("raw",))) == [deeper]
    if not address.startswith("postgresql"):
        outside = {path.name for path in Path(address).parent.iterdir()}
        assert outside == {"staging"}


def test_columns_may_have_any_name(staging: Staging) -> None:
    names = [*HOSTILE, "a.b", "position", "c0", "list.element"]
    batch = put(staging, pa.RecordBatch.from_arrays([pa.array([str(number)]) for number in range(len(names))], names=names))
    assert everything(staging, batch).to_pylist() == [{name: str(number) for number, name in enumerate(names)}]
    for number, name in enumerate(names):
        assert everything(staging, batch, [name]).to_pylist() == [{name: str(number)}]


def test_two_writers_at_once_make_two_batches(address: str, staging: Staging) -> None:
    both = threading.Barrier(2, timeout=30)
    made: list[Batch] = []

    def write(number: int) -> None:
        mine = open_staging(address)
        with mine.begin(CONTACTS) as writer:
            both.wait()
            writer.write(numbers(ROW_GROUP + 5, number))
            both.wait()
            made.append(writer.commit({"writer": number}))
        mine.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = staging.batches(CONTACTS)
    assert len({batch.id for batch in found}) == 2
    for batch in found:
        assert everything(staging, batch).column("n")[0].as_py() == batch.note["writer"]


def test_index_arrays_come_back_equal(staging: Staging) -> None:
    batch = put(staging, numbers(3))
    arrays = {
        "key_hi": np.array([0, 2**64 - 1, 5], np.uint64),
        "position": np.array([2, 0, 1], np.int64),
        "share": np.array([0.5, -0.0, np.inf]),
        "flag": np.array([True, False, True]),
    }
    staging.put_index(batch, "desired", arrays)
    found = staging.get_index(batch, "desired")
    assert found is not None
    assert list(found) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)
    assert staging.get_index(batch, "other") is None


def test_an_index_is_replaced_whole(staging: Staging) -> None:
    batch = put(staging, numbers(3))
    staging.put_index(batch, "i", {"a": np.arange(3), "b": np.arange(3)})
    staging.put_index(batch, "i", {"c": np.empty(0, np.int64)})
    found = staging.get_index(batch, "i")
    assert found is not None
    assert {name: len(values) for name, values in found.items()} == {"c": 0}


def test_a_large_index_comes_back_equal(staging: Staging) -> None:
    batch = put(staging, numbers(3))
    values = np.random.default_rng(1).integers(0, 2**63, 1_500_000, np.uint64)
    staging.put_index(batch, "i", {"a": values})
    found = staging.get_index(batch, "i")
    assert found is not None
    np.testing.assert_array_equal(found["a"], values)


def test_a_dropped_batch_is_gone_and_the_others_stay(staging: Staging) -> None:
    first, second = put(staging, ALL_TYPES), put(staging, numbers(2))
    staging.put_index(first, "i", {"a": np.arange(3)})
    staging.drop(first)
    staging.drop(first)
    assert staging.batches(CONTACTS) == [second]
    assert staging.get_index(first, "i") is None
    with pytest.raises(StagingError, match="gone"):
        everything(staging, first)
    assert everything(staging, second).num_rows == 2


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=5) | st.integers(-(2**65), 2**65), max_size=3), max_size=6),
    st.data(),
)
def test_taking_positions_gives_the_scanned_rows_there(staging: Staging, records: list[dict[str, object]], data: st.DataObject) -> None:
    pieces = [records_to_batch([record]) for record in records]  # type: ignore[list-item]
    batch = put(staging, *pieces)
    rows = everything(staging, batch).to_pylist()
    assert len(rows) == len(records)
    positions = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    assert staging.take(batch, np.array(positions, np.int64)).to_pylist() == [rows[position] for position in positions]


def test_leftovers_of_killed_writers_are_removed_after_a_day(tmp_path: Path) -> None:
    staging = open_staging(tmp_path)
    committed = put(staging, numbers(1))
    folder = next(tmp_path.rglob("manifest.json")).parent.parent
    old, fresh = folder / "=00000000000000000001", folder / "=00000000000000000002"
    for leftover in (old, fresh):
        leftover.mkdir()
        (leftover / "part-00000.parquet").write_bytes(b"PAR1")
    for path in (old / "part-00000.parquet", old, next(folder.glob(f"={committed.id}"))):
        os.utime(path, (1, 1))
    put(staging, numbers(1))
    assert not old.exists()
    assert fresh.exists()
    assert committed in staging.batches(CONTACTS)


def test_a_damaged_staging_file_is_reported_and_not_read(tmp_path: Path) -> None:
    staging = open_staging(tmp_path)
    batch = put(staging, numbers(20_000))
    part = next(tmp_path.rglob("*.parquet"))
    whole = part.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:2000] + bytes([whole[2000] ^ 0xFF]) + whole[2001:]):
        part.write_bytes(damaged)
        with pytest.raises(StagingError, match="damaged"):
            everything(staging, batch)
        with pytest.raises(StagingError, match="damaged"):
            staging.take(batch, np.array([1], np.int64))
    next(tmp_path.rglob("manifest.json")).write_bytes(b'{"version":1')
    with pytest.raises(StagingError, match="manifest"):
        staging.batches(CONTACTS)


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(Exception, match="s3://"):
        open_staging("s3://bucket/prefix")
