"""The Stacker emulator is strict, is never silently reset, and its demo data is what it says."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.stacker.demo import BAD
from connectors.stacker.emulator import create_app
from connectors.stacker.emulator_store import SWITCHES, Store
from tests.loopback import serving

HEADERS = {"X-Integration-Key": "demo", "X-Account-Id": "acc_demo", "X-Stack-Id": "stk_demo"}
CONTACTS = "/api/external/objects/contacts"


@pytest.fixture
def platform() -> Iterator[tuple[httpx.Client, Store]]:
    store = Store()
    with serving(create_app(store, control=True)) as base_url, httpx.Client(base_url=base_url, headers=HEADERS) as client:
        yield client, store


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/api/external/hello", {}, None, 404),
        ("GET", "/api/external/hello/more/", {}, None, 404),
        ("PUT", "/api/external/hello/", {}, None, 404),
        ("GET", "/api/external/hello/", {"X-Integration-Key": "wrong"}, None, 401),
        ("GET", "/api/external/objects/", {"X-Account-Id": ""}, None, 400),
        ("GET", "/api/external/objects/", {"X-Stack-Id": "stk_none"}, None, 403),
        ("POST", "/api/external/objects/nothing/search/", {}, b"{}", 404),
        ("POST", CONTACTS + "/search", {}, b"{}", 404),
        ("POST", CONTACTS + "/search/", {}, b"[]", 400),
        ("POST", CONTACTS + "/search/", {}, b"{", 400),
        ("POST", CONTACTS + "/search/", {}, b'{"limit": 5}', 400),
        ("POST", CONTACTS + "/search/", {}, b'{"count": "5"}', 400),
        ("POST", CONTACTS + "/search/", {}, b'{"count": -1}', 400),
        ("POST", CONTACTS + "/search/", {}, b'{"include_fields": "email"}', 400),
        ("POST", CONTACTS + "/search/", {}, b'{"filters": [{"target": "email"}]}', 400),
        ("POST", CONTACTS + "/search/", {}, b'{"filters": [{"target": "email", "operation": "like", "value": "a"}]}', 400),
        ("POST", CONTACTS + "/records/", {}, b'{"sid": "mine"}', 400),
        ("POST", CONTACTS + "/bulk-records/", {}, b'{"records": []}', 400),
        ("POST", CONTACTS + "/bulk-records/", {}, json.dumps([{}] * 1001).encode(), 400),
        ("GET", CONTACTS + "/records/nobody/", {}, None, 404),
        ("PATCH", CONTACTS + "/records/nobody/", {}, b"{}", 404),
        ("DELETE", CONTACTS + "/records/nobody/", {}, None, 404),
    ],
)
def test_what_the_documents_do_not_know_is_refused(
    platform: tuple[httpx.Client, Store], method: str, path: str, headers: dict[str, str], body: bytes | None, status: int
) -> None:
    client, store = platform
    before = len(store.objects["contacts"].records)
    assert client.request(method, path, headers=headers, content=body).status_code == status
    assert len(store.objects["contacts"].records) == before


def test_a_search_without_a_body_is_one_with_the_documented_defaults(platform: tuple[httpx.Client, Store]) -> None:
    answer = platform[0].post(CONTACTS + "/search/").json()
    assert (len(answer["records"]), answer["total"], answer["count"], answer["start"]) == (50, 50, 50, 0)


def test_the_filters_named_in_the_document_work(platform: tuple[httpx.Client, Store]) -> None:
    client, store = platform

    def count(operation: str, value: Any, target: str = "score") -> int:
        body = {"filters": [{"target": target, "operation": operation, "value": value}]}
        total: int = client.post(CONTACTS + "/search/", json=body).json()["total"]
        return total

    scores = [record["score"] for record in store.objects["contacts"].records.values() if record["score"] is not None]
    assert count("gt", 50) == sum(score > 50 for score in scores)
    assert count("lt", 50) == sum(score < 50 for score in scores)
    assert count("eq", scores[0]) == scores.count(scores[0])
    assert count("neq", scores[0]) == 50 - scores.count(scores[0])
    assert count("contains", "lovelace@", "email") == 1


def test_control_is_there_only_when_asked_for(platform: tuple[httpx.Client, Store]) -> None:
    client, store = platform
    assert client.post("/_control/switches", json={"total": "absent"}).json()["total"] == "absent"
    assert "total" not in client.post(CONTACTS + "/search/").json()
    assert client.post("/_control/switches", json={"total": "perhaps"}).status_code == 400
    made = client.post("/_control/records", json={"object": "contacts", "create": [{"email": "third@party"}]}).json()
    assert store.objects["contacts"].records[made["created"][0]]["email"] == "third@party"
    assert client.get("/_control/log").json()["counters"] == {"search": 1}
    client.post("/_control/churn", json={"object": "contacts", "insert": 2, "delete": 1})
    assert client.post(CONTACTS + "/search/").json()["count"] == 52
    with serving(create_app(Store())) as base_url:
        assert httpx.get(base_url + "/_control/switches", headers=HEADERS).status_code == 404


def test_an_unknown_switch_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no switch 'totals'; there are .*page_cap"):
        Store(totals="absent")
    assert all(len(choices) > 1 for choices in SWITCHES.values())


def test_the_same_seed_is_the_same_business_and_another_one_is_not() -> None:
    one, same, other = (Store(seed=seed).objects for seed in (1, 1, 2))
    assert {name: held.records for name, held in one.items()} == {name: held.records for name, held in same.items()}
    assert one["contacts"].records != other["contacts"].records


def test_the_demo_data_has_exactly_the_bad_records_it_says() -> None:
    objects = Store(contacts=500, companies=50, orders=50).objects
    contacts = list(objects["contacts"].records.values())
    emails = [record["email"] for record in contacts]
    exact = Counter(email for email in emails if email)
    loose = Counter(email.strip().lower() for email in exact)
    assert sum(count - 1 for count in exact.values()) == BAD["duplicate_emails"]
    assert sum(count - 1 for count in loose.values()) == BAD["email_variants"]
    assert sum(not email for email in emails) == BAD["missing_emails"]
    assert sum(record["score"] == "n/a" for record in contacts) == BAD["text_scores"]
    assert sum(not isinstance(record["lifetime_value"], Decimal) for record in contacts) == BAD["comma_amounts"]
    assert sum(not _is_time(record["created_at"]) for record in contacts) == BAD["impossible_dates"]
    assert {"ada.lovelace@example.com", "zoë.müller@example.com"} <= set(emails)
    domains = [record["domain"] for record in objects["companies"].records.values()]
    assert "example.com" in domains
    assert len(set(domains)) == len(domains)
    assert {record["contact_sid"] for record in objects["orders"].records.values()} <= set(objects["contacts"].records)
    assert not objects["invoices"].records


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_every_change_survives_a_restart_and_a_torn_line_does_not_matter(tmp_path: Path) -> None:
    state = tmp_path / "stacker.jsonl"
    store = Store(state=state)
    contacts = store.objects["contacts"]
    sids = list(contacts.records)
    made = store.create(contacts, {"email": "kept@example.com", "lifetime_value": Decimal("0.10")})
    store.update(contacts, sids[0], {"phone": "1"})
    store.delete(contacts, sids[1])
    with state.open("ab") as journal:
        journal.write(b'{"op":"delete","object":"contacts","sid":"' + sids[2].encode())
    again = Store(state=state)
    assert again.objects["contacts"].records == contacts.records
    assert again.objects["contacts"].sids == contacts.sids
    assert again.create(again.objects["contacts"], {}) not in contacts.records
    compacted = len(state.read_bytes().splitlines())
    assert Store(state=state).objects["contacts"].records == again.objects["contacts"].records
    assert len(state.read_bytes().splitlines()) == compacted
    assert contacts.records[made]["lifetime_value"] == Decimal("0.10")


def test_a_state_of_other_demo_data_is_not_taken_for_this_one(tmp_path: Path) -> None:
    Store(seed=1, state=tmp_path / "state")
    with pytest.raises(ValueError, match="name another state file or remove it"):
        Store(seed=2, state=tmp_path / "state")


def test_the_command_serves_what_it_was_told_and_refuses_a_wrong_switch(free_port: int, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "connectors.stacker.emulator",
        "--port",
        str(free_port),
        "--contacts",
        "12",
        "--state",
        str(tmp_path / "x" / "s"),
    ]
    wrong = subprocess.run([*command, "--switch", "total=perhaps"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "switch total is one of present, absent" in wrong.stderr
    process = subprocess.Popen([*command, "--switch", "total=absent"])
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.post(f"http://127.0.0.1:{free_port}{CONTACTS}/search/", headers=HEADERS).json()
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                assert process.poll() is None
    finally:
        process.terminate()
        process.wait(10)
    assert (len(answer["records"]), "total" in answer) == (12, False)
