"""The way out for what SQL cannot say: a person's pure DataFrame → DataFrame function. Pure; imports pandas when called."""

import importlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from connectors.errors import ConfigError, ContractError
from pipelines.staging import TYPE


def load(path: str) -> Callable[[Any], Any]:
    """The function that `module:function` names. Raises ConfigError saying what is missing."""
    module_name, colon, function_name = path.partition(":")
    if not (module_name and colon and function_name):
        raise ConfigError(f"python: {path!r} must be written as module:function")
    try:
        module = importlib.import_module(module_name)
    except ImportError as problem:
        raise ConfigError(f"python: {path} cannot be imported: {problem}") from problem
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"python: module {module_name} has no function {function_name}")
    return function  # type: ignore[no-any-return]


def apply(path: str, records: pa.RecordBatch, id_field: str) -> pa.RecordBatch:
    """The records as the function gives them back; times and nested values go in as the text the platform sent.

    Raises ConfigError naming the function where it fails, ContractError where it does not keep the
    rows, their order and the id.
    """
    import pandas as pd  # type: ignore[import-untyped]

    function = load(path)
    frame = pa.Table.from_batches([records]).to_pandas(types_mapper=pd.ArrowDtype)
    try:
        result = function(frame.copy())
        if not isinstance(result, pd.DataFrame):
            raise ContractError(f"python: {path} gave a {type(result).__name__}, not a DataFrame")
        table = pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
    except ContractError:
        raise
    except Exception as problem:  # whatever a person's function raises is for that person to mend
        raise ConfigError(f"python: {path} failed on {records.num_rows} records: {type(problem).__name__}: {problem}") from problem
    _check_rows(path, records, table, id_field)
    return _remarked(table, records.schema)


def _check_rows(path: str, records: pa.RecordBatch, table: pa.Table, id_field: str) -> None:
    if table.num_rows != records.num_rows:
        raise ContractError(f"python: {path} gave {table.num_rows} rows for {records.num_rows}; leave records out with where instead")
    if id_field not in table.column_names:
        raise ContractError(f"python: {path} left out the id column {id_field}; give it back as it came")
    before = records.column(id_field)
    after = table.column(id_field).combine_chunks().cast(before.type, safe=False)
    if not before.equals(after):
        raise ContractError(f"python: {path} changed the id column {id_field} or the order of the rows; give both back as they came")


def _remarked(table: pa.Table, before: pa.Schema) -> pa.RecordBatch:
    """Columns that stay text keep what the text was said to hold."""
    fields = []
    for field in table.schema:
        held = before.field(field.name).metadata if field.name in before.names else None
        text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        fields.append(field.with_metadata({TYPE: held[TYPE]} if held and TYPE in held and text else None))
    columns = table.combine_chunks().columns
    return pa.RecordBatch.from_arrays([c.combine_chunks() for c in columns], schema=pa.schema(fields))
