"""What `explain` can tell of a record: each run that staging still shows, also where it left the record alone."""

from pathlib import Path

import pytest

from pipelines.engine import raw_dataset
from pipelines.life import Lived, life
from pipelines.spec import SyncSpec
from tests.e2e.world import World, world


def lived(made: World, spec: SyncSpec, email: str) -> list[Lived]:
    source_id = str(made.contacts()[email]["sid"]) if email in made.contacts() else None
    return life(made.staging, made.ledger, spec.name, f'["{email}"]', source_id, raw_dataset(spec))


def test_every_run_tells_what_it_saw_of_a_record_also_where_it_wrote_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.put_contacts(*({"email": f"c{n}@example.com", "name": f"n{n}", "score": n} for n in range(4)))
        spec = made.spec(mode="mirror", where="score is distinct from 99", deletes={"max_share": 1.0})
        made.run(spec)
        made.run(spec)
        made.edit_contact("c1@example.com", name="Renamed")
        made.run(spec)
        made.edit_contact("c1@example.com", score=99)
        made.run(spec)
        told = lived(made, spec, "c1@example.com")
        assert [one.outcome for one in told] == ["create", "unchanged", "update", "delete"]
        assert [one.read and one.read["name"] for one in told] == [None, "n1", "Renamed", "Renamed"]  # the oldest read is kept no longer
        assert told[2].mapped == {"email": "c1@example.com", "name": "Renamed", "score": 1}
        assert told[3].mapped is None
        for _ in range(3):
            made.run(spec)
        told = lived(made, spec, "c1@example.com")
        assert [one.outcome for one in told] == ["update", "delete", "skipped", "skipped", "skipped"]
        assert [one.outcome for one in lived(made, spec, "c2@example.com")] == ["unchanged"] * spec.retention.runs


def test_an_increment_says_that_it_did_not_read_what_had_not_changed(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.put_contacts(*({"email": f"c{n}@example.com", "name": "n", "updated_at": f"2026-01-0{n + 1}T00:00:00Z"} for n in range(4)))
        spec = made.spec(fields={"email": "email", "name": "name"}, read={"mode": "incremental", "cursor": "updated_at"})
        made.run(spec)
        made.edit_contact("c3@example.com", email="", updated_at="2026-02-01T00:00:00Z")
        made.run(spec)
        unread, refused = lived(made, spec, "c0@example.com")[-1], lived(made, spec, "")[-1]
    assert (unread.outcome, unread.read, unread.reason) == ("not read", None, "it had not changed since the run before")
    assert (refused.outcome, refused.mapped) == ("invalid", None)


@pytest.mark.parametrize("answers", ["records", "nothing"])
def test_a_write_that_read_back_otherwise_says_so(tmp_path: Path, answers: str) -> None:
    with world(tmp_path) as made:
        made.robostack.set_switch("trims", "yes")
        made.robostack.set_switch("create_answers", answers)
        made.put_contacts({"email": "c1@example.com", "name": " padded ", "score": 1}, {"email": "c2@example.com", "name": "n", "score": 1})
        spec = made.spec()
        made.run(spec)
        reasons = [made.ledger.history(spec.name, f'["c{n}@example.com"]')[0][0].reason for n in (1, 2)]
    assert reasons == ["it read back otherwise in name", ""]
