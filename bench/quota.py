"""Using a platform's quota: our sender against a naive concurrent client and a sequential one, at several latencies.

    python -m bench.quota [--seconds 12] [--latency-ms 0 50 200]

The platform allows 10 requests/s with a burst of 10, answers 429 with Retry-After otherwise, and runs in a process of
its own. Every reader has a quota of its own there, so that all of them run at the same time (interleaved, under the same noise) without
touching each other's. What is counted is the platform's own log: requests taken of those it would have taken, and 429s.
`crossdock, unset` knows no rate_limit and learns it; its first seconds are counted like all others.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable

PER_S, BURST = 10.0, 10.0
CLIENTS = ("crossdock", "crossdock, unset", "naive, 8 at once", "sequential")


async def serve(latency_s: float, port: int) -> None:
    """The platform: one bucket for each value of x-key; GET /log tells what it did."""
    buckets: dict[str, dict[str, float]] = {}

    def take(key: str) -> bytes:
        now = time.monotonic()
        bucket = buckets.setdefault(key, {"tokens": BURST, "at": now, "first": now, "taken": 0, "refused": 0, "refused_first_s": -1})
        bucket["tokens"] = min(BURST, bucket["tokens"] + (now - bucket["at"]) * PER_S)
        bucket["at"] = now
        if bucket["tokens"] >= 1:
            bucket["tokens"] -= 1
            bucket["taken"] += 1
            return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"
        bucket["refused"] += 1
        return b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                if head.startswith("get /log"):
                    body = json.dumps(buckets).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                    continue
                key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("x-key"))
                answer = take(key)
                if latency_s:
                    await asyncio.sleep(latency_s)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def crossdock(url: str, key: str, until_s: float, rate_limit: str | None) -> None:
    """Eight threads over one sender."""
    from connectors.base import Delivery, Operation
    from connectors.http import Request, Sender
    from connectors.settings import ConnectionSettings, Ports, Secret
    from pipelines.ports import SystemClock, SystemRng

    settings = ConnectionSettings(connector="bench", base_url=url, rate_limit=rate_limit, concurrency=8)
    sender = Sender(settings, Ports(SystemClock(), SystemRng()), auth={"x-key": Secret(key)})
    request = Request(Operation("get", "GET", "/", Delivery.READ, "", ""), "/")

    def work() -> None:
        while time.monotonic() < until_s:
            sender.send(request)

    _together(work, 8)
    sender.close()


def plain(url: str, key: str, until_s: float, at_once: int) -> None:
    """httpx in threads, each waiting as it is told after a 429, alone."""
    import httpx

    with httpx.Client(trust_env=False, headers={"x-key": key}) as client:

        def work() -> None:
            while time.monotonic() < until_s:
                answer = client.get(url)
                if answer.status_code == 429:
                    time.sleep(float(answer.headers["retry-after"]))

        _together(work, at_once)


def _together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(client: str, url: str, until_s: float) -> None:
    """One client until that time of the monotonic clock."""
    key = CLIENTS.index(client)
    if client.startswith("crossdock"):
        crossdock(url, str(key), until_s, "10/s" if client == "crossdock" else None)
    else:
        plain(url, str(key), until_s, 8 if "naive" in client else 1)


def measure(latency_ms: int, duration_s: float) -> dict[str, dict[str, float]]:
    """The platform's log after all clients ran at once, each in a process of its own."""
    import httpx

    me = [sys.executable, "-m", "bench.quota"]
    server = subprocess.Popen([*me, "--serve", str(latency_ms)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        until_s = time.monotonic() + 3.0 + duration_s  # three seconds to start
        clients = [subprocess.Popen([*me, "--client", client, url, str(until_s)]) for client in CLIENTS]
        for client in clients:
            client.wait(duration_s + 120)
        log: dict[str, dict[str, float]] = httpx.get(f"{url}/log", trust_env=False).json()
        return {CLIENTS[int(key)]: found for key, found in log.items()}
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--latency-ms", type=int, nargs="+", default=[0, 50, 200])
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve / 1000, 0))
    elif given.client:
        run(given.client[0], given.client[1], float(given.client[2]))
    else:
        print("latency   client              quota used   taken   429s")
        for latency_ms in given.latency_ms:
            found = measure(latency_ms, given.seconds)
            for client in CLIENTS:
                log = found[client]
                could = PER_S * (log["at"] - log["first"]) + BURST
                print(f"{latency_ms:>4} ms   {client:<18} {log['taken'] / could:>11.1%} {log['taken']:>7.0f} {log['refused']:>6.0f}")


if __name__ == "__main__":
    main()
