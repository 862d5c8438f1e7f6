"""History: every version of a staged stream's records as reads showed them, each with the time it was first and last the current one.

An append-only dataset: one row for each version that a read saw first, and one for each record that a complete read did not
show any more. When a version ended is the beginning of the next, so that nothing written is ever changed. From time to time
the rows are copied into one batch, which is then where reading begins.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors import jsontext
from connectors.arrow_types import ABSENT, text_kind
from pipelines import duck
from pipelines.arrays import no_rows
from pipelines.backfill import window_dataset
from pipelines.canonical import json_text
from pipelines.checkpoint import finished
from pipelines.engine import completeness, is_full, raw_dataset
from pipelines.spec import SyncSpec
from pipelines.staging import Batch, Dataset, Staging

LOG = pa.schema([("key", pa.string()), ("id", pa.string()), ("read_at", pa.string()), ("record", pa.string())])
VERSIONS = ("id", "valid_from", "valid_to", "current", "record")
MOST = 20  # batches; then they become one
_ROWS = 10_000

Keys: TypeAlias = npt.NDArray[np.bytes_]
_Row: TypeAlias = tuple[bytes, str | None, str | None]  # the hash of the id, the id, the record as JSON; both None where it is gone


def history_dataset(spec: SyncSpec) -> Dataset:
    """Where the history of the sync's source stream lies."""
    return Dataset(("history", spec.source_connection, spec.source_stream))


def history_lock(spec: SyncSpec) -> str:
    """The name of the lock that whoever changes the history of the sync's source holds."""
    return f"history of {spec.source}"


def record_history(staging: Staging, spec: SyncSpec, id_field: str) -> None:
    """Take every staged read of the stream into its history that is not in it yet, oldest first; the first time from the newest whole one.

    The caller has the stream's history alone. Doing it twice adds nothing.
    """
    reads = sorted(
        chain(finished(staging, raw_dataset(spec)), finished(staging, window_dataset(spec))),
        key=lambda batch: str(batch.note["finished_at"]),
    )
    kept = _log(staging, history_dataset(spec))
    through: dict[str, str] = dict(kept[-1].note["through"]) if kept else {}
    if not kept:
        base = max((number for number, batch in enumerate(reads) if is_full(batch)), default=0)
        reads = reads[base:]
    for read in reads:
        name = read.dataset.parts[0]
        if read.id > through.get(name, "") and id_field in read.schema.names:
            through[name] = read.id
            _take(staging, spec, read, id_field, dict(through))
    if len(_log(staging, history_dataset(spec))) > MOST:
        compact_history(staging, spec)


def versions(staging: Staging, dataset: Dataset, *, key: str | None = None) -> pa.Table:
    """The versions of every record, or of those with that id or that value in a field: VERSIONS, by id and time.

    `valid_to` is null for the current version; a record that is gone has none. `record` is JSON.
    """
    batches = _log(staging, dataset)
    rows = pa.Table.from_batches([part for batch in batches for part in staging.scan(batch)], LOG)
    rows = rows.append_column("n", pa.array(range(rows.num_rows), pa.int64()))
    with duck.session() as connection:
        sql = (
            "SELECT id, read_at AS valid_from, following AS valid_to, following IS NULL AS current, record FROM ("
            "SELECT *, lead(read_at) OVER (PARTITION BY key ORDER BY n) AS following FROM rows) WHERE record IS NOT NULL ORDER BY id, n"
        )
        found = duck.query(connection, sql, rows=rows.to_reader())
    return found if key is None else _only(found, key)


def compact_history(staging: Staging, spec: SyncSpec, *, before: datetime | None = None) -> int:
    """Copy the history into one batch, without versions that ended before that time. Gives how many versions were left out."""
    dataset = history_dataset(spec)
    batches = _log(staging, dataset)
    if not batches:
        return 0
    ended = _ended(staging, dataset, before)
    dropped = number = 0
    with staging.begin(dataset) as writer:
        writer.write(no_rows(LOG))
        for part in (part for batch in batches for part in staging.scan(batch)):
            keep = [number + place not in ended for place in range(part.num_rows)]
            number += part.num_rows
            dropped += keep.count(False)
            writer.write(part.filter(pa.array(keep, pa.bool_())))
        batch = writer.commit({**batches[-1].note, "base": True})
    staging.put_index(batch, "current", _Current.of(staging, batches).arrays())
    for old in staging.batches(dataset):
        if old.id < batch.id:
            staging.drop(old)
    return dropped


@dataclass(frozen=True)
class _Current:
    """The current version of each record: the hashes of ids, sorted, and those of their contents."""

    keys: Keys
    digests: Keys

    def arrays(self) -> dict[str, Keys]:
        return {"keys": self.keys, "digests": self.digests}

    @staticmethod
    def of(staging: Staging, batches: Sequence[Batch]) -> "_Current":
        """As the last batch keeps it, or found again from all rows where it was not kept."""
        kept = staging.get_index(batches[-1], "current") if batches else None
        if kept is not None:
            return _Current(kept["keys"], kept["digests"])
        found: dict[bytes, bytes] = {}
        for row in (row for batch in batches for part in staging.scan(batch) for row in part.to_pylist()):
            found[bytes.fromhex(row["key"])] = b"" if row["record"] is None else _hash(row["record"])
        return _Current.made({key: digest for key, digest in found.items() if digest})

    @staticmethod
    def made(found: Mapping[bytes, bytes]) -> "_Current":
        keys = sorted(found)
        return _Current(_hashes(keys), _hashes([found[key] for key in keys]))

    def as_dict(self) -> dict[bytes, bytes]:
        return dict(zip(map(bytes, self.keys), map(bytes, self.digests), strict=True))


def _take(staging: Staging, spec: SyncSpec, read: Batch, id_field: str, through: Mapping[str, str]) -> None:
    """Append what this read showed for the first time, and what it proves to be gone."""
    dataset = history_dataset(spec)
    current = _Current.of(staging, _log(staging, dataset)).as_dict()
    seen = {_hash(name): _hash(text) for name, text in _records(staging, read, id_field)}  # the last of an id counts
    gone = {key for key in current if key not in seen} if is_full(read) and completeness(read).complete else set()
    with staging.begin(dataset) as writer:
        writer.write(no_rows(LOG))
        for rows in _chunks(_fresh(staging, read, id_field, seen, current), _ROWS):
            writer.write(_rows(rows, str(read.note["started_at"])))
        for rows in _chunks(((key, None, None) for key in sorted(gone)), _ROWS):
            writer.write(_rows(rows, str(read.note["started_at"])))
        batch = writer.commit({"mode": "history", "through": dict(through)})
    left = {key: digest for key, digest in {**current, **seen}.items() if key not in gone}
    staging.put_index(batch, "current", _Current.made(left).arrays())


def _fresh(staging: Staging, read: Batch, id_field: str, seen: Mapping[bytes, bytes], current: Mapping[bytes, bytes]) -> Iterator[_Row]:
    """The versions of a read that were not the current ones before it."""
    left = {key for key, digest in seen.items() if current.get(key) != digest}
    if not left:
        return
    for name, text in _records(staging, read, id_field):
        key = _hash(name)
        if key in left and _hash(text) == seen[key]:
            left.discard(key)
            yield key, name, text


def _rows(rows: Sequence[_Row], at: str) -> pa.RecordBatch:
    keys, names, texts = zip(*rows, strict=True)
    columns = [[key.hex() for key in keys], names, [at] * len(rows), texts]
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=LOG)


def _records(staging: Staging, read: Batch, id_field: str) -> Iterator[tuple[str, str]]:
    """Each record's id and its text."""
    for part in staging.scan(read):
        ids = part.column(part.schema.get_field_index(id_field)).to_pylist()
        yield from ((str(name), text) for name, text in zip(ids, _texts(part), strict=True) if name is not None)


def _chunks(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
    left = iter(rows)
    while chunk := list(islice(left, size)):
        yield chunk


def _log(staging: Staging, dataset: Dataset) -> list[Batch]:
    """The batches of a history, from the newest that holds everything before it."""
    batches = staging.batches(dataset)
    return batches[max((number for number, batch in enumerate(batches) if batch.note.get("base")), default=0) :]


def _ended(staging: Staging, dataset: Dataset, before: datetime | None) -> set[int]:
    """The row numbers of versions that ended before that time, and of marks of records that were gone by then."""
    if before is None:
        return set()
    begun: dict[str, tuple[int, bool]] = {}
    ended: set[int] = set()
    rows = (
        row for batch in _log(staging, dataset) for part in staging.scan(batch, ["key", "read_at", "record"]) for row in part.to_pylist()
    )
    for number, row in enumerate(rows):
        old = datetime.fromisoformat(row["read_at"]) < before
        if row["key"] in begun and old:
            ended.add(begun[row["key"]][0])
        if row["record"] is None and old:
            ended.add(number)
            begun.pop(row["key"], None)
        else:
            begun[row["key"]] = (number, old)
    return ended


def _texts(rows: pa.RecordBatch) -> Iterator[str]:
    """Each record as JSON in one spelling, without the fields it does not have."""
    fields = [field for field in rows.schema if field.name != ABSENT]
    columns = [
        [None if text is None else jsontext.loads(text) for text in rows.column(field.name).to_pylist()]
        if text_kind(field) == "json"
        else rows.column(field.name).to_pylist()
        for field in fields
    ]
    absent = rows.column(ABSENT).to_pylist() if ABSENT in rows.schema.names else [None] * rows.num_rows
    names = [field.name for field in fields]
    for number, values in enumerate(zip(*columns, strict=True)):
        lacking = frozenset(jsontext.loads(absent[number]) if absent[number] else ())  # type: ignore[arg-type]
        record: dict[str, Any] = {name: value for name, value in zip(names, values, strict=True) if name not in lacking}
        yield json_text(jsontext.dumps(dict(sorted(record.items()))).decode())


def _only(found: pa.Table, key: str) -> pa.Table:
    """The versions of the records that ever had this id, or this value in a field."""
    rows = found.select(["id", "record"]).to_pylist()
    ids = {row["id"] for row in rows if row["id"] == key}
    if not ids:
        ids = {row["id"] for row in rows if key in row["record"] and key in map(str, jsontext.loads(row["record"]).values())}  # type: ignore[union-attr]
    return found.filter(pa.array([row["id"] in ids for row in rows], pa.bool_()))


def _hash(text: str) -> bytes:
    """16 bytes that stand for the text; none of them zero, which an array of bytes would take off at the end."""
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest().replace(b"\0", b"\1")


def _hashes(values: Sequence[bytes]) -> Keys:
    return np.array(values, "S16")
