"""`status`, `runs`, `explain`, `failures`: the ledger told to a person and to a program."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.ledger import Failure, open_ledger
from pipelines.ports import SystemClock
from tests.e2e.commandline import Project, contact, project


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One run behind it: record 1 updated, record 2 created, 3 and 4 invalid, the last without a key."""
    with project(tmp_path_factory.mktemp("history")) as made:
        made.contacts(contact(1), contact(2), contact(3, score="n/a"), contact(4, email=None))
        made.there.add_resource("people", [{"email": "p1@example.com", "name": "Before", "score": 1}])
        assert made.run("run", "c2p").status == 1
        yield made


def test_status_tells_every_sync_its_last_run_and_what_is_pending(ran: Project) -> None:
    shown, told = ran.run("status"), ran.json("status")["syncs"]
    assert shown.status == 0
    assert "here.contacts → there.people" in shown.out
    assert "crossdock failures c2p" in shown.out
    assert [(one["sync"], one["last_run"]["status"], one["pending"]) for one in told] == [("c2p", "partial", 2)]


def test_status_shows_a_broken_sync_beside_the_others(ran: Project) -> None:
    ran.write("pipelines/defs/odd/defs.yaml", "type: pipelines.components.SyncComponent\nattributes: {fro: a.b}\n")
    try:
        ended = ran.run("status")
        assert ended.status == 3
        assert "did you mean 'from'?" in ended.err
        assert "here.contacts → there.people" in ended.out
    finally:
        (ran.folder / "pipelines/defs/odd/defs.yaml").unlink()


def test_runs_are_listed_newest_first_with_their_counts(ran: Project) -> None:
    ran.json("plan", "c2p")
    told = ran.json("runs", "c2p")["runs"]
    assert [one["kind"] for one in told][:1] == ["plan"]
    run = told[-1]
    assert (run["status"], run["created"], run["updated"], run["invalid"]) == ("partial", 1, 1, 2)
    assert "+1 ~1" in ran.run("runs").out


def test_a_plan_that_failed_is_a_plan_and_not_the_last_run(ran: Project) -> None:
    key, ran.there.key = ran.there.key, "another"
    try:
        assert ran.run("plan", "c2p").status == 4
    finally:
        ran.there.key = key
    told = ran.json("runs", "c2p")["runs"][0]
    assert (told["kind"], told["status"]) == ("plan", "failed")
    assert ran.json("status")["syncs"][0]["last_run"]["status"] == "partial"


def test_explain_tells_what_was_written_before_and_after(ran: Project) -> None:
    shown, told = ran.run("explain", "c2p", "p1@example.com"), ran.json("explain", "c2p", "p1@example.com")
    assert "Before → Person 1" in shown.out
    assert "read    sid " in shown.out
    assert "mapped  email p1@example.com, name Person 1, score 1" in shown.out
    assert "read back as sent" in shown.out
    assert (told["key"], told["sink_id"]) == (["p1@example.com"], 1)
    assert [(one["op"], one["state"], one["after"]) for one in told["writes"]] == [("update", "confirmed", {"name": "Person 1"})]


def test_explain_finds_a_record_by_its_source_id_too(ran: Project) -> None:
    source_id = ran.json("explain", "c2p", "p2@example.com")["source_id"]
    assert ran.json("explain", "c2p", source_id)["key"] == ["p2@example.com"]


def test_explain_tells_a_life_whole_whatever_key_the_record_had_and_after_it_is_gone(tmp_path: Path) -> None:
    with project(tmp_path) as made:
        made.sync(mode="mirror", deletes={"max_count": 9, "max_share": 1.0})
        made.contacts(contact(1), contact(2))
        made.run("run", "c2p")
        held = made.here.objects["contacts"]
        sid = next(one for one in held.records if made.json("explain", "c2p", one)["key"] == ["p1@example.com"])
        made.here.update(held, sid, {"email": "moved@example.com"})
        made.run("run", "c2p")
        old, new = made.json("explain", "c2p", "p1@example.com"), made.json("explain", "c2p", "moved@example.com")
        assert [write["op"] for write in new["writes"]] == ["create", "update"]
        assert (old["writes"], old["key_now"], old["sink_id"]) == (new["writes"], ["moved@example.com"], new["sink_id"])
        made.here.delete(held, sid)
        made.run("run", "c2p")
        gone = made.json("explain", "c2p", sid)
        assert (gone["key"], gone["sink_id"]) == (["moved@example.com"], None)
        assert [write["op"] for write in gone["writes"]] == ["create", "update", "delete"]


@pytest.mark.parametrize(("mode", "left"), [("update", "p2@example.com"), ("insert", "p1@example.com")])
def test_explain_tells_of_a_record_that_the_mode_leaves_alone(tmp_path: Path, mode: str, left: str) -> None:
    with project(tmp_path) as made:
        made.sync(mode=mode)
        made.contacts(contact(1), contact(2))
        made.there.add_resource("people", [{"email": "p1@example.com", "name": "Before", "score": 1}])
        assert made.json("run", "c2p")["skipped"] == 1
        (told,) = made.json("explain", "c2p", left)["runs"]
        assert (told["outcome"], told["read"]["email"], told["reason"][:12]) == ("skipped", left, f"mode: {mode}")
        assert f"mode: {mode}" in made.run("explain", "c2p", left).out


def test_explain_tells_of_a_record_that_was_dismissed_and_is_left_alone(tmp_path: Path) -> None:
    with project(tmp_path) as made:
        made.there.set_switch("max_text", "99")
        made.contacts(contact(1), contact(2, name="x" * 200))
        assert made.json("run", "c2p")["rejected"] == 1
        assert made.run("failures", "c2p", "--dismiss").status == 0
        assert made.json("run", "c2p")["skipped"] == 1
        told = made.json("explain", "c2p", "p2@example.com")["runs"]
        assert [(one["outcome"], one["reason"]) for one in told] == [("create", ""), ("skipped", "dismissed as it was last sent")]


def test_explain_tells_why_a_record_is_pending(ran: Project) -> None:
    assert "invalid (score)" in ran.run("explain", "c2p", "p3@example.com").out


def test_a_record_nobody_knows_is_named_with_a_near_one(ran: Project) -> None:
    ended = ran.run("explain", "c2p", "p2@example")
    assert ended.status == 3
    assert "did you mean p2@example.com?" in ended.err


def test_failures_show_what_was_sent_and_what_was_answered(ran: Project) -> None:
    answer = "POST … was answered 422 (name is too long)"
    request = f'{{"email":"p9@example.com","name":"{"N" * 300}"}}'
    sent = Failure('["p9@example.com"]', "rec_9", "rejected", answer, op="create", request=request)
    ledger = open_ledger(f"sqlite:///{ran.folder / '.crossdock' / 'ledger.db'}", SystemClock())
    ledger.put_failures("c2p", "run", [sent])
    try:
        told = next(one for one in ran.json("failures", "c2p")["failures"] if one["key"] == ["p9@example.com"])
        assert (told["op"], told["request"], told["reason"]) == ("create", json.loads(request), answer)
        short, whole = ran.run("failures", "c2p").out, ran.run("failures", "c2p", "p9@example.com").out
        assert "create  email p9@example.com, name NNN" in short
        assert "was answered 422 (name is too long)" in short
        assert (short.count("N") < 200, whole.replace("\n", "").count("N") >= 300) == (True, True)
    finally:
        ledger.drop_failures_before("c2p", "nothing", only=["rec_9"])
        ledger.close()


def test_failures_are_retried_and_dismissed_by_key_or_by_source_id(ran: Project) -> None:
    listed = ran.json("failures", "c2p")
    keyless = next(one for one in listed["failures"] if "p3@example.com" not in (one["key"] or []))
    assert listed["pending"] == 2
    assert "p3@example.com" in ran.run("failures", "c2p").out

    assert ran.json("failures", "c2p", "--retry", "p3@example.com")["released"] == 1
    assert [one["released"] for one in ran.json("failures", "c2p")["failures"] if one["key"] == ["p3@example.com"]] == [True]
    unknown = ran.run("failures", "c2p", "--dismiss", "nobody")
    assert (unknown.status, "nobody" in unknown.err) == (3, True)
    assert ran.json("failures", "c2p", "--dismiss", keyless["source_id"]) == {"sync": "c2p", "status": "ok", "dismissed": 1, "pending": 1}
    assert ran.json("failures", "c2p", "--dismiss")["pending"] == 0
    assert "Nothing is pending" in ran.run("failures", "c2p").out
    assert "was dismissed before it was written" in ran.run("explain", "c2p", "p3@example.com").err


def imported(ran: Project, line: list[str], names: set[str]) -> tuple[int, str]:
    """The exit status of this command in a process of its own, and which of these modules it imported."""
    looking = (
        "import sys; from pipelines.cli import execute; from pipelines.terminal import Screen;"
        f"status = execute({line!r}, Screen());"
        f"print('|'.join(sorted({names!r} & sys.modules.keys())), file=sys.stderr); sys.exit(status)"
    )
    process = ran.start(command=(sys.executable, "-c", looking))
    _, err = process.communicate(timeout=60)
    return process.returncode, err.strip()


LIGHT = [["--help"], ["--version"], ["status"], ["runs"], ["failures", "c2p"], ["explain", "c2p", "p1@example.com"]]


@pytest.mark.parametrize("line", LIGHT, ids=lambda line: line[0])
def test_looking_back_imports_neither_dagster_nor_pandas(ran: Project, line: list[str]) -> None:
    assert imported(ran, line, {"dagster", "pandas", "duckdb"}) == (0, "")


def test_a_run_imports_no_pandas(ran: Project) -> None:
    assert imported(ran, ["run", "c2p", "--full"], {"pandas"}) == (1, "")
