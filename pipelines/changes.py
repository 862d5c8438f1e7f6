"""From compared rows to the rows of a plan, columnar: a plan of a million creates is never a million Python objects. Pure."""

# ruff: noqa: S608 - the SQL is made of our own column labels and quoted constants, in a database that reaches nothing

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import duck
from pipelines.arrays import integers, numbers, single, texts
from pipelines.canonical import members
from pipelines.columns import Side, listed, object_of, side
from pipelines.fingerprint import fingerprint_sql

PLAN_SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),
        ("op", pa.string()),
        ("key", pa.string()),  # JSON object of the match fields
        ("source_id", pa.string()),  # null for a delete
        ("sink_id", pa.string()),  # JSON text of the id, null for a create
        ("fields", pa.list_(pa.string())),  # what is written
        ("before", pa.string()),  # JSON object of the sink's values of these fields; of the whole record for a delete
        ("after", pa.string()),  # JSON object of the values to write; null for a delete
        ("fingerprint", pa.int64()),  # of the desired values; null for a delete
    ]
)

CONFLICT_SCHEMA = pa.schema([("position", pa.int64()), ("field", pa.string()), ("reason", pa.string())])


@dataclass(frozen=True)
class Updates:
    """What comes of comparing desired with existing rows by value. Positions are row numbers in the two tables.

    `positions` are those of `rows`; `unchanged` need no write; `conflicts` (CONFLICT_SCHEMA) wait for a person.
    `drifted` says of each of the two tables' rows whether others changed a field in the sink that differs.
    """

    rows: pa.RecordBatch
    positions: npt.NDArray[np.int64]
    unchanged: npt.NDArray[np.int64]
    conflicts: pa.RecordBatch
    drifted: npt.NDArray[np.bool_]


def create_rows(
    desired: pa.Table, *, match: Sequence[str], types: pa.Schema, nulls: Literal["write", "skip"] = "write", start: int = 0
) -> pa.RecordBatch:
    """Plan rows that create these desired records, numbered from `start`, with all fields that are not omitted."""
    wanted = side(desired, types.names, "d", types)
    writes = {name: _is_wanted(wanted, name, nulls) for name in types.names}
    sql = f"""
        SELECT p + {start} AS seq, 'create' AS op, {_key(wanted, match)} AS key, source_id, NULL AS sink_id, {listed(writes)} AS fields,
            '{{}}' AS before, {object_of({name: (writes[name], wanted.literals[name]) for name in types.names})} AS after,
            {fingerprint_sql(types.names, wanted.texts, "omitted")} AS fingerprint
        FROM wanted ORDER BY p"""
    with duck.session() as connection:
        return _plan(duck.query(connection, sql, wanted=_with_own(wanted, desired)))


def update_rows(
    desired: pa.Table,
    existing: pa.Table,
    applied: pa.Array | pa.ChunkedArray | None,
    *,
    match: Sequence[str],
    types: pa.Schema,
    id_field: str,
    nulls: Literal["write", "skip"] = "write",
    existing_policy: Literal["overwrite", "fill_empty", "keep"] = "overwrite",
    drift: Literal["overwrite", "keep", "conflict"] = "overwrite",
    write_only: Collection[str] = (),
    recalled: Collection[str] = (),
    start: int = 0,
    whole: bool = False,
) -> Updates:
    """Plan rows that bring `existing` to `desired` (row by row the same record), with the changed fields only.

    `applied` holds, row by row, the JSON object of what was last written (null: not known); a field
    whose sink value differs from it was changed there by others, and `drift` says what follows.
    `write_only` fields are not compared, but those of them in `recalled` with what was last written, where that is known and
    the new value is not null. `whole` puts every field of the record into `before`.
    """
    compared = [name for name in types.names if name not in write_only]
    wanted, found = side(desired, types.names, "d", types), side(existing, types.names, "e", types)
    record = side(existing, [name for name in existing.column_names if not name.startswith("__")], "g", existing.schema)
    drifted = _drifted(found, compared, applied)
    differs = {name: _differs(wanted, found, name, nulls, existing_policy) for name in compared}
    unseen = [name for name in types.names if name in write_only and name in recalled]
    if applied is None or existing_policy != "overwrite":  # nothing is known of what they hold
        unseen = []
    differs |= {name: _differs_from_last(wanted, name, number) for number, name in enumerate(unseen, len(compared))}
    changes = {name: f"h{number}" for number, name in enumerate([*compared, *unseen])}
    foreign = {name: f"z{number}" for number, name in enumerate(compared)}
    flags = ", ".join(
        [
            *(f"({differs[name]}){f' AND NOT ({drifted[name]})' if drift == 'keep' else ''} AS {changes[name]}" for name in compared),
            *(f"({differs[name]}) AND ({drifted[name]}) AS {foreign[name]}" for name in compared),
            *(f"({differs[name]}) AS {changes[name]}" for name in unseen),
        ]
    )
    before = (
        object_of({name: (record.present[name], record.literals[name]) for name in record.present})
        if whole
        else object_of({name: (f"{changes[name]} AND {found.present[name]}", found.literals[name]) for name in compared})
    )
    sql = f"""
        SELECT p AS seq, 'update' AS op, {_key(wanted, match)} AS key, source_id, {record.literals[id_field]} AS sink_id,
            {listed(changes)} AS fields, {before} AS before,
            {object_of({name: (changes[name], wanted.literals[name]) for name in changes})} AS after,
            {fingerprint_sql(types.names, wanted.texts, "omitted")} AS fingerprint,
            {listed(foreign) if drift == "conflict" else "CAST([] AS VARCHAR[])"} AS conflicts,
            {" OR ".join(foreign.values()) or "false"} AS drifted
        FROM (SELECT *{", " if flags else ""}{flags} FROM wanted POSITIONAL JOIN found POSITIONAL JOIN record POSITIONAL JOIN last)
        ORDER BY p"""
    with duck.session() as connection:
        inputs = {
            "wanted": _with_own(wanted, desired),
            "found": found.rows,
            "record": record.rows,
            "last": _last([*compared, *unseen], applied, desired.num_rows),
        }
        return _sorted_out(duck.query(connection, sql, **inputs), start)


def delete_rows(existing: pa.Table, *, match: Sequence[str], types: pa.Schema, id_field: str, start: int = 0) -> pa.RecordBatch:
    """Plan rows that delete these records of the sink, each whole in `before`. `types` are the desired ones, for the key."""
    record = side(existing, [name for name in existing.column_names if not name.startswith("__")], "g", existing.schema)
    keyed = side(existing, list(match), "e", types)
    sql = f"""
        SELECT p + {start} AS seq, 'delete' AS op, {_key(keyed, match)} AS key, NULL AS source_id, {record.literals[id_field]} AS sink_id,
            CAST([] AS VARCHAR[]) AS fields,
            {object_of({name: (record.present[name], record.literals[name]) for name in record.present})} AS before,
            NULL AS after, NULL AS fingerprint
        FROM record POSITIONAL JOIN keyed ORDER BY p"""
    with duck.session() as connection:
        positions = integers(np.arange(existing.num_rows, dtype=np.int64))
        return _plan(duck.query(connection, sql, record=record.rows.append_column("p", positions), keyed=keyed.rows))


def key_texts(rows: pa.Table, match: Sequence[str], types: pa.Schema) -> pa.Array:
    """The match key of each row as `__key` has it: a JSON list of the match values; null where one is null or empty."""
    keyed = side(rows, list(match), "e", types)
    empty = " OR ".join(f"nullif({keyed.texts[name]}, '') IS NULL" for name in match)
    parts = " || ',' || ".join(keyed.keys[name] for name in match)
    sql = f"SELECT CASE WHEN NOT ({empty}) THEN '[' || {parts} || ']' END AS key FROM keyed ORDER BY p"
    with duck.session() as connection:
        positions = integers(np.arange(rows.num_rows, dtype=np.int64))
        return single(duck.query(connection, sql, keyed=keyed.rows.append_column("p", positions))).column(0)


def still_standing(
    existing: pa.Table, applied: pa.Array, *, match: Sequence[str], types: pa.Schema, write_only: Collection[str] = ()
) -> npt.NDArray[np.bool_]:
    """Whether each sink record still holds at least half of what was last written to it beside its match key and nulls.

    `applied` as for `update_rows`. True where nothing beside them was written, False where not all is known and none of it tells.
    """
    compared = [name for name in types.names if name not in match and name not in write_only]
    found = side(existing, compared, "e", types)
    drifted = _drifted(found, compared, applied)
    written = " + ".join(f"CAST(coalesce(a{number}, 'null') <> 'null' AS INTEGER)" for number in range(len(compared))) or "0"
    lost = " + ".join(f"CAST(coalesce(a{n}, 'null') <> 'null' AND ({drifted[name]}) AS INTEGER)" for n, name in enumerate(compared)) or "0"
    unknown = " OR ".join(f"a{number} IS NULL" for number in range(len(compared))) or "false"
    standing = f"CASE WHEN ({written}) = 0 THEN NOT ({unknown}) ELSE 2 * ({lost}) <= ({written}) END"
    sql = f"SELECT {standing} AS standing FROM found POSITIONAL JOIN last ORDER BY p"
    with duck.session() as connection:
        rows = found.rows.append_column("p", integers(np.arange(existing.num_rows, dtype=np.int64)))
        last = _last(compared, applied, existing.num_rows) if compared else pa.Table.from_arrays([applied], names=["a"])
        return np.array(duck.query(connection, sql, found=rows, last=last)["standing"].to_pylist(), bool)


def showing(existing: pa.Table, sent: pa.Array, *, types: pa.Schema) -> npt.NDArray[np.bool_]:
    """Whether each sink record shows, by value, all that its JSON object in `sent` holds of the fields in `types`, and that is anything."""
    found = side(existing, types.names, "e", types)
    drifted = _drifted(found, types.names, sent)
    known = " OR ".join(f"a{number} IS NOT NULL" for number in range(len(types.names))) or "false"
    sql = f"SELECT ({known}) AND NOT ({' OR '.join(drifted.values()) or 'false'}) AS shows FROM found POSITIONAL JOIN last ORDER BY p"
    with duck.session() as connection:
        rows = found.rows.append_column("p", integers(np.arange(existing.num_rows, dtype=np.int64)))
        return np.array(
            duck.query(connection, sql, found=rows, last=_last(types.names, sent, existing.num_rows))["shows"].to_pylist(), bool
        )


def digest(rows: Iterable[pa.RecordBatch]) -> str:
    """SHA-256 (hexadecimal) over the content of plan rows, however they are chunked."""
    columns = ["CAST(seq AS VARCHAR)", "op", "key", "source_id", "sink_id", "CAST(to_json(fields) AS VARCHAR)", "before", "after"]
    sql = f"SELECT CAST(to_json([{', '.join([*columns, 'CAST(fingerprint AS VARCHAR)'])}]) AS VARCHAR) AS line FROM rows"
    found = hashlib.sha256()
    with duck.session() as connection:
        for batch in rows:
            for chunk in duck.query(connection, sql, rows=batch).column("line").chunks:
                offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
                found.update(memoryview(chunk.buffers()[2])[offsets[0] : offsets[-1]])
    return found.hexdigest()


def _key(rows: Side, match: Sequence[str]) -> str:
    return object_of({name: ("true", rows.keys[name]) for name in match})


def _is_wanted(wanted: Side, name: str, nulls: str) -> str:
    written = f"NOT coalesce(list_contains(omitted, {duck.string(name)}), false)"
    return f"{written} AND {wanted.texts[name]} IS NOT NULL" if nulls == "skip" else written


def _differs(wanted: Side, found: Side, name: str, nulls: str, policy: str) -> str:
    if policy == "keep":
        return "false"
    differs = f"{_is_wanted(wanted, name, nulls)} AND {wanted.texts[name]} IS DISTINCT FROM {found.texts[name]}"
    return f"{differs} AND {found.literals[name]} IN ('null', '\"\"')" if policy == "fill_empty" else differs


def _differs_from_last(wanted: Side, name: str, number: int) -> str:
    """SQL that tells whether a field that the sink never shows is to have another value than it was last written with."""
    last = wanted.as_found(name, f"nullif(a{number}, 'null')")
    known = f"a{number} IS NOT NULL AND {_is_wanted(wanted, name, 'skip')}"
    return f"{known} AND {wanted.texts[name]} IS DISTINCT FROM {last}"


def _drifted(found: Side, compared: Sequence[str], applied: pa.Array | pa.ChunkedArray | None) -> dict[str, str]:
    """SQL that tells whether others changed a field: it does not hold what we last wrote."""
    if applied is None:
        return dict.fromkeys(compared, "false")
    return {
        name: f"a{number} IS NOT NULL AND {found.as_found(name, f'''nullif(a{number}, 'null')''')} IS DISTINCT FROM {found.texts[name]}"
        for number, name in enumerate(compared)
    }


def _last(compared: Sequence[str], applied: pa.Array | pa.ChunkedArray | None, row_count: int) -> pa.Table:
    """What was last written, one column of canonical JSON per field."""
    if applied is None:
        return pa.Table.from_arrays([pa.nulls(row_count)], names=["a"])
    values = [members(document, compared) for document in applied.to_pylist()]
    columns = [texts([row[number] for row in values]) for number in range(len(compared))]
    return pa.Table.from_arrays(columns, names=[f"a{number}" for number in range(len(compared))])


def _with_own(wanted: Side, desired: pa.Table) -> pa.Table:
    """The desired values with their row number, source id and omitted fields."""
    names = desired.column_names
    omitted = desired.column("__omitted") if "__omitted" in names else pa.nulls(desired.num_rows, pa.list_(pa.string()))
    own = [("p", integers(np.arange(desired.num_rows, dtype=np.int64))), ("source_id", desired.column("__source_id")), ("omitted", omitted)]
    rows = wanted.rows
    for name, column in own:
        rows = rows.append_column(name, column)
    return rows


def _plan(found: pa.Table) -> pa.RecordBatch:
    return single(found.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA))


def _sorted_out(found: pa.Table, start: int) -> Updates:
    rows = single(found)
    positions = numbers(rows.column("seq"), np.int64)
    conflict_count, change_count = _lengths(rows.column("conflicts")), _lengths(rows.column("fields"))
    in_conflict, changed = conflict_count > 0, (conflict_count == 0) & (change_count > 0)
    kept = pa.Table.from_batches([rows]).take(integers(np.flatnonzero(changed)))
    kept = kept.set_column(0, "seq", integers(np.arange(start, start + kept.num_rows, dtype=np.int64)))
    drifted = np.array(rows.column("drifted").to_pylist(), bool)
    return Updates(
        _plan(kept), positions[changed], positions[~changed & ~in_conflict], _conflicts(rows, np.flatnonzero(in_conflict)), drifted
    )


def _lengths(lists: pa.ListArray) -> npt.NDArray[np.int32]:
    offsets = (
        np.frombuffer(lists.buffers()[1], np.int32)[lists.offset : lists.offset + len(lists) + 1] if len(lists) else np.zeros(1, np.int32)
    )
    return np.diff(offsets)


def _conflicts(rows: pa.RecordBatch, places: npt.NDArray[np.intp]) -> pa.RecordBatch:
    fields = [", ".join(names) for names in rows.column("conflicts").take(integers(places)).to_pylist()]
    reasons = [
        f"{field} was changed in the sink since this sync last wrote it; settle it there, or set drift: overwrite or keep"
        for field in fields
    ]
    positions = rows.column("seq").take(integers(places))
    return pa.RecordBatch.from_arrays([positions, texts(fields), texts(reasons)], schema=CONFLICT_SCHEMA)
