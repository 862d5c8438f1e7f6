"""Runs in Dagster between two emulated platforms: what is read, refused, approved, written, and told."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from connectors.robostack.emulator_store import decode as robostack_record
from pipelines.components.names import applied_key, plan_key, raw_key
from pipelines.components.sync import run_config
from tests.clock import FakeClock
from tests.definitions.projects import Running, running_project

SYNCS = ("companies_to_orgs", "contacts_to_people", "invoices_to_stacker")
COPY = {
    "from": "stacker_demo.contacts",
    "to": "robostack_demo.people",
    "match": ["email"],
    "fields": {"email": "email", "name": "first_name"},
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Running]:
    """Three contacts, no people, and one sync between them, `copy`."""
    with running_project(tmp_path, shipped=False) as running:
        running.stacker.add_object("contacts", [{"email": f"{name}@x.example", "first_name": name} for name in ("ada", "bob", "eve")])
        running.robostack.add_resource("people")
        running.project.write("copy", COPY)
        yield running


def materialized(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> Any:
    (event,) = result.asset_materializations_for_node("__".join(key.path))
    return event


def metadata(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    return {name: getattr(value, "value", value) for name, value in materialized(result, key).metadata.items()}


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {found.check_name for found in result.get_asset_check_evaluations() if not found.passed}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error.message) + str(event.step_failure_data.user_failure_data)


def people(running: Running) -> list[dict[str, Any]]:
    held = running.robostack.resources["people"]
    return [robostack_record(running.robostack.shown(held, key)) for key in held.records]


@dataclass(frozen=True)
class Shipped:
    """The shipped syncs, run: everything, everything again, contacts alone, contacts in full."""

    running: Running
    first: dg.ExecuteInProcessResult
    again: dg.ExecuteInProcessResult
    alone: dg.ExecuteInProcessResult
    full: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    with running_project(tmp_path_factory.mktemp("shipped")) as running, dg.DagsterInstance.ephemeral() as instance:
        project = running.project
        config = run_config(project.runtime().syncs.specs["contacts_to_people"], full=True)
        everything, again, alone = (project.run(job, instance) for job in (None, None, "contacts_to_people"))
        yield Shipped(running, everything, again, alone, project.run("contacts_to_people", instance, config))


def test_every_shipped_sync_runs_and_what_it_shows_adds_up(shipped: Shipped) -> None:
    assert shipped.first.success
    assert failed_checks(shipped.first) <= {"delivered"}  # the demo's bad cells are a large share of so few records
    for sync in SYNCS:
        shown = metadata(shipped.first, applied_key(sync))
        assert shown["dagster/row_count"] == shown["created"] + shown["updated"] > 0
        assert "| **all** |" in shown["outcomes"]


def test_fields_types_and_where_they_come_from_are_told_to_dagster(shipped: Shipped) -> None:
    shown = metadata(shipped.first, applied_key("contacts_to_people"))
    types = {column.name: column.type for column in shown["dagster/column_schema"].columns}
    assert types["lifetime_value"] == "decimal128(18, 2)"
    sources = {dep.column_name for dep in shown["dagster/column_lineage"].deps_by_column["name"]}
    assert sources == {"first_name", "last_name"}


def test_the_demos_bad_records_are_shown_with_reasons_a_person_reads(shipped: Shipped) -> None:
    shown = metadata(shipped.first, applied_key("contacts_to_people"))
    reasons = shown["not_delivered_table"]
    for reason in ("match field email is empty", "2 source records share the match key", "score", "lifetime"):
        assert re.search(reason, reasons), reason


def test_a_run_of_many_syncs_is_one_run_of_each_in_the_ledger(shipped: Shipped) -> None:
    with shipped.running.project.runtime() as runtime:
        ids = {run.run_id for run in runtime.ledger.runs()}
    assert {f"{shipped.first.run_id}.{sync}" for sync in SYNCS} <= ids
    assert shipped.alone.run_id in ids


def test_a_second_run_of_everything_writes_nothing(shipped: Shipped) -> None:
    for sync in SYNCS:
        assert metadata(shipped.again, plan_key(sync))["changes"] == "Nothing to change."
        shown = metadata(shipped.again, applied_key(sync))
        assert (shown["created"], shown["updated"], shown["deleted"]) == (0, 0, 0)
        assert shown["requests"].endswith(" 0 |")  # the sink's writes


def test_full_reads_everything_where_the_sync_is_incremental(shipped: Shipped) -> None:
    few, everything = (metadata(result, raw_key("stacker_demo.contacts")) for result in (shipped.alone, shipped.full))
    assert few["read"] == "what changed since the cursor"
    assert everything["read"] == "everything"
    assert everything["dagster/row_count"] == len(shipped.running.stacker.objects["contacts"].records) > few["dagster/row_count"]


def test_a_run_of_one_sync_has_the_same_id_here_and_in_the_ledger(copying: Running, instance: dg.DagsterInstance) -> None:
    result = copying.project.run("copy", instance)
    with copying.project.runtime() as runtime:
        kept = runtime.ledger.run(result.run_id)
    assert kept is not None
    assert (kept.status, kept.summary["created"]) == ("ok", 3)
    assert len(people(copying)) == 3


def test_changes_are_shown_before_and_after_as_text(copying: Running, instance: dg.DagsterInstance) -> None:
    copying.project.run("copy", instance)
    contacts = copying.stacker.objects["contacts"]
    copying.stacker.update(contacts, next(iter(contacts.records)), {"first_name": "<b>Ada</b>"})
    shown = metadata(copying.project.run("copy", instance), plan_key("copy"))
    assert "  - name: ada → **&#60;b&#62;Ada&#60;/b&#62;**" in shown["changes"]
    assert (shown["create"], shown["update"], shown["delete"]) == (0, 1, 0)


def test_a_refused_plan_fails_the_run_says_how_to_approve_it_and_is_then_applied(copying: Running, instance: dg.DagsterInstance) -> None:
    copying.project.write("copy", {**COPY, "limits": {"create_count": 2}})
    refused = copying.project.run("copy", instance)
    shown = metadata(refused, plan_key("copy"))
    assert not refused.success
    assert failed_checks(refused) == {"within_limits"}
    assert "3 records would be created, limit 2" in failure(refused)
    assert shown["approve_by"] in failure(refused)
    assert people(copying) == []

    digest = shown["approve_by"].rpartition(" ")[2]
    config = run_config(copying.project.runtime().syncs.specs["copy"], approve=digest)
    assert copying.project.run("copy", instance, config).success
    assert len(people(copying)) == 3


def test_an_approval_of_another_plan_writes_nothing(copying: Running, instance: dg.DagsterInstance) -> None:
    config = run_config(copying.project.runtime().syncs.specs["copy"], approve="0123456789ab")
    refused = copying.project.run("copy", instance, config)
    assert not refused.success
    assert "look at the new plan" in failure(refused)
    assert people(copying) == []


def test_a_run_that_stops_at_the_plan_writes_nothing_and_is_closed(copying: Running, instance: dg.DagsterInstance) -> None:
    chosen = [raw_key("stacker_demo.contacts"), plan_key("copy")]
    result = copying.project.run("copy", instance, asset_selection=chosen)
    assert result.success
    assert people(copying) == []
    with copying.project.runtime() as runtime:
        kept = runtime.ledger.run(result.run_id)
    assert kept is not None
    assert (kept.status, kept.summary["created"]) == ("ok", 3)
    assert kept.finished_at is not None


def test_the_last_plan_can_be_applied_by_itself(copying: Running, instance: dg.DagsterInstance) -> None:
    copying.project.run("copy", instance, asset_selection=[raw_key("stacker_demo.contacts"), plan_key("copy")])
    assert copying.project.run("copy", instance, asset_selection=[applied_key("copy")]).success
    assert len(people(copying)) == 3


def test_two_syncs_of_one_stream_read_it_once_in_one_run(copying: Running, instance: dg.DagsterInstance) -> None:
    copying.robostack.add_resource("orgs")
    copying.project.write("copy_too", {**COPY, "to": "robostack_demo.orgs"})
    result = copying.project.run(None, instance)
    assert result.success
    with copying.project.runtime() as runtime:
        runs = runtime.ledger.runs()
        assert {run.summary["created"] for run in runs} == {3}
        assert len({run.summary["raw"] for run in runs}) == 1
        assert sorted(run.summary["requests"]["source"]["read"] > 0 for run in runs) == [False, True]


def test_a_platform_out_of_reach_fails_the_step_with_a_sentence_and_the_ledger_knows(
    copying: Running, instance: dg.DagsterInstance
) -> None:
    result = copying.project.away("STACKER_URL").run("copy", instance, clock=FakeClock())
    assert not result.success
    assert "127.0.0.1:9" in failure(result)
    with copying.project.runtime() as runtime:
        kept = runtime.ledger.run(result.run_id)
    assert kept is not None
    assert kept.status == "failed"


def test_a_plan_whose_sink_is_out_of_reach_leaves_no_run_running(copying: Running, instance: dg.DagsterInstance) -> None:
    result = copying.project.away("ROBOSTACK_URL").run("copy", instance, clock=FakeClock())
    assert not result.success
    assert result.asset_materializations_for_node("stacker_demo__contacts_raw")
    with copying.project.runtime() as runtime:
        assert [run.status for run in runtime.ledger.runs()] == ["failed"]


def test_the_data_versions_are_the_batch_and_the_digest(copying: Running, instance: dg.DagsterInstance) -> None:
    result = copying.project.run("copy", instance)
    with copying.project.runtime() as runtime:
        kept = runtime.ledger.run(result.run_id)
    assert kept is not None
    versions = [
        materialized(result, key).tags["dagster/data_version"] for key in (raw_key(COPY["from"]), plan_key("copy"), applied_key("copy"))
    ]
    assert versions == [kept.summary["raw"], kept.summary["digest"], kept.summary["digest"]]
