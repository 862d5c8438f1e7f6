"""What the Robostack emulator keeps: resources, records, switches, and a journal that survives restarts.

Imports nothing of ours but the demo data. Robostack documents requests and no answer at all, so
`SWITCHES` names every behaviour it might have; the first one of each is the default.
"""

import io
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import simplejson

from connectors.robostack import demo

Json = Any
Id = int | str

SWITCHES: dict[str, tuple[str, ...]] = {
    # finding
    "envelope": ("list", "records", "data", "data.records", "total", "single"),  # single: one record is a bare object
    "none_found": ("list", "204", "empty", "null", "object", "404"),
    "find_status": ("200", "201", "202"),
    "empty_selection": ("all", "none", "refused"),  # {"selection": {}}
    "absent_selection": ("all", "none", "refused"),  # {}
    "no_body": ("all", "refused"),
    "result_cap": ("0", "…"),  # records in one answer at most, silently; 0: no cap
    "order": ("id", "reversed", "shuffled"),
    "match": ("exact", "case_insensitive", "as_text", "ignored"),
    "unknown_resource": ("404", "empty", "creates"),
    "ids": ("int", "text"),
    "hidden_fields": ("", "…name"),  # comma-separated names that permissions hide
    "hidden_every": ("0", "…"),  # every n-th record is hidden by permissions
    "empty_fields": ("null", "omitted"),
    # writing
    "create_status": ("200", "201", "202", "204"),
    "create_answers": ("records", "data", "ids", "id_objects", "count", "nothing", "text", "few"),
    "create_order": ("sent", "reversed", "shuffled"),
    "updation": ("merges", "replaces"),  # replaces: a field that an update does not name is cleared
    "update_answers": ("records", "record", "count", "matched", "nothing", "empty_list"),
    "delete_answers": ("count", "records", "nothing"),
    "no_match": ("silent", "404"),  # an update or delete that selects nothing
    "empty_write_selection": ("refused", "all", "none"),
    "pairing": ("works", "refused"),  # lists of selections and updations
    "batch_failure": ("atomic", "stops"),  # stops: refused, but the records before the bad one stay
    "max_batch": ("0", "…"),
    "max_text": ("10000", "…"),
    "unique": ("", "…name"),  # a field whose values may not repeat
    "trims": ("no", "yes"),
    "lower_cases": ("no", "yes"),
    "unknown_fields": ("stored", "dropped", "refused"),
    "null_in_update": ("clears", "ignored", "refused"),
    # trouble
    "error_status": ("422", "400", "409"),
    "error_body": ("message", "errors", "detail", "html", "empty"),
    "fault": ("none", "500_before", "500_after", "html_200", "error_200", "cut", "429"),  # of writes; fault_count of them
    "fault_count": ("1", "…"),
    "latency_ms": ("0", "…"),
}


class Refused(Exception):
    """A request the platform answers with `status` and these words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def encode(value: Json) -> bytes:
    """JSON in UTF-8, decimals exact."""
    return simplejson.dumps(value, ensure_ascii=False, use_decimal=True, separators=(",", ":")).encode()


def decode(body: bytes) -> Json:
    """JSON with fractions as Decimal. Raises ValueError."""
    return simplejson.loads(body.decode(), use_decimal=True)


@dataclass
class Resource:
    """One resource: its records by id in the order made, findable by any scalar value."""

    name: str
    records: dict[Id, dict[str, Json]] = field(default_factory=dict)
    fields: dict[str, None] = field(default_factory=dict)
    made: int = 0
    encoded: dict[Id, bytes] = field(default_factory=dict)
    indexes: dict[str, dict[Json, dict[Id, None]]] = field(default_factory=dict)

    def put(self, record: dict[str, Json]) -> None:
        """Store a whole record, its id in it."""
        key = record["id"]
        self._unindex(key)
        self.records[key] = record
        self.fields.update(dict.fromkeys(record))
        self.encoded.pop(key, None)
        for name, index in self.indexes.items():
            if _indexable(record.get(name)):
                index.setdefault(record[name], {})[key] = None

    def remove(self, key: Id) -> None:
        """Forget a record."""
        self._unindex(key)
        del self.records[key]
        self.encoded.pop(key, None)

    def with_value(self, name: str, value: Json) -> Iterable[Id]:
        """The ids of records whose field has exactly this scalar value."""
        if name == "id":
            return [value] if value in self.records and type(value) in (int, str) else []
        if name not in self.indexes:
            index: dict[Json, dict[Id, None]] = {}
            for key, record in self.records.items():
                if _indexable(record.get(name)):
                    index.setdefault(record[name], {})[key] = None
            self.indexes[name] = index
        return list(self.indexes[name].get(value, ()))

    def _unindex(self, key: Id) -> None:
        old = self.records.get(key)
        for name, index in self.indexes.items():
            if old is not None and _indexable(old.get(name)):
                index.get(old[name], {}).pop(key, None)


class Store:
    """The platform's memory. With `state`, a file that exists counts more than the demo data.

    `before_find` is called before each find is answered.
    """

    def __init__(
        self, *, seed: int = 7, people: int = 5, orgs: int = 3, invoices: int = 30, state: Path | None = None, **switches: str
    ) -> None:
        self.switches = {name: choices[0] for name, choices in SWITCHES.items()}
        self.key, self.secret, self.app_uuid = "demo", "demo", "00000000-0000-4000-8000-000000000001"
        self.rng = random.Random(seed)  # noqa: S311
        self.log: list[dict[str, Json]] = []
        self.counters: dict[str, int] = {}
        self.before_find: Callable[[], None] | None = None
        self._journal: io.BufferedWriter | None = None
        for name, value in switches.items():
            self.set_switch(name, value)
        self.resources: dict[str, Resource] = {}
        if state is None or not self._replayed(state):
            for name, records in demo.demo(seed, people=people, orgs=orgs, invoices=invoices).items():
                self.add_resource(name, records)
        if state is not None:
            self._open_journal(state)

    def set_switch(self, name: str, value: str) -> None:
        """Change a behaviour. Raises ValueError naming what exists."""
        choices = SWITCHES.get(name)
        if choices is None:
            raise ValueError(f"no switch {name!r}; there are {', '.join(SWITCHES)}")
        if value not in choices and not ("…" in choices and value.isdigit()) and "…name" not in choices:
            raise ValueError(f"switch {name} is one of {', '.join(choices)}, not {value!r}")
        self.switches[name] = value

    def add_resource(self, name: str, records: Iterable[dict[str, Json]] = ()) -> Resource:
        """A resource holding these records, in place of what had this name. Records without an id get one."""
        made = self.resources[name] = Resource(name)
        for record in records:
            made.put({"id": self.next_id(made), **record})
        self._write({"resource": name, "put": list(made.records.values())})
        return made

    def resource(self, name: str) -> Resource:
        """The resource a path names. Raises Refused."""
        found = self.resources.get(name)
        if found is not None:
            return found
        if self.switches["unknown_resource"] == "404":
            raise Refused(404, f"Resource {name} not found")
        return self.add_resource(name) if self.switches["unknown_resource"] == "creates" else Resource(name)

    def next_id(self, resource: Resource) -> Id:
        """An id that no record of the resource had before."""
        resource.made += 1
        return resource.made if self.switches["ids"] == "int" else f"r{resource.made:08d}"

    def select(self, resource: Resource, selection: dict[str, Json]) -> list[Id]:
        """The ids of the records that have all these values, in the order made."""
        way = self.switches["match"]
        if way == "ignored" or not selection:
            return list(resource.records)
        if way == "exact":
            first, value = next(iter(selection.items()))
            among: Iterable[Id] = resource.with_value(first, value) if _indexable(value) else resource.records
            return [key for key in among if all(_equal(resource.records[key].get(name), wanted) for name, wanted in selection.items())]
        fold = str if way == "as_text" else (lambda value: value.casefold() if isinstance(value, str) else value)
        return [
            key
            for key, record in resource.records.items()
            if all(name in record and fold(record[name]) == fold(wanted) for name, wanted in selection.items())
        ]

    def accepted(self, resource: Resource, values: dict[str, Json], *, update: bool = False) -> dict[str, Json]:
        """The values as the platform stores them. Raises Refused for what it does not take."""
        status = int(self.switches["error_status"])
        if "id" in values:
            raise Refused(status, "id cannot be written")
        unknown = [name for name in values if name not in resource.fields] if resource.fields else []
        if unknown and self.switches["unknown_fields"] == "refused":
            raise Refused(status, f"Unknown field {unknown[0]}")
        if unknown and self.switches["unknown_fields"] == "dropped":
            values = {name: value for name, value in values.items() if name in resource.fields}
        if update and self.switches["null_in_update"] != "clears":
            if self.switches["null_in_update"] == "refused" and None in values.values():
                raise Refused(status, "null is not a valid value")
            values = {name: value for name, value in values.items() if value is not None}
        if too_long := [name for name, value in values.items() if isinstance(value, str) and len(value) > int(self.switches["max_text"])]:
            raise Refused(status, f"{too_long[0]} is longer than {self.switches['max_text']} characters")
        unique = self.switches["unique"]
        if unique and values.get(unique) is not None and next(iter(resource.with_value(unique, values[unique])), None) is not None:
            raise Refused(status, f"{unique} must be unique")
        return {name: self._normalised(value) for name, value in values.items()}

    def put(self, resource: Resource, records: list[dict[str, Json]]) -> None:
        """Store whole records as one change."""
        for record in records:
            resource.put(record)
        self._write({"resource": resource.name, "put": records})

    def remove(self, resource: Resource, keys: list[Id]) -> None:
        """Forget records as one change."""
        for key in keys:
            resource.remove(key)
        self._write({"resource": resource.name, "remove": keys})

    def shown(self, resource: Resource, key: Id) -> bytes:
        """One record as the platform shows it, encoded."""
        hidden, omits = self.switches["hidden_fields"], self.switches["empty_fields"] == "omitted"
        if not hidden and not omits:
            cached = resource.encoded.get(key)
            if cached is None:
                cached = resource.encoded[key] = encode(resource.records[key])
            return cached
        hidden_names = set(hidden.split(","))
        record = resource.records[key].items()
        return encode({name: value for name, value in record if name not in hidden_names and not (omits and value is None)})

    def visible(self, keys: list[Id]) -> list[Id]:
        """What permissions, order and cap leave of these records."""
        every = int(self.switches["hidden_every"])
        if every:
            keys = [key for n, key in enumerate(keys, 1) if n % every]
        if self.switches["order"] == "reversed":
            keys = keys[::-1]
        elif self.switches["order"] == "shuffled":
            self.rng.shuffle(keys)
        cap = int(self.switches["result_cap"])
        return keys[:cap] if cap else keys

    def fault(self) -> str:
        """The trouble that this write meets, used up by asking."""
        left = int(self.switches["fault_count"])
        if self.switches["fault"] == "none" or left <= 0:
            return "none"
        self.switches["fault_count"] = str(left - 1)
        return self.switches["fault"]

    def _normalised(self, value: Json) -> Json:
        if isinstance(value, str):
            value = value.strip() if self.switches["trims"] == "yes" else value
            value = value.lower() if self.switches["lower_cases"] == "yes" else value
        return value

    def _replayed(self, path: Path) -> bool:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # what follows the last newline is a torn write
        for line in lines:
            entry = decode(line)
            resource = self.resources.setdefault(entry["resource"], Resource(entry["resource"]))
            resource.made = max(resource.made, entry.get("made", 0))
            for record in entry.get("put", ()):
                resource.put(record)
            for key in entry.get("remove", ()):
                resource.records.pop(key, None)
        return bool(lines)

    def _open_journal(self, path: Path) -> None:
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as compacted:
            compacted.writelines(encode(entry) + b"\n" for entry in self._snapshot())
            compacted.flush()
            os.fsync(compacted.fileno())
        os.replace(fresh, path)
        self._journal = path.open("ab")

    def _snapshot(self) -> Iterator[dict[str, Json]]:
        for resource in self.resources.values():
            records = list(resource.records.values())
            for start in range(0, max(1, len(records)), 1000):
                yield {"resource": resource.name, "made": resource.made, "put": records[start : start + 1000]}

    def _write(self, entry: dict[str, Json]) -> None:
        if self._journal is not None:
            self._journal.write(encode({**entry, "made": self.resources[entry["resource"]].made}) + b"\n")
            self._journal.flush()


def _indexable(value: Json) -> bool:
    return value is not None and not isinstance(value, list | dict | bool)


def _equal(one: Json, other: Json) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
