"""Serve precomputed pages of Stacker's search, so fast that whoever reads them is what is measured.

Raw asyncio, keep-alive, one write per answer; the pages of 1,000 records (12 flat fields, about 340 bytes each) are
made before the first request. `POST …/search/` understands `start` and `sid gt`; `GET /records/?start=&count=`
gives the same pages to readers that cannot POST. Prints its port once it is ready.
"""

import argparse
import asyncio
import json
import random
from urllib.parse import parse_qs, urlsplit

PAGE = 1_000
OBJECTS = b'{"objects":[{"sid":"obj_contacts","name":"Contacts","api_name":"contacts"}]}'


def pages(count: int) -> list[bytes]:
    """The record lists, without their envelope. Page numbers are patched into one of eight drawn pages."""
    templates = [json.dumps([_record(n, number) for n in range(PAGE)], ensure_ascii=False, separators=(",", ":")) for number in range(8)]
    encoded = [template.encode() for template in templates]
    return [encoded[page % 8].replace(b"@@@@@", b"%05d" % page) for page in range(count // PAGE)]


def _record(n: int, seed: int) -> dict[str, object]:
    rng = random.Random(seed * PAGE + n)
    first, last = rng.choice(["Ada", "Grace", "Zoë", "Søren", "李"]), rng.choice(["Lovelace", "Hopper", "Müller", "Kierkegaard"])
    return {
        "sid": f"rec_@@@@@{n:03d}",
        "first_name": first,
        "last_name": last,
        "email": f"contact.@@@@@{n:03d}@example.com",
        "company_sid": f"rec_company_{rng.randrange(20_000):06d}",
        "status": rng.choice(["active", "archived", "lead"]),
        "score": rng.randrange(100),
        "lifetime_value": round(rng.random() * 10_000, 2),
        "subscribed": rng.random() < 0.6,
        "created_at": f"2024-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T08:{rng.randrange(60):02d}:00Z",
        "updated_at": f"2025-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T12:{rng.randrange(60):02d}:{rng.randrange(60):02d}Z",
        "notes": rng.choice([None, "called twice, prefers mail", f"{first} asked for a quote; send it before the end of the week"]),
    }


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self, lists: list[bytes]) -> None:
        self._lists = lists
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, rest = self._received[:end], self._received[end + 4 :]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            self._received = rest[length:]
            self._answer(head.split(b" ", 2)[1].decode(), rest[:length])

    def _answer(self, target: str, body: bytes) -> None:
        path = urlsplit(target)
        if path.path.endswith("/objects/"):
            parts = [OBJECTS]
        else:
            asked = json.loads(body) if body else {key: values[0] for key, values in parse_qs(path.query).items()}
            parts = self._search(asked)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % sum(map(len, parts))
        self._transport.writelines([head, *parts])  # type: ignore[attr-defined]

    def _search(self, asked: dict[str, object]) -> list[bytes]:
        start = int(asked.get("start", 0))  # type: ignore[call-overload]
        for wanted in asked.get("filters", ()):  # type: ignore[attr-defined]
            start = int(wanted["value"].removeprefix("rec_")) + 1
        total = len(self._lists) * PAGE
        records = self._lists[start // PAGE] if start < total else b"[]"
        return [b'{"records":', records, b',"total":%d,"count":%d,"start":%d}' % (total, PAGE if start < total else 0, start)]


async def serve(count: int) -> None:
    """Listen on a free port of this machine until killed."""
    lists = pages(count)
    server = await asyncio.get_running_loop().create_server(lambda: Server(lists), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=250_000)
    asyncio.run(serve(parser.parse_args().records))
