"""Stacker's documented operations, one function each, in the platform's own JSON.

`object_sid` is whatever names the object in a path (see the setting `path_id`). Every path ends in a
slash. Errors are those of `Sender.send`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors import jsontext
from connectors.base import JsonValue, Record
from connectors.errors import ConfigError, ContractError
from connectors.http import ABSENT, Answer, Request, Sender
from connectors.settings import Ports
from connectors.stacker.operations import OPERATION
from connectors.stacker.settings import StackerSettings

_CREATED = frozenset({200, 201})  # the documents say 200 of some and 201 of others; what came tells
_DONE = frozenset({200, 201, 202, 204})  # any success says that it was done, or will be
_REFUSALS = frozenset({400, 404, 405, 409, 413, 422, 501})
_BULK_REFUSALS = _REFUSALS | {403}  # a key may be kept from this call alone


class StackerClient:
    """One connection. Threads may share it. The account is looked up once where the settings name none."""

    def __init__(self, settings: StackerSettings, ports: Ports) -> None:
        self._sender = Sender(settings, ports, auth={"X-Integration-Key": settings.integration_key})
        self._stack_id = settings.stack_id
        self._account_id = settings.account_id

    def hello(self) -> JsonValue:
        """`{"message": "hello"}`."""
        return self._send("hello", "/hello/", scoped=False).json()

    def list_accounts(self) -> JsonValue:
        """`{"accounts": [{"id", "name"}]}`: those that the key sees."""
        return self._send("list_accounts", "/accounts/", scoped=False).json()

    def list_objects(self) -> JsonValue:
        """`{"objects": [{"sid", "name", "api_name"}]}` of the stack."""
        return self._send("list_objects", "/objects/").json()

    def list_action_buttons(self, object_sid: str) -> JsonValue:
        """`{"action_buttons": [{"sid", "name"}]}` of one object."""
        return self._send("list_action_buttons", f"{_object(object_sid)}/action-buttons/").json()

    def search_records(self, object_sid: str, **search: JsonValue) -> JsonValue:
        """One page, `{"records", "total", "count", "start"}`. `search`: as for `search_page`."""
        return self.search_page(object_sid, search).json()

    def search_page(self, object_sid: str, search: Mapping[str, JsonValue]) -> Answer:
        """The same, still in its bytes.

        `search` holds any of search, search_fields, include_fields, count, start, order_by and filters
        (a list of target, operation, value).
        """
        return self._send("search_records", f"{_object(object_sid)}/search/", json=dict(search), success=_CREATED)

    def search_records_csv(self, object_sid: str, **search: JsonValue) -> str:
        """One page as CSV text. It has no total and cannot tell null from ""; see the README."""
        answer = self._send("search_records_csv", f"{_object(object_sid)}/search/", json=dict(search), accept="text/csv")
        if not answer.headers.get("content-type", "").startswith("text/csv"):
            raise ContractError("POST search with Accept: text/csv was answered with another media type; use search_records")
        try:
            return answer.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ContractError(
                "POST search with Accept: text/csv was answered with bytes that are not UTF-8; use search_records"
            ) from None

    def create_record(self, object_sid: str, fields: Mapping[str, JsonValue], include_fields: Sequence[str] | None = None) -> Record | None:
        """The new record, with its sid. None where it was answered without a body."""
        body = dict(fields) if include_fields is None else {**fields, "include_fields": list(include_fields)}
        return _written(self._send("create_record", f"{_object(object_sid)}/records/", json=body, success=_DONE))

    def get_record(self, object_sid: str, record_sid: str, include_fields: Sequence[str] | None = None) -> Record:
        """One record. Raises RefusedError with status 404 where there is none."""
        params = () if include_fields is None else (("include_fields", jsontext.dumps(list(include_fields)).decode()),)
        return _record(self._send("get_record", _one(object_sid, record_sid), params=params))

    def update_record(self, object_sid: str, record_sid: str, fields: Mapping[str, JsonValue]) -> Record | None:
        """The whole record after only these fields were changed, None where it was answered without a body.

        Raises RefusedError with status 404 where there is no such record.
        """
        return _written(self._send("update_record", _one(object_sid, record_sid), json=dict(fields), success=_DONE))

    def delete_record(self, object_sid: str, record_sid: str) -> None:
        """Remove a record. Raises RefusedError with status 404 where there is none."""
        self._send("delete_record", _one(object_sid, record_sid), success=_DONE)

    def bulk_upsert_records(self, object_sid: str, records: Sequence[Mapping[str, JsonValue]]) -> JsonValue:
        """`{"created": […], "updated": […]}`: sids, in an order that is not documented. At most 1000 records. 403 is a RefusedError."""
        if len(records) > 1000:
            raise ConfigError(f"{len(records)} records in one bulk call, at most 1000 are allowed; send them in several calls")
        body: Any = [dict(record) for record in records]
        path = f"{_object(object_sid)}/bulk-records/"
        return self._send("bulk_upsert_records", path, json=body, success=_CREATED, certified=_BULK_REFUSALS).json()

    def account_id(self) -> str:
        """The account of every request. Raises ConfigError where none is set and the key does not see exactly one."""
        if self._account_id is None:
            accounts = listed(self.list_accounts(), "accounts", "id")
            if len(accounts) != 1:
                raise ConfigError(f"the integration key sees {len(accounts)} accounts; set account_id of this connection to one of them")
            self._account_id = str(accounts[0]["id"])
        return self._account_id

    def request_counts(self) -> Mapping[str, int]:
        """Requests sent so far: {"read": n, "write": n}."""
        return self._sender.request_counts()

    def close(self) -> None:
        """Give back sockets. Safe to call twice."""
        self._sender.close()

    def _send(
        self,
        name: str,
        path: str,
        *,
        scoped: bool = True,
        params: Sequence[tuple[str, str]] = (),
        json: JsonValue = ABSENT,
        accept: str = "application/json",
        success: frozenset[int] = frozenset({200}),
        certified: frozenset[int] = _REFUSALS,
    ) -> Answer:
        headers = {"X-Account-Id": self.account_id(), "X-Stack-Id": self._stack_id} if scoped else {}
        full = "/api/external" + path
        return self._sender.send(Request(OPERATION[name], full, params, json, headers, accept, success=success, certified=certified))


def listed(answer: JsonValue, name: str, id_field: str) -> list[Record]:
    """The objects listed under `name`, each with a text under `id_field`. Raises ContractError."""
    records = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(records, list) or not all(isinstance(one, dict) and isinstance(one.get(id_field), str) for one in records):
        raise ContractError(
            f"the answer holds no list {name!r} of objects with a text {id_field!r}; is base_url the address of a Stacker API?"
        )
    return records


def _record(answer: Answer) -> Record:
    record = answer.json()
    if not isinstance(record, dict) or "sid" not in record:
        raise ContractError(f"status {answer.status} came without a record that has a sid; look at what the platform answered")
    return record


def _written(answer: Answer) -> Record | None:
    return _record(answer) if answer.body.strip() else None


def _object(object_sid: str) -> str:
    return "/objects/" + _segment(object_sid)


def _one(object_sid: str, record_sid: str) -> str:
    return f"{_object(object_sid)}/records/{_segment(record_sid)}/"


def _segment(value: object) -> str:
    """One path segment. Raises ConfigError for what would name another path."""
    text = str(value)
    if text in ("", ".", ".."):
        raise ConfigError(f"{text!r} cannot name a record or object in a path")
    return quote(text, safe="")
