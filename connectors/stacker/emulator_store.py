"""What the Stacker emulator keeps: objects, records, switches, and a journal that survives restarts.

Imports nothing of ours but the demo data. Where the documents are silent, `SWITCHES` names every
behaviour the platform might have; the first one of each is the default.
"""

import hashlib
import io
import os
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from connectors.stacker import demo
from connectors.stacker.emulator_objects import Json, Object, Refused, decode, encode

SWITCHES: dict[str, tuple[str, ...]] = {
    "order_by": ("ascending", "descending", "ignored", "case_insensitive", "refused"),
    "unordered": ("insertion", "shuffled"),  # the order where none is asked for
    "gt": ("works", "ignored", "refused", "gte", "numeric", "case_insensitive", "days"),  # and lt likewise
    "eq": ("exact", "case_insensitive", "ignored", "refused", "never"),
    "filter_join": ("and", "or"),
    "unknown_operator": ("refused", "ignored"),
    "count": ("returned", "requested"),
    "empty_list": ("list", "null", "omitted"),  # how a list without items is written: records, and those of a bulk answer
    "page_cap": ("0", "…"),  # records in one answer at most; 0: as many as asked for
    "over_cap": ("fewer", "refused"),
    "total": ("present", "absent", "page", "plus5", "minus5", "whole", "capped"),
    "start": ("works", "ignored"),
    "start_echo": ("yes", "no"),
    "search_status": ("200", "201"),
    "include_fields": ("with_sid", "exact", "ignored", "refused"),
    "write_answers": ("record", "nothing"),  # what a single create or update is answered with; nothing: 204
    "bulk": ("works", "404", "405", "501", "400", "403"),
    "bulk_match": ("sid", "never", "email", "domain", "number"),  # what marks an update: the sid, nothing, a key field
    "bulk_unknown_sid": ("creates", "refused"),
    "bulk_failure": ("atomic", "stops", "skips"),  # stops: 400, those before it stay; skips: 200 without the bad ones
    "created_order": ("sent", "reversed", "shuffled"),
    "null_in_patch": ("clears", "ignored", "refused"),
    "unknown_fields": ("stored", "dropped", "refused"),
    "noop_update": ("moves", "keeps"),  # whether a PATCH that changes nothing moves updated_at
    "empty_fields": ("null", "omitted"),
    "trims": ("no", "yes"),
    "path": ("either", "sid", "api_name"),
    "sids": ("hex", "mixed"),
    "accounts": ("one", "several"),
    "stacks": ("one", "several"),
    "delete": ("allowed", "refused"),
    "delete_missing": ("404", "204"),
    "error_body": ("message", "errors", "detail", "html", "empty"),
    "max_text": ("10000", "…"),  # a longer text is refused
    "latency_ms": ("0", "…"),
}

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Store:
    """The platform's memory. `before_search` is called with the number of each search before it is answered."""

    def __init__(
        self, *, seed: int = 7, contacts: int = 50, companies: int = 20, orders: int = 30, state: Path | None = None, **switches: str
    ) -> None:
        self.switches = {name: choices[0] for name, choices in SWITCHES.items()}
        self.key, self.account, self.stack = "demo", "acc_demo", "stk_demo"
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311
        self.log: list[dict[str, Json]] = []
        self.counters: dict[str, int] = {}
        self.searches = 0
        self.before_search: Callable[[int], None] | None = None
        self._journal: io.BufferedWriter | None = None
        for name, value in switches.items():
            self.set_switch(name, value)
        self.objects: dict[str, Object] = {}
        self._seed_demo(contacts, companies, orders)
        if state is not None:
            counts = {"contacts": contacts, "companies": companies, "orders": orders}
            self._open_journal(state, {"seed": seed, **counts, "sids": self.switches["sids"]})

    def set_switch(self, name: str, value: str) -> None:
        """Change a behaviour. Raises ValueError naming what exists."""
        choices = SWITCHES.get(name)
        if choices is None:
            raise ValueError(f"no switch {name!r}; there are {', '.join(SWITCHES)}")
        if value not in choices and not ("…" in choices and value.isdigit()):
            raise ValueError(f"switch {name} is one of {', '.join(choices)}, not {value!r}")
        self.switches[name] = value

    def add_object(self, api_name: str, records: Iterable[dict[str, Json]] = ()) -> Object:
        """A further object holding these records, or new records for one that exists (its old ones go)."""
        made = Object(self._id("obj", api_name, 0), api_name.title(), api_name)
        self.objects[api_name] = made
        for values in records:
            self.create(made, dict(values), quiet=True)
        return made

    def find_object(self, identifier: str) -> Object:
        """The object a path names, by sid or api_name as the switch says. Raises Refused 404."""
        accepts = self.switches["path"]
        for candidate in self.objects.values():
            if (identifier == candidate.sid and accepts != "api_name") or (identifier == candidate.api_name and accepts != "sid"):
                return candidate
        raise Refused(404, f"Object {identifier} not found")

    def create(self, target: Object, values: dict[str, Json], *, sid: str | None = None, quiet: bool = False) -> str:
        """A new record; its sid. Raises Refused for values the platform does not take. `quiet`: as it stands, no rules."""
        values = values if quiet else self._accepted(target, values)
        if sid is None:
            sid = self._id("rec", target.api_name, target.made)
            target.made += 1
        if not quiet:
            for stamp in ("created_at", "updated_at"):
                if stamp in target.fields:
                    values[stamp] = _now()
        if quiet or self.switches["unknown_fields"] == "stored" or not target.fields:
            target.fields.update(dict.fromkeys(values))
        self._put(target, sid, values)
        return sid

    def update(self, target: Object, sid: str, values: dict[str, Json]) -> None:
        """Change only these fields. Raises Refused."""
        if sid not in target.records:
            raise Refused(404, f"Record {sid} not found")
        nulls = self.switches["null_in_patch"]
        if nulls == "refused" and any(value is None for value in values.values()):
            raise Refused(400, "null is not a valid value")
        values = {k: v for k, v in self._accepted(target, values).items() if v is not None or nulls == "clears"}
        old = target.records[sid]
        new = {**old, **values}
        if "updated_at" in target.fields and (new != old or self.switches["noop_update"] == "moves"):
            new["updated_at"] = _now()
        target.fields.update(dict.fromkeys(values))
        self._put(target, sid, new)

    def edit(self, target: Object, sid: str, values: dict[str, Json]) -> None:
        """A change by somebody else: as given, no rules."""
        self._put(target, sid, {**target.records[sid], **values})

    def delete(self, target: Object, sid: str) -> None:
        """Remove a record. Raises Refused."""
        if sid not in target.records:
            if self.switches["delete_missing"] == "404":
                raise Refused(404, f"Record {sid} not found")
            return
        target.remove(sid)
        self._write({"op": "delete", "object": target.api_name, "sid": sid})

    def shown(self, target: Object, sid: str, include: list[str] | None) -> bytes:
        """One record as the platform shows it, encoded."""
        mode = self.switches["include_fields"]
        if include is not None and mode == "refused":
            raise Refused(400, "include_fields is not supported here")
        omits = self.switches["empty_fields"] == "omitted"
        if include is None or mode == "ignored":
            cached = None if omits else target.encoded.get(sid)
            if cached is None:
                cached = encode(self._visible(target, sid, omits))
                if not omits:
                    target.encoded[sid] = cached
            return cached
        whole = self._visible(target, sid, omits)
        wanted = set(include) | ({"sid"} if mode == "with_sid" else set())
        return encode({name: value for name, value in whole.items() if name in wanted})

    def _visible(self, target: Object, sid: str, omits: bool) -> dict[str, Json]:
        values = target.records[sid]
        if omits:
            return {"sid": sid, **{k: v for k, v in values.items() if v is not None}}
        return {"sid": sid, **dict.fromkeys(target.fields), **values}

    def _accepted(self, target: Object, values: dict[str, Json]) -> dict[str, Json]:
        if "sid" in values:
            raise Refused(400, "sid cannot be written")
        unknown = [name for name in values if name not in target.fields] if target.fields else []
        if unknown and self.switches["unknown_fields"] == "refused":
            raise Refused(400, f"Unknown field {unknown[0]}")
        if unknown and self.switches["unknown_fields"] == "dropped":
            values = {k: v for k, v in values.items() if k in target.fields}
        most = int(self.switches["max_text"])
        for name, value in values.items():
            if isinstance(value, str) and len(value) > most:
                raise Refused(400, f"{name} is too long: {len(value)} characters, at most {most}")
        trims = self.switches["trims"] == "yes"
        return {k: v.strip() if trims and isinstance(v, str) else v for k, v in values.items()}

    def _put(self, target: Object, sid: str, values: dict[str, Json]) -> None:
        target.put(sid, values)
        self._write({"op": "put", "object": target.api_name, "sid": sid, "record": values})

    def _id(self, kind: str, name: str, n: int) -> str:
        digest = hashlib.blake2b(f"{self.seed}/{kind}/{name}/{n}".encode(), digest_size=10).digest()
        if self.switches["sids"] == "hex":
            return f"{kind}_{digest.hex()}"
        number, text = int.from_bytes(digest, "big"), ""
        while number:
            number, rest = divmod(number, 62)
            text += _BASE62[rest]
        return f"{kind}_{text}"

    def _seed_demo(self, contacts: int, companies: int, orders: int) -> None:
        counts = {"contacts": contacts, "companies": companies, "orders": orders}
        of = {name: [self._id("rec", name, n) for n in range(counts[name])] for name in ("companies", "contacts")}
        made = demo.demo(self.seed, **counts, company_sids=of["companies"], contact_sids=of["contacts"])
        for name, records in made.items():
            target = self.objects[name] = Object(self._id("obj", name, 0), name.title(), name)
            sids = [self._id("rec", name, n) for n in range(len(records))]
            target.records = dict(zip(sids, records, strict=True))
            target.sids = sorted(sids)
            target.made = len(records)
            target.fields = dict.fromkeys(records[0]) if records else {}

    def _open_journal(self, path: Path, header: dict[str, Json]) -> None:
        """Replay what happened, then write it back compacted. Raises ValueError for a journal of other demo data."""
        latest: dict[tuple[str, str], dict[str, Json]] = {}
        made: dict[str, int] = {}
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines[:-1]):  # whatever follows the last newline is a torn write
            entry = decode(line)
            if number == 0:
                made = entry.pop("made", {})
                if entry != header:
                    raise ValueError(f"{path} was written for {entry}, not for {header}; name another state file or remove it")
                continue
            self._replay(entry)
            latest[entry["object"], entry["sid"]] = entry
            made[entry["object"]] = max(made.get(entry["object"], 0), entry.get("made", 0))
        for name, count in made.items():
            self.objects[name].made = max(self.objects[name].made, count)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(b"".join(encode(entry) + b"\n" for entry in ({**header, "made": made}, *latest.values())))
        os.replace(fresh, path)
        self._journal = path.open("ab")

    def _replay(self, entry: dict[str, Json]) -> None:
        name, sid = entry["object"], entry["sid"]
        target = self.objects.setdefault(name, Object(self._id("obj", name, 0), name.title(), name))
        if entry["op"] == "put":
            target.fields.update(dict.fromkeys(entry["record"]))
            target.put(sid, entry["record"])
        elif sid in target.records:
            target.remove(sid)

    def _write(self, entry: dict[str, Json]) -> None:
        if self._journal is not None:
            self._journal.write(encode({**entry, "made": self.objects[entry["object"]].made}) + b"\n")
            self._journal.flush()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
