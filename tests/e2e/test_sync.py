"""What a sync does between two real platforms on loopback, and what it never does."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Record
from connectors.errors import ConfigError, CredentialsError, RetryableError
from connectors.stacker.emulator_objects import Refused
from pipelines.fence import target_of
from pipelines.keys import key_values
from pipelines.ledger import State
from pipelines.undo import UndoRun
from tests.e2e.world import World, world
from tests.postgres import postgres_server, postgres_url  # noqa: F401


def contact(number: int, **changed: Any) -> Record:
    record = {
        "email": f"c{number}@example.com",
        "name": f"Zoë {number} 🚲",
        "score": number,
        "updated_at": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
    }
    return {**record, **changed}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite and parquet", "postgres"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The same over both ledgers and both staging back ends."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with world(tmp_path, ledger=url, staging=url) as made:
        yield made


def test_an_upsert_creates_what_is_missing_updates_what_differs_and_then_rests(anywhere: World) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(37)))
    anywhere.put_people(
        {"email": "c0@example.com", "name": "old", "score": 0}, {"email": "other@example.com", "name": "not ours", "score": 1}
    )
    first = anywhere.run(anywhere.spec())
    assert (first.status, first.read, first.created, first.updated, first.unchanged) == ("ok", 37, 36, 1, 0)
    assert first.differences == 0
    assert len(anywhere.people()) == 38
    assert anywhere.person("c7@example.com")["name"] == "Zoë 7 🚲"
    assert anywhere.person("other@example.com")["name"] == "not ours"
    second = anywhere.run(anywhere.spec())
    assert (second.created, second.updated, second.unchanged, second.requests["sink"]["write"]) == (0, 0, 37, 0)
    assert second.requests["source"]["read"] == 1
    assert second.differences is None


def test_equal_inputs_give_equal_plans(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(30)))
    one, two = both.plan(both.spec())[1], both.plan(both.spec())[1]
    assert one.digest == two.digest
    both.edit_contact("c3@example.com", name="changed")
    assert both.plan(both.spec())[1].digest != one.digest


def test_an_incremental_run_reads_and_sends_only_what_changed(anywhere: World) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(50)))
    spec = anywhere.spec(read={"mode": "incremental", "cursor": "updated_at"})
    assert anywhere.run(spec).created == 50
    anywhere.edit_contact("c3@example.com", name="Renamed", updated_at="2026-02-01T00:00:00Z")
    anywhere.add_contacts(contact(99, updated_at="2026-02-02T00:00:00Z"))
    again = anywhere.run(spec)
    assert (again.created, again.updated, again.differences) == (1, 1, 0)
    assert again.read < 50
    assert anywhere.person("c3@example.com")["name"] == "Renamed"
    rest = anywhere.run(spec)
    assert (rest.created, rest.updated, rest.requests["sink"]["write"]) == (0, 0, 0)


def test_a_mirror_deletes_what_left_the_source_and_only_what_it_owns(anywhere: World) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(30)))
    anywhere.put_people({"email": "stranger@example.com", "name": "not ours", "score": 1})
    spec = anywhere.spec(mode="mirror")
    anywhere.run(spec)
    anywhere.remove_contact("c4@example.com")
    anywhere.remove_contact("c5@example.com")
    summary = anywhere.run(spec)
    assert (summary.status, summary.deleted, summary.unchanged, summary.complete) == ("ok", 2, 28, True)
    assert {person["email"] for person in anywhere.people()} == {
        *(f"c{n}@example.com" for n in range(30) if n not in (4, 5)),
        "stranger@example.com",
    }


def test_more_deletes_than_allowed_are_refused_until_that_very_plan_is_approved(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(20)))
    spec = both.spec(mode="mirror", deletes={"max_count": 100, "max_share": 0.1})
    both.run(spec)
    for n in range(9):
        both.remove_contact(f"c{n}@example.com")
    refused = both.run(spec)
    assert (refused.status, refused.exit_status) == ("refused", 2)
    assert "9 of 20 records would be deleted (45%" in refused.refusals[0]
    assert len(both.people()) == 20
    wrong = both.run(spec, approve="0123456789ab")
    assert wrong.status == "refused"
    assert len(both.people()) == 20
    approved = both.run(spec, approve=refused.digest[:12])
    assert (approved.status, approved.deleted) == ("ok", 9)
    assert len(both.people()) == 11


def test_a_source_that_is_suddenly_empty_deletes_nothing_even_when_approved(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(5)))
    spec = both.spec(mode="mirror", deletes={"max_count": 100, "max_share": 1.0})
    both.run(spec)
    both.put_contacts()
    refused = both.run(spec)
    assert refused.status == "refused"
    assert "0 records where the last full read gave 5" in refused.refusals[0]
    assert both.run(spec, approve=refused.digest).status == "refused"
    assert len(both.people()) == 5


def test_a_mirror_over_a_read_that_is_not_proven_complete_is_refused_as_a_whole(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(12)))
    spec = both.spec(mode="mirror", deletes={"max_count": 100, "max_share": 1.0})
    both.run(spec)
    both.stacker.set_switch("total", "plus5")
    both.configure("here", page_size=3)
    both.remove_contact("c1@example.com")
    both.edit_contact("c2@example.com", name="new")
    refused = both.run(spec)
    assert refused.status == "refused"
    assert "not proven complete" in refused.refusals[0]
    assert len(both.people()) == 12
    assert both.person("c2@example.com")["name"] == "Zoë 2 🚲"


def test_a_record_whose_key_changed_at_the_source_is_updated_and_not_created_again(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(10)))
    both.run(both.spec())
    both.edit_contact("c3@example.com", email="new3@example.com")
    summary = both.run(both.spec())
    assert (summary.created, summary.updated, summary.unchanged, summary.differences) == (0, 1, 9, 0)
    assert len(both.people()) == 10
    assert both.person("new3@example.com")["name"] == "Zoë 3 🚲"
    assert both.run(both.spec()).requests["sink"]["write"] == 0


@pytest.mark.parametrize(
    ("mode", "created", "updated", "skipped", "unchanged"), [("insert", 2, 0, 2, 0), ("update", 0, 1, 2, 1), ("upsert", 2, 1, 0, 1)]
)
def test_each_mode_writes_what_its_name_says(both: World, mode: str, created: int, updated: int, skipped: int, unchanged: int) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.put_people({**contact(0), "updated_at": None}, {"email": "c1@example.com", "name": "old", "score": 1})
    summary = both.run(both.spec(mode=mode))
    assert (summary.created, summary.updated, summary.skipped, summary.unchanged) == (created, updated, skipped, unchanged)
    assert summary.accounted == 4


def test_records_left_out_by_where_are_skipped(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(10)))
    summary = both.run(both.spec(where="score >= 6"))
    assert (summary.created, summary.skipped) == (4, 6)


def test_one_bad_cell_makes_one_invalid_record_that_stays_pending_until_it_is_mended(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(5)), contact(5, score="n/a"))
    spec = both.spec(fields={"email": "email", "name": "name", "score": "CAST(score AS INTEGER)"})
    summary = both.run(spec)
    assert (summary.status, summary.exit_status, summary.created, summary.invalid) == ("partial", 1, 5, 1)
    failure = both.ledger.failures("c2p")[0]
    assert failure.field == "score"
    assert "n/a" in failure.reason
    both.edit_contact("c5@example.com", score=5)
    mended = both.run(spec)
    assert (mended.status, mended.created, mended.invalid) == ("ok", 1, 0)
    assert both.ledger.failures("c2p") == []


def test_a_mask_is_written_nowhere_and_what_only_resembles_one_is(both: World) -> None:
    shown = ["******", "••••", "*********", "*****", "****** see below", "n"]
    both.put_contacts(*(contact(n, name=name) for n, name in enumerate(shown)))
    both.put_people({"email": "c0@example.com", "name": "the true one", "score": 0})
    summary = both.run(both.spec())
    assert (summary.status, summary.created, summary.updated, summary.invalid) == ("partial", 3, 0, 3)
    assert both.person("c0@example.com")["name"] == "the true one"
    assert {str(person["name"]) for person in both.people()} == {"the true one", *shown[3:]}
    assert {(one.field, "a mask is never written" in one.reason) for one in both.ledger.failures("c2p")} == {("name", True)}
    both.edit_contact("c0@example.com", name="shown again")
    assert both.run(both.spec()).updated == 1


def test_a_mask_within_an_object_or_a_list_is_written_nowhere_either(both: World) -> None:
    both.put_contacts(*(contact(n, name=name) for n, name in enumerate([{"a": ["x", "******"]}, ["••••"], {"a": '"******" is a mask'}])))
    summary = both.run(both.spec())
    assert (summary.created, summary.invalid) == (1, 2)
    assert [person["email"] for person in both.people()] == ["c2@example.com"]


def test_an_invalid_record_of_an_increment_is_tried_again_in_the_next(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(3)))
    both.put_people({"email": "c1@example.com", "name": "twin", "score": 1}, {"email": "c1@example.com", "name": "twin", "score": 2})
    spec = both.spec(read={"mode": "incremental", "cursor": "updated_at"})
    first = both.run(spec)
    assert (first.created, first.conflicts) == (2, 1)
    both.put_people(*[person for person in both.people() if person["score"] != 2 or person["email"] != "c1@example.com"])
    second = both.run(spec)
    assert (second.updated, second.conflicts) == (1, 0)
    assert both.person("c1@example.com")["name"] == "Zoë 1 🚲"


def test_records_that_share_a_match_key_are_all_invalid_and_say_so(both: World) -> None:
    both.put_contacts(contact(1), contact(2), contact(2, name="twin", email=" C2@Example.com "))
    summary = both.run(both.spec())
    assert (summary.created, summary.invalid) == (1, 2)
    assert {failure.reason for failure in both.ledger.failures("c2p")} == {"2 source records share the match key 'c2@example.com'"}


def test_an_invalid_record_is_still_at_the_source_and_is_never_deleted_by_a_mirror(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(30)))
    spec = both.spec(mode="mirror", fields={"email": "email", "name": "name", "score": "CAST(score AS INTEGER)"})
    both.run(spec)
    both.edit_contact("c3@example.com", score="n/a")
    summary = both.run(spec)
    assert (summary.invalid, summary.deleted, summary.unchanged) == (1, 0, 29)
    assert len(both.people()) == 30


def test_a_key_that_two_sink_records_have_is_a_conflict_and_neither_is_touched(both: World) -> None:
    both.put_contacts(contact(1), contact(2))
    twins = [{"email": "c1@example.com", "name": "a", "score": 1}, {"email": "c1@example.com", "name": "b", "score": 2}]
    both.put_people(*twins)
    summary = both.run(both.spec())
    assert (summary.created, summary.conflicts) == (1, 1)
    assert [person["name"] for person in both.people()] == ["a", "b", "Zoë 2 🚲"]


@pytest.mark.parametrize(("drift", "name", "conflicts"), [("overwrite", "Zoë 1 🚲", 0), ("keep", "theirs", 0), ("conflict", "theirs", 1)])
def test_a_field_that_others_changed_in_the_sink_follows_the_drift_setting(both: World, drift: str, name: str, conflicts: int) -> None:
    both.put_contacts(contact(1), contact(2))
    spec = both.spec(drift=drift)
    both.run(spec)
    people = both.people()
    people[0 if people[0]["email"] == "c1@example.com" else 1]["name"] = "theirs"
    both.put_people(*people)
    both.edit_contact("c2@example.com", name="Ours")
    summary = both.run(spec)
    assert (both.person("c1@example.com")["name"], summary.conflicts) == (name, conflicts)
    assert both.person("c2@example.com")["name"] == "Ours"


@pytest.mark.parametrize(("existing", "name", "score"), [("overwrite", "Zoë 1 🚲", 1), ("fill_empty", "old", 1), ("keep", "old", None)])
def test_what_the_sink_has_already_follows_the_existing_setting(both: World, existing: str, name: str, score: int | None) -> None:
    both.put_contacts(contact(1))
    both.put_people({"email": "c1@example.com", "name": "old", "score": None})
    both.run(both.spec(writes={"existing": existing}))
    person = both.person("c1@example.com")
    assert (person["name"], person["score"]) == (name, score)
    assert both.run(both.spec(writes={"existing": existing})).requests["sink"]["write"] == 0


@pytest.mark.parametrize(("nulls", "name"), [("write", None), ("skip", "old")])
def test_nulls_are_written_or_left_alone_as_set(both: World, nulls: str, name: str | None) -> None:
    both.put_contacts(contact(1, name=None), contact(2))
    both.put_people({"email": "c1@example.com", "name": "old", "score": 1})
    both.run(both.spec(writes={"nulls": nulls}))
    assert both.person("c1@example.com")["name"] == name


def test_a_field_that_a_record_does_not_have_is_not_written_as_null(both: World) -> None:
    both.stacker.set_switch("empty_fields", "omitted")
    both.put_contacts(contact(1, name=None), contact(2))
    both.put_people({"email": "c1@example.com", "name": "old", "score": 1})
    both.run(both.spec())
    assert both.person("c1@example.com")["name"] == "old"


def test_compared_with_the_ledger_an_unchanged_sink_is_not_read(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(20)))
    spec = both.spec(compare="ledger")
    assert both.run(spec).created == 20
    rest = both.run(spec)
    assert (rest.unchanged, dict(rest.requests["sink"])) == (20, {"read": 0, "write": 0})
    both.edit_contact("c3@example.com", name="new")
    assert both.run(spec).updated == 1
    both.add_contacts(contact(77))
    both.put_people(*both.people(), {"email": "c77@example.com", "name": "was there", "score": 1})
    assert both.run(spec).updated == 1
    assert both.person("c77@example.com")["name"] == "Zoë 77 🚲"


def test_a_lookup_gives_the_sinks_id_of_what_another_sync_delivered(both: World) -> None:
    both.stacker.add_object("companies", [{"domain": "acme.example", "name": "Acme"}, {"domain": "zeta.example", "name": "Zeta"}])
    both.robostack.add_resource("orgs", [])
    companies = both.stacker.objects["companies"]
    sids = {values["domain"]: sid for sid, values in companies.records.items()}
    orgs = both.spec(
        **{
            "name": "orgs",
            "from": "here.companies",
            "to": "there.orgs",
            "match": ["domain"],
            "fields": {"domain": "domain", "name": "name"},
        }
    )
    assert both.run(orgs).created == 2
    both.put_contacts(contact(1, company_sid=sids["zeta.example"]), contact(2, company_sid=None), contact(3, company_sid="rec_unknown"))
    fields = {"email": "email", "company": "lookup('orgs', company_sid)"}
    summary = both.run(both.spec(fields=fields))
    assert (summary.created, summary.invalid) == (2, 1)
    held = both.robostack.resources["orgs"].records
    assert held[both.person("c1@example.com")["company"]]["domain"] == "zeta.example"
    assert both.person("c2@example.com")["company"] is None
    assert "rec_unknown" in both.ledger.failures("c2p")[0].reason


def test_the_other_way_round_works_the_same(both: World) -> None:
    both.put_people(*({"email": f"p{n}@example.com", "name": f"P {n}", "score": n} for n in range(25)))
    spec = both.spec(**{"from": "there.people", "to": "here.contacts", "fields": None})
    both.put_contacts({"email": "p3@example.com", "name": "old", "score": 3})
    first = both.run(spec)
    assert (first.created, first.updated, first.differences) == (24, 1, 0)
    assert both.contacts()["p9@example.com"]["name"] == "P 9"
    assert both.run(spec).requests["sink"]["write"] == 0


@pytest.mark.parametrize("fault", ["500_after", "html_200", "cut"])
def test_creates_whose_answer_is_lost_are_found_by_looking_and_made_once(both: World, fault: str) -> None:
    both.put_contacts(*(contact(n) for n in range(30)))
    both.robostack.set_switch("fault", fault)
    summary = both.run(both.spec(writes={"batch": 10}))
    assert (summary.status, summary.created, len(both.people())) == ("ok", 30, 30)
    assert both.run(both.spec()).requests["sink"]["write"] == 0


def test_a_create_that_is_not_found_afterwards_waits_for_a_person_and_is_never_sent_again_unasked(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.robostack.set_switch("fault", "500_before")
    summary = both.run(both.spec(writes={"batch": 2}))
    assert (summary.created, summary.quarantined, summary.exit_status) == (2, 2, 1)
    assert all("was answered 500" in failure.reason for failure in both.ledger.failures("c2p"))
    held = both.run(both.spec())
    assert (held.created, held.quarantined, len(both.people())) == (0, 2, 2)
    both.ledger.release_failures("c2p")
    freed = both.run(both.spec())
    assert (freed.created, freed.quarantined, len(both.people())) == (2, 0, 4)


def test_where_it_is_allowed_a_create_that_is_not_found_is_sent_again(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.robostack.set_switch("fault", "500_before")
    summary = both.run(both.spec(writes={"batch": 2, "on_unknown": "retry"}))
    assert (summary.status, summary.created, len(both.people())) == ("ok", 4, 4)


def test_a_sync_says_what_follows_a_lost_answer_over_what_its_connection_says_and_the_plan_shows_it(both: World) -> None:
    both.configure("there", on_unknown="retry", T_lag_s=5)
    both.put_contacts(contact(0))
    both.robostack.set_switch("fault", "500_before")
    careful = both.spec(writes={"on_unknown": "quarantine", "T_server_max_s": 900})
    said, of_connection = (" ".join(both.plan(spec)[1].promises) for spec in (careful, both.spec()))
    assert "905 s after a lost answer" in said
    assert "kept for a person (on_unknown: quarantine)" in said
    assert "65 s after a lost answer" in of_connection
    assert "sent again (on_unknown: retry)" in of_connection
    began = both.clock.now()
    assert both.run(careful).quarantined == 1
    assert (both.clock.now() - began).total_seconds() >= 905
    both.ledger.release_failures("c2p")
    both.robostack.set_switch("fault", "500_before")
    assert both.run(both.spec()).created == 1


def test_an_empty_source_stays_suspect_however_often_it_is_read_until_a_person_approves(both: World) -> None:
    both.put_contacts(contact(1), contact(2, email=None))
    both.run(both.spec())
    both.put_contacts()
    refused = [both.run(both.spec()) for _ in range(3)]
    assert [(run.status, len(run.refusals)) for run in refused] == [("refused", 1)] * 3
    assert both.ledger.failure_count("c2p") == 1
    assert both.run(both.spec(), approve=refused[-1].digest).status == "ok"
    assert both.run(both.spec()).status == "ok"


@pytest.mark.parametrize("partial", ["atomic", "stops"])
def test_one_record_that_the_sink_refuses_holds_no_other_back_and_none_is_made_twice(both: World, partial: str) -> None:
    both.robostack.set_switch("max_text", "100")
    both.robostack.set_switch("batch_failure", partial)
    both.put_contacts(*(contact(n) for n in range(30)), contact(30, name="x" * 200))
    summary = both.run(both.spec(writes={"batch": 10}))
    assert (summary.created, summary.rejected, summary.status) == (30, 1, "partial")
    assert len(both.people()) == 30
    assert both.ledger.failures("c2p")[0].key == '["c30@example.com"]'


def test_a_sink_that_normalises_is_reported_and_not_updated_for_ever(both: World) -> None:
    both.robostack.set_switch("trims", "yes")
    both.put_contacts(contact(1, name=" padded "), contact(2))
    first = both.run(both.spec())
    assert (first.created, first.differences) == (2, 1)
    assert "name" in first.warnings[0]
    assert both.run(both.spec()).updated == 1
    rest = both.run(both.spec())
    assert (rest.updated, rest.unchanged, rest.requests["sink"]["write"]) == (0, 2, 0)
    assert "normalised by the sink" in rest.warnings[0]


def test_refused_credentials_change_nothing_and_say_whose(both: World) -> None:
    both.put_contacts(contact(1))
    both.configure("there", api_secret="wrong")
    with pytest.raises(CredentialsError):
        both.run(both.spec())
    assert both.people() == []
    run = both.ledger.runs("c2p")[0]
    assert (run.status, run.summary["status"]) == ("failed", "failed")


def test_a_platform_out_of_reach_stages_nothing(both: World) -> None:
    both.configure("here", base_url="http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(RetryableError):
        both.run(both.spec())
    assert both.people() == []


def test_a_mapping_that_names_no_field_of_the_source_says_which_is_nearest(both: World) -> None:
    both.put_contacts(contact(1))
    with pytest.raises(ConfigError, match=r"scroe.*score"):
        both.run(both.spec(fields={"email": "email", "score": "scroe"}))
    assert both.people() == []


def test_two_runs_at_once_do_not_both_write(both: World) -> None:
    both.put_contacts(contact(1))
    run, plan = both.plan(both.spec())
    with both.core.lock(target_of(both.core, both.spec())), pytest.raises(RetryableError, match="in use by another run"):
        run.apply(plan)
    assert both.people() == []


def test_a_run_with_patience_writes_once_those_before_it_are_done(anywhere: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(5)))
    run, plan = anywhere.plan(anywhere.spec())
    target, clock = target_of(anywhere.core, anywhere.spec()), anywhere.clock
    with ExitStack() as here:
        here.enter_context(anywhere.core.lock(target))
        if anywhere.ledger.shared:  # and then one on another host, which was killed
            assert anywhere.ledger.claim(target, plan.epoch, "another host", clock.now() + timedelta(seconds=20), dead=False)
        wait = clock.sleep
        monkeypatch.setattr(clock, "sleep", lambda duration_s: (here.close(), wait(duration_s)))
        assert run.apply(plan, patience_s=60).created == 5
    assert sum(clock.slept) < 30


def test_a_plan_that_another_run_overtook_is_made_anew_and_doubles_nothing(anywhere: World) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(5)))
    slow, plan = anywhere.plan(anywhere.spec())
    assert anywhere.run(anywhere.spec()).created == 5
    summary = slow.apply(plan)
    assert (summary.created, summary.unchanged, len(anywhere.people())) == (0, 5, 5)


def test_a_plan_that_was_overtaken_is_not_the_one_that_was_approved(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(5)))
    limited = both.spec(limits={"create_count": 3})
    slow, plan = both.plan(limited)
    both.run(both.spec())
    assert slow.apply(plan, approve=plan.digest).status == "refused"


def test_a_process_that_stood_still_past_its_lease_sends_nothing_more(anywhere: World) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(4)))
    run, plan = anywhere.plan(anywhere.spec(writes={"batch": 1}))
    target = target_of(anywhere.core, anywhere.spec())
    sent = 0

    def stand_still(step: str, count: int) -> None:
        nonlocal sent
        if step == "apply" and sent == 0:
            sent += 1
            anywhere.clock.advance(3600)
            assert anywhere.ledger.claim(target, plan.epoch + 1, "another host", anywhere.clock.now(), dead=False)

    run._progress = stand_still
    anywhere.configure("there", concurrency=1)
    with pytest.raises(RetryableError, match="took over"):
        run.apply(plan)
    assert len(anywhere.people()) == 1
    assert anywhere.ledger.write_counts(run.run_id) == {("create", State.CONFIRMED): 1, ("create", State.NOT_APPLIED): 3}


def test_a_sink_that_goes_out_of_reach_in_the_middle_leaves_the_rest_pending(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(30)))
    both.robostack.set_switch("fault", "429")
    both.robostack.set_switch("fault_count", "1000")
    spec = both.spec(writes={"batch": 10})
    with pytest.raises(RetryableError):
        both.run(spec)
    assert len(both.ledger.failures("c2p")) == 30
    both.robostack.set_switch("fault", "none")
    assert both.run(spec).created == 30
    assert both.ledger.failures("c2p") == []


def test_a_read_whose_repeats_are_used_up_ends_where_it_is_and_the_next_run_goes_on_from_there(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(400)))
    both.configure("here", page_size=10)
    both.run(both.spec())
    searches = both.stacker.searches

    def trouble(number: int) -> None:
        both.clock.advance(7)  # a slow platform: what was read is kept every minute
        if (number - searches) % 2 and number - searches > 3:
            raise Refused(503, "it is in trouble")

    both.stacker.before_search = trouble
    with pytest.raises(RetryableError, match="run again later"):
        both.run(both.spec())
    tried = both.stacker.searches - searches
    assert tried < 60  # repeats are a tenth of the requests, after the first twenty
    both.stacker.before_search = None
    searches = both.stacker.searches
    summary = both.run(both.spec())
    assert (summary.status, summary.unchanged, len(both.people())) == ("ok", 400, 400)
    assert both.stacker.searches - searches < 41 - 10  # the pages that were kept are not read again


def test_a_key_changed_at_the_source_is_recognised_in_an_increment_too(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(23)))
    spec = both.spec(read={"mode": "incremental", "cursor": "updated_at"})
    both.run(spec)
    both.edit_contact("c3@example.com", email="new3@example.com", updated_at="2026-03-01T00:00:00Z")
    summary = both.run(spec)
    assert (summary.created, summary.updated, summary.differences, len(both.people())) == (0, 1, 0, 23)


def test_undoing_a_run_takes_back_what_it_wrote_and_leaves_what_others_changed_since(anywhere: World) -> None:
    anywhere.put_contacts(*(contact(n) for n in range(12)))
    anywhere.put_people(
        {"email": "c0@example.com", "name": "before", "score": 7}, {"email": "c1@example.com", "name": "before", "score": None}
    )
    assert anywhere.run(anywhere.spec()).created == 10
    people = anywhere.people()
    next(person for person in people if person["email"] == "c5@example.com")["name"] = "theirs"
    anywhere.put_people(*people)
    undo = UndoRun(anywhere.core, anywhere.spec(deletes={"max_share": 1.0}), "undo1", "run1")
    summary = undo.apply(undo.plan())
    assert (summary.deleted, summary.updated, summary.conflicts, summary.differences) == (9, 2, 1, 0)
    assert [(person["email"], person["name"], person["score"]) for person in anywhere.people()] == [
        ("c0@example.com", "before", 7),
        ("c1@example.com", "before", None),
        ("c5@example.com", "theirs", 5),
    ]
    assert anywhere.run(anywhere.spec()).created == 9


def test_an_undo_says_of_a_field_that_the_sink_rewrote_no_more_than_is_known(both: World) -> None:
    both.put_contacts(contact(1, name="Zoe"))
    both.put_people({"email": "c1@example.com", "name": "before", "score": 1})
    both.robostack.set_switch("lower_cases", "yes")
    both.run(both.spec())
    undo = UndoRun(both.core, both.spec(deletes={"max_share": 1.0}), "undo1", "run1")
    assert undo.apply(undo.plan()).conflicts == 1
    (failure,) = both.ledger.failures("c2p")
    assert failure.reason.startswith("not taken back: name is not as it was written, and was not when it was read back")


def test_undoing_a_mirror_run_makes_the_deleted_records_again(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(30)))
    spec = both.spec(mode="mirror")
    both.run(spec)
    both.remove_contact("c4@example.com")
    both.run(spec)
    undo = UndoRun(both.core, spec, "undo1", "run2")
    summary = undo.apply(undo.plan())
    assert (summary.created, summary.differences, len(both.people())) == (1, 0, 30)
    assert both.person("c4@example.com")["name"] == "Zoë 4 🚲"


def test_after_undoing_a_changed_match_key_the_record_is_still_known_and_not_made_again(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(30)))
    both.run(both.spec(mode="mirror"))
    both.edit_contact("c4@example.com", email="new@example.com", name="New")
    assert both.run(both.spec(mode="mirror")).updated == 1
    undo = UndoRun(both.core, both.spec(mode="mirror"), "undo1", "run2")
    summary = undo.apply(undo.plan())
    assert (summary.status, summary.updated, summary.differences) == ("ok", 1, 0)
    assert both.person("c4@example.com")["name"] == "Zoë 4 🚲"
    again = both.run(both.spec(mode="mirror"))
    assert (again.created, again.updated, again.deleted, len(both.people())) == (0, 1, 0, 30)
    assert both.person("new@example.com")["name"] == "New"


def test_a_record_whose_restoring_got_no_answer_is_not_made_by_undoing_again_until_a_person_lets_it(both: World) -> None:
    both.put_contacts(contact(0), contact(1))
    mirror = both.spec(mode="mirror", deletes={"max_share": 1.0})
    both.run(mirror)
    both.remove_contact("c1@example.com")
    both.run(mirror)
    both.robostack.set_switch("fault", "500_before")
    lost, again = ((one := UndoRun(both.core, mirror, name, "run2")).apply(one.plan()) for name in ("lost", "again"))
    assert [(one.created, one.quarantined, one.conflicts) for one in (lost, again)] == [(0, 1, 0)] * 2
    assert len(both.people()) == 1
    both.ledger.release_failures("c2p")
    released = UndoRun(both.core, mirror, "released", "run2")
    assert released.apply(released.plan()).created == 1


def test_undoing_is_held_back_by_the_same_guards(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(12)))
    both.run(both.spec())
    undo = UndoRun(both.core, both.spec(), "undo1", "run1")
    refused = undo.apply(undo.plan())
    assert (refused.status, len(both.people())) == ("refused", 12)
    again = UndoRun(both.core, both.spec(), "undo2", "run1")
    assert again.apply(again.plan(), approve=refused.digest).deleted == 12
    assert both.people() == []


def test_a_mapped_field_that_left_the_source_stops_the_sync_and_nulls_nothing_out(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(5)))
    both.run(both.spec())
    without = [{name: value for name, value in contact(n).items() if name != "score"} for n in range(5)]
    both.put_contacts(*without)
    with pytest.raises(ConfigError, match="score"):
        both.run(both.spec())
    assert both.person("c3@example.com")["score"] == 3
    assert both.run(both.spec(fields={"email": "email", "name": "name"})).unchanged == 5


def test_a_dismissed_create_is_not_sent_again_until_its_content_changes(both: World) -> None:
    both.put_contacts(*(contact(n) for n in range(4)))
    both.robostack.set_switch("fault", "500_before")
    assert both.run(both.spec(writes={"batch": 2})).quarantined == 2
    left = both.ledger.failures("c2p")
    both.ledger.dismiss_failures("c2p", [(one.key, one.source_id) for one in left])
    rest = both.run(both.spec())
    assert (rest.status, rest.created, rest.skipped, len(both.people())) == ("ok", 0, 2, 2)
    email = str(next(iter(key_values(left[0].key, ("email",)).values())))
    both.edit_contact(email, name="changed")
    assert (both.run(both.spec()).created, both.person(email)["name"]) == (1, "changed")


def test_an_increment_gives_no_record_to_a_new_one_with_the_same_key_while_the_other_still_has_it(both: World) -> None:
    spec = both.spec(read={"mode": "incremental", "cursor": "rev"})
    both.put_contacts(*({"email": f"c{n}@example.com", "name": f"C {n}", "score": n, "rev": n} for n in range(3)))
    assert both.run(spec).created == 3
    both.add_contacts({"email": " C1@example.com", "name": "another", "score": 9, "rev": 10})
    refused = both.run(spec)
    assert (refused.updated, refused.created, refused.invalid, both.person("c1@example.com")["name"]) == (0, 0, 1, "C 1")
    assert both.ledger.failures("c2p")[0].reason == "2 source records share the match key 'c1@example.com'"
    assert refused.requests["source"]["read"] <= 3  # what changed, and the one record in question
    both.remove_contact("c1@example.com")
    given = both.run(spec)
    assert (given.updated, given.created, given.invalid, both.person("c1@example.com")["name"]) == (1, 0, 0, "another")
    assert both.run(spec, full=True).unchanged == 3
