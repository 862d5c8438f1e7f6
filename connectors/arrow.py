"""JSON pages to Arrow, exactly: a fast reader where it gives what an exact one gives, the exact one elsewhere. Pure, hot."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from connectors.arrow_exact import records_to_batch
from connectors.arrow_fast import read_flat, read_objects
from connectors.arrow_lists import array
from connectors.arrow_types import widest_schema
from connectors.base import JsonBody, JsonValue, Record
from connectors.errors import ContractError
from connectors.jsontext import loads

__all__ = ["decode", "page_ids", "records_of", "records_path", "records_to_batch"]

_ID_TYPES = (pa.string(), pa.int64())


def decode(pages: Sequence[JsonBody | list[Record]], schema: pa.Schema | None) -> list[pa.RecordBatch]:
    """The records of the pages, in order, nothing lost; the batches together have as many rows as there are records.

    `schema` is what is known of the fields so far (None: nothing). Each batch has at least those, wider where a
    value asked for it; `widest_schema` of it and the batches' is what to pass with the next pages. About 16 pages
    a call is quickest. Raises ContractError when a page holds no list of objects, or what is not exact JSON.
    """
    known = pa.schema([]) if schema is None else schema
    bodies = [page for page in pages if isinstance(page, JsonBody)]
    if len(bodies) == len(pages):
        together = read_flat(bodies, known)
        if together is not None:
            return [together]
    batches: list[pa.RecordBatch] = []
    hopeful = True
    for page in pages:
        batch = read_flat([page], known) if hopeful and isinstance(page, JsonBody) else None
        if batch is None:
            batch = records_to_batch(records_of(page) if isinstance(page, JsonBody) else page, known)
            wider = widest_schema(known, batch.schema)
            hopeful = not wider.equals(known, check_metadata=True)  # what stopped the fast reader may stop it again
            known = wider
        batches.append(batch)
    return batches


def page_ids(body: JsonBody, id_field: str) -> pa.Array:
    """The ids of one page, in order: as many as it has records; null where a record has none or null.

    Strings stay strings and integers stay integers (decimal128 beyond 64 bits). Raises ContractError
    when the body holds no list of objects at its path, or ids of several types. Fields other than
    the id are not looked at: what is wrong there shows when the page is decoded.
    """
    for kind in _ID_TYPES:
        ids = _read_ids(body, id_field, kind)
        if ids is not None:
            return ids
    values = [record.get(id_field) for record in records_of(body)]
    try:
        if all(value is None or type(value) in (int, Decimal) for value in values):
            return array(values, pa.decimal128(38, 0))
        if all(value is None or isinstance(value, str) for value in values):
            return array(values, pa.string())
    except (pa.ArrowInvalid, OverflowError):
        pass
    raise ContractError(
        f"the field {id_field!r} of a page of {len(values)} records holds ids that are neither all text nor all integers; "
        "name another id field for this stream"
    )


def records_path(body: bytes) -> tuple[str, ...]:
    """Where the one list of objects of an answer is: `()` for a bare list, one key, or two for a nested envelope.

    The shallowest level that has such a list counts; an empty list is one where no list has objects.
    Raises ContractError when there is none, or several of the same depth.
    """
    answer = loads(body)
    if isinstance(answer, list):
        _check_objects(answer, ())
        return ()
    levels: list[list[tuple[tuple[str, ...], list[Any]]]] = [[], []]
    for key, value in answer.items() if isinstance(answer, dict) else ():
        if isinstance(value, list):
            levels[0].append(((key,), value))
        elif isinstance(value, dict):
            levels[1] += [((key, inner), item) for inner, item in value.items() if isinstance(item, list)]
    for wanted in (_holds_objects, lambda items: not items):
        for level in levels:
            found = [path for path, items in level if wanted(items)]
            if len(found) == 1:
                return found[0]
            if found:
                names = ", ".join(".".join(path) for path in sorted(found))
                raise ContractError(f"the answer holds {len(found)} lists that may be its records ({names}); which one is not documented")
    raise ContractError(f"the answer ({len(body)} bytes) holds no list of objects; look at what the platform answered")


def records_of(page: JsonBody) -> list[Record]:
    """The records of one page by the exact parser. Raises ContractError when they are not a list of objects at the path."""
    found: JsonValue = loads(page.body)
    for key in page.path:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, list):
        raise ContractError(f"the answer ({len(page.body)} bytes) holds no list at {_spell(page.path)}; look at what the platform answered")
    _check_objects(found, page.path)
    return found


def _read_ids(page: JsonBody, id_field: str, kind: pa.DataType) -> pa.Array | None:
    """The ids read as `kind`, or None where only the exact parser can tell."""
    body = page.body if page.path else b"".join((b'{"r":', page.body, b"}"))
    nested = pa.list_(pa.struct([(id_field, kind)]))
    for key in reversed(page.path[1:]):
        nested = pa.struct([(key, nested)])
    schema = pa.schema([(page.path[0] if page.path else "r", nested)])
    try:
        table = read_objects(body, schema, "ignore")
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    if table.num_rows != 1:
        return None
    column = table.column(0).combine_chunks()
    for key in page.path[1:]:
        column = column.field(key)
    records = column.flatten() if column.null_count == 0 else None
    if records is None or records.null_count:
        return None
    ids = records.field(0)
    try:
        ids.validate(full=True)  # invalid UTF-8 passes the reader
    except pa.ArrowInvalid:
        return None
    return ids


def _holds_objects(items: Sequence[JsonValue]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items)


def _check_objects(items: Sequence[JsonValue], path: tuple[str, ...]) -> None:
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise ContractError(f"item {position} of the list at {_spell(path)} is not an object; {len(items)} records were expected there")


def _spell(path: tuple[str, ...]) -> str:
    return ".".join(path) or "its top"
