"""Where state lies, what a runtime opens, and which syncs it refuses before anything runs."""

import threading
from pathlib import Path

import pytest

from connectors.errors import ConfigError, RetryableError
from pipelines.complaints import listed
from pipelines.config import SyncFile, load_sync_file
from pipelines.places import find_places
from pipelines.runtime import CONNECTORS, Runtime, connector, dagster_home, open_runtime
from tests.shop import Shop

REGISTRY = {"shop": "tests.shop"}
CONNECTIONS = """\
connections:
  shop: {connector: shop, base_url: "https://shop.example", token: "${SHOP_TOKEN}"}
  asking: {connector: shop, base_url: "https://shop.example", token: "${SHOP_TOKEN}", asks: true}
  lost: {connector: shopp, base_url: "https://shop.example"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "connections.yaml").write_text(CONNECTIONS)
    return tmp_path


def runtime(project: Path, **environ: str) -> Runtime:
    return open_runtime(environ, project, connectors=REGISTRY)


def sync(project: Path, source: str, target: str, more: str = "") -> SyncFile:
    path = project / "pipelines" / "defs" / "trial" / "defs.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"type: pipelines.components.SyncComponent\nattributes:\n  from: {source}\n  to: {target}\n  match: [email]\n{more}"
    path.write_text(text)
    return load_sync_file(path, project)


def refusal(project: Path, source: str, target: str, more: str = "") -> str:
    file = sync(project, source, target, more)
    with pytest.raises(ConfigError) as caught:
        runtime(project).validate(file.spec, file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_state_lies_beside_the_project_found_upwards(project: Path) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    places = find_places({}, inner)
    assert (places.root, places.home) == (project, project / ".crossdock")
    assert places.connections == project / "connections.yaml"
    assert places.ledger == f"sqlite:///{project}/.crossdock/ledger.db"
    assert places.staging == f"{project}/.crossdock/staging"


def test_variables_move_state_and_relative_ones_start_where_the_command_does(project: Path) -> None:
    given = {
        "CROSSDOCK_HOME": "state",
        "CROSSDOCK_CONNECTIONS": "other.yaml",
        "CROSSDOCK_LEDGER": "postgresql://db/x",
        "CROSSDOCK_STAGING": "",
    }
    places = find_places(given, project / "sub")
    assert places.home == project / "sub" / "state"
    assert places.connections == project / "sub" / "other.yaml"
    assert (places.ledger, places.staging) == ("postgresql://db/x", f"{project}/sub/state/staging")
    assert find_places({"CROSSDOCK_STAGING": "s3://bucket/x"}, project).staging == "s3://bucket/x"


def test_places_do_not_show_urls_that_may_hold_a_password(project: Path) -> None:
    assert "s3cret" not in repr(find_places({"CROSSDOCK_LEDGER": "postgresql://me:s3cret@db/x"}, project))


def test_dagster_keeps_its_state_in_ours_with_the_projects_settings(project: Path) -> None:
    (project / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    places = find_places({}, project)
    folder = dagster_home(places, {})
    assert folder == project / ".crossdock" / "dagster"
    (project / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    assert (dagster_home(places, {}) / "dagster.yaml").read_text() == "telemetry: {enabled: true}\n"
    assert dagster_home(places, {"DAGSTER_HOME": str(project / "mine")}) == project / "mine"


def test_a_misspelt_connector_is_told_with_its_line_and_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^connections.yaml:4: there is no connector 'shopp'; did you mean 'shop'\?$"):
        runtime(project).open_connection("lost")
    with pytest.raises(ConfigError, match=rf"^there is no connector 'zzz'; there is {listed(sorted(CONNECTORS))}$"):
        connector("zzz")


def test_a_missing_variable_is_told_when_the_connection_is_used(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"^connections.yaml:2: 'token' of connection shop needs the environment variable SHOP_TOKEN"):
        runtime(project).open_connection("shop")


def test_a_connection_is_opened_once_and_closed_with_the_runtime(project: Path) -> None:
    with runtime(project, SHOP_TOKEN="t") as opened:
        first = opened.open_connection("shop")
        assert opened.open_connection("shop") is first
    assert isinstance(first, Shop)
    opened.close()
    assert first.closed_count == 1


def test_a_runtime_shows_no_secret(project: Path) -> None:
    with runtime(project, SHOP_TOKEN="c4n4ry") as opened:
        opened.open_connection("shop")
        assert "c4n4ry" not in repr(opened)
        assert "c4n4ry" not in repr(opened.settings("shop"))


def test_a_lock_is_exclusive_by_name_and_free_after_use(project: Path) -> None:
    opened, told = runtime(project), []

    def contend() -> None:
        with pytest.raises(RetryableError) as caught, opened.lock("crm/people"):
            pass
        told.append(str(caught.value))

    with opened.lock("crm/people"), opened.lock("crm/orgs"):
        other = threading.Thread(target=contend)
        other.start()
        other.join()
    assert "crm/people is in use by another run (process " in told[0]
    with opened.lock("crm/people"):
        pass


@pytest.mark.parametrize("mode", ["insert", "update", "upsert", "mirror"])
def test_what_both_sides_can_do_is_accepted(project: Path, mode: str) -> None:
    file = sync(project, "shop.whole", "shop.everything", f"  mode: {mode}\n")
    runtime(project).validate(file.spec, file)


def test_what_only_the_platform_can_tell_is_not_refused(project: Path) -> None:
    file = sync(project, "asking.anything", "asking.whatever", "  mode: mirror\n")
    runtime(project).validate(file.spec, file)


@pytest.mark.parametrize(
    ("source", "target", "more", "message"),
    [
        ("shp.everything", "shop.everything", "", "3: there is no connection 'shp' in connections.yaml; did you mean 'shop'?"),
        ("lost.everything", "shop.everything", "", "connections.yaml:4: there is no connector 'shopp'; did you mean 'shop'?"),
        ("shop.everythin", "shop.everything", "", "3: there is no stream 'everythin'; did you mean 'everything'?"),
        ("shop.everything", "shop.zzz", "", "4: there is no stream 'zzz'; declared are everything, keepers"),
        (
            "shop.everything",
            "shop.keepers",
            "  mode: mirror\n",
            "6: shop.keepers cannot delete records, which mode: mirror needs; use mode: upsert",
        ),
        (
            "shop.everything",
            "shop.read_only",
            "",
            "cannot create or update records, which mode: upsert needs; it can only be read: write to",
        ),
        (
            "shop.shifting",
            "shop.everything",
            "  mode: mirror\n",
            "6: mode: mirror deletes what shop.shifting no longer has, but no read of it",
        ),
        (
            "shop.keepers",
            "shop.everything",
            "  mode: mirror\n  read: {mode: incremental, cursor: at}\n",
            "7: mode: mirror deletes what the source no longer has, which an incremental read cannot prove; remove 'read'",
        ),
        ("shop.keepers", "shop.keepers", "", "4: from and to are both shop.keepers, and mode: upsert would read what it wrote"),
        (
            "shop.whole",
            "shop.everything",
            "  read: {mode: incremental, cursor: at}\n",
            "6: shop.whole cannot be asked for what changed since a cursor; remove 'read' to read it whole each time",
        ),
        ("shop.whole", "shop.keepers", "  after: [c2q]\n", "6: there is no sync 'c2q' to run after; there is nothing"),
        (
            "shop.whole",
            "shop.keepers",
            "  fields: {email: email, id: id}\n",
            "6: 'id' of shop.keepers is set by the platform itself and is never",
        ),
        ("shop.shifting", "shop.keepers", "  mode: mirror\n", "(and 1 more to repair in it)"),
    ],
)
def test_what_cannot_work_is_refused_without_asking_any_platform(project: Path, source: str, target: str, more: str, message: str) -> None:
    assert message in refusal(project, source, target, more)


def test_every_registered_connector_exports_itself_under_its_name() -> None:
    assert {name: connector(name).name for name in CONNECTORS} == {name: name for name in CONNECTORS}
