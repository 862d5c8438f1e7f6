"""The crosswalk of another sync as a table that expressions can ask: what was written there → the sink's id. Pure."""

# ruff: noqa: S608 - the SQL is made of our own column labels and quoted constants, in a database that reaches nothing

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipelines import duck

_INTEGER = "-?(0|[1-9][0-9]*)"


@dataclass(frozen=True)
class Answers:
    """`rows` has `match` (text, unique) and `sink_id` of DuckDB type `given`: an integer, a text or, where both occur, JSON."""

    rows: pa.Table
    given: str


def answers(connection: duckdb.DuckDBPyConnection, crosswalk: pa.Table) -> Answers:
    """From columns source_id, key (JSON list) and sink_id (JSON text of the id). A source id counts before a key of one field."""
    matches = """
        SELECT match, arg_min(sink_id, (rank, sink_id)) AS sink_id FROM (
            SELECT source_id AS match, sink_id, 0 AS rank FROM crosswalk WHERE source_id IS NOT NULL
            UNION ALL
            SELECT json_extract_string(key, '$[0]'), sink_id, 1 FROM crosswalk WHERE json_array_length(key) = 1
        ) WHERE match IS NOT NULL AND sink_id IS NOT NULL GROUP BY match"""
    all_integers = f"bool_and(regexp_full_match(sink_id, '{_INTEGER}') AND TRY_CAST(sink_id AS BIGINT) IS NOT NULL)"
    all_texts = "bool_and(sink_id ^@ '\"') OR count(*) = 0"
    kinds = f"CASE WHEN {all_integers} THEN 'BIGINT' WHEN {all_texts} THEN 'VARCHAR' ELSE 'JSON' END"
    sql = f"SELECT {kinds} AS given FROM crosswalk WHERE sink_id IS NOT NULL"
    given = duck.query(connection, sql, crosswalk=crosswalk)
    kind = str(given.column("given")[0].as_py())
    value = {"BIGINT": "CAST(sink_id AS BIGINT)", "VARCHAR": "json_extract_string(sink_id, '$')", "JSON": "sink_id"}[kind]
    rows = duck.query(connection, f"SELECT match, {value} AS sink_id FROM ({matches}) ORDER BY match", crosswalk=crosswalk)
    return Answers(rows, kind)
