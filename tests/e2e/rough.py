"""A platform on a bad day: it applies writes and then drops, spoils or cuts their answers, and asks everyone to stay away in bursts.

An ASGI layer around an emulator. Which write meets which fate depends only on how many came before it. `python -m bench.rough`
takes 20,000 records through it, the tests some hundreds.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.base import Clock, Record
from pipelines.summary import Summary
from tests.clock import FakeClock
from tests.e2e.world import World, world

DROPPED, FAILED, CUT = 20, 33, 47  # every so many writes: done, and then no answer; 500; half an answer
CALLERS = 4
_WRITTEN_BY_POST = ("/records/", "/bulk-records/")  # any other POST of these platforms reads


class Rough:
    """Every `burst` writes one comes too soon, and for `wait_s` so does everyone: 429. `fates` counts what became of the requests.

    `early` counts the requests of a burst beyond those that its callers can have had under way when the first was told to wait.
    """

    def __init__(self, app: Any, clock: Clock, *, burst: int, wait_s: int) -> None:
        self._app, self.clock, self._burst, self._wait_s = app, clock, burst, wait_s
        self.fates: Counter[str] = Counter()
        self.early = 0
        self._bursts = self._told = 0
        self._until_s = -math.inf

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if (left_s := self._until_s - self.clock.monotonic()) > 0:
            self.early += self._told >= CALLERS
            await self._refuse(send, left_s)
        elif scope["method"] == "GET" or (scope["method"] == "POST" and not scope["path"].endswith(_WRITTEN_BY_POST)):
            await self._app(scope, receive, send)
        elif self.done >= self._burst * (self._bursts + 1):
            self._bursts, self._told = self._bursts + 1, 0
            self._until_s = self.clock.monotonic() + self._wait_s
            await self._refuse(send, self._wait_s)
        else:
            await self._write(scope, receive, send)

    @property
    def done(self) -> int:
        """How many writes were applied."""
        return self.fates.total() - self.fates["429"]

    async def _refuse(self, send: Any, left_s: float) -> None:
        self.fates["429"] += 1
        self._told += 1
        await _answer(send, 429, (b"retry-after", str(math.ceil(left_s)).encode()))

    async def _write(self, scope: Any, receive: Any, send: Any) -> None:
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        number = self.done + 1
        fate = "dropped" if number % DROPPED == 0 else "failed" if number % FAILED == 0 else "cut" if number % CUT == 0 else "answered"
        self.fates[fate] += 1
        await self._app(scope, receive, keep)  # whatever follows, it is done
        if fate == "failed":
            return await _answer(send, 500)
        if fate == "dropped":
            return await _hang_up(send)
        if fate == "answered":
            for message in messages:
                await send(message)
            return None
        body = b"".join(message.get("body", b"") for message in messages)
        await send(messages[0])
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await _hang_up(send)


async def _answer(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _hang_up(send: Any) -> None:
    send.__self__.transport.close()
    await asyncio.sleep(0.001)  # until the server has noticed, which would else answer 500


@contextmanager
def rough_world(home: Path, clock: FakeClock, *, burst: int, wait_s: int) -> Iterator[tuple[World, Rough, Rough]]:
    """Two platforms on a bad day, and their layers: Stacker's and Robostack's."""
    layers: list[Rough] = []

    def around(app: Any) -> Rough:
        layers.append(Rough(app, clock, burst=burst, wait_s=wait_s))
        return layers[-1]

    with world(home, around=around, clock=clock) as made:
        made.configure("here", concurrency=CALLERS)
        made.configure("there", concurrency=CALLERS, result_cap="none")
        yield made, layers[0], layers[1]


def create_in_bulk(made: World, count: int, batch: int) -> list[str]:
    """Robostack's people become Stacker's contacts, `batch` in one call; gives what is wrong afterwards."""
    made.put_people(*(_record(n) for n in range(count)))
    spec = made.spec(**{"name": "bulk", "from": "there.people", "to": "here.contacts", "fields": None, "writes": {"batch": batch}})
    summary = made.run(spec)
    kept = made.stacker.objects["contacts"]
    found = _wrong(summary, count, created=count) + _unlike(made.contacts().values(), count)
    return [*found, *([f"{kept.made} records were made"] if kept.made != count else []), *_verified(made, spec, count)]


def update_one_by_one(made: World, count: int) -> list[str]:
    """Stacker's contacts over older people of Robostack; gives what is wrong afterwards."""
    made.put_contacts(*(_record(n) for n in range(count)))
    made.put_people(*({**_record(n), "name": "older"} for n in range(count)))
    spec = made.spec(name="single")
    summary = made.run(spec)
    return [*_wrong(summary, count, updated=count), *_unlike(made.people(), count), *_verified(made, spec, count)]


def delete_one_by_one(made: World, count: int) -> list[str]:
    """Everything but the first contact leaves the source of a mirror; gives what is wrong afterwards."""
    made.put_contacts(*(_record(n) for n in range(count)))
    made.put_people()
    spec = made.spec(name="mirror", mode="mirror", deletes={"max_count": count, "max_share": 1.0})
    made.run(spec)
    made.put_contacts(_record(0))
    summary = made.run(spec)
    return [*_wrong(summary, 1, deleted=count - 1, unchanged=1), *_unlike(made.people(), 1), *_verified(made, spec, 1)]


def _record(number: int) -> Record:
    return {"email": f"c{number}@example.com", "name": f"Zoë {number} 🚲", "score": number}


def _wrong(summary: Summary, count: int, **outcomes: int) -> list[str]:
    """What the summary says otherwise than it should; that its outcomes add up the run itself has checked."""
    wanted = {"status": "ok", "read": count, "differences": 0, "quarantined": 0, "unknown": 0, "rejected": 0, **outcomes}
    return [f"{name} is {found}, not {value}" for name, value in wanted.items() if (found := getattr(summary, name)) != value]


def _unlike(records: Any, count: int) -> list[str]:
    """How what the sink's own store holds is unlike the records that were to be there, once each."""
    held = sorted((str(one["email"]), str(one["name"]), int(str(one["score"]))) for one in records)
    wanted = sorted((str(one["email"]), str(one["name"]), int(str(one["score"]))) for one in map(_record, range(count)))
    return [] if held == wanted else [f"the store holds {len(held)} records, {len(set(held) & set(wanted))} of {count} as they should be"]


def _verified(made: World, spec: Any, count: int) -> list[str]:
    """What a look at both sides finds to do, and what a second run wrote."""
    again = made.run(spec)
    return _wrong(again, count, unchanged=count, differences=None) + (["a second run wrote"] if again.requests["sink"]["write"] else [])
