"""What lies behind each connection: its grants and its health, asked for one connection at a time, several at once."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from connectors.base import Completeness, JsonValue, Page, Record
from connectors.errors import RefusedError
from connectors.stack_ai.answers import CONNECTION_IDS, id_in
from connectors.stack_ai.client import StackAiClient
from connectors.stack_ai.grants import grants_in
from connectors.stack_ai.settings import StackAiSettings

__all__ = ["Behind", "Found"]


@dataclass(frozen=True)
class Found:
    """What one connection gave. `trouble`: why it gave nothing. `role_told`: whether the organization's role was spoken of."""

    records: list[Record] = field(default_factory=list)
    trouble: str = ""
    role_told: bool = False


class Behind:
    """Reads the child streams of given connections."""

    def __init__(self, client: StackAiClient, settings: StackAiSettings) -> None:
        self._client, self._settings = client, settings

    def grants(self, key: str, shown: Record | None) -> Found:
        """Who may use a connection. `shown` is the connection as the list shows it; None: it is asked for where that is needed."""
        organization = self._settings.organization_subject
        answer = self._client.get_connection_rbac(key)
        found = grants_in(answer, key, organization, shown or {})
        if shown is None and not found.organization_told and self._settings.organization_roles != "hidden":
            one = self._client.get_connection(key)
            found = grants_in(answer, key, organization, one if isinstance(one, dict) else {})
        return Found(found.records, role_told=found.organization_told)

    def health(self, key: str, shown: Record | None) -> Found:
        """One record: what the platform says of a connection's health, and the status it said it with."""
        try:
            told = self._client.get_connection_health(key)
        except RefusedError as error:
            if error.status == 404:
                raise
            return Found([{"connection_id": key, "http_status": error.status, "health": error.words or None}])
        said: dict[str, JsonValue] = dict(told) if isinstance(told, dict) else {"health": told}
        return Found([{**said, "connection_id": key, "http_status": 200}])

    def read(
        self, ask: Callable[[str, Record | None], Found], among: Sequence[tuple[str, Record | None]], proof: Completeness, what: str
    ) -> Generator[Page, None, Completeness]:
        """One page for each connection that has any. `proof` is what is known of the connections themselves."""
        troubles: list[str] = []
        count, told = 0, False
        for found in self._asked(ask, among):
            told |= found.role_told
            if found.trouble:
                troubles.append(found.trouble)
            if found.records:
                count += len(found.records)
                yield Page(found.records, len(found.records))
        unsure = []
        if what == "grants" and among and not told and self._settings.organization_roles == "auto":
            unsure = ["no answer tells the organization's role, which may be hidden: set organization_roles to hidden if that is so"]
        return replace(
            proof,
            complete=proof.complete and not troubles and not unsure,
            reasons=(f"{count:,} {what} came from {len(among):,} connections", *troubles[:10], *unsure, *proof.reasons),
            count=count,
            total=None,
            requests=proof.requests + len(among),
            doubts=(*troubles[:10], *proof.doubts),
        )

    def _asked(self, ask: Callable[[str, Record | None], Found], among: Sequence[tuple[str, Record | None]]) -> Iterator[Found]:
        def one(target: tuple[str, Record | None]) -> Found:
            try:
                return ask(*target)
            except RefusedError as error:
                if error.status == 404:
                    return Found(trouble=f"connection {target[0]} vanished while it was read")
                said = f" ({error.words})" if error.words else ""
                return Found(trouble=f"connection {target[0]} refused with status {error.status}{said}; name the others in connection_ids")

        size = 4 * self._settings.concurrency  # a reader that stops early leaves little behind
        with ThreadPoolExecutor(self._settings.concurrency, "stack-ai-read") as pool:
            for start in range(0, len(among), size):
                yield from pool.map(one, among[start : start + size])


def connection_id(record: Record, at: str | None) -> str:
    """The id of a connection that an answer shows. Raises ContractError."""
    return id_in(record, at, CONNECTION_IDS, "a connection")
