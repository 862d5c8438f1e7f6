"""`plan`, `run` and `verify`: what they write, what they say, and the exit status that says it."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.e2e.commandline import PEOPLE, Project, contact, project

STABLE = (
    "sync", "run_id", "status", "read", "desired", "created", "updated", "deleted", "unchanged", "skipped", "invalid", "rejected",
    "conflicts", "unknown", "quarantined", "requests", "digest", "complete", "duration_s",
)  # fmt: skip
OUTCOMES = STABLE[5:15]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path) as made:
        yield made


def test_a_plan_writes_nothing_and_shows_each_change_before_and_after(here: Project) -> None:
    here.contacts(contact(1), contact(2))
    here.there.add_resource("people", [{"email": "p1@example.com", "name": "Somebody else", "score": 1}])
    before = here.people()

    shown = here.run("plan", "c2p")
    told = here.json("plan", "c2p")

    assert shown.status == 0
    assert "Somebody else → Person 1" in shown.out
    assert "+ p2@example.com" in shown.out
    assert "E2, effectively once" in shown.out
    assert "crossdock run c2p" in shown.out
    assert {name: told[name] for name in ("created", "updated", "unchanged", "status")} == {
        "created": 1, "updated": 1, "unchanged": 0, "status": "ok",
    }  # fmt: skip
    update = next(change for change in told["changes"] if change["op"] == "update")
    assert (update["before"], update["after"]) == ({"name": "Somebody else"}, {"name": "Person 1"})
    assert (update["sink_id"], update["source_id"]) == (before[0]["id"], here.here.objects["contacts"].sids[0])
    assert here.people() == before


def test_a_plan_shows_decimals_with_all_their_digits(here: Project) -> None:
    here.sync(fields={**PEOPLE["fields"], "worth": "cast(worth as decimal(30, 2))"})
    here.contacts(contact(1, worth="12345678901234567890.10"))
    assert "worth  12345678901234567890.10" in here.run("plan", "c2p").out
    assert "12345678901234567890.10" in here.run("plan", "c2p", "--json").out


def test_a_run_delivers_adds_up_and_stands_in_dagsters_history(here: Project) -> None:
    here.contacts(contact(1), contact(2), contact(3, score="n/a"), contact(4, email=None), contact(5, score=None))

    told = here.run("run", "c2p", "--json")

    summary = told.json
    assert told.status == 1
    assert [name for name in STABLE if name not in summary] == []
    assert summary["status"] == "partial"
    assert (summary["read"], summary["created"], summary["invalid"]) == (5, 3, 2)
    assert sum(summary[name] for name in OUTCOMES) == summary["read"]
    assert {person["email"] for person in here.people()} == {"p1@example.com", "p2@example.com", "p5@example.com"}
    with dg.DagsterInstance.from_config(str(here.folder / ".crossdock" / "dagster")) as instance:
        run = instance.get_run_by_id(summary["run_id"])
        assert run is not None
        assert (run.job_name, run.status) == ("c2p", dg.DagsterRunStatus.SUCCESS)


def test_what_a_run_looked_up_is_known_to_the_pages_which_call_its_plan_up_to_date(here: Project) -> None:
    here.contacts(contact(1))
    here.sync("second", fields={"email": "email", "name": "lookup_or_null('c2p', email)"})
    assert (here.run("run", "c2p").status, here.run("run", "second").status) == (0, 0)
    with dg.DagsterInstance.from_config(str(here.folder / ".crossdock" / "dagster")) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["second", "plan"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert "dagster/input_data_version/c2p/applied" in (event.asset_materialization.tags or {})


def test_records_that_share_their_match_keys_are_told_in_one_line_whatever_the_keys(here: Project) -> None:
    here.contacts(contact(1), contact(1), contact(2), contact(2))
    assert [line.split()[:3] for line in here.run("plan", "c2p").out.splitlines() if " share " in line] == [["4", "invalid", "email"]]


def test_a_second_run_has_nothing_to_do_and_sends_nothing(here: Project) -> None:
    here.contacts(contact(1), contact(2))
    assert here.run("run", "c2p").status == 0

    again = here.run("run", "c2p")
    told = here.json("run", "c2p")

    assert again.status == 0
    assert "nothing to do" in again.out
    assert "read      complete: the total told the end; the platform's total matches: 2" in again.out
    assert told["reasons"] == ["the total told the end", "the platform's total matches: 2"]
    assert told["requests"]["sink"]["write"] == 0
    assert (told["unchanged"], told["created"] + told["updated"] + told["deleted"]) == (2, 0)


def test_what_was_not_delivered_is_told_by_reason_with_the_next_command(here: Project) -> None:
    here.contacts(contact(1, score="n/a"), contact(2, score="?"), contact(3, email=""))

    shown = here.run("run", "c2p")

    line = next(line for line in shown.out.splitlines() if "score" in line)
    assert line.split()[:3] == ["2", "invalid", "score"]
    assert "Next: crossdock failures c2p" in shown.out


def test_records_that_share_a_match_key_are_invalid_and_none_of_them_is_written(here: Project) -> None:
    here.contacts(contact(1), contact(1, name="Twin"), contact(2))

    told = here.json("run", "c2p")

    assert (told["created"], told["invalid"], told["status"]) == (1, 2, "partial")
    assert [person["email"] for person in here.people()] == ["p2@example.com"]


def test_a_refused_plan_is_applied_by_its_digest_and_by_no_other(here: Project) -> None:
    here.sync(limits={"create_count": 1})
    here.contacts(contact(1), contact(2))

    refused = here.run("run", "c2p")
    digest = here.json("plan", "c2p")["digest"]
    assert refused.status == 2
    assert "2 records would be created, limit 1" in refused.out
    assert f"crossdock run c2p --approve {digest[:12]}" in refused.out
    assert f"crossdock run c2p --approve {digest[:12]}" in here.run("run", "--all").out
    assert here.people() == []

    wrong = here.run("run", "c2p", "--approve", "0" * 12, "--json")
    assert (wrong.status, wrong.json["status"]) == (2, "refused")
    assert here.people() == []

    approved = here.run("run", "c2p", "--approve", digest[:12], "--json")
    assert (approved.status, approved.json["created"]) == (0, 2)


def test_an_approval_does_not_cover_a_plan_that_changed_since(here: Project) -> None:
    here.sync(limits={"create_count": 1})
    here.contacts(contact(1), contact(2))
    digest = here.json("plan", "c2p")["digest"]

    here.contacts(contact(1), contact(2), contact(3))
    late = here.run("run", "c2p", "--approve", digest, "--json")

    assert late.status == 2
    assert "look at the new plan" in late.json["refusals"][0]
    assert here.people() == []


def test_a_refused_whole_read_is_approved_as_a_whole_read(here: Project) -> None:
    here.sync(limits={"create_count": 1}, read={"mode": "incremental", "cursor": "score"})
    here.contacts(contact(1), contact(2))
    for command in ("plan", "run"):
        assert "crossdock run c2p --full --approve " in here.run(command, "c2p", "--full").out


def test_a_dry_run_is_a_plan(here: Project) -> None:
    here.contacts(contact(1))
    told = here.json("run", "c2p", "--dry-run")
    assert (told["created"], len(told["changes"])) == (1, 1)
    assert here.people() == []


def test_verify_finds_what_others_changed_and_is_content_when_nothing_is(here: Project) -> None:
    here.contacts(contact(1), contact(2))
    assert here.run("run", "c2p").status == 0
    assert here.run("verify", "c2p").status == 0
    before = here.people()

    held = here.there.resources["people"]
    held.put({**before[0], "name": "Changed by hand"})
    found = here.run("verify", "c2p")
    told = here.json("verify", "c2p")

    assert found.status == 1
    assert "Changed by hand → Person" in found.out
    assert (told["differences"], told["status"]) == (1, "partial")
    assert here.people() != before  # verify repaired nothing


def test_all_runs_those_looked_up_first_and_one_failure_leaves_the_others(here: Project) -> None:
    here.here.add_object("companies", [{"domain": "example.com", "name": "Example"}])
    here.contacts(contact(1, company="example.com"))
    here.sync("a_people", fields={**PEOPLE["fields"], "org": "lookup('z_orgs', company)"})
    here.sync(
        "z_orgs", **{"from": "here.companies", "to": "there.orgs", "match": ["domain"], "fields": {"domain": "domain", "name": "name"}}
    )
    here.sync("c2p", **{"from": "here.nowhere"})

    ended = here.run("run", "--all", "--json")

    told = {one["sync"]: one for one in ended.json["syncs"]}
    assert (told["a_people"]["status"], told["a_people"]["created"]) == ("ok", 1)
    assert told["c2p"]["status"] == "failed"
    assert "nowhere" in told["c2p"]["error"]
    assert ended.status == 3
    assert here.people()[0]["org"] == 1


class _Held:
    """Robostack, but every create (or what has that method) waits until it is let go, after it was carried out."""

    def __init__(self, method: str = "PUT") -> None:
        self._method = method
        self.arrived, self.let_go = threading.Event(), threading.Event()

    def __call__(self, app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            async def late(message: Any) -> None:
                if message["type"] == "http.response.start" and scope.get("method") == self._method:
                    self.arrived.set()
                    await asyncio.get_running_loop().run_in_executor(None, self.let_go.wait)
                await send(message)

            await app(scope, receive, late)

        return wrapped


def test_ctrl_c_says_how_far_it_came_and_the_next_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    held = _Held()
    with project(tmp_path, around=held) as made:
        made.contacts(*(contact(n) for n in range(5)))
        process = made.start("run", "c2p", "--json")
        assert held.arrived.wait(60)
        process.send_signal(signal.SIGINT)
        held.let_go.set()
        out, err = process.communicate(timeout=60)

        assert process.returncode == 130, err
        assert '"exit":130' in out
        assert "stopped by Ctrl-C" in err
        assert "crossdock run c2p" in err
        assert [run["status"] for run in made.json("runs", "c2p")["runs"]] == ["failed"]
        impatient = (tmp_path / "connections.yaml").read_text() + "    timeout_s: 2\n    T_server_max_s: 0\n"
        made.write("connections.yaml", impatient)  # what it does not know of is looked up at once, not after two minutes
        assert made.run("run", "c2p").status == 0
        assert sorted(person["email"] for person in made.people()) == [f"p{n}@example.com" for n in range(5)]


def test_a_run_is_taken_back_by_the_beginning_of_its_id_and_under_the_guards(here: Project) -> None:
    here.contacts(*(contact(number) for number in range(12)))
    run_id = here.json("run", "c2p")["run_id"]

    refused = here.run("undo", run_id[:8])
    shown = here.json("undo", run_id[:8], "--dry-run")
    done = here.run("undo", run_id[:8], "--approve", shown["digest"], "--json")

    assert refused.status == 2
    assert "approve digest" in refused.err + refused.out
    assert {change["op"] for change in shown["changes"]} == {"delete"}
    assert (done.status, done.json["deleted"], here.people()) == (0, 12, [])
    unknown = here.run("undo", "nothing-like-it")
    assert (unknown.status, "crossdock runs" in unknown.err) == (3, True)
