"""The history of a stream: what was seen when, however the reads came."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.arrow import records_to_batch
from connectors.jsontext import loads
from pipelines import history
from pipelines.engine import raw_dataset
from pipelines.history import compact_history, history_dataset, record_history, versions
from pipelines.spec import SyncSpec
from pipelines.staging import Staging
from pipelines.staging.open import open_staging
from tests.postgres import postgres_server, postgres_url  # noqa: F401

SPEC = SyncSpec(**{"name": "s", "from": "here.contacts", "to": "there.people", "match": ["email"], "history": "scd2"})
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
State = Mapping[str, Any]

STATES = st.dictionaries(
    st.sampled_from(["1", "2", "3", "ö/\0"]),
    st.fixed_dictionaries(
        {"n": st.one_of(st.none(), st.integers(0, 2), st.just(2.5), st.just("x"))},
        optional={"more": st.sampled_from([{"a": [1, None]}, "é"])},
    ),
    max_size=4,
)
READS = st.lists(st.tuples(STATES, st.booleans(), st.booleans()), min_size=1, max_size=7)


def at(number: int) -> str:
    return (BEGAN + timedelta(days=number)).isoformat()


def stage(staging: Staging, state: State, number: int, *, whole: bool, proven: bool = True) -> None:
    """A read of the stream in that state on that day."""
    proof = {"complete": proven, "method": "keyset", "reasons": [], "count": len(state)}
    records = [{"id": name, **record} for name, record in state.items()]
    with staging.begin(raw_dataset(SPEC)) as writer:
        writer.write(
            records_to_batch(records, None) if records else pa.RecordBatch.from_pylist([], schema=pa.schema([("id", pa.string())]))
        )
        note = {"mode": "full" if whole else "since", "completeness": proof, "started_at": at(number), "finished_at": at(number)}
        writer.commit(note)


def known_at(staging: Staging, number: int) -> dict[str, Any]:
    """What the history says was current on that day."""
    table = versions(staging, history_dataset(SPEC)).to_pylist()
    rows = [row for row in table if row["valid_from"] <= at(number) and (row["valid_to"] is None or at(number) < row["valid_to"])]
    found = {row["id"]: {name: value for name, value in loads(row["record"]).items() if name != "id"} for row in rows}  # type: ignore[union-attr]
    assert len(found) == len(rows)
    return found


@settings(max_examples=15)
@given(READS, st.booleans())
def test_what_was_known_on_any_day_can_be_told_later(reads: list[tuple[State, bool, bool]], late: bool) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "MOST", 3)
        staging = open_staging(Path(folder))
        known: list[dict[str, Any]] = [{}]
        for number, (state, whole, proven) in enumerate([({}, True, True), *reads]):
            stage(staging, state, number, whole=whole, proven=proven)
            if not late:
                record_history(staging, SPEC, "id")
            known.append({**({} if whole and proven else known[-1]), **state})
        if late:  # all at once, as after a time without: from the newest whole read
            record_history(staging, SPEC, "id")
            whole = max(number for number, (_, full, _) in enumerate([({}, True, True), *reads]) if full)
            base = dict(reads[whole - 1][0]) if whole else {}
            assert known_at(staging, whole) == base
            return
        for number, expected in enumerate(known[1:]):
            assert known_at(staging, number) == expected
        record_history(staging, SPEC, "id")
        table = versions(staging, history_dataset(SPEC))
        assert all(row["current"] == (row["valid_to"] is None) for row in table.to_pylist())
        for later in (len(reads), 400):
            compact_history(staging, SPEC, before=BEGAN + timedelta(days=later))
            assert known_at(staging, len(reads)) == known[-1]
        assert versions(staging, history_dataset(SPEC)).num_rows == len(known[-1])


@pytest.mark.parametrize("place", ["parquet", "postgres"])
def test_versions_are_kept_with_their_times_in_either_store(tmp_path: Path, place: str, request: pytest.FixtureRequest) -> None:
    staging = open_staging(request.getfixturevalue("postgres_url") if place == "postgres" else tmp_path)
    for number, state in enumerate([{"1": {"n": 1}, "2": {"n": 2}}, {"1": {"n": 1}, "2": {"n": 5}}, {"1": {"n": 1}}, {"1": {"n": 1}}]):
        stage(staging, state, number, whole=True)
        record_history(staging, SPEC, "id")
    table = versions(staging, history_dataset(SPEC)).to_pylist()
    assert [(row["id"], row["valid_from"], row["valid_to"], row["current"]) for row in table] == [
        ("1", at(0), None, True),
        ("2", at(0), at(1), False),
        ("2", at(1), at(2), False),
    ]
    assert versions(staging, history_dataset(SPEC), key="5").num_rows == 2
    staging.close()


def test_an_index_that_was_lost_is_made_again_from_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = open_staging(tmp_path)
    stage(staging, {"1": {"n": 1}, "2": {"n": 2}}, 0, whole=True)
    record_history(staging, SPEC, "id")
    stage(staging, {"1": {"n": 1}}, 1, whole=True)
    monkeypatch.setattr(type(staging), "get_index", lambda *_: None)
    record_history(staging, SPEC, "id")
    assert [(row["id"], row["valid_to"]) for row in versions(staging, history_dataset(SPEC)).to_pylist()] == [("1", None), ("2", at(1))]
