"""A proposed sync is always a valid one, uses each source field once, and says what it did not find."""

import hypothesis.strategies as st
from hypothesis import given

from pipelines.config import load_sync_file
from pipelines.propose import Field, Proposal, Side, propose, written

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
SIDES = st.lists(NAMES, min_size=1, max_size=8, unique=True)


def side(address: str, *names: str, **more: object) -> Side:
    return Side(address, tuple(Field(name) for name in names), **more)  # type: ignore[arg-type]


def contacts_to_people() -> tuple[Side, Side, Proposal]:
    source = side("a.contacts", "sid", "first_name", "last_name", "E-Mail", "Telephone", "company_sid", "notes", id_field="sid")
    sink = side("b.people", "id", "email", "name", "phone", "comments", "shoe_size", id_field="id", natural_key=("email",))
    return source, sink, propose(source, sink)


def test_fields_are_paired_by_name_and_by_meaning() -> None:
    _, _, proposal = contacts_to_people()
    assert dict(proposal.fields) == {
        "email": 'lower(trim("E-Mail"))',
        "phone": '"Telephone"',
        "comments": "notes",
        "name": "first_name || ' ' || last_name",
    }
    assert (proposal.match, proposal.sure) == (("email",), True)


def test_what_found_no_partner_is_told_and_stands_in_the_file() -> None:
    source, sink, proposal = contacts_to_people()
    assert (proposal.source_left, proposal.sink_left) == (("company_sid",), ("shoe_size",))
    text = written("c2p", source, sink, proposal)
    assert "# shoe_size: …" in text
    assert "company_sid" in text


def test_into_an_unknown_stream_every_field_goes_under_its_own_name() -> None:
    proposal = propose(side("a.b", "sid", "number", "amount", id_field="sid"), side("c.d"))
    assert dict(proposal.fields) == {"number": "number", "amount": "amount"}
    assert (proposal.match, proposal.sure) == (("number",), False)


def test_fields_of_the_platform_itself_are_not_written() -> None:
    proposal = propose(
        side("a.b", "id", "made", "name", id_field="id"), side("c.d", "id", "made", "name", id_field="id", read_only=frozenset({"made"}))
    )
    assert list(proposal.fields) == ["name"]


def test_a_kind_that_differs_is_remarked() -> None:
    source, sink = Side("a.b", (Field("score", "text"),)), Side("c.d", (Field("score", "number"),))
    proposal = propose(source, sink)
    assert "score: score   # text into number: check" in written("x", source, sink, proposal)


@given(SIDES, SIDES)
def test_no_source_field_is_used_twice_and_none_is_lost(offered: list[str], wanted: list[str]) -> None:
    source, sink = side("a.b", *offered), side("c.d", *wanted)
    proposal = propose(source, sink)
    assert {*proposal.fields} | {*proposal.sink_left} == {*wanted}
    assert not {*proposal.fields} & {*proposal.sink_left}
    assert {*proposal.source_left} <= {*offered}
    assert {*proposal.match} <= {*proposal.fields}


@given(SIDES, SIDES)
def test_whatever_the_fields_are_called_the_file_is_read_back_as_proposed(
    tmp_path_factory: object, offered: list[str], wanted: list[str]
) -> None:
    source, sink = side("a.b", *offered), side("c.d", *(wanted + offered[:2] if not {*wanted} & {*offered[:2]} else wanted))
    proposal = propose(source, sink)
    if not proposal.fields:
        return
    path = tmp_path_factory.mktemp("proposed") / "made" / "defs.yaml"
    path.parent.mkdir()
    path.write_text(written("made", source, sink, proposal), encoding="utf-8")
    spec = load_sync_file(path).spec
    assert spec.fields == dict(proposal.fields)
    assert spec.match == proposal.match
