"""`crossdock history` and `crossdock compact`: what is kept of records and runs, and what is let go."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from connectors.errors import RetryableError
from pipelines.history import history_lock
from pipelines.ledger import State
from pipelines.retention import compact
from pipelines.staging import Dataset
from tests.e2e.commandline import contact, project
from tests.e2e.world import world


def test_a_person_reads_the_versions_of_a_record_and_writes_all_of_them_to_a_file(tmp_path: Path) -> None:
    with project(tmp_path) as made:
        assert "no history of here.contacts is kept" in made.run("history", "here.contacts", "p1@example.com").err.replace("\n", " ")
        made.sync(history="scd2")
        made.contacts(contact(1), contact(2))
        made.json("run", "c2p")
        made.contacts(contact(1, name="Renamed"))
        made.json("run", "c2p")
        told = made.json("history", "here.contacts", "p1@example.com")
        assert [(one["record"]["name"], one["current"]) for one in told["versions"]] == [("Person 1", False), ("Renamed", True)]
        assert told["versions"][0]["valid_to"] == told["versions"][1]["valid_from"]
        said = made.run("history", "here.contacts", "p1@example.com").out
        assert "name  Person 1 → Renamed" in said
        assert "… now" in said
        file = tmp_path / "all.parquet"
        assert made.json("history", "here.contacts", "--export", str(file))["count"] == 3
        table = pq.read_table(file)
        assert table.column_names == ["id", "valid_from", "valid_to", "current", "record"]
        assert table["current"].to_pylist().count(True) == 1
        assert "knows no record 'nobody'" in made.run("history", "here.contacts", "nobody").err
        assert "name a record, or a file" in made.run("history", "here.contacts").err
        compacted = made.json("compact")
        assert compacted["syncs"] == [{"sync": "c2p", "batches": 0, "runs": 0, "versions": 0}]
        assert made.json("history", "here.contacts", "--export", str(file))["count"] == 3


def test_a_history_is_not_compacted_while_a_run_adds_to_it(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        spec = made.spec(history="scd2")
        with made.core.lock(history_lock(spec)), pytest.raises(RetryableError):
            compact(made.core, spec)
        assert compact(made.core, spec) == 0


def test_runs_that_ended_long_ago_are_forgotten_and_nothing_that_somebody_needs(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.put_contacts(*({"email": f"c{n}@example.com", "name": "x", "score": n} for n in range(3)))
        spec = made.spec(retention={"ledger": "30d", "runs": 1, "reads": 1})
        made.run(spec)
        (first,) = made.ledger.runs()
        (one, *_) = made.ledger.writes(first.run_id)
        made.ledger.settle(first.run_id, [(one.seq, State.QUARANTINED, None, "looked for")])
        made.edit_contact("c1@example.com", name="y")
        made.run(spec)
        made.clock.advance(timedelta(days=31).total_seconds())
        for _ in range(20):
            made.ledger.begin_run(f"later{_}", "c2p", "")
        second = made.ledger.runs(limit=22)[20]
        made.run(spec)
        assert made.ledger.run(second.run_id) is None
        assert list(made.ledger.writes(second.run_id)) == []
        assert [write.state for write in made.ledger.writes(first.run_id)] == [State.QUARANTINED]
        assert made.ledger.run(first.run_id) is not None
        assert len(list(made.ledger.matches("c2p"))) == 3
        assert made.run(spec).unchanged == 3
        made.ledger.compact()
        assert len(made.staging.batches(Dataset(("plan", "c2p")))) == len(made.staging.batches(Dataset(("desired", "c2p")))) == 1
