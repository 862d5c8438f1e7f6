"""Damaged files of staging: whichever byte is flipped or cut off, what is read is what was written, or is refused by name."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from connectors.errors import ConfigError
from pipelines.staging import Batch, Dataset, StagingError
from pipelines.staging.parquet import ParquetStaging

PLACE = Dataset(("raw", "here", "contacts"))
FLIPS = 150  # of each file


def _written(folder: Path) -> tuple[ParquetStaging, Batch]:
    staging = ParquetStaging(folder)
    rows = pa.RecordBatch.from_pydict({"id": list(range(50)), "name": [f"Zoë {n}" for n in range(50)], "score": [n / 3 for n in range(50)]})
    with staging.begin(PLACE) as writer:
        writer.write(rows)
        batch = writer.commit({"cursor": "2026-01-01T00:00:00Z", "mode": "full", "count": 50})
    staging.put_index(batch, "keys", {"position": np.arange(50, dtype=np.int64)})
    return staging, batch


def _everything(folder: Path) -> object:
    staging = ParquetStaging(folder)
    (batch,) = staging.batches(PLACE)
    index = staging.get_index(batch, "keys")
    taken = staging.take(batch, np.array([3, 40, 7], np.int64)).to_pydict()
    places = None if index is None else {name: values.tolist() for name, values in index.items()}
    return batch.note, batch.count, batch.schema.to_string(), staging.scan(batch).read_all().to_pydict(), taken, places


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _damages(content: bytes) -> Iterator[bytes]:
    for at in sorted({*range(0, len(content), max(1, len(content) // FLIPS)), len(content) - 1}):
        yield content[:at] + bytes([content[at] ^ (1 << (at % 8))]) + content[at + 1 :]
    yield b""
    yield content[:-1]
    yield content[: len(content) // 2]


@pytest.mark.parametrize("number", range(4))
def test_a_damaged_file_is_refused_with_what_to_do_or_gives_what_was_written(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "staging"
    _written(folder)
    files = _files(folder)
    assert [path.suffix for path in files] == [".npy", ".json", ".json", ".parquet"]
    whole, content = _everything(folder), files[number].read_bytes()
    said: set[str] = set()
    for damaged in _damages(content):
        files[number].write_bytes(damaged)
        try:
            assert _everything(folder) == whole
        except StagingError as error:
            said.add(str(error))
    assert len(said) > 0
    assert all("remove that batch" in words or "remove it" in words for words in said), said


def test_a_full_disk_under_staging_is_a_sentence_and_leaves_what_was_there(tmp_path: Path) -> None:
    staging, batch = _written(tmp_path / "staging")
    shutil.rmtree(tmp_path / "staging" / "raw" / "here" / "contacts" / f"={batch.id}")
    (tmp_path / "staging" / "raw" / "here" / "contacts").rmdir()
    (tmp_path / "staging" / "raw" / "here" / "contacts").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        staging.begin(PLACE)
