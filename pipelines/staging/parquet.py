"""Batches as Parquet files in a folder: parts first, the manifest last, by rename.

    <root>/<part>/<part>/=<id>/part-00000.parquet …   rows in the order written
                              /index-<name>.json      which arrays an index has, and their files
                              /….npy                  the arrays, to be memory-mapped
                              /manifest.json          the batch exists from here on

Dataset folders are named by `file_name`; `=` cannot occur in one, so batches and datasets never mix.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.arrow_lists import from_numpy
from connectors.arrow_types import conform, lacking
from pipelines.staging import ABSENT, Batch, Dataset, StagingError
from pipelines.staging.arrays import read_arrays, write_arrays
from pipelines.staging.chunks import Chunks
from pipelines.staging.files import sync, write_last
from pipelines.staging.manifest import Part, manifest_bytes, manifest_value
from pipelines.staging.names import file_name
from pipelines.staging.seal import seal_of

_MANIFEST = "manifest.json"
_LEFTOVER_S = 24 * 3600  # an uncommitted batch untouched for so long belongs to a writer that was killed
_SAMPLE = 8_192  # rows that show whether a column repeats its values
_REPEATS = 8  # values must occur so often on average to be worth a dictionary


class ParquetStaging:
    """Staging in a local folder, made when first written to. Threads and processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root)
        self._checked: set[Path] = set()  # files that were whole when this process first read them

    def begin(self, dataset: Dataset) -> "ParquetWriter":
        """Start a batch; leftovers of killed writers in the dataset are removed. Raises StagingError where the disk takes nothing."""
        with _writing(self._folder(dataset)):
            return self._begin(dataset)

    def _begin(self, dataset: Dataset) -> "ParquetWriter":
        folder = self._folder(dataset)
        folder.mkdir(parents=True, exist_ok=True)
        entries = _entries(folder)
        for leftover in entries:
            if _is_leftover(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
        number = max([time.time_ns(), *(int(entry.name[1:]) + 1 for entry in entries)])
        while True:
            try:
                (folder / f"={number:020d}").mkdir()
                return ParquetWriter(dataset, folder / f"={number:020d}")
            except FileExistsError:
                number += 1

    def batches(self, dataset: Dataset) -> list[Batch]:
        """The committed batches, oldest first."""
        found = []
        for entry in _entries(self._folder(dataset)):
            try:
                text = (entry / _MANIFEST).read_bytes()
            except FileNotFoundError:
                continue
            try:
                found.append(manifest_value(text, dataset, entry.name[1:])[0])
            except StagingError as error:
                raise StagingError(f"{error} (it is the folder {entry})") from None
        return found

    def scan(self, batch: Batch, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """All rows in order, a row group at a time."""
        schema = _selected(batch, columns)
        return pa.RecordBatchReader.from_batches(schema, self._row_groups(batch, schema))

    def take(self, batch: Batch, positions: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows at these positions, in the order asked for; only the row groups that hold one are read."""
        schema = _selected(batch, columns)
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < batch.count):
            raise IndexError(f"positions up to {wanted.max()} asked of a batch of {batch.count} rows")
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        found: list[pa.RecordBatch] = []
        first = 0
        for part in self._parts(batch):
            with self._open(batch, part) as file:
                for group, rows in enumerate(part.row_groups):
                    begin, end = np.searchsorted(ordered, [first, first + rows])
                    if end > begin:
                        table = _read(file, group, batch.schema, schema)
                        found += table.take(from_numpy(ordered[begin:end] - first)).to_batches()
                    first += rows
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.Table.from_batches(found, schema).take(from_numpy(back))

    def put_index(self, batch: Batch, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Keep the arrays as .npy files; the list of them is replaced last, by rename."""
        with _writing(self._place(batch)):
            write_arrays(self._place(batch), f"index-{file_name(name)}", arrays)

    def get_index(self, batch: Batch, name: str) -> Mapping[str, npt.NDArray[Any]] | None:
        """The arrays, memory-mapped read-only."""
        try:
            return read_arrays(self._place(batch), f"index-{file_name(name)}", self._check)
        except (ValueError, OSError) as error:
            raise self._damaged(batch, f"the index {name}", error) from None

    def drop(self, batch: Batch) -> None:
        """Remove the manifest, then the rest."""
        folder = self._place(batch)
        (folder / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Nothing is held open."""

    def _folder(self, dataset: Dataset) -> Path:
        return self._root.joinpath(*map(file_name, dataset.parts))

    def _place(self, batch: Batch) -> Path:
        return self._folder(batch.dataset) / f"={batch.id}"

    def _check(self, path: Path, seal: str) -> None:
        """Compare a file with its checksum when this process first reads it. Raises ValueError, OSError."""
        if path not in self._checked:
            if seal and seal_of(path) != seal:
                raise ValueError("the checksum is wrong")
            self._checked.add(path)

    def _damaged(self, batch: Batch, what: str, error: Exception) -> StagingError:
        return StagingError(
            f"{what} of the staged batch {batch.id} of {'.'.join(batch.dataset.parts)} is damaged or gone ({type(error).__name__}); "
            f"remove that batch, the folder {self._place(batch)}, and the next full read stages it anew"
        )

    def _parts(self, batch: Batch) -> tuple[Part, ...]:
        try:
            return manifest_value((self._place(batch) / _MANIFEST).read_bytes(), batch.dataset, batch.id)[1]
        except FileNotFoundError:
            raise StagingError(f"the staged batch {batch.id} of {'.'.join(batch.dataset.parts)} is gone; read the stream again") from None

    @contextmanager
    def _open(self, batch: Batch, part: Part) -> Iterator[pq.ParquetFile]:
        path = self._place(batch) / part.name
        try:
            self._check(path, part.seal)
            with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
                yield file
        except (pa.ArrowException, ValueError, OSError) as error:
            raise self._damaged(batch, part.name, error) from None

    def _row_groups(self, batch: Batch, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for part in self._parts(batch):
            with self._open(batch, part) as file:
                for group in range(len(part.row_groups)):
                    yield from _read(file, group, batch.schema, schema).to_batches()


class ParquetWriter:
    """One batch on its way; what was written is removed unless it is committed."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset = dataset
        self._folder = folder
        self._chunks = Chunks()
        self._file: pq.ParquetWriter | None = None
        self._parts: list[Part] = []
        self._committed = False

    def __enter__(self) -> "ParquetWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._committed:
            if self._file is not None:
                with suppress(OSError):  # a full disk: what was written goes anyway
                    self._file.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, records: pa.RecordBatch) -> None:
        """Append rows; a full row group goes to disk. Raises StagingError where the disk takes no more."""
        with _writing(self._folder):
            for piece in self._chunks.add(records):
                self._put(piece)

    def commit(self, note: Mapping[str, Any]) -> Batch:
        """Flush to the disk, then write the manifest. Raises StagingError where the disk takes no more."""
        with _writing(self._folder):
            return self._commit(note)

    def _commit(self, note: Mapping[str, Any]) -> Batch:
        for piece in self._chunks.rest():
            self._put(piece)
        self._close_part()
        count = sum(part.count for part in self._parts)
        batch = Batch(self._dataset, self._folder.name[1:], self._chunks.schema, count, dict(note))
        text = manifest_bytes(batch, tuple(self._parts))
        write_last(self._folder / _MANIFEST, text)
        sync(self._folder.parent)
        self._committed = True
        return manifest_value(text, batch.dataset, batch.id)[0]

    def _put(self, piece: pa.Table) -> None:
        if self._file is not None and not self._file.schema.equals(piece.schema, check_metadata=True):
            self._close_part()
        if self._file is None:
            part = Part(f"part-{len(self._parts):05d}.parquet", ())
            self._parts.append(part)
            self._file = pq.ParquetWriter(
                self._folder / part.name,
                piece.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=_repeating(piece),
                write_statistics=False,
                write_page_checksum=True,
            )
        self._file.write_table(piece, row_group_size=piece.num_rows)
        part = self._parts[-1]
        self._parts[-1] = replace(part, row_groups=(*part.row_groups, piece.num_rows))

    def _close_part(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            path = self._folder / self._parts[-1].name
            sync(path)
            self._parts[-1] = replace(self._parts[-1], seal=seal_of(path))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raise a StagingError for what a disk says."""
    try:
        yield
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise StagingError(f"staging in {folder} cannot be written ({words}); make room or repair the disk, then run again") from error


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.name[:1] == "=" and entry.name[1:].isdigit())
    except FileNotFoundError:
        return []


def _is_leftover(entry: Path) -> bool:
    """An uncommitted batch that nobody has touched for a day."""
    if (entry / _MANIFEST).exists():
        return False
    try:
        touched = max(path.stat().st_mtime for path in (entry, *entry.iterdir()))
    except FileNotFoundError:
        return False
    return time.time() - touched > _LEFTOVER_S


def _selected(batch: Batch, columns: Sequence[str] | None) -> pa.Schema:
    return batch.schema if columns is None else pa.schema([batch.schema.field(name) for name in columns])


def _read(file: pq.ParquetFile, group: int, whole: pa.Schema, schema: pa.Schema) -> pa.Table:
    """One row group in the columns of `schema`, as wide as they have become in the whole batch."""
    held = file.schema_arrow
    present = [name for name in schema.names if name in held.names]
    rows = file.metadata.row_group(group).num_rows
    if present:
        batches = file.read_row_group(group, columns=present).select(present).combine_chunks().to_batches()
    else:
        batches = [pa.RecordBatch.from_arrays([pa.nulls(rows)], names=[ABSENT + "?"])]
    absent = lacking(held, whole) if ABSENT in schema.names else []
    return pa.Table.from_batches([conform(batch, schema, absent=absent) for batch in batches], schema)


def _repeating(piece: pa.Table) -> list[str]:
    """The columns whose values repeat enough for a dictionary; for others it costs time and saves nothing."""
    sample = piece.slice(0, _SAMPLE)
    return [
        field.name
        for field, column in zip(sample.schema, sample.columns, strict=True)
        if pa.types.is_string(field.type) and pc.count_distinct(column).as_py() * _REPEATS <= sample.num_rows
    ]
