"""What a sync's defs.yaml may say, and what is told when it says something else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ConfigError
from pipelines.config import load_sync, load_sync_file, load_syncs
from pipelines.spec import SyncSpec
from pipelines.yamltext import parse

SYNC = """\
type: pipelines.components.SyncComponent
attributes:
  from: shop.customers
  to: crm.people
  match: [email]
  mode: upsert
  read: {mode: incremental, cursor: updated_at, lag: 5m}
  fields:
    email: lower(trim(email))
    name: first_name || ' ' || last_name
  partitions: {by: updated_at, start: 2025-01-01}
"""


def written(folder: Path, text: str, name: str = "customers_to_people") -> Path:
    path = folder / name / "defs.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_sync_is_named_after_its_folder(tmp_path: Path) -> None:
    spec = load_sync(written(tmp_path, SYNC))
    assert (spec.name, spec.source, spec.target, spec.match) == ("customers_to_people", "shop.customers", "crm.people", ("email",))
    assert spec.partitions is not None
    assert spec.partitions.start == "2025-01-01"


def test_a_sync_knows_the_lines_it_was_written_on(tmp_path: Path) -> None:
    file = load_sync_file(written(tmp_path, SYNC))
    assert [file.at(*keys).rpartition(":")[2] for keys in (("mode",), ("fields", "name"), ("read", "cursor"), ("where",))] == [
        "6",
        "10",
        "7",
        "2",
    ]


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("  match:", "  mtach:", "5: 'mtach' is not a setting of sync customers_to_people; did you mean 'match'?"),
        ("  match: [email]", "  match: email", "5: 'match' of sync customers_to_people must be a list; write match: [email]"),
        ("  match: [email]", "  match: []", "5: 'match' of sync customers_to_people must not be empty; name at least 1"),
        ("  match: [email]\n", "", "2: sync customers_to_people lacks 'match', which it needs; add it"),
        ("mode: upsert", "mode: upsrt", "must be 'insert', 'update', 'upsert' or 'mirror', not 'upsrt'; did you mean 'upsert'?"),
        ("  mode: upsert", "  mdoe: upsert", "6: 'mdoe' is not a setting of sync customers_to_people; did you mean 'mode'?"),
        ("lag: 5m", "lags: 5m", "7: 'lags' is not a setting of 'read' of sync customers_to_people; did you mean 'lag'?"),
        ("lag: 5m", "lag: soon", "7: 'read.lag' of sync customers_to_people: 'soon' is not a duration; write it as 90s, 5m, 2h or 1d"),
        ("cursor: updated_at, ", "", "7: 'read' of sync customers_to_people: read: incremental needs a cursor"),
        (
            "from: shop.customers",
            "from: customers",
            "3: 'from' of sync customers_to_people: 'customers' must be written as connection.stream",
        ),
        ("    email: lower(trim(email))\n", "", "2: sync customers_to_people: match names 'email', but fields does not map it"),
        ("    name: first_name", "    no: first_name", "10: the key 'no' is not text to YAML but bool; put it in quotes"),
        (
            "    name: first_name || ' ' || last_name",
            "    name: 3",
            "'fields.name' of sync customers_to_people must be text, not 3; put it in",
        ),
        ("attributes:", "atributes:", "2: 'atributes' is not a setting of a component file; the sync's settings go under 'attributes:'"),
        ("SyncComponent", "SyncComponet", "1: there is no component 'pipelines.components.SyncComponet'; did you mean"),
        ("type: pipelines.components.SyncComponent\n", "", "the file lacks 'type'; a sync says type: pipelines.components.SyncComponent"),
        ("match: [email]", "match: [email, email]", "2: sync customers_to_people: match names 'email' twice; name each field once"),
        ("  mode: upsert", "  writes: {T_lag_s: .inf}", "6: 'writes.T_lag_s' of sync customers_to_people is wrong: input should be less"),
        ("  mode: upsert", "  match: [name]", "6: 'match' is written twice, first on line 5; keep one of them"),
        ("  mode: upsert", "  name: other", "6: a sync is named after its folder, customers_to_people; remove 'name'"),
        (
            "  mode: upsert",
            "  deletes: {max_share: 2}",
            "6: 'deletes.max_share' of sync customers_to_people is wrong: input should be less",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_would_be_right(tmp_path: Path, found: str, instead: str, message: str) -> None:
    assert found in SYNC
    path = written(tmp_path, SYNC.replace(found, instead, 1))
    with pytest.raises(ConfigError) as caught:
        load_sync(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_told_once_and_other_faults_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, SYNC.replace("match:", "mtach:").replace("upsert", "upsrt"))
    with pytest.raises(ConfigError, match=r"did you mean 'match'\? \(and 1 more to repair in it\)$"):
        load_sync(path)


def test_a_broken_file_hides_no_other_sync(tmp_path: Path) -> None:
    written(tmp_path, SYNC, "good")
    written(tmp_path, "{", "torn")
    written(tmp_path, SYNC.replace("match:", "mtach:"), "misspelt")
    written(tmp_path, "type: dagster.DefsFolderComponent\n", "not_ours")
    written(tmp_path, SYNC, "bad-name")
    found = load_syncs(tmp_path)
    assert list(found.specs) == ["good"]
    assert set(found.errors) == {"torn", "misspelt", "bad-name"}
    assert "use letters, digits and _" in str(found.errors["bad-name"])


def test_two_syncs_of_one_name_are_refused(tmp_path: Path) -> None:
    written(tmp_path, SYNC, "a/same")
    written(tmp_path, SYNC, "b/same")
    found = load_syncs(tmp_path)
    assert list(found.specs) == ["same"]
    assert "the sync same is also written in" in str(found.errors["b/same"])


def test_asking_for_a_sync_gives_it_or_its_own_error_or_the_nearest_name(tmp_path: Path) -> None:
    written(tmp_path, SYNC, "good")
    written(tmp_path, "{", "torn")
    found = load_syncs(tmp_path)
    assert isinstance(found.file("good").spec, SyncSpec)
    with pytest.raises(ConfigError, match=r"torn/defs\.yaml:"):
        found.file("torn")
    with pytest.raises(ConfigError, match=r"there is no sync 'goood'; did you mean 'good'\?"):
        found.file("goood")
    with pytest.raises(ConfigError, match=r"there is no sync 'x'; there is good and torn"):
        found.file("x")


def test_another_component_is_not_a_sync(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is not a sync"):
        load_sync(written(tmp_path, "type: dagster.DefsFolderComponent\n"))


@given(st.text(alphabet="abn:-[]{}&*!|>'\"#%@?, \n\t\x00é0~<", max_size=40))
def test_any_text_is_read_or_refused_with_file_and_line(text: str) -> None:
    try:
        parse(text, "f.yaml")
    except ConfigError as error:
        told = str(error)
    else:
        told = "f.yaml:"
    assert told.startswith("f.yaml:")
