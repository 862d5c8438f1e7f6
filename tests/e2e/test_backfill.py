"""What a backfill of a window does between two real platforms, and what it leaves alone."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import ConfigError
from connectors.robostack.emulator_store import Resource
from pipelines.engine import raw_dataset, spec_hash
from pipelines.run import SyncRun
from pipelines.spec import SyncSpec
from pipelines.summary import Summary
from pipelines.window import Window
from tests.e2e.world import World, world

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
INCREMENTAL = {"mode": "incremental", "cursor": "updated_at"}


def contact(number: int, day: int = 1, **changed: Any) -> dict[str, Any]:
    record = {"email": f"c{number}@example.com", "name": f"Zoë {number}", "score": number}
    return {**record, "updated_at": f"2026-01-{day:02}T{number % 24:02}:00:00Z", **changed}


def days(first: int, last: int | None = None) -> Window:
    """The window of these days of January."""
    return Window("updated_at", FIRST + timedelta(days=first - 1), FIRST + timedelta(days=last or first))


def backfill(world: World, spec: SyncSpec, window: Window, run_id: str, *, staged: bool = False, name: str = "b", **how: Any) -> Summary:
    """One run over a window; from what is staged, where asked."""
    world.clock.advance(60)
    run = SyncRun(world.core, spec, run_id, window=window, backfill=name)
    if not staged:
        run.extract()
    return run.apply(run.plan(), **how)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    """Forty contacts over the first four days of January, already in step."""
    with world(tmp_path) as made:
        made.put_contacts(*(contact(n, 1 + n // 10) for n in range(40)))
        made.run(made.spec(read=INCREMENTAL))
        yield made


def cursor(world: World, spec: SyncSpec) -> tuple[list[str], str | None]:
    """Everything that a next live run starts from."""
    return [batch.id for batch in world.staging.batches(raw_dataset(spec))], world.ledger.position(spec.name, spec_hash(spec))


def spoil(world: World) -> None:
    """Others change every record of the sink."""
    world.robostack.put(world.robostack.resources["people"], [{**person, "name": "spoilt"} for person in world.people()])


def test_a_window_is_read_again_and_applied_and_nothing_else_is_touched(both: World) -> None:
    spec = both.spec(read=INCREMENTAL)
    before = cursor(both, spec)
    spoil(both)
    summary = backfill(both, spec, days(2), "b1")
    assert (summary.status, summary.read, summary.updated, summary.created, summary.differences) == ("ok", 10, 10, 0, 0)
    healed = {str(person["email"]) for person in both.people() if person["name"] != "spoilt"}
    assert healed == {f"c{n}@example.com" for n in range(10, 20)}
    assert cursor(both, spec) == before
    assert both.run(spec).read <= 1  # the live cursor is where it was


def test_pending_records_outside_the_window_stay_pending_and_those_inside_are_over(both: World) -> None:
    spec = both.spec(read=INCREMENTAL, fields={"email": "email", "name": "name", "score": "cast(score as integer)"})
    both.put_contacts(*(contact(n, 1 + n // 10) for n in range(40)), contact(50, 10, score="bad"), contact(51, 11, score="bad"))
    assert both.run(spec).invalid == 2
    corrected = spec.model_copy(update={"fields": {**(spec.fields or {}), "score": "try_cast(score as integer)"}})
    summary = backfill(both, corrected, days(10), "b1")
    assert (summary.status, summary.created) == ("ok", 1)
    assert {failure.source_id for failure in both.ledger.failures("c2p")} == {str(both.contacts()["c51@example.com"]["sid"])}


def test_what_a_live_run_saw_meanwhile_is_not_taken_back(both: World) -> None:
    spec = both.spec(read=INCREMENTAL)
    window = SyncRun(both.core, spec, "b1", window=days(2), backfill="b")
    window.extract()
    both.edit_contact("c15@example.com", name="newest")  # which moves its updated_at out of the window
    both.run(spec)
    applied = window.apply(window.plan())
    assert (applied.read, applied.unchanged, both.person("c15@example.com")["name"]) == (9, 9, "newest")


def test_what_a_live_run_saw_gone_meanwhile_is_not_made_again(both: World) -> None:
    spec = both.spec(mode="mirror")
    both.run(spec)
    window = SyncRun(both.core, spec, "b1", window=days(2), backfill="b")
    window.extract()
    both.clock.advance(60)
    both.remove_contact("c15@example.com")
    assert both.run(spec).deleted == 1
    applied = window.apply(window.plan())
    assert (applied.read, applied.created, applied.unchanged, len(both.people())) == (9, 0, 9, 39)


def test_a_mirror_deletes_nothing_by_a_window_and_says_so(both: World) -> None:
    spec = both.spec(mode="mirror")
    both.run(spec)
    both.remove_contact("c12@example.com")
    summary = backfill(both, spec, days(2), "b1")
    assert (summary.status, summary.deleted, summary.unchanged, len(both.people())) == ("ok", 0, 9, 40)
    assert "deletes nothing" in summary.warnings[0]
    assert both.run(spec).deleted == 1


def test_what_is_staged_is_replayed_without_asking_the_source(both: World) -> None:
    spec = both.spec(read=INCREMENTAL)
    spoil(both)
    sent = both.core.open("here").request_counts()["read"]
    summary = backfill(both, spec, days(3, 4), "b1", staged=True)
    assert (summary.status, summary.updated, both.core.open("here").request_counts()["read"]) == ("ok", 20, sent)
    other = both.spec(**{"from": "here.companies", "name": "other"})
    with pytest.raises(ConfigError, match=r"nothing of here\.companies is staged"):
        backfill(both, other, days(1), "b2", staged=True)


def test_a_source_that_knows_no_windows_is_read_once_for_the_whole_backfill(both: World) -> None:
    both.put_people(*(contact(n, 1 + n // 10, id=n) for n in range(30)), contact(99, updated_at=None, id=99))
    both.put_contacts()
    spec = both.spec(**{"from": "there.people", "to": "here.contacts", "name": "back"})
    sent = both.core.open("there").request_counts()["read"]
    found = [backfill(both, spec, days(day), f"b{day}") for day in (1, 2, 3)]
    assert [(one.status, one.read, one.created) for one in found] == [("ok", 10, 10)] * 3
    assert both.core.open("there").request_counts()["read"] == sent + 1
    assert "1 of 31 records have no time" in found[0].warnings[0]
    with pytest.raises(ConfigError, match=r"none of 31 records of there\.people has a time in 'name'"):
        backfill(both, spec, Window("name", FIRST, FIRST + timedelta(days=1)), "b9", name="c")


def test_a_guard_refuses_a_window_until_that_very_plan_is_approved(both: World) -> None:
    spec = both.spec(read=INCREMENTAL, limits={"update_count": 5})
    spoil(both)
    refused = backfill(both, spec, days(2), "b1")
    assert (refused.status, {person["name"] for person in both.people()}) == ("refused", {"spoilt"})
    assert backfill(both, spec, days(2), "b2", approve=refused.digest[:12]).updated == 10


def test_a_thirty_day_backfill_that_is_interrupted_goes_on_and_writes_no_record_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path) as made:
        made.put_contacts(*(contact(n, 1 + n // 20) for n in range(600)), contact(999, 31))
        live = made.spec(name="live", read=INCREMENTAL)
        assert made.run(live).created == 601
        made.put_people()
        spec = made.spec(read=INCREMENTAL, writes={"batch": 5})  # which knows none of the ids that the sink gives anew
        before, written = (cursor(made, live), cursor(made, spec)), Counter[str]()
        put, settle, kills = made.robostack.put, made.ledger.settle, iter([None])

        def counted(resource: Resource, records: list[dict[str, Any]]) -> None:
            written.update(str(record["email"]) for record in records)
            put(resource, records)

        def killed(*settled: Any) -> None:
            if written.total() > 300 and next(kills, settled) is None:  # the answers of the last calls are lost
                raise KeyboardInterrupt
            settle(*settled)

        monkeypatch.setattr(made.robostack, "put", counted)
        monkeypatch.setattr(made.ledger, "settle", killed)
        done: list[int] = []
        for attempt in range(2):
            with suppress(KeyboardInterrupt):
                for day in range(1, 31, 6):
                    if day not in done:
                        assert backfill(made, spec, days(day, day + 5), f"b{day}.{attempt}").status == "ok"
                        done.append(day)
            if attempt == 0:
                assert done == [1, 7]
                assert written.total() == 360  # sent, and no answer of the last 120 recorded
        assert (cursor(made, live), cursor(made, spec)) == before
        assert written == {f"c{n}@example.com": 1 for n in range(600)}
        assert {str(person["email"]) for person in made.people()} == set(written)


def test_windows_of_a_field_of_numbers_are_read_by_numbers(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        made.put_contacts(*(contact(n, updated_at=1767225600000 + (n // 10) * 86_400_000 + n) for n in range(40)))
        spec = made.spec(read=INCREMENTAL)
        made.run(spec)
        spoil(made)
        before = cursor(made, spec)
        day = Window("updated_at", FIRST + timedelta(days=1), FIRST + timedelta(days=2), "milliseconds")
        summary = backfill(made, spec, day, "numbers")
        assert (summary.status, summary.read, summary.updated) == ("ok", 10, 10)
        assert {person["score"] for person in made.people() if person["name"] != "spoilt"} == set(range(10, 20))
        assert cursor(made, spec) == before
