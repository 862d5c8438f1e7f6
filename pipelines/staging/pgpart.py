"""Rows of one schema in one PostgreSQL table: read and written as Arrow."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connectors.arrow_lists import from_numpy
from connectors.arrow_types import conform, lacking
from pipelines.staging import ABSENT
from pipelines.staging.pgtables import SCHEMA, Cursor, columns
from pipelines.staging.pgtext import decoded, encoded


@dataclass(frozen=True)
class PostgresPart:
    """A table with the rows `first` … `first + count - 1` of a batch; `schema` is what they were when written."""

    table: str
    first: int
    count: int
    schema: pa.Schema

    def read(self, cursor: Cursor, whole: pa.Schema, schema: pa.Schema, source: str) -> list[pa.RecordBatch]:
        """The rows that `source` selects, in the columns of `schema`, as wide as they have become in the `whole` batch.

        `source` is what follows FROM, with `<table>` where the table's name goes.
        """
        present = pa.schema([self.schema.field(name) for name in schema.names if name in self.schema.names])
        names = [f"c{self.schema.get_field_index(name)}" for name in present.names]
        chosen = [f"{name}::text" if pa.types.is_decimal(field.type) else name for name, field in zip(names, present, strict=True)]
        query = f"SELECT {', '.join(['position', *chosen])} FROM {source.replace('<table>', f'{SCHEMA}.{self.table}')}"  # noqa: S608
        absent = lacking(self.schema, whole) if ABSENT in schema.names else []
        found = []
        for batch in columns(cursor, query).to_batches():
            arrays = [decoded(column, field.type) for column, field in zip(batch.columns[1:], present, strict=True)]
            held = pa.RecordBatch.from_arrays(arrays, schema=present) if arrays else batch.select([0]).rename_columns([ABSENT + "?"])
            found.append(conform(held, schema, absent=absent))
        return found

    def write(self, cursor: Cursor, piece: pa.Table) -> "PostgresPart":
        """Append rows; the table is made with the first. Gives the part as it is then."""
        (rows,) = piece.combine_chunks().to_batches()
        position = self.first + self.count + np.arange(rows.num_rows, dtype=np.int64)
        names = ["position", *(f"c{number}" for number in range(rows.num_columns))]
        stored = pa.RecordBatch.from_arrays([from_numpy(position), *map(encoded, rows.columns)], names=names)
        cursor.adbc_ingest(self.table, stored, mode="append" if self.count else "create", db_schema_name=SCHEMA)
        return PostgresPart(self.table, self.first, self.count + rows.num_rows, rows.schema)

    def finish(self, cursor: Cursor) -> None:
        """Make its rows findable by position."""
        cursor.execute(f"ALTER TABLE {SCHEMA}.{self.table} ADD PRIMARY KEY (position)")
