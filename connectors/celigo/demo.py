"""Demo data of the Celigo emulator, the same for the same seed. Pure, standard library only.

A business that runs its own hooks on servers and its transformations on AWS Lambda. Two of its stacks
share a name, which Celigo allows; some are used by flows and imports.
"""

import random
from hashlib import sha256
from typing import Any

_SERVERS: tuple[tuple[str, str, list[str] | None], ...] = (
    ("Order hooks", "https://hooks.harbour.example/orders", ["203.0.113.0/24"]),
    ("Größenprüfung 🚲", "https://hooks.harbour.example/größe", None),
    ("Order hooks", "https://hooks-old.harbour.example/orders", []),
    ("倉庫フック", "https://kaze.example/hooks", ["198.51.100.7", "2001:db8::/32"]),
)
_LAMBDAS: tuple[tuple[str, str, str, str], ...] = (
    ("Invoice splitter", "invoice-splitter", "us-east-1", "Node.js"),
    ("Address cleaner", "arn:aws:lambda:eu-central-1:123456789012:function:addresses", "eu-central-1", "Java"),
    ("Order hooks", "order-hooks", "us-west-2", "C#"),
)
_USERS = (("flows", "Orders → ERP"), ("imports", "Post invoices"), ("exports", "Größen lesen"), ("flows", "夜間同期"))


def key_pair(number: int) -> tuple[str, str]:
    """An access key id and its secret, for every lambda stack of that number the same."""
    return f"AKIDEXAMPLE-{number % 3}", f"demo-secret-of-nobody-{number % 3}"


def demo(seed: int, *, servers: int, lambdas: int) -> list[dict[str, Any]]:
    """Stacks as they were created, secrets included, without ids."""
    rng = random.Random(f"{seed}/stacks")  # noqa: S311
    return [_server(n, rng) for n in range(servers)] + [_lambda(n, rng) for n in range(lambdas)]


def users(seed: int, count: int) -> list[dict[str, list[dict[str, Any]]]]:
    """What depends on each of `count` stacks: on most of them nothing."""
    rng = random.Random(f"{seed}/users")  # noqa: S311
    found: list[dict[str, list[dict[str, Any]]]] = []
    for n in range(count):
        uses: dict[str, list[dict[str, Any]]] = {}
        for kind, name in rng.sample(_USERS, k=rng.choice((0, 0, 1, 3))):
            uses.setdefault(kind, []).append(user(f"{seed}/{n}/{kind}/{name}", name))
        found.append(uses)
    return found


def user(user_id: str, name: str) -> dict[str, Any]:
    """One resource that uses a stack, as the platform lists it."""
    return {
        "id": sha256(user_id.encode()).hexdigest()[:24],
        "name": name,
        "paths": ["hooks.preSavePage._stackId"],
        "accessLevel": "owner",
        "dependencyIds": {"stacks": []},
    }


def _server(n: int, rng: random.Random) -> dict[str, Any]:
    if n < len(_SERVERS):
        name, uri, ranges = _SERVERS[n]
    else:
        name, uri, ranges = f"Hook server {n}", f"https://hook-{n:05d}.example/v1", [f"192.0.2.{n % 256}"]
    server: dict[str, Any] = {"hostURI": uri} if ranges is None else {"hostURI": uri, "ipRanges": ranges}
    framework = {"framework": "twoDotZero"} if rng.random() < 0.5 else {}
    return {"name": name, "type": "server", **framework, "server": server}


def _lambda(n: int, rng: random.Random) -> dict[str, Any]:
    if n < len(_LAMBDAS):
        name, function, region, language = _LAMBDAS[n]
    else:
        name, function, region, language = f"Function {n}", f"function-{n:05d}", rng.choice(("us-east-1", "eu-west-1")), "Other"
    key, secret = key_pair(n)
    config = {"accessKeyId": key, "secretAccessKey": secret, "awsRegion": region, "functionName": function, "language": language}
    return {"name": name, "type": "lambda", "framework": "twoDotZero", "lambda": config}
