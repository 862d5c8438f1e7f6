"""What the simulation found, each once more by itself over real HTTP: these stay when the schedules change."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Record
from connectors.errors import ConfigError
from connectors.robostack.answers import Found
from connectors.robostack.source import RobostackSource
from connectors.stacker import emulator
from connectors.stacker.emulator_search import search as answered
from pipelines.run import SyncRun
from pipelines.spec import SyncSpec
from tests.e2e.world import World, world


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.configure("here", concurrency=1)
        made.configure("there", concurrency=1)
        yield made


def contact(number: int, **changed: object) -> Record:
    return {"email": f"c{number}@example.com", "name": f"Zoë {number}", "score": number, "rev": number, **changed}  # type: ignore[dict-item]


def test_a_quarantined_create_waits_for_a_person_however_many_runs_pass(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.robostack.set_switch("fault", "500_before")
    assert both.run(both.spec(writes={"batch": 2})).quarantined == 2
    evidence = [(failure.key, failure.reason, failure.request) for failure in both.ledger.failures("c2p")]
    for _ in range(3):
        held = both.run(both.spec(writes={"batch": 2}))
        assert (held.created, held.quarantined, len(both.people())) == (0, 2, 2)
        assert [(failure.key, failure.reason, failure.request) for failure in both.ledger.failures("c2p")] == evidence
    both.ledger.release_failures("c2p")
    freed = both.run(both.spec(writes={"batch": 2}))
    assert (freed.created, freed.quarantined, len(both.people())) == (2, 0, 4)


def lie_once(both: World) -> None:
    """The next find of everything, once there is something, is answered with an empty list; every later one truly."""
    lies = iter([True])

    def before() -> None:
        lie = bool(both.people()) and next(lies, False)
        both.robostack.set_switch("empty_selection", "none" if lie else "all")

    both.robostack.before_find = before


@pytest.mark.parametrize("answer", ["nothing", "records"])
@pytest.mark.parametrize("fault", ["none", "500_after"])
def test_a_look_that_shows_nothing_once_makes_nothing_a_second_time(both: World, fault: str, answer: str) -> None:
    both.configure("there", find_all="selection")
    both.robostack.set_switch("create_answers", answer)
    both.robostack.set_switch("fault", fault)
    both.put_contacts(*(contact(n) for n in range(4)))
    lie_once(both)
    summary = both.run(both.spec(writes={"batch": 2, "on_unknown": "retry"}))
    assert (summary.created, summary.quarantined, len(both.people())) == (4, 0, 4)


def test_a_sink_that_is_empty_once_when_it_is_compared_gets_nothing_a_second_time(both: World) -> None:
    both.configure("there", find_all="selection")
    both.put_contacts(*(contact(n) for n in range(4)))
    assert both.run(both.spec()).created == 4
    lie_once(both)
    both.edit_contact("c1@example.com", name="new")
    summary = both.run(both.spec())
    assert (summary.created, summary.updated, summary.unchanged, len(both.people())) == (0, 1, 3, 4)


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_a_sink_that_is_empty_once_when_it_is_first_seen_gets_nothing_a_second_time(both: World, mode: str) -> None:
    both.configure("there", find_all="selection")
    both.put_contacts(*(contact(n) for n in range(4)))
    both.put_people({"email": "c1@example.com", "name": "old"}, {"email": "c3@example.com", "name": "old"})
    lie_once(both)
    summary = both.run(both.spec(mode=mode))
    assert (summary.created, summary.updated, len(both.people())) == (2, 2, 4)


def test_a_record_that_others_removed_from_the_sink_is_made_again_once_that_is_proven(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.run(both.spec())
    both.robostack.remove(both.robostack.resources["people"], [both.person("c2@example.com")["id"]])
    again = both.run(both.spec())
    assert (again.created, again.unchanged, len(both.people())) == (1, 3, 4)


def test_a_record_that_only_seems_gone_from_the_sink_is_not_made_again(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.run(both.spec())
    both.configure("there", result_cap=3)  # three records are what a capped answer holds: nothing proves that a fourth is gone
    both.robostack.set_switch("result_cap", "3")
    both.robostack.set_switch("match", "ignored")  # nor can it be looked up
    held = both.run(both.spec())
    assert (held.created, held.conflicts, held.unchanged, len(both.people())) == (0, 1, 3, 4)
    assert "no read of it proves" in both.ledger.failures("c2p")[0].reason


class Killed(BaseException):
    """The process ended."""


def killed_in_a_run(both: World, monkeypatch: pytest.MonkeyPatch, spec: SyncSpec, *methods: str) -> None:
    """Run the sync in a process that ends as soon as it calls one of these methods of the ledger."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        for method in methods:
            patched.setattr(both.ledger, method, die)
        with pytest.raises(Killed):
            both.run(spec)


def test_what_a_killed_run_made_is_still_known_to_be_ours(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.put_contacts(*(contact(n) for n in range(6)))
    spec = both.spec(mode="mirror", deletes={"max_count": 5, "max_share": 1.0})

    killed_in_a_run(both, monkeypatch, spec, "put_matches")
    assert len(both.people()) == 6
    both.remove_contact("c3@example.com")
    summary = both.run(spec)
    assert (summary.created, summary.deleted, summary.unchanged, len(both.people())) == (0, 1, 5, 5)


def test_a_delete_that_the_sink_calls_done_and_still_shows_is_sent_again(both: World) -> None:
    both.put_people(*({"email": f"p{n}@example.com", "name": f"P {n}", "score": n} for n in range(3)))
    limits = {"max_count": 5, "max_share": 1.0}
    spec = both.spec(**{"from": "there.people", "to": "here.contacts", "fields": None, "mode": "mirror", "deletes": limits})
    both.put_contacts()
    assert both.run(spec).created == 3
    both.robostack.remove(both.robostack.resources["people"], [both.person("p1@example.com")["id"]])
    true, lies = both.stacker.delete, iter([True])
    both.stacker.delete = lambda *given: None if next(lies, False) else true(*given)  # type: ignore[method-assign]
    summary = both.run(spec)
    assert (summary.deleted, summary.differences, sorted(both.contacts())) == (1, 0, ["p0@example.com", "p2@example.com"])


def test_a_run_killed_right_after_it_quarantined_a_create_does_not_free_it(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.put_contacts(*(contact(n) for n in range(2)))
    both.robostack.set_switch("fault", "500_before")

    killed_in_a_run(both, monkeypatch, both.spec(writes={"batch": 2}), "drop_failures_before", "hold_failures")
    held = both.run(both.spec(writes={"batch": 2}))
    assert (held.created, held.quarantined, len(both.people())) == (0, 2, 0)


@pytest.mark.parametrize(("drift", "updated", "email"), [("keep", 1, "new@example.com"), ("conflict", 0, "c1@example.com")])
def test_what_others_changed_in_a_record_whose_key_moves_is_kept(both: World, drift: str, updated: int, email: str) -> None:
    both.put_contacts(*(contact(n) for n in range(3)))
    spec = both.spec(drift=drift)
    both.run(spec)
    person = both.person("c1@example.com")
    both.robostack.put(both.robostack.resources["people"], [{**person, "name": "theirs"}])
    both.edit_contact("c1@example.com", email="new@example.com", name="ours")
    moved = both.run(spec)
    assert (moved.created, moved.updated, moved.conflicts) == (0, updated, 1 - updated)
    assert both.person(email)["name"] == "theirs"


def test_no_increment_goes_on_from_a_full_read_that_may_have_missed_records(both: World) -> None:
    both.put_contacts(*(contact(n) for n in (3, 4, 5)))
    both.stacker.set_switch("total", "plus5")
    spec = both.spec(read={"mode": "incremental", "cursor": "rev"})
    assert both.run(spec).created == 3
    both.stacker.create(both.stacker.objects["contacts"], contact(1), quiet=True)  # it was there before, out of sight
    both.stacker.set_switch("total", "present")
    assert both.run(spec).created == 1
    assert both.run(spec).read == 1


def test_an_increment_goes_on_where_the_page_after_a_full_one_is_empty_once(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.configure("here", page_size=3)
    both.stacker.set_switch("total", "absent")
    both.put_contacts(*(contact(n) for n in range(3)))
    spec = both.spec(read={"mode": "incremental", "cursor": "rev"})
    assert both.run(spec).created == 3
    for number, sid in ((9, "rec_w"), (8, "rec_x"), (7, "rec_y"), (6, "rec_z")):  # what comes last has the smallest cursor
        both.stacker.create(both.stacker.objects["contacts"], contact(number), sid=sid, quiet=True)
    lies = iter([True])

    def search(store: Any, target: Any, body: Any, *, as_csv: bool) -> bytes:
        beyond = any(one["target"] == "sid" for one in body.get("filters", []))
        return b'{"records":[],"count":0}' if beyond and next(lies, False) else answered(store, target, body, as_csv=as_csv)

    monkeypatch.setattr(emulator, "search", search)
    assert both.run(spec).created == 4


def test_a_total_that_agrees_by_chance_proves_no_read_whose_pages_held_records_back(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.configure("here", page_size=3)
    both.put_contacts(*(contact(n) for n in range(6)))
    spec = both.spec(mode="mirror", deletes={"max_count": 5, "max_share": 1.0})
    assert both.run(spec).created == 6
    by_sid = sorted(both.contacts(), key=lambda email: str(both.contacts()[email]["sid"]))
    gone, hidden = by_sid[0], by_sid[4]
    numbers = count(1)

    def search(store: Any, target: Any, body: Any, *, as_csv: bool) -> bytes:
        if next(numbers) == 3:
            both.remove_contact(gone)
        told = json.loads(answered(store, target, body, as_csv=as_csv))
        return json.dumps({**told, "records": [row for row in told["records"] if row["email"] != hidden]}).encode()

    monkeypatch.setattr(emulator, "search", search)
    summary = both.run(spec)
    assert (summary.status, len(both.people())) == ("refused", 6)


def test_a_full_first_page_that_is_in_order_by_chance_is_not_taken_for_the_whole_list(both: World) -> None:
    both.configure("here", page_size=2)
    both.stacker.set_switch("total", "absent")
    both.stacker.set_switch("order_by", "ignored")
    for number, sid in ((1, "rec_b"), (2, "rec_c"), (3, "rec_a")):
        both.stacker.create(both.stacker.objects["contacts"], contact(number), sid=sid, quiet=True)
    assert both.run(both.spec()).created == 3


def test_a_quarantined_create_waits_under_whatever_key_its_record_has_by_then(both: World) -> None:
    both.put_contacts(contact(1), contact(2))
    both.robostack.set_switch("fault", "500_before")
    assert both.run(both.spec(writes={"batch": 1})).quarantined == 1
    both.robostack.set_switch("fault", "none")
    (waiting,) = [failure.key for failure in both.ledger.failures("c2p")]
    both.edit_contact(json.loads(waiting)[0], email="new@example.com")
    for _ in range(2):
        held = both.run(both.spec())
        assert (held.created, held.quarantined, len(both.people())) == (0, 1, 1)
        assert [failure.key for failure in both.ledger.failures("c2p")] == [waiting]
    both.ledger.release_failures("c2p")
    freed = both.run(both.spec())
    assert (freed.created, freed.quarantined, len(both.people()), both.ledger.failures("c2p")) == (1, 0, 2, [])


def test_no_increment_goes_on_from_another_one_that_may_have_missed_records(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.put_contacts(*(contact(n) for n in range(3)))
    spec = both.spec(read={"mode": "incremental", "cursor": "rev"})
    assert both.run(spec).created == 3
    both.edit_contact("c0@example.com", name="ours", rev=10)
    both.edit_contact("c1@example.com", name="ours", rev=11)

    def search(store: Any, target: Any, body: Any, *, as_csv: bool) -> bytes:
        told = json.loads(answered(store, target, body, as_csv=as_csv))
        return json.dumps({**told, "records": [row for row in told["records"] if row["email"] != "c0@example.com"]}).encode()

    with monkeypatch.context() as patched:
        patched.setattr(emulator, "search", search)
        assert both.run(spec).updated == 1
    assert both.run(spec).updated == 1
    assert both.person("c0@example.com")["name"] == "ours"


def test_a_plan_made_beside_a_run_that_writes_is_made_anew_before_it_is_applied(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.put_contacts(contact(1), contact(2))
    both.robostack.set_switch("fault", "500_before")
    put, beside = both.ledger.put_failures, list[SyncRun]()

    def put_while_another_plans(*given: Any, **named: Any) -> None:
        if not beside:
            both.robostack.set_switch("fault", "none")
            beside.append(both.plan(both.spec())[0])
        put(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(both.ledger, "put_failures", put_while_another_plans)
        assert both.run(both.spec(writes={"batch": 1})).quarantined == 1
    applied = beside[0].apply()
    assert (applied.created, applied.quarantined, len(both.people())) == (0, 1, 1)


def test_a_sink_that_seems_empty_once_loses_no_update(both: World) -> None:
    both.configure("there", find_all="selection")
    both.put_contacts(contact(1))
    both.put_people({"email": "c1@example.com", "name": "old"})
    lie_once(both)
    summary = both.run(both.spec(mode="update", read={"mode": "incremental", "cursor": "rev"}))
    assert (summary.updated, summary.skipped, both.person("c1@example.com")["name"]) == (1, 0, "Zoë 1")


@pytest.mark.parametrize("killed_in", ["put_matches", "settle"])
@pytest.mark.parametrize("moved", [True, False])
def test_what_a_killed_run_changed_is_told_from_what_others_changed(
    both: World, monkeypatch: pytest.MonkeyPatch, moved: bool, killed_in: str
) -> None:
    both.configure("there", concurrency=1, T_server_max_s=0.01)
    both.put_contacts(contact(1), contact(2))
    spec = both.spec(drift="keep")
    both.run(spec)
    both.edit_contact("c1@example.com", name="ours", **({"email": "new@example.com"} if moved else {}))
    email = "new@example.com" if moved else "c1@example.com"

    killed_in_a_run(both, monkeypatch, spec, killed_in)
    both.robostack.put(both.robostack.resources["people"], [{**both.person(email), "score": 7}])
    both.edit_contact(email, name="ours again")
    summary = both.run(spec)
    assert (summary.updated, summary.created) == (1, 0)
    assert (both.person(email)["name"], both.person(email)["score"]) == ("ours again", 7)


def test_one_empty_answer_does_not_prove_that_a_sink_keeps_to_a_selection(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.put_contacts(contact(1))
    both.put_people({"email": "c1@example.com", "name": "old"}, {"email": "other@example.com", "name": "theirs"})
    both.robostack.set_switch("match", "ignored")
    real, lies = RobostackSource._look_up, iter([Found([], 0, "")])

    def look_up(self: RobostackSource, stream: Any, key: Any) -> Found:
        found = next(lies, None) if "id" in key else None
        return real(self, stream, key) if found is None else found

    monkeypatch.setattr(RobostackSource, "_look_up", look_up)
    with pytest.raises(ConfigError, match="updates and deletes are not safe there"):
        both.run(both.spec())
    assert [person["name"] for person in both.people()] == ["old", "theirs"]


@pytest.mark.parametrize("drift", ["keep", "conflict"])
def test_an_update_that_never_happened_is_not_called_done_because_others_changed_the_record_meanwhile(both: World, drift: str) -> None:
    both.put_contacts(contact(1))
    both.run(both.spec(drift=drift))
    both.edit_contact("c1@example.com", name="ours")
    both.robostack.set_switch("fault", "500_before")
    both.robostack.set_switch("fault_count", "99")
    finds = count()

    def others() -> None:
        if next(finds) == 1:  # the first after the plan's: whether the update happened
            both.robostack.put(both.robostack.resources["people"], [{**both.person("c1@example.com"), "name": "theirs"}])

    both.robostack.before_find = others
    summary = both.run(both.spec(drift=drift))
    assert (summary.updated, summary.conflicts, both.person("c1@example.com")["name"]) == (0, 1, "theirs")


@pytest.mark.parametrize(("refused", "on_unknown"), [(False, "retry"), (True, "quarantine")])
def test_what_the_sink_holds_under_its_key_in_another_form_is_not_sent_again(both: World, refused: bool, on_unknown: str) -> None:
    both.robostack.set_switch("lower_cases", "yes")
    both.robostack.set_switch("create_answers", "count")
    both.robostack.set_switch("batch_failure" if refused else "fault", "stops" if refused else "500_after")
    both.put_contacts(contact(1), contact(2), contact(3, name="x" * 20_000 if refused else "short"))
    fields = {"email": "upper(email)", "name": "name", "score": "score"}
    for _ in range(2):
        both.run(both.spec(fields=fields, writes={"batch": 3, "on_unknown": on_unknown}))
    emails = [str(person["email"]) for person in both.people()]
    assert sorted(emails) == sorted(set(emails))
    assert "in another form" in " ".join(failure.reason for failure in both.ledger.failures("c2p"))


@pytest.mark.parametrize("drift", ["keep", "conflict"])
def test_the_form_that_a_sink_gives_a_value_is_no_edit_of_others(both: World, drift: str) -> None:
    both.robostack.set_switch("lower_cases", "yes")
    both.put_contacts(contact(1))
    spec = both.spec(drift=drift)
    assert both.run(spec).created == 1
    for name in ("Ours", "Ours too"):
        both.edit_contact("c1@example.com", name=name)
        summary = both.run(spec)
        assert (summary.updated, summary.conflicts, both.person("c1@example.com")["name"]) == (1, 0, name.lower())
    both.robostack.put(both.robostack.resources["people"], [{**both.person("c1@example.com"), "name": "theirs"}])
    both.edit_contact("c1@example.com", name="Ours again")
    both.run(spec)
    assert both.person("c1@example.com")["name"] == "theirs"


def test_what_others_change_in_a_record_of_which_the_sink_has_its_own_form_is_written_again(both: World) -> None:
    both.robostack.set_switch("lower_cases", "yes")
    both.put_contacts(contact(1))
    both.run(both.spec())
    assert [both.run(both.spec()).updated for _ in range(3)] == [1, 0, 0]
    both.robostack.put(both.robostack.resources["people"], [{**both.person("c1@example.com"), "name": "theirs"}])
    assert [both.run(both.spec()).updated for _ in range(2)] == [1, 0]
    assert both.person("c1@example.com")["name"] == "zoë 1"


def test_an_update_that_is_accepted_and_changes_nothing_is_not_sent_for_ever(both: World) -> None:
    both.robostack.set_switch("lower_cases", "yes")
    both.robostack.set_switch("update_answers", "nothing")
    both.put_contacts(contact(1))
    both.put_people({"email": "c1@example.com", "name": "zoë 1", "score": 1})
    assert [both.run(both.spec()).unknown for _ in range(3)] == [1, 0, 0]
    summary = both.run(both.spec())
    assert (summary.unknown, summary.unchanged, summary.requests["sink"].get("write", 0)) == (0, 1, 0)
    assert "normalised by the sink" in " ".join(summary.warnings)


def test_a_create_that_waits_for_a_person_goes_on_waiting_while_its_source_record_is_out_of_sight(both: World) -> None:
    both.put_contacts(contact(1), contact(2))
    both.robostack.set_switch("fault", "500_before")
    assert both.run(both.spec(writes={"batch": 2})).quarantined == 2
    record = both.contacts()["c1@example.com"]
    both.remove_contact("c1@example.com")
    both.run(both.spec())
    values = {name: record[name] for name in ("email", "name", "score", "rev")}
    both.stacker.create(both.stacker.objects["contacts"], values, sid=str(record["sid"]), quiet=True)
    held = both.run(both.spec())
    assert (held.created, held.quarantined, len(both.people())) == (0, 2, 0)


def test_what_an_unanswered_update_left_is_judged_by_value(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    both.configure("there", concurrency=1, T_server_max_s=0.01)
    both.robostack.set_switch("empty_fields", "omitted")
    both.put_contacts(contact(1))
    spec = both.spec(drift="keep")
    both.run(spec)
    both.edit_contact("c1@example.com", name=None)

    killed_in_a_run(both, monkeypatch, spec, "settle")
    assert both.person("c1@example.com").get("name") is None
    both.edit_contact("c1@example.com", name="ours again")
    assert both.run(spec).updated == 1
    assert both.person("c1@example.com")["name"] == "ours again"


def test_an_update_that_never_happened_is_not_believed_because_others_made_a_record_with_its_new_key(
    both: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.configure("there", concurrency=1, T_server_max_s=0.01)
    both.put_contacts(contact(1))
    spec = both.spec(drift="keep")
    both.run(spec)
    both.edit_contact("c1@example.com", email="new@example.com")
    both.robostack.set_switch("fault", "500_before")

    killed_in_a_run(both, monkeypatch, spec, "settle")
    people = both.robostack.resources["people"]
    both.robostack.put(people, [{"id": both.robostack.next_id(people), "email": "new@example.com", "name": "theirs"}])
    both.run(spec)
    history = both.ledger.history("c2p", '["new@example.com"]')
    assert next(write.state.value for write, _ in history if write.op == "update") == "superseded"


def test_a_record_whose_key_the_sink_rewrites_is_found_again_when_another_source_record_has_its_key(both: World) -> None:
    both.stacker.set_switch("trims", "yes")
    both.put_contacts()
    person = {"email": "p1@example.com", "name": "P 1", "score": 1}
    both.put_people(person)
    fields = {"email": "email || ' '", "name": "name", "score": "score"}
    spec = both.spec(**{"from": "there.people", "to": "here.contacts", "fields": fields})
    assert both.run(spec).created == 1
    people = both.robostack.resources["people"]
    both.robostack.remove(people, [both.person("p1@example.com")["id"]])
    both.robostack.put(people, [{"id": both.robostack.next_id(people), **person}])
    assert (both.run(spec).created, len(both.contacts())) == (0, 1)


def test_a_record_whose_key_moves_is_not_made_a_second_time_because_others_copied_it(both: World) -> None:
    both.put_contacts(contact(1))
    assert both.run(both.spec()).created == 1
    people = both.robostack.resources["people"]
    both.robostack.put(people, [{"id": both.robostack.next_id(people), "email": "c1@example.com", "name": "theirs"}])
    both.edit_contact("c1@example.com", email="new@example.com")
    assert (both.run(both.spec()).created, len(both.people()), both.person("new@example.com")["name"]) == (0, 2, "Zoë 1")


def test_a_field_that_the_sink_drops_is_written_twice_and_then_left_alone(both: World) -> None:
    both.robostack.set_switch("hidden_fields", "score")
    both.put_contacts(contact(1), contact(2, name="Zoë"))
    spec = both.spec()
    assert [both.run(spec).created, both.run(spec).updated] == [2, 2]
    for _ in range(2):
        summary = both.run(spec)
        assert (summary.updated, summary.unchanged) == (0, 2)
        assert any("normalised by the sink, left alone" in warning for warning in summary.warnings)
