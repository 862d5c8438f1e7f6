"""The asset checks over real staging: what each finds, how grave it is, and when it stops a run."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from connectors.base import Capabilities, ReadCapability, Stream
from pipelines.components import checks
from pipelines.plan import Counts, Plan, Refusal
from pipelines.staging import Batch, Dataset
from pipelines.staging.open import open_staging
from pipelines.summary import Summary

STREAM = Stream("things", "id", Capabilities(ReadCapability()))
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
DATASET = Dataset(("raw", "a", "things"))


class Checked:
    """Batches staged one after the other, and what the checks say of the last one."""

    def __init__(self, folder: Path) -> None:
        self.staging = open_staging(str(folder))

    def stage(self, rows: Sequence[dict[str, Any]], *, mode: str = "full", complete: bool = True) -> Batch:
        proof = {
            "complete": complete,
            "method": "keyset",
            "reasons": ["the end was reached"],
            "count": len(rows),
            "total": None,
            "requests": 1,
        }
        with self.staging.begin(DATASET) as writer:
            writer.write(pa.RecordBatch.from_pylist(list(rows)) if rows else pa.RecordBatch.from_pylist([], schema=pa.schema([])))
            return writer.commit({"mode": mode, "completeness": proof})

    def results(self, batch: Batch, previous: Batch | None = None, *, needs_proof: bool = False) -> dict[str, dg.AssetCheckResult]:
        found = checks.source_results(self.staging, batch, STREAM, previous, needs_proof=needs_proof)
        return {str(result.check_name): result for result in found}


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    return Checked(tmp_path)


def test_ids_that_all_differ_pass(checked: Checked) -> None:
    assert checked.results(checked.stage([{"id": "a"}, {"id": "b"}]))[checks.IDS].passed


def test_a_record_without_id_is_an_error_that_stops_the_run(checked: Checked) -> None:
    found = checked.results(checked.stage([{"id": "a"}, {"id": None}]))[checks.IDS]
    assert (found.passed, found.severity) == (False, ERROR)
    assert "1 of 2 records have no id" in str(found.description)


def test_a_record_read_twice_is_a_warning_because_the_last_one_counts(checked: Checked) -> None:
    found = checked.results(checked.stage([{"id": "a"}, {"id": "b"}, {"id": "a"}]))[checks.IDS]
    assert (found.passed, found.severity) == (False, WARN)


def test_records_that_all_lack_the_id_field_are_an_error_that_says_what_to_declare(checked: Checked) -> None:
    found = checked.results(checked.stage([{"name": "a"}]))[checks.IDS]
    assert (found.passed, found.severity) == (False, ERROR)
    assert "declare the stream's key" in str(found.description)


def test_an_empty_read_has_no_bad_ids(checked: Checked) -> None:
    assert checked.results(checked.stage([]))[checks.IDS].passed


@pytest.mark.parametrize(("complete", "needed", "passed"), [(True, True, True), (False, False, True), (False, True, False)])
def test_an_unproven_read_is_a_warning_only_where_a_mirror_deletes_by_it(
    checked: Checked, complete: bool, needed: bool, passed: bool
) -> None:
    found = checked.results(checked.stage([{"id": "a"}], complete=complete), needs_proof=needed)["complete_where_needed"]
    assert found.passed is passed
    assert found.severity is WARN
    assert found.metadata["proven"].value is complete


def test_fields_that_come_go_or_change_their_type_are_told_by_name(checked: Checked) -> None:
    before = checked.stage([{"id": "a", "gone": 1, "turned": 1}])
    after = checked.stage([{"id": "a", "turned": "x", "new": True}])
    found = checked.results(after, before)["schema_unchanged"]
    assert (found.passed, found.severity) == (False, WARN)
    assert str(found.description) == "gone is gone; new is new (bool); turned was int64 and is string"


def test_a_part_of_the_records_may_lack_fields_and_values(checked: Checked) -> None:
    before = checked.stage([{"id": "a", "rare": 1, "empty": 1}])
    after = checked.stage([{"id": "a", "empty": None}], mode="since")
    assert checked.results(after, before)["schema_unchanged"].passed


def made_plan(*refusals: Refusal, **counts: int) -> Plan:
    """A plan of which only the counts and the refusals matter."""
    blank = {
        field.name: {"str": "", "int": 0, "bool": True}.get(str(getattr(field.type, "__name__", field.type)), ()) for field in fields(Plan)
    }
    return Plan(**{**blank, "sync": "s", "counts": Counts(**counts), "refusals": refusals})


def test_a_refused_plan_fails_its_check_and_says_how_to_let_it_pass() -> None:
    (found,) = checks.plan_results(made_plan(Refusal("limit", "too many; approve digest dddd", True)))
    assert not found.passed
    assert "approve digest dddd" in str(found.description)
    assert checks.plan_results(made_plan())[0].passed


def results_of(summary: Summary, plan: Plan) -> dict[str, dg.AssetCheckResult]:
    return {str(result.check_name): result for result in checks.applied_results(summary, plan)}


def test_outcomes_that_do_not_add_up_fail() -> None:
    fine, lost = (Summary("s", "r", "ok", read=3, created=created) for created in (3, 2))
    assert results_of(fine, made_plan(read=3))["outcomes_add_up"].passed
    found = results_of(lost, made_plan(read=3))["outcomes_add_up"]
    assert (found.passed, found.severity) == (False, ERROR)
    assert str(found.description).startswith("2 outcomes for 3 records.")


@pytest.mark.parametrize(("differences", "passed"), [(None, True), (0, True), (2, False)])
def test_what_reads_back_differently_is_an_error(differences: int | None, passed: bool) -> None:
    summary = Summary("s", "r", "ok", read=3, updated=3, differences=differences)
    assert results_of(summary, made_plan(read=3))["reconciled"].passed is passed


@pytest.mark.parametrize(
    ("read", "invalid", "owned", "passed", "severity"),
    [(1000, 0, 0, True, WARN), (1000, 20, 0, True, WARN), (1000, 21, 0, False, WARN), (10, 6, 0, False, ERROR), (28, 20, 5000, True, WARN)],
)
def test_few_undelivered_records_pass_many_warn_and_most_fail(read: int, invalid: int, owned: int, passed: bool, severity: Any) -> None:
    summary = Summary("s", "r", "partial", read=read, created=read - invalid, invalid=invalid)
    found = results_of(summary, made_plan(read=read, owned=owned))["delivered"]
    assert (found.passed, found.severity) == (passed, severity)
