"""`crossdock backfill` and the same from Dagster: windows read again, what is written, what stands in which history."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.components.names import applied_key, plan_key, raw_key
from tests.definitions.projects import Running, running_project
from tests.e2e.commandline import Project, contact, project

DAYS = {"by": "updated_at", "start": "2026-01-01", "per_run": 2}
COPY = {
    "from": "stacker_demo.contacts",
    "to": "robostack_demo.people",
    "match": ["email"],
    "read": {"mode": "incremental", "cursor": "updated_at"},
    "fields": {"email": "email", "name": "first_name"},
    "partitions": {"by": "updated_at", "start": "2026-01-01"},
}


def at(n: int) -> dict[str, Any]:
    """Two contacts for each of the first days of January."""
    return contact(n, updated_at=f"2026-01-{1 + n // 2:02}T12:00:00Z")


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path) as made:
        made.contacts(*(at(n) for n in range(12)))
        made.sync(partitions=DAYS, read={"mode": "incremental", "cursor": "updated_at"}, limits={"update_count": 3})
        yield made


def spoil(made: Project, *numbers: int) -> None:
    held = made.there.resources["people"]
    made.there.put(held, [{**one, "name": "spoilt"} for one in made.people() if one["email"] in {f"p{n}@example.com" for n in numbers}])


def names(made: Project) -> set[str]:
    return {str(one["name"]) for one in made.people()}


def test_a_range_is_taken_run_by_run_goes_on_where_it_stopped_and_leaves_the_live_cursor_alone(windows: Project) -> None:
    assert windows.json("run", "c2p")["created"] == 12
    spoil(windows, 0, 4, 5, 6, 7)
    planned = windows.json("backfill", "c2p", "--from", "2026-01-01", "--to", "2026-01-02", "--dry-run")
    assert (planned["status"], planned["runs"][0]["updated"], names(windows) & {"spoilt"}) == ("ok", 1, {"spoilt"})
    told = windows.run("backfill", "c2p", "--from", "2026-01-01", "--to", "2026-01-04")
    assert told.status == 2
    assert [line.split()[:5] for line in told.out.splitlines() if line.startswith("2026")] == [
        ["2026-01-01", "…", "2026-01-02", "ok", "4"],
        ["2026-01-03", "…", "2026-01-04", "refused", "4"],
        ["2026-01-03", "…", "2026-01-04", "refused:", "4"],
    ]
    digest = told.out.rpartition("--approve ")[2].strip()
    approved = windows.json("backfill", "c2p", "--continue", "--approve", digest)
    assert [(one["from"], one["to"], one["status"], one["updated"]) for one in approved["runs"]] == [("2026-01-03", "2026-01-04", "ok", 4)]
    assert "spoilt" not in names(windows)
    assert "Every window from 2026-01-01 to 2026-01-04 is done" in windows.run("backfill", "c2p", "--continue").out
    live = windows.json("run", "c2p")
    assert (live["read"], live["created"], live["updated"]) == (2, 0, 0)  # those at the cursor itself
    kinds = [one["kind"] for one in windows.json("runs", "c2p")["runs"]]
    assert kinds == ["run", "backfill", "backfill", "backfill", "plan", "run"]
    windows.here.objects.pop("contacts")
    spoil(windows, 3)
    replayed = windows.json("backfill", "c2p", "--from", "2026-01-02", "--from-staging")
    assert (replayed["status"], replayed["updated"], replayed["runs"][0]["requests"]["source"]["read"]) == ("ok", 1, 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("backfill", "c2p"), "name the windows with --from and --to"),
        (("backfill", "c2p", "--continue"), "c2p has no backfill to go on with"),
        (("backfill", "c2p", "--from", "2025-12-31"), "c2p has no window '2025-12-31'; name one from 2026-01-01 to 20"),
        (("backfill", "c2p", "--from", "2026-01"), "spelled so"),
        (("backfill", "weekly", "--from", "2026-01-14"), "weekly has no window '2026-01-14'; did you mean 2026-01-12,"),
        (("backfill", "c2p", "--from", "2026-01-03", "--to", "2026-01-02"), "name the earlier one first"),
        (("backfill", "plain", "--from", "2026-01-03"), "add partitions: {by: CURSOR_FIELD, start: 2026-01-31}"),
        (("run", "late"), "begin on 2999-01-01, which is yet to come"),
    ],
)
def test_what_cannot_be_backfilled_is_refused_in_a_sentence(windows: Project, line: tuple[str, ...], message: str) -> None:
    windows.sync("plain")
    windows.sync("weekly", partitions={**DAYS, "every": "week"})
    windows.sync("late", partitions={**DAYS, "start": "2999-01-01"})
    ended = windows.run(*line)
    assert ended.status == 3
    assert message in ended.err.replace("\n", " ")


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Running]:
    with running_project(tmp_path, shipped=False) as running:
        contacts = [
            {"email": f"{name}@x.example", "first_name": name, "updated_at": f"2026-01-0{day}T00:00:00Z"}
            for day, name in enumerate(("ada", "bob", "eve"), 1)
        ]
        running.stacker.add_object("contacts", contacts)
        running.robostack.add_resource("people")
        running.project.write("copy", COPY)
        yield running


def test_in_dagster_a_partition_is_its_window_a_range_is_one_run_and_the_schedule_runs_live(copying: Running) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def run(**how: Any) -> Any:
            result = copying.project.run("copy", instance, **how)
            assert result.success
            (event,) = {one.metadata["digest"].value: one for one in result.asset_materializations_for_node("copy__applied")}.values()
            return {name: value.value for name, value in event.metadata.items()}

        assert run(partition_key="2026-01-02")["created"] == 1
        assert instance.get_materialized_partitions(applied_key("copy")) == {"2026-01-02"}
        both = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-02"}
        assert (run(tags=both)["created"], run(tags=both)["unchanged"]) == (1, 2)
        assert instance.get_materialized_partitions(raw_key("stacker_demo.contacts")) == {"2026-01-01", "2026-01-02"}
        graph = copying.project.defs().resolve_asset_graph()
        current = graph.get(plan_key("copy")).partitions_def.get_last_partition_key()
        live = run(partition_key=current, tags={"crossdock/live": "true"})
        assert (live["created"], live["unchanged"]) == (1, 2)
        chosen = [key for key in graph.materializable_asset_keys if key.path[-1] != "contacts_raw"]
        everything = copying.project.run(None, instance, partition_key="2026-01-02", asset_selection=chosen)  # as a person materializes it
        assert everything.success
        assert instance.get_run_by_id(everything.run_id).asset_selection == {plan_key("copy"), applied_key("copy")}


def test_a_stream_whose_syncs_have_other_windows_is_read_without_any(copying: Running) -> None:
    copying.project.write("monthly", {**COPY, "partitions": {"by": "updated_at", "start": "2026-01-01", "every": "month"}})
    graph = copying.project.defs().resolve_asset_graph()
    assert graph.get(raw_key("stacker_demo.contacts")).partitions_def is None
    with dg.DagsterInstance.ephemeral() as instance:
        assert copying.project.run("monthly", instance, partition_key="2026-01-01").success
        assert len(copying.robostack.resources["people"].records) == 3
