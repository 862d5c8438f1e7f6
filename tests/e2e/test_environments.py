"""One project in several environments, and the look at its syncs before a deploy."""

from pathlib import Path

import pytest

from connectors.errors import ConfigError
from pipelines.places import find_places
from tests.e2e.commandline import CONNECTIONS, contact, project


def test_an_environment_has_connections_and_state_of_its_own(tmp_path: Path) -> None:
    with project(tmp_path) as made:
        del made.environ["CROSSDOCK_HOME"]
        made.environ["CROSSDOCK_ENVIRONMENT"] = "staging"
        assert "there is no file connections.staging.yaml" in made.run("run", "c2p").err
        made.write("connections.staging.yaml", CONNECTIONS)
        made.write("connections.yaml", "connections: {}\n")
        made.contacts(contact(1))
        assert made.json("run", "c2p")["created"] == 1
        assert {path.name for path in (tmp_path / ".crossdock").iterdir()} == {"staging"}
        assert {"ledger.db", "staging", "dagster"} <= {path.name for path in (tmp_path / ".crossdock" / "staging").iterdir()}


def test_paths_that_are_named_win_and_a_name_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "connections.yaml").touch()
    named = find_places({"CROSSDOCK_ENVIRONMENT": "prod-1", "CROSSDOCK_HOME": "/h", "CROSSDOCK_CONNECTIONS": "other.yaml"}, tmp_path)
    assert (named.home, named.connections) == (Path("/h"), tmp_path / "other.yaml")
    plain = find_places({"CROSSDOCK_ENVIRONMENT": ""}, tmp_path)
    assert (plain.home, plain.connections) == (tmp_path / ".crossdock", tmp_path / "connections.yaml")
    with pytest.raises(ConfigError, match="letters, digits, _ and -"):
        find_places({"CROSSDOCK_ENVIRONMENT": "../other"}, tmp_path)


def test_a_look_before_a_deploy_finds_every_broken_sync_and_asks_nobody(tmp_path: Path) -> None:
    with project(tmp_path) as made:
        made.environ |= {"HERE_URL": "http://127.0.0.1:9", "THERE_URL": "http://127.0.0.1:9"}
        fine = made.run("check", "--files")
        assert (fine.status, fine.out) == (0, "1 syncs, and every one can be loaded\n")
        made.sync("cron", schedule="soon")
        made.sync("circle", after=["circle"])
        made.sync("late", partitions={"by": "at", "start": "2999-01-01"})
        made.sync("owner", owners=["a@b@c"])
        made.sync("typo", mod="upsert")
        broken = made.json("check", "--files")
        assert (broken["exit"], broken["connections"]) == (3, [])
        said = "\n".join(broken["syncs"])
        for words in ("'soon' is not a cron", "for ever", "yet to come", "Dagster refuses it", "'mod' is not a setting"):
            assert words in said, said
        assert len(broken["syncs"]) == 5
        assert "leave out the connection" in made.run("check", "here", "--files").err
