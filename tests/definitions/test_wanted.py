"""What the process of one run loads: the syncs of that run and nothing else."""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.test_utils import create_run_for_test
from dagster._grpc.types import ExecuteExternalJobArgs
from dagster._serdes import serialize_value

from pipelines.components.names import applied_key, plan_key, raw_key
from pipelines.components.wanted import syncs_wanted
from tests.definitions.projects import Project, new_project

WINDOWS = {"by": "updated_at", "start": "2026-01-01"}
ORGS = {"from": "stacker_demo.companies", "to": "robostack_demo.orgs", "match": ["domain"], "partitions": WINDOWS}
PEOPLE = {"from": "stacker_demo.contacts", "to": "robostack_demo.people", "match": ["email"], "after": ["orgs"], "partitions": WINDOWS}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three syncs: `people` looks up `orgs` and follows it, `broken` cannot run."""
    made = new_project(tmp_path_factory.mktemp("wanted"), shipped=False)
    made.write("orgs", ORGS)
    made.write("people", {**PEOPLE, "fields": {"email": "email", "company": "lookup('orgs', company_sid)"}})
    made.write("broken", {**ORGS, "mode": "sideways"})
    return made


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as made:
        yield made


def started_for(patch: pytest.MonkeyPatch, instance: dg.DagsterInstance, job: str, *assets: dg.AssetKey) -> None:
    """From here on this process was started as Dagster's code server starts one for a run."""
    run = create_run_for_test(instance, job_name=job, asset_selection=frozenset(assets) or None)
    recon = ReconstructableJob(ReconstructableRepository.for_module("pipelines.definitions", "defs"), job)
    told = ExecuteExternalJobArgs(job_origin=_origin(), run_id=run.run_id, instance_ref=instance.get_ref())
    patch.setattr(multiprocessing.current_process(), "_args", (serialize_value(told), recon, None, None), raising=False)


def _origin() -> Any:
    from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="pipelines.definitions"), location_name="crossdock")
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "any")


def jobs(defs: dg.Definitions) -> set[str]:
    return {job.name for job in defs.jobs or ()}


def test_a_run_of_a_syncs_job_loads_that_sync_and_the_same_steps(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = project.defs()
    assert jobs(whole) == {"orgs", "people"}
    assert applied_key("broken") in whole.resolve_asset_graph().get_all_asset_keys()
    started_for(monkeypatch, instance, "people")
    alone = project.defs()
    assert jobs(alone) == {"people"}
    assert not alone.sensors
    part, same = alone.resolve_job_def("people"), whole.resolve_job_def("people")
    assert {node.name for node in part.nodes} == {node.name for node in same.nodes}
    assert (part.partitions_def, part.tags) == (same.partitions_def, same.tags)


@pytest.mark.parametrize(
    ("chosen", "loaded"),
    [
        ([raw_key("stacker_demo.companies"), plan_key("orgs"), applied_key("orgs")], {"orgs"}),
        ([plan_key("orgs"), plan_key("people")], {"orgs", "people"}),
        ([raw_key("stacker_demo.companies")], None),  # of no sync: everything, as ever
        ([dg.AssetKey(["of", "others"]), plan_key("orgs")], None),
        ([applied_key("broken")], None),
        ([], None),
    ],
)
def test_a_run_of_chosen_assets_needs_the_syncs_they_belong_to(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, chosen: list[dg.AssetKey], loaded: set[str] | None
) -> None:
    started_for(monkeypatch, instance, "__ASSET_JOB", *chosen)
    assert syncs_wanted(["orgs", "people"], [raw_key("stacker_demo.companies")]) == loaded


def test_chosen_assets_of_one_sync_run_without_the_others_being_loaded(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = frozenset([raw_key("stacker_demo.companies"), plan_key("orgs"), applied_key("orgs")])
    started_for(monkeypatch, instance, "__ASSET_JOB", *chosen)
    found = project.defs().get_repository_def().get_maybe_subset_job_def("__ASSET_JOB", asset_selection=chosen)
    assert set(found.asset_layer.selected_asset_keys) == chosen
