"""Celigo's emulator as the connector suite wants it, with stacks of ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from connectors.base import Record
from connectors.celigo import CONNECTOR
from connectors.celigo.emulator_store import Store

FIELDS = (
    *("_id", "name", "type", "framework", "createdAt", "lastModified"),
    *("server.hostURI", "server.ipRanges"),
    *("lambda.accessKeyId", "lambda.awsRegion", "lambda.functionName", "lambda.language"),
)
KEY_ID, SECRET = "AKIACANARY", "canary-aws-secret-51d0"


def flat(stack: Mapping[str, Any]) -> Record:
    """A stack as the platform shows it, the way the connector gives it: every documented field, no secret."""
    record: Record = {}
    for name in FIELDS:
        config, _, inner = name.rpartition(".")
        record[name] = (stack.get(config) or {}).get(inner) if config else stack.get(inner)
    record["endpoint"] = record["server.hostURI"] if stack["type"] == "server" else record["lambda.functionName"]
    return record


class CeligoPlatform:
    """An account that holds what a test puts there. `kind` is the type of its stacks."""

    connector = CONNECTOR
    stream = "stacks"
    key = "name"

    def __init__(self, base_url: str, store: Store, kind: str = "server", *, empty: bool = True) -> None:
        self.refused: Mapping[str, Any] = {"token": "canary-wrong-token"}
        self.secrets: Sequence[str] = ("canary-token-77b2", SECRET)
        self.settings: Mapping[str, Any] = {
            "connector": "celigo",
            "base_url": base_url,
            "token": self.secrets[0],
            "secret_access_keys": {KEY_ID: SECRET},
        }
        self.store, self.kind = store, kind
        store.token = self.secrets[0]
        if empty:
            self.fill(0)

    def fill(self, count: int) -> None:
        self.store.clear()
        for n in range(count):
            self.put(self.values(-1 - n))

    def put(self, values: Record) -> str:
        """Another user makes a stack of these flat fields, its secret with it."""
        config = {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{self.kind}.")}
        if self.kind == "lambda":
            config["secretAccessKey"] = SECRET
        made = self.store.create({"name": values["name"], "type": self.kind, "framework": "twoDotZero", self.kind: config})
        return str(made["_id"])

    def records(self) -> list[Record]:
        return [flat(self.store.shown(stack)) for stack in self.store.stacks.values()]

    def values(self, n: int) -> Record:
        if self.kind == "lambda":
            config = {"lambda.language": "Java" if n < 0 else "C#", "lambda.awsRegion": "eu-west-1", "lambda.accessKeyId": KEY_ID}
            return {"name": f"Größe {n} 🚲", "type": "lambda", "framework": "twoDotZero", **config, "lambda.functionName": f"f-{n}"}
        uri = f"https://hooks.example/{n}"
        ranges: Any = [f"192.0.2.{n % 256}", "2001:db8::/32"]
        return {"name": f"P{n} 🚲", "type": "server", "framework": "twoDotZero", "server.ipRanges": ranges, "server.hostURI": uri}

    def insert(self) -> None:
        self.put({**self.values(0), "name": f"new {self.store.rng.random()}"})

    def remove(self) -> None:
        self.store.remove(self.store.rng.choice(list(self.store.stacks)))

    def before_each_read(self, happens: Callable[[], None]) -> None:
        self.store.before_list = happens
