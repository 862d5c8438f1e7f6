"""Batches as tables of a PostgreSQL database, for a staging area that several machines share.

In the schema `crossdock_staging`, `batch` is the manifest, one row per committed batch; `b<id>_p<n>` holds the rows of
part n of a batch. A table per part, not one per dataset: a batch's columns are its own, dropping one is instant and
leaves no dead rows, and loading never waits for readers. Columns are `position` and `c0`, `c1` … in the order of the
part's schema (names there are any text of any length, which PostgreSQL's are not); texts are spelled as `pgtext`
says. All of a batch is written in one transaction, so a killed writer leaves nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.arrow_lists import from_numpy
from connectors.errors import RetryableError
from connectors.jsontext import dumps
from pipelines.staging import ROW_GROUP, Batch, Dataset, StagingError
from pipelines.staging.chunks import Chunks
from pipelines.staging.manifest import note_bytes, note_value, schema_bytes, schema_value
from pipelines.staging.pgpart import PostgresPart
from pipelines.staging.pgpool import Pool
from pipelines.staging.pgtables import SCHEMA, Cursor, create_tables, libpq_url, part_table, reached, rows
from pipelines.staging.pgtext import decoded_text, encoded_text

_POSITIONS = 50_000  # asked for in one query
_PIECE = 4 << 20  # bytes of an index array in one row


class PostgresStaging:
    """Staging in a database, its tables made when first opened. Threads and processes may share it."""

    def __init__(self, url: str) -> None:
        self._pool = Pool(libpq_url(url))
        with self._pool.transaction() as cursor:
            create_tables(cursor)

    def begin(self, dataset: Dataset) -> "PostgresWriter":
        """Start a batch, in a transaction of its own."""
        return PostgresWriter(self._pool, dataset)

    def batches(self, dataset: Dataset) -> list[Batch]:
        """The committed batches, oldest first."""
        with self._pool.transaction() as cursor:
            found = rows(
                cursor, "SELECT id, schema, count, note FROM crossdock_staging.batch WHERE dataset = $1 ORDER BY id", _dataset_text(dataset)
            )
        return [Batch(dataset, f"{number:020d}", schema_value(schema), count, note_value(note)) for number, schema, count, note in found]

    def scan(self, batch: Batch, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """All rows in order, some ten thousand at a time."""
        schema = _selected(batch, columns)
        return pa.RecordBatchReader.from_batches(schema, self._ranges(batch, schema))

    def take(self, batch: Batch, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows at these positions, in the order asked for, found by the tables' keys."""
        schema = _selected(batch, columns)
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < batch.count):
            raise IndexError(f"positions up to {wanted.max()} asked of a batch of {batch.count} rows")
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        found: list[pa.RecordBatch] = []
        with self._pool.transaction() as cursor:
            for part in _parts(cursor, batch):
                begin, end = np.searchsorted(ordered, [part.first, part.first + part.count])
                for start in range(begin, end, _POSITIONS):
                    some = ",".join(map(str, ordered[start : min(start + _POSITIONS, end)].tolist()))
                    asked = f"unnest('{{{some}}}'::bigint[]) WITH ORDINALITY AS asked(position, turn) JOIN"
                    found += part.read(cursor, batch.schema, schema, f"{asked} <table> USING (position) ORDER BY turn")
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.Table.from_batches(found, schema).take(from_numpy(back))

    def put_index(self, batch: Batch, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep the arrays in pieces of some megabytes, in one transaction."""
        names, types, contents = [], [], []
        for array_name, values in arrays.items():
            content = np.ascontiguousarray(values).tobytes()
            for start in range(0, max(len(content), 1), _PIECE):
                names.append(array_name)
                types.append(values.dtype.str)
                contents.append(content[start : start + _PIECE])
        with self._pool.transaction() as cursor:
            number, key = int(batch.id), encoded_text(name)
            cursor.execute("DELETE FROM crossdock_staging.piece WHERE batch = $1 AND name = $2", (number, key))
            for turn, piece in enumerate(zip(names, types, contents, strict=True)):
                array_name, dtype, content = piece
                cursor.execute(
                    "INSERT INTO crossdock_staging.piece (batch, name, number, array_name, dtype, content) VALUES ($1, $2, $3, $4, $5, $6)",
                    (number, key, turn, encoded_text(array_name), dtype, content),
                )

    def get_index(self, batch: Batch, name: str) -> Mapping[str, npt.NDArray[Any]] | None:
        """The arrays, in memory."""
        with self._pool.transaction() as cursor:
            pieces = rows(
                cursor,
                "SELECT array_name, dtype, content FROM crossdock_staging.piece WHERE batch = $1 AND name = $2 ORDER BY number",
                int(batch.id),
                encoded_text(name),
            )
        contents: dict[str, list[bytes]] = {}
        types: dict[str, str] = {}
        for array_name, dtype, content in pieces:
            contents.setdefault(array_name, []).append(content)
            types[array_name] = dtype
        if not pieces:
            return None
        return {decoded_text(key): np.frombuffer(b"".join(held), np.dtype(types[key])) for key, held in contents.items()}

    def drop(self, batch: Batch) -> None:
        """Remove the batch, its parts and its indexes in one transaction."""
        number = int(batch.id)
        with self._pool.transaction() as cursor:
            found = rows(cursor, "SELECT number FROM crossdock_staging.part WHERE batch = $1", number)
            for (part,) in found:
                cursor.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{part_table(number, part)}")
            cursor.execute("DELETE FROM crossdock_staging.batch WHERE id = $1", (number,))
            for table in ("part", "piece"):
                cursor.execute(f"DELETE FROM {SCHEMA}.{table} WHERE batch = $1", (number,))  # noqa: S608

    def close(self) -> None:
        """Close the connections that lie idle."""
        self._pool.close()

    def _ranges(self, batch: Batch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._pool.transaction() as cursor:
            for part in _parts(cursor, batch):
                for first in range(part.first, part.first + part.count, ROW_GROUP):
                    some = f"<table> WHERE position >= {first} AND position < {first + ROW_GROUP} ORDER BY position"
                    yield from part.read(cursor, batch.schema, schema, some)


class PostgresWriter:
    """One batch on its way, in an open transaction that is undone unless it is committed."""

    def __init__(self, pool: Pool, dataset: Dataset) -> None:
        self._url, self._dataset = pool.url, dataset
        self._chunks = Chunks()
        self._parts: list[PostgresPart] = []
        with pool.transaction() as cursor:  # seen by others at once, so that two writers differ
            self._number: int = rows(cursor, "SELECT nextval('crossdock_staging.batch_id')")[0][0]
        self._open = ExitStack()
        self._cursor: Cursor = self._open.enter_context(pool.transaction())

    def __enter__(self) -> "PostgresWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(RetryableError):  # the database went away, and the transaction with it
            self._open.__exit__(_Discarded, _Discarded(), None)

    def write(self, records: pa.RecordBatch) -> None:
        """Append rows; a full row group is copied into the part's table."""
        with reached(self._url):
            for piece in self._chunks.add(records):
                self._put(piece)

    def commit(self, note: Mapping[str, Any]) -> Batch:
        """Write the manifest and commit the transaction."""
        with reached(self._url):
            return self._commit(note)

    def _commit(self, note: Mapping[str, Any]) -> Batch:
        for piece in self._chunks.rest():
            self._put(piece)
        count = sum(part.count for part in self._parts)
        schema, text = self._chunks.schema, note_bytes(note).decode()
        for number, part in enumerate(self._parts):
            part.finish(self._cursor)
            self._cursor.execute(
                "INSERT INTO crossdock_staging.part (batch, number, first, count, schema) VALUES ($1, $2, $3, $4, $5)",
                (self._number, number, part.first, part.count, schema_bytes(part.schema)),
            )
        self._cursor.execute(
            "INSERT INTO crossdock_staging.batch (id, dataset, count, note, schema) VALUES ($1, $2, $3, $4, $5)",
            (self._number, _dataset_text(self._dataset), count, text, schema_bytes(schema)),
        )
        self._open.close()
        return Batch(self._dataset, f"{self._number:020d}", schema, count, note_value(text))

    def _put(self, piece: pa.Table) -> None:
        if not self._parts or not self._parts[-1].schema.equals(piece.schema, check_metadata=True):
            first = sum(part.count for part in self._parts)
            self._parts.append(PostgresPart(part_table(self._number, len(self._parts)), first, 0, piece.schema))
        self._parts[-1] = self._parts[-1].write(self._cursor, piece)


class _Discarded(Exception):
    """What ends a transaction that nobody committed."""


def _parts(cursor: Cursor, batch: Batch) -> list[PostgresPart]:
    number = int(batch.id)
    if not rows(cursor, "SELECT 1 FROM crossdock_staging.batch WHERE id = $1", number):
        raise StagingError(f"the staged batch {batch.id} of {'.'.join(batch.dataset.parts)} is gone; read the stream again")
    found = rows(cursor, "SELECT number, first, count, schema FROM crossdock_staging.part WHERE batch = $1 ORDER BY number", number)
    return [PostgresPart(part_table(number, part), first, count, schema_value(schema)) for part, first, count, schema in found]


def _dataset_text(dataset: Dataset) -> str:
    return dumps(list(dataset.parts)).decode()


def _selected(batch: Batch, columns: Sequence[str] | None) -> pa.Schema:
    return batch.schema if columns is None else pa.schema([batch.schema.field(name) for name in columns])
