"""What is written last about a batch, as bytes and back. Pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from connectors.arrow_exact import exact_float
from connectors.jsontext import dumps
from pipelines.staging import Batch, Dataset, StagingError
from pipelines.staging.seal import sealed, unsealed

VERSION = 2
_UNSEALED = b'{"version":1,'  # how manifests began before they were sealed


@dataclass(frozen=True)
class Part:
    """Rows of a batch under one schema: where they lie, how many rows each row group has, and the file's checksum."""

    name: str
    row_groups: tuple[int, ...]
    seal: str = ""

    @property
    def count(self) -> int:
        """Its rows."""
        return sum(self.row_groups)


def note_bytes(note: Mapping[str, Any]) -> bytes:
    """A note as JSON, numbers exact. Raises ValueError for what JSON cannot say."""
    return dumps(dict(note))


def note_value(text: bytes | str) -> dict[str, Any]:
    """The note again; a fraction is a float where that is exact, else a Decimal."""
    found: dict[str, Any] = json.loads(text, parse_float=_fraction)
    return found


def schema_bytes(schema: pa.Schema) -> bytes:
    """A schema with its metadata."""
    return bytes(schema.serialize())


def schema_value(text: bytes) -> pa.Schema:
    """The schema again."""
    return pa.ipc.read_schema(pa.py_buffer(text))


def manifest_bytes(batch: Batch, parts: tuple[Part, ...]) -> bytes:
    """All there is to know about a committed batch besides its rows."""
    text = dumps(
        {
            "version": VERSION,
            "dataset": list(batch.dataset.parts),
            "count": batch.count,
            "schema": base64.b64encode(schema_bytes(batch.schema)).decode(),
            "parts": [{"name": part.name, "row_groups": list(part.row_groups), "seal": part.seal} for part in parts],
            "note": dict(batch.note),
        }
    )
    return sealed(text)


def manifest_value(text: bytes, dataset: Dataset, batch_id: str) -> tuple[Batch, tuple[Part, ...]]:
    """The batch and its parts again. Raises StagingError when the text is none of ours."""
    try:
        before = text.startswith(_UNSEALED) and b'"seal"' not in text
        held = note_value(text if before else unsealed(text))
        if held["version"] != VERSION and not before:
            raise StagingError(
                f"the staged batch {batch_id} of {'.'.join(dataset.parts)} was written by another version ({held['version']}); "
                "remove it, and the next full read stages it anew"
            )
        parts = tuple(Part(part["name"], tuple(part["row_groups"]), part.get("seal", "")) for part in held["parts"])
        schema = schema_value(base64.b64decode(held["schema"]))
        return Batch(dataset, batch_id, schema, held["count"], held["note"]), parts
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StagingError(
            f"the manifest of the staged batch {batch_id} of {'.'.join(dataset.parts)} cannot be read ({type(error).__name__}); "
            "remove that batch, and the next full read stages it anew"
        ) from None


def _fraction(digits: str) -> float | Decimal:
    number = Decimal(digits)
    found = exact_float(number)
    return number if found is None else found
