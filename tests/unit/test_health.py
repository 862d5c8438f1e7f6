"""The verdict on a sync: what is found in its runs and failures, what is grave, what is worth an alert, and what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.health import Health, Known, health
from pipelines.ledger_records import Run
from pipelines.spec import SyncSpec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def spec(**changed: Any) -> SyncSpec:
    return SyncSpec(**{"name": "c2p", "from": "here.contacts", "to": "there.people", "match": ["email"], **changed})


def run(status: str, age: timedelta = timedelta(minutes=5), **summary: Any) -> Run:
    began = NOW - age
    ended = None if status == "running" else began.isoformat()
    return Run(f"run{age}", "c2p", status, began.isoformat(), ended, None, {"read": 1000, **summary})


def found(*runs: Run, pending: dict[str, int] | None = None, matched: int = 0, **changed: Any) -> Health:
    return health(spec(**changed), Known(runs, pending or {}, matched), NOW)


def names(one: Health) -> list[str]:
    return [finding.name for finding in one.findings]


def test_a_sync_whose_last_run_was_good_and_that_owes_nothing_is_healthy() -> None:
    assert (found(run("ok")).verdict, names(found(run("ok")))) == ("healthy", [])


def test_a_sync_that_never_ran_needs_attention_and_alarms_nobody() -> None:
    one = found()
    assert (one.verdict, names(one), one.alerts) == ("attention", ["never_ran"], ())


@pytest.mark.parametrize("bad", ["failed", "refused"])
def test_a_sync_whose_last_run_was_not_applied_is_failing_however_good_it_was_before(bad: str) -> None:
    one = found(run(bad, message="the key was revoked; renew it", refusals=["too many; approve it"]), run("ok", timedelta(hours=1)))
    assert (one.verdict, [finding.name for finding in one.alerts]) == ("failing", [bad])
    assert ("the key was revoked" if bad == "failed" else "too many; approve it") in one.findings[0].said


def test_failed_runs_alarm_only_when_there_are_as_many_in_a_row_as_asked() -> None:
    twice = (run("failed"), run("failed", timedelta(hours=1)), run("ok", timedelta(hours=2)), run("failed", timedelta(hours=3)))
    assert found(*twice, alerts={"failed_runs": 3}).alerts == ()
    assert names(found(*twice, alerts={"failed_runs": 2})) == ["failed"]
    assert found(*twice, alerts={"failed_runs": 2}).alerts[0].said.startswith("each of the last 2 runs failed")
    assert found(*twice, alerts={"failed_runs": None}).alerts == ()


def test_plans_and_verifications_say_nothing_about_health() -> None:
    assert names(found(run("refused", kind="plan"), run("failed", kind="verify"), run("ok", timedelta(hours=1)))) == []


def test_a_run_under_way_is_no_finding_until_it_lasts_longer_than_any_run_does() -> None:
    assert names(found(run("running"), run("ok", timedelta(hours=1)))) == []
    assert names(found(run("running", timedelta(hours=30)), run("ok", timedelta(hours=31)))) == ["stuck"]


def test_a_sync_is_late_when_its_last_good_run_is_older_than_it_says() -> None:
    runs = (run("ok", timedelta(minutes=61)),)
    assert names(found(*runs)) == []
    assert names(found(*runs, fresh_within="2h")) == []
    late = found(*runs, fresh_within="1h")
    assert (names(late), late.verdict) == (["late"], "failing")
    assert "1 h 1 min ago" in late.findings[0].said


@pytest.mark.parametrize(("pending", "matched", "alarm"), [(50, 950, False), (51, 949, True), (1, 0, False)])
def test_undelivered_records_alarm_by_their_share_of_all_that_are_known(pending: int, matched: int, alarm: bool) -> None:
    one = found(run("partial"), pending={"invalid": pending}, matched=matched)
    assert (names(one), one.verdict, bool(one.alerts)) == (["undelivered"], "attention", alarm)


def test_any_quarantined_record_alarms_unless_more_are_allowed() -> None:
    assert [one.name for one in found(run("partial"), pending={"quarantined": 1}).alerts] == ["quarantined"]
    assert found(run("partial"), pending={"quarantined": 3}, alerts={"quarantined_count": 3}).alerts == ()


def test_edits_of_others_are_told_only_where_that_is_asked_for() -> None:
    assert names(found(run("ok", drifted=9))) == []
    drifted = found(run("ok", drifted=9), alerts={"drift_count": 8})
    assert [one.name for one in drifted.alerts] == ["drift"]
    assert "overwritten" in drifted.findings[0].said


def test_records_that_read_back_otherwise_want_a_look() -> None:
    assert names(found(run("ok", differences=2))) == ["differs"]


def test_every_finding_says_what_to_do_next() -> None:
    many = found(run("failed"), run("ok", timedelta(days=2)), pending={"quarantined": 1, "invalid": 999}, fresh_within="1h")
    assert names(many) == ["failed", "late", "quarantined", "undelivered"]
    assert all("crossdock " in finding.next for finding in many.findings)
