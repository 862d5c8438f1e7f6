"""The columns of a table under our own labels, with the SQL that shows and compares each of them. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines import duck
from pipelines.arrays import single
from pipelines.canonical import Kind, kind, literal, normalise, text


@dataclass(frozen=True)
class Side:
    """Rows of one side. `literals` gives the exact JSON of each field, `texts` its canonical text under the wanted type,
    `keys` its JSON as part of a match key, `present` whether the record has the field at all (all SQL)."""

    rows: pa.Table
    literals: Mapping[str, str]
    texts: Mapping[str, str]
    keys: Mapping[str, str]
    present: Mapping[str, str]
    wanted: Mapping[str, Kind]

    def as_found(self, name: str, value: str) -> str:
        """SQL for the canonical text of a JSON value compared as this field is."""
        return text(value, "json", self.wanted[name])


def side(rows: pa.Table, names: Sequence[str], label: str, types: pa.Schema) -> Side:
    """The named columns as `<label>0`, `<label>1`, … (JSON also in canonical form as `<label>n0` …).

    Values are compared under `types`; a column that the rows do not have is null and not present.
    """
    batch = single(rows)
    canonical = normalise(batch.select([name for name in names if name in batch.schema.names]))
    arrays: list[pa.Array] = []
    labels: list[str] = []
    literals, texts, keys, present, wanted = {}, {}, {}, {}, {}
    absent = "__absent" in batch.schema.names
    for number, name in enumerate(names):
        ours = theirs = f"{label}{number}"
        known = name in batch.schema.names
        held: Kind = kind(batch.schema.field(name)) if known else "null"
        sought: Kind = kind(types.field(name)) if name in types.names else held
        wanted[name] = "text" if sought == "null" else sought
        arrays.append(batch.column(name) if known else pa.nulls(batch.num_rows))
        labels.append(ours)
        if held == "json":
            theirs = f"{label}n{number}"
            arrays.append(canonical.column(name))
            labels.append(theirs)
        literals[name] = literal(ours, held)
        texts[name] = text(theirs, held, wanted[name])
        keys[name] = _key(texts[name], literals[name], wanted[name])
        lacking = f"coalesce(list_contains(from_json({label}_absent, '[\"VARCHAR\"]'), {duck.string(name)}), false)"
        present[name] = "false" if not known else f"NOT {lacking}" if absent else "true"
    arrays.append(batch.column("__absent") if absent else pa.nulls(batch.num_rows, pa.string()))
    labels.append(f"{label}_absent")
    return Side(pa.Table.from_arrays(arrays, names=labels), literals, texts, keys, present, wanted)


def listed(flags: Mapping[str, str]) -> str:
    """SQL for the list of the names whose flag holds."""
    cases = ", ".join(f"CASE WHEN {flag} THEN {duck.string(name)} END" for name, flag in flags.items())
    return f"list_filter(CAST([{cases}] AS VARCHAR[]), lambda n: n IS NOT NULL)"


def object_of(fields: Mapping[str, tuple[str, str]]) -> str:
    """SQL for the JSON object of the members whose flag holds, each given as (flag, JSON literal)."""
    cases = [
        f"CASE WHEN {flag} THEN {duck.string(json.dumps(name, ensure_ascii=False) + ':')} || {value} END"
        for name, (flag, value) in fields.items()
    ]
    return f"'{{' || concat_ws(',', {', '.join(cases)}) || '}}'" if cases else "'{}'"


def _key(canonical: str, exact: str, wanted: Kind) -> str:
    """Numbers in their one form, however the side writes them; anything else as it is."""
    if wanted not in ("integer", "float", "decimal"):
        return exact
    return f"CASE WHEN regexp_matches({canonical}, '^-?[0-9]') THEN {canonical} ELSE {exact} END"
