"""What Dagster sees of a project: assets, checks, jobs, schedules, and that nothing can take the whole of it down."""

import re
import socket
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.components.names import applied_key, op_name, plan_key, raw_key, remote_key
from pipelines.components.project import without_circles
from pipelines.components.sync import BROKEN_GROUP, build_sync_defs, run_config
from pipelines.spec import SyncSpec
from tests.definitions.projects import Project, new_project

SYNCS = ["companies_to_orgs", "contacts_to_people", "invoices_to_stacker"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return new_project(tmp_path_factory.mktemp("shipped")).defs()


def node(defs: dg.Definitions, key: dg.AssetKey) -> Any:
    return defs.resolve_asset_graph().get(key)


def test_every_sync_has_a_plan_what_was_applied_a_job_of_its_name_and_its_schedule(shipped: dg.Definitions) -> None:
    for name in SYNCS:
        assert node(shipped, plan_key(name)).is_materializable
        assert node(shipped, applied_key(name)).is_materializable
        assert shipped.resolve_job_def(name).name == name
        assert shipped.resolve_schedule_def(f"{name}_schedule").job_name == name


def test_schedules_stand_still_until_a_person_starts_them(shipped: dg.Definitions) -> None:
    for name in SYNCS:
        assert shipped.resolve_schedule_def(f"{name}_schedule").default_status is dg.DefaultScheduleStatus.STOPPED


def test_the_job_reads_plans_and_applies_and_nothing_else(shipped: dg.Definitions) -> None:
    chosen = shipped.resolve_job_def("contacts_to_people").asset_layer.selected_asset_keys
    assert chosen == {raw_key("stacker_demo.contacts"), plan_key("contacts_to_people"), applied_key("contacts_to_people")}


def test_a_plan_comes_after_what_it_looks_up_and_both_sides(shipped: dg.Definitions) -> None:
    upstream = node(shipped, plan_key("contacts_to_people")).parent_keys
    assert upstream == {raw_key("stacker_demo.contacts"), remote_key("robostack_demo.people"), applied_key("companies_to_orgs")}


def test_the_platforms_own_records_stand_upstream_only_as_external_assets(shipped: dg.Definitions) -> None:
    for address in ("stacker_demo.contacts", "robostack_demo.people", "robostack_demo.invoices", "stacker_demo.invoices"):
        remote = node(shipped, remote_key(address))
        assert remote.is_external
        assert not remote.parent_keys


def test_kinds_owners_groups_and_pools_say_who_and_where(shipped: dg.Definitions) -> None:
    source, plan, applied = (
        node(shipped, key) for key in (raw_key("stacker_demo.contacts"), plan_key("contacts_to_people"), applied_key("contacts_to_people"))
    )
    assert source.kinds == {"stacker", "parquet"}
    assert applied.kinds == {"robostack"}
    assert plan.owners == ["team:operations"]
    assert (source.group_name, plan.group_name, applied.group_name) == ("stacker_demo", "contacts_to_people", "contacts_to_people")
    assert (source.pools, plan.pools, applied.pools) == ({"stacker_demo"}, {"robostack_demo"}, {"robostack_demo"})


def test_only_missing_ids_stop_a_run(shipped: dg.Definitions) -> None:
    graph = shipped.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert blocking == {"ids_unique_and_not_null"}


def test_a_changed_spec_is_another_code_version(project: Project) -> None:
    def version(**changed: str) -> str | None:
        written = {"from": "robostack_demo.invoices", "to": "stacker_demo.invoices", "match": ["number"], **changed}
        project.write("invoices_to_stacker", written)
        return node(project.defs(), applied_key("invoices_to_stacker")).code_version

    assert version() != version(mode="insert")
    assert version() == version(mode="upsert", compare="sink")  # as it is without them


def test_loading_asks_no_platform_anything(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("loading opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert project.defs().resolve_asset_graph().has(applied_key("contacts_to_people"))


def test_loading_needs_no_secret_and_no_address(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    file = tmp_path / "connections.yaml"
    text, count = re.subn(r"\$\{([A-Z_]+):-[^}]*\}", r"${UNSET_\1}", file.read_text())
    assert count > 4
    file.write_text(text)
    assert node(project.defs(), applied_key("contacts_to_people")).group_name == "contacts_to_people"


def test_two_syncs_of_one_stream_share_its_source_asset(project: Project) -> None:
    project.write("contacts_copy", {"from": "stacker_demo.contacts", "to": "robostack_demo.orgs", "match": ["email"]})
    defs = project.defs()
    readers = node(defs, raw_key("stacker_demo.contacts")).child_keys
    assert readers == {plan_key("contacts_to_people"), plan_key("contacts_copy")}


def test_a_sync_in_each_direction_is_no_circle(project: Project) -> None:
    project.write("people_to_contacts", {"from": "robostack_demo.people", "to": "stacker_demo.contacts", "match": ["email"]})
    order = project.defs().resolve_asset_graph().toposorted_asset_keys
    assert {applied_key("people_to_contacts"), applied_key("contacts_to_people")} <= set(order)


def test_syncs_that_look_each_other_up_load_with_one_of_the_two_orders(project: Project) -> None:
    one = {"from": "stacker_demo.contacts", "to": "robostack_demo.people", "match": ["email"]}
    project.write("a", {**one, "fields": {"email": "email", "boss": "lookup('b', boss_sid)"}})
    project.write("b", {**one, "fields": {"email": "email", "aide": "lookup_or_null('a', aide_sid)"}})
    defs = project.defs()
    edges = [applied_key("b") in node(defs, plan_key("a")).parent_keys, applied_key("a") in node(defs, plan_key("b")).parent_keys]
    assert sorted(edges) == [False, True]


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), unique=True)))
def test_edges_without_circles_keep_every_edge_that_closes_none(edges: dict[str, list[str]]) -> None:
    edges = {name: [other for other in named if other != name] for name, named in edges.items()}
    kept = without_circles(edges)
    order: list[str] = []
    left = {name: set(kept.get(name, ())) for name in "abcdef"}
    while left:
        ready = [name for name, needs in left.items() if not needs & set(left)]
        assert ready, "a circle is left"
        order += ready
        left = {name: needs for name, needs in left.items() if name not in ready}
    dropped = [(name, other) for name, named in edges.items() for other in named if other not in kept.get(name, ())]

    def reaches(start: str, goal: str) -> bool:
        return start == goal or any(reaches(further, goal) for further in kept.get(start, ()))

    assert all(reaches(other, name) for name, other in dropped)


HEAD = "type: pipelines.components.SyncComponent\nattributes:\n"
GOOD = HEAD + "  from: stacker_demo.contacts\n  to: robostack_demo.people\n  match: [email]\n"
BROKEN = {
    "a misspelt key": (GOOD + "  feilds: {}\n", ":6: "),
    "no YAML": (HEAD + "  [\n", ":"),
    "a component that does not exist": (GOOD.replace("SyncComponent", "SyncComponnet"), "did you mean"),
    "an unknown connection": (GOOD.replace("stacker_demo", "stackr_demo"), "did you mean 'stacker_demo'"),
    "a cron of four fields": (GOOD + "  schedule: '* * * *'\n", ":6: "),
    "an owner that Dagster refuses": (GOOD + "  owners: ['not@an address']\n", "Dagster refuses it"),
}


@pytest.mark.parametrize(("text", "named"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_sync_is_an_asset_that_says_why_and_hides_no_other(project: Project, text: str, named: str) -> None:
    project.write("broken_one", text)
    defs = project.defs()
    broken = node(defs, applied_key("broken_one"))
    assert broken.group_name == BROKEN_GROUP
    assert "broken_one" in broken.description
    assert named in broken.description
    assert {job.name for job in defs.get_repository_def().get_all_jobs()} == {*SYNCS, "__ASSET_JOB"}


def test_a_sync_that_dagster_refuses_only_when_all_are_put_together_hides_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wanting(spec: SyncSpec, **given: Any) -> dg.Definitions:
        if spec.name != "broken_one":
            return build_sync_defs(spec, **given)

        @dg.asset(key=applied_key(spec.name), required_resource_keys={"nowhere"})
        def applied() -> None: ...

        return dg.Definitions(assets=[applied])

    project.write("broken_one", GOOD)
    monkeypatch.setattr("pipelines.components.project.build_sync_defs", wanting)
    defs = project.defs()
    assert "Dagster refuses it" in node(defs, applied_key("broken_one")).description
    assert {job.name for job in defs.get_repository_def().get_all_jobs()} == {*SYNCS, "__ASSET_JOB"}


@pytest.mark.parametrize("name", ["config", "int", "__ASSET_JOB"])
def test_a_name_that_dagster_keeps_for_itself_breaks_that_sync_alone(project: Project, name: str) -> None:
    project.write(name, GOOD)
    defs = project.defs()
    assert f"Dagster keeps the name '{name}' for itself" in node(defs, applied_key(name)).description
    assert {job.name for job in defs.get_repository_def().get_all_jobs()} == {*SYNCS, "__ASSET_JOB"}


def test_a_broken_sync_that_is_run_fails_with_its_sentence(project: Project) -> None:
    project.write("broken_one", {"from": "stacker_demo.contacts", "to": "nowhere.people", "match": ["email"]})
    with dg.DagsterInstance.ephemeral() as instance:
        result = project.run(None, instance, asset_selection=[applied_key("broken_one")])
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "there is no connection 'nowhere'" in str(failure.event_specific_data)


def test_run_configuration_names_the_steps_that_take_it(project: Project) -> None:
    spec = project.runtime().syncs.specs["contacts_to_people"]
    config = run_config(spec, full=True, approve="3f9c0000").to_config_dict()
    assert config["ops"] == {
        "stacker_demo__contacts_raw": {"config": {"full": True}},
        "contacts_to_people__applied": {"config": {"approve": "3f9c0000"}},
    }
    steps = {step.name for step in project.defs().resolve_job_def("contacts_to_people").nodes}
    assert set(config["ops"]) <= steps


def test_step_names_are_safe_and_different_for_different_streams() -> None:
    names = [op_name(raw_key(address)) for address in ("a.b-c", "a.b_c", "a.b c", "a-b.c", "a.ü")]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() and name.isascii() for name in names)
