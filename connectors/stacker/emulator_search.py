"""How the Stacker emulator searches: filters, order, one page of it, as JSON or CSV. Imports nothing of ours but its store."""

import csv
import io
from bisect import bisect_right
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from connectors.stacker.emulator_objects import Object, Refused, comparable, decode, encode
from connectors.stacker.emulator_store import Store

Json = Any
_TYPES: dict[str, type] = {
    "search": str,
    "search_fields": list,
    "include_fields": list,
    "count": int,
    "start": int,
    "order_by": str,
    "filters": list,
}
_OPERATORS = ("eq", "neq", "contains", "gt", "lt")


def search(store: Store, target: Object, body: dict[str, Json], *, as_csv: bool) -> bytes:
    """One page. Raises Refused for a body the documents do not describe."""
    _check(body)
    matches = _matching(store, target, body)
    count, start = body.get("count", 1000), body.get("start", 0)
    cap = int(store.switches["page_cap"])
    if cap and count > cap and store.switches["over_cap"] == "refused":
        raise Refused(400, f"count is at most {cap}")
    size = min(count, cap) if cap else count
    if store.switches["start"] == "ignored":
        start = 0
    page = matches[start : start + size]
    include = body.get("include_fields")
    shown = [store.shown(target, sid, include) for sid in page]
    if as_csv:
        return _csv([decode(record) for record in shown])
    envelope: dict[str, Json] = {"count": len(page) if store.switches["count"] == "returned" else count}
    total = _total(store, len(matches), len(page), len(target.records))
    if total is not None:
        envelope["total"] = total
    if store.switches["start_echo"] == "yes":
        envelope["start"] = body.get("start", 0)
    if not page and store.switches["empty_list"] != "list":
        return encode(envelope if store.switches["empty_list"] == "omitted" else {"records": None, **envelope})
    return b'{"records":[' + b",".join(shown) + b"]," + encode(envelope)[1:]


def _check(body: dict[str, Json]) -> None:
    for name, value in body.items():
        if name not in _TYPES:
            raise Refused(400, f"Unknown search parameter {name}")
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            raise Refused(400, f"{name} has the wrong type")
    if body.get("count", 1) < 0 or body.get("start", 0) < 0:
        raise Refused(400, "count and start are not negative")
    for wanted in ("search_fields", "include_fields"):
        if not all(isinstance(name, str) for name in body.get(wanted, [])):
            raise Refused(400, f"{wanted} is a list of field API names")
    for one in body.get("filters", []):
        if not isinstance(one, dict) or set(one) - {"target", "operation", "value"}:
            raise Refused(400, "a filter has a target, an operation and a value")
        if not isinstance(one.get("target"), str) or not isinstance(one.get("operation"), str):
            raise Refused(400, "target and operation of a filter are text")


def _matching(store: Store, target: Object, body: dict[str, Json]) -> list[str]:
    """The sids that match, in the order asked for."""
    order, filters = body.get("order_by"), [f for f in body.get("filters", []) if _applies(store, f)]
    if order is not None and store.switches["order_by"] == "refused":
        raise Refused(400, f"Cannot order by {order}")
    plain = store.switches["gt"] == "works" and store.switches["order_by"] == "ascending"
    if plain and order == "sid" and not body.get("search") and all(_after_sid(f) for f in filters):  # the hot path
        return target.sids[bisect_right(target.sids, max(f["value"] for f in filters)) :] if filters else target.sids
    found: Iterable[str] = target.records
    if filters:
        exact = [f for f in filters if f["operation"] == "eq" and type(f.get("value")) in (str, int, Decimal)]
        if exact and store.switches["eq"] == "exact" and store.switches["filter_join"] == "and":
            found = target.with_value(exact[0]["target"], exact[0]["value"])
        joins = all if store.switches["filter_join"] == "and" else any
        found = [sid for sid in found if joins(_passes(store, _value(target, sid, f["target"]), f) for f in filters)]
    if body.get("search"):
        words, fields = body["search"].casefold(), body.get("search_fields") or list(target.fields)
        found = [sid for sid in found if any(words in str(target.records[sid].get(name, "")).casefold() for name in fields)]
    return _ordered(store, target, list(found), order)


def _ordered(store: Store, target: Object, found: list[str], order: str | None) -> list[str]:
    mode = store.switches["order_by"]
    if order is None or mode == "ignored":
        if store.switches["unordered"] == "shuffled":
            store.rng.shuffle(found)
        return found

    def rank(sid: str) -> tuple[bool, str, Json]:
        value = _value(target, sid, order)
        if isinstance(value, str):
            return False, "text", value.casefold() if mode == "case_insensitive" else value
        return (
            value is None,
            "value" if isinstance(value, list | dict) else "number",
            str(value) if isinstance(value, list | dict) else value,
        )

    return sorted(found, key=rank, reverse=mode == "descending")


def _after_sid(one: dict[str, Json]) -> bool:
    return one["target"] == "sid" and one["operation"] == "gt" and isinstance(one.get("value"), str)


def _value(target: Object, sid: str, name: str) -> Json:
    return sid if name == "sid" else target.records[sid].get(name)


def _applies(store: Store, one: dict[str, Json]) -> bool:
    """Whether this filter is looked at. Raises Refused where the switches say that it is refused."""
    operation = one["operation"]
    if operation not in _OPERATORS:
        if store.switches["unknown_operator"] == "refused":
            raise Refused(400, f"Unknown operation {operation}")
        return False
    mode = store.switches.get("gt" if operation in ("gt", "lt") else operation, "works")
    if mode == "refused":
        raise Refused(400, f"Operation {operation} is not supported")
    return mode != "ignored"


def _passes(store: Store, value: Json, one: dict[str, Json]) -> bool:
    operation, bound = one["operation"], one.get("value")
    if operation in ("eq", "neq"):
        return _equal(store.switches["eq"], value, bound) is (operation == "eq")
    if operation == "contains":
        return (isinstance(value, str) and str(bound) in value) or (isinstance(value, list) and bound in value)
    mode = store.switches["gt"]
    if mode == "numeric":
        value, bound = comparable(value), comparable(bound)
    elif mode == "case_insensitive" and isinstance(value, str) and isinstance(bound, str):
        value, bound = value.casefold(), bound.casefold()
    elif mode == "days" and isinstance(value, str) and isinstance(bound, str):
        value, bound = value[:10], bound[:10]
    if value is None or bound is None or isinstance(value, str) is not isinstance(bound, str):
        return False
    if mode == "gte" and value == bound:
        return True
    return bool(value > bound) if operation == "gt" else bool(value < bound)


def _equal(mode: str, value: Json, bound: Json) -> bool:
    if mode == "never":
        return False
    if mode == "case_insensitive" and isinstance(value, str) and isinstance(bound, str):
        return value.casefold() == bound.casefold()
    return bool(value == bound) and isinstance(value, bool) is isinstance(bound, bool)


def _total(store: Store, matches: int, page: int, whole: int) -> int | None:
    mode = store.switches["total"]
    lies = {"absent": None, "page": page, "plus5": matches + 5, "minus5": max(0, matches - 5), "whole": whole, "capped": min(matches, 100)}
    return lies.get(mode, matches)


def _csv(records: list[dict[str, Json]]) -> bytes:
    columns = list(dict.fromkeys(name for record in records for name in record))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for record in records:
        writer.writerow([_cell(record.get(name)) for name in columns])
    return out.getvalue().encode()


def _cell(value: Json) -> str:
    """A value in CSV: null and "" are the same, nested values are JSON text."""
    return "" if value is None else encode(value).decode() if isinstance(value, list | dict) else str(value)
