"""What may go wrong with one request, as data: whether it takes effect, when, and what comes back."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import httpx

Kind = Literal["read", "create", "update", "delete", "meta"]
Effect = Literal["none", "all", "late", "part", "unsent"]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
Answering = Callable[["Trouble"], Answer]

WRITES: tuple[Kind, ...] = ("create", "update", "delete")
READS: tuple[Kind, ...] = ("read", "meta")
EVERY: tuple[Kind, ...] = (*READS, *WRITES)
JSON = [(b"content-type", b"application/json")]


@dataclass(frozen=True)
class Fault:
    """`effect`: what the platform does all the same. `answer` makes what comes back; None: the true answer.

    `breaks`: the exception instead of any answer, after `waits` timeouts. `several`: only calls of two or more records.
    `answered`: whether what comes back tells truly what was done.
    """

    name: str
    kinds: tuple[Kind, ...]
    effect: Effect
    answer: Answering | None = None
    breaks: type[httpx.TransportError] | None = None
    waits: bool = False
    several: bool = False
    answered: bool = False
    weight: float = 1.0


@dataclass(frozen=True)
class Trouble:
    """What an answer is made from: the true answer (None where nothing was done), chance, the wall clock, the record count.

    `hidden`: beginnings of the match keys that a read may keep to itself.
    """

    true: Answer | None
    rng: random.Random
    now: datetime
    count: int
    hidden: tuple[str, ...] = ()


def _status(status: int, words: str = "It went wrong", **headers: str) -> Answering:
    head = [*JSON, *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())]
    return lambda trouble: (status, head, json.dumps({"message": words}).encode())


def _busy(spell: Callable[[Trouble], str]) -> Answering:
    return lambda trouble: (429, [*JSON, (b"retry-after", spell(trouble).encode())], b'{"message":"Too many requests"}')


def _html(trouble: Trouble) -> Answer:
    return 200, [(b"content-type", b"text/html")], b"<html><body>Maintenance</body></html>"


def _cut(trouble: Trouble) -> Answer:
    status, headers, body = trouble.true or (200, JSON, b'[{"id":1}]')
    return status, headers, body[: len(body) * 2 // 3] if len(body) > 2 else b"["


def _nothing(trouble: Trouble) -> Answer:
    return 204, [], b""


def _failed(trouble: Trouble) -> Answer:
    return 200, JSON, b'{"success":false,"error":"Something went wrong"}'


def _fewer(trouble: Trouble) -> Answer:
    """The true answer to a write without one of its records."""
    status, _, body = trouble.true or (200, JSON, b"[]")
    told = json.loads(body) if body else []
    if isinstance(told, dict):
        for value in told.values():
            if isinstance(value, list) and value:
                del value[trouble.rng.randrange(len(value))]
    elif isinstance(told, list) and told:
        del told[trouble.rng.randrange(len(told))]
    return status, JSON, json.dumps(told).encode()


def _listed(body: bytes) -> tuple[Any, list[Any] | None]:
    told = json.loads(body) if body else []
    if isinstance(told, list):
        return told, told
    if isinstance(told, dict):
        for name in ("records", "data"):
            if isinstance(told.get(name), list):
                return told, told[name]
    return told, None


def _emptied(trouble: Trouble) -> Answer:
    """A list that is empty once, total and all."""
    status, _, body = trouble.true or (200, JSON, b"[]")
    told, held = _listed(body)
    if held is not None:
        del held[:]
        if isinstance(told, dict):
            told.update({name: 0 for name in ("total", "count") if name in told})
    return status, JSON, json.dumps(told).encode()


def _shrunk(trouble: Trouble) -> Answer:
    """60 % of a page, its total as it was."""
    status, _, body = trouble.true or (200, JSON, b"[]")
    told, held = _listed(body)
    if held:
        del held[max(1, len(held) * 6 // 10) :]
    return status, JSON, json.dumps(told).encode()


def _hidden(trouble: Trouble) -> Answer:
    """A page without certain records, its total as it was."""
    status, _, body = trouble.true or (200, JSON, b"[]")
    told, held = _listed(body)
    if held:
        held[:] = [row for row in held if not str(row.get("email")).strip().lower().startswith(trouble.hidden)]
    return status, JSON, json.dumps(told).encode()


FAULTS: tuple[Fault, ...] = (
    Fault("dns", EVERY, "unsent", breaks=httpx.ConnectError),
    Fault("connect timeout", EVERY, "unsent", breaks=httpx.ConnectTimeout),
    Fault("reset before", EVERY, "none", breaks=httpx.WriteError),
    Fault("timeout, lost", EVERY, "none", breaks=httpx.ReadTimeout, waits=True, weight=2),
    Fault("timeout, applied", WRITES, "all", breaks=httpx.ReadTimeout, waits=True, weight=3),
    Fault("timeout, applied late", WRITES, "late", breaks=httpx.ReadTimeout, waits=True, weight=3),
    Fault("reset, applied", WRITES, "all", breaks=httpx.ReadError, weight=2),
    Fault("reset, applied late", WRITES, "late", breaks=httpx.ReadError, weight=2),
    Fault("500 before", EVERY, "none", _status(500)),
    Fault("500 after", WRITES, "all", _status(500), weight=2),
    Fault("502, applied late", WRITES, "late", _status(502)),
    Fault("503", EVERY, "none", _status(503)),
    Fault("503 asking to wait", EVERY, "none", _status(503, retry_after="7")),
    Fault("429 in seconds", EVERY, "none", _busy(lambda t: str(t.rng.choice((1, 5, 30)))), answered=True),
    Fault("429 as a date", EVERY, "none", _busy(lambda t: format_datetime(t.now + timedelta(seconds=20), usegmt=True)), answered=True),
    Fault("429 with garbage", EVERY, "none", _busy(lambda t: "soon-ish"), answered=True),
    Fault("429 for ten years", EVERY, "none", _busy(lambda t: "315360000"), answered=True, weight=0.3),
    Fault("html instead, lost", EVERY, "none", _html),
    Fault("html instead, applied", WRITES, "all", _html),
    Fault("cut", EVERY, "all", _cut, weight=2),
    Fault("204, lost", WRITES, "none", _nothing),
    Fault("204, applied", WRITES, "all", _nothing),
    Fault("204 to a read", READS, "none", _nothing),
    Fault("200 with an error, applied", WRITES, "all", _failed),
    Fault("200 with an error, lost", EVERY, "none", _failed),
    Fault("redirect", EVERY, "none", _status(302, location="https://elsewhere.example/"), weight=0.3),
    Fault("401", EVERY, "none", _status(401, "Invalid token"), answered=True, weight=0.3),
    Fault("404", ("update",), "none", _status(404, "Record not found"), answered=True),
    Fault("409", WRITES, "none", _status(409, "In conflict"), answered=True, weight=3),
    Fault("422", WRITES, "none", _status(422, "Not valid"), answered=True, weight=3),
    Fault("413", ("create",), "none", _status(413, "Too large"), several=True, answered=True),
    Fault("part of it, then 400", ("create",), "part", _status(400, "Not valid"), several=True, weight=2),
    Fault("part of it, then 500", ("create",), "part", _status(500), several=True, weight=2),
    Fault("part of it, then a reset", ("create",), "part", breaks=httpx.ReadError, several=True),
    Fault("count lies", ("create",), "all", _fewer, several=True),
    Fault("empty once", ("read",), "all", _emptied),
    Fault("60 % of a page", ("read",), "all", _shrunk),
    Fault("the page before again", ("read",), "all", weight=1),
    Fault("records hidden", ("read",), "all", _hidden, weight=0),
)
"""`cut` of a 204 is a 204. `the page before again` is answered by the wire, which knows what that page was. `records hidden` is never
drawn: some scenarios have it."""

BY_NAME = {fault.name: fault for fault in FAULTS}
QUIET_LIES = frozenset(
    {"empty once", "60 % of a page", "the page before again", "records hidden"}
)  # nothing in the answer itself gives them away


def draw(rng: random.Random, kind: Kind, count: int, without: frozenset[str]) -> Fault:
    """One fault that a request of this kind can meet."""
    possible = [fault for fault in FAULTS if kind in fault.kinds and (count > 1 or not fault.several) and fault.name not in without]
    return rng.choices(possible, [fault.weight for fault in possible])[0]
