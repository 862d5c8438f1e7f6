"""Laws of Kragle's pure parts: shapes of blocks, carried state, bodies, and a list that proves itself."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Record
from connectors.kragle.body import carried, create_body, same_blocks
from connectors.kragle.listing import Listed, fingerprint, read_list
from connectors.kragle.view import own_shape, same_id, stack_record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab\u0001\u0002"), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["Filter", "Delay", "Post to Twitter"])
SHOWN = st.fixed_dictionaries({"id": st.integers(1), "type": KINDS, "conversion": JSON, "state": st.integers()})
WRITTEN = st.tuples(KINDS, JSON).map(list)


@given(st.lists(SHOWN, max_size=4))
def test_both_shapes_of_blocks_come_to_the_same(blocks: list[Record]) -> None:
    shape = own_shape(blocks)
    assert shape is not None
    assert own_shape(shape) == shape
    assert same_blocks(shape, blocks)
    assert same_blocks([[*block, {"name": "x"}] for block in shape], blocks)


@given(st.lists(WRITTEN, max_size=5), st.lists(SHOWN, max_size=5))
def test_carrying_state_changes_no_block_and_uses_each_state_once(blocks: list[Any], held: list[Record]) -> None:
    held = [{**block, "state": {"output": number}} for number, block in enumerate(held)]
    sent: list[Any] = carried(blocks, held)
    used = [block[2]["state"]["output"] for block in sent if len(block) > 2]
    assert own_shape(sent) == own_shape(blocks)
    assert len(used) == len(set(used))
    assert all(held[state]["type"] == block[0] for block, state in zip([one for one in sent if len(one) > 2], used, strict=True))


@given(st.lists(SHOWN, max_size=5))
def test_blocks_that_all_stay_keep_all_their_state_in_place(held: list[Record]) -> None:
    distinct = [{**block, "conversion": [number, block["conversion"]]} for number, block in enumerate(held)]
    sent: list[Any] = carried(own_shape(distinct) or [], distinct)
    assert [block[2]["state"] for block in sent] == [block["state"] for block in distinct]


@given(st.lists(WRITTEN, max_size=4))
def test_names_and_states_given_apart_are_put_into_their_blocks(blocks: list[Any]) -> None:
    apart = create_body({"name": "x", "blocks": blocks, "block_options": [{"name": str(n)} for n in range(len(blocks))]})
    assert apart == {"name": "x", "blocks": [[*block, {"name": str(n)}] for n, block in enumerate(blocks)]}


@given(st.lists(SHOWN, min_size=1, max_size=3), st.integers())
def test_a_fingerprint_sees_everything_but_the_state_of_blocks(blocks: list[Record], state: int) -> None:
    stack: Record = {"id": 1, "name": "x", "blocks": blocks}
    assert fingerprint(stack) == fingerprint({**stack, "blocks": [{**block, "state": state} for block in blocks]})
    assert fingerprint(stack) != fingerprint({**stack, "name": "y"})
    assert fingerprint(stack) != fingerprint({**stack, "blocks": [{**block, "conversion": [block["conversion"]]} for block in blocks]})


def test_a_webhook_that_a_platform_leaves_out_is_null() -> None:
    record = stack_record({"id": 1, "owner": 7, "name": "x", "webhook_method": "GET", "blocks": []})
    assert record == {"id": 1, "owner": 7, "name": "x", "webhook": None, "webhook_method": None, "blocks": []}


def test_a_number_and_its_digits_are_one_id_and_nothing_else_is() -> None:
    assert same_id(7, "7")
    assert not same_id(None, None)
    assert not same_id(True, "True")
    assert not same_id(1, True) or same_id(1, 1)


# lists

EDITS = st.lists(st.tuples(st.sampled_from(["keep", "insert", "remove", "swap"]), st.integers(0, 30)), max_size=40)


def moving(ids: list[int], size: int, edits: list[tuple[str, int]], *, count: bool) -> tuple[Callable[[int], Listed], set[int]]:
    """A list that someone edits before each page, and the ids that stay in it all the time."""
    rows, steps, stay = list(ids), iter(edits), set(ids)
    fresh = iter(range(1000, 2000))

    def ask(page: int) -> Listed:
        what, where = next(steps, ("keep", 0))
        if what == "insert":
            rows.insert(where % (len(rows) + 1), next(fresh))
        elif what == "remove" and rows:
            stay.discard(rows.pop(where % len(rows)))
        elif what == "swap" and len(rows) > 1:
            rows.append(rows.pop(where % len(rows)))
        part = rows[(page - 1) * size : page * size]
        return Listed([{"id": one} for one in part], len(rows) if count else None, size)

    return ask, stay


@given(st.sets(st.integers(1, 99), max_size=12), st.integers(1, 4), EDITS, st.booleans())
def test_what_is_called_complete_misses_nothing_that_stayed(ids: set[int], size: int, edits: list[tuple[str, int]], count: bool) -> None:
    ask, stay = moving(sorted(ids), size, edits, count=count)
    read = read_list(ask, proof=True)
    seen = [stack["id"] for stack in read.stacks]
    assert len(seen) == len(set(seen))
    assert stay <= set(seen) or not read.complete


@given(st.sets(st.integers(1, 99), max_size=30), st.integers(1, 7), st.booleans(), st.booleans())
def test_a_list_at_rest_is_read_whole_and_proven(ids: set[int], size: int, count: bool, proof: bool) -> None:
    ask, _ = moving(sorted(ids), size, [], count=count)
    read = read_list(ask, proof=proof)
    assert [stack["id"] for stack in read.stacks] == sorted(ids)
    assert read.complete is proof


@given(st.integers(2, 9), st.integers(1, 7), st.booleans())
def test_a_list_that_begins_anew_beyond_its_last_page_is_read_once_through_where_its_count_says_where_it_ends(
    pages: int, size: int, proof: bool
) -> None:
    asked: list[int] = []

    def ask(page: int) -> Listed:
        asked.append(page)
        return Listed([{"id": (page - 1) % pages * size + number} for number in range(size)], pages * size, size)

    read = read_list(ask, proof=proof)
    assert (len(read.stacks), read.complete, read.doubts) == (pages * size, proof, ())
    assert len(asked) == (pages + 1) * (1 + proof)


@given(st.integers(1, 40), st.integers(1, 9))
def test_a_read_never_asks_for_more_pages_than_it_may(pages: int, size: int) -> None:
    asked = []

    def endless(page: int) -> Listed:
        asked.append(page)
        return Listed([{"id": page * size + n} for n in range(size)], None, size)

    read = read_list(endless, proof=True, max_pages=pages)
    assert len(asked) == pages
    assert not read.complete
    assert any("max_pages" in reason for reason in read.reasons)


def test_empty_pages_in_the_middle_are_no_end_where_the_count_says_more() -> None:
    rows: dict[int, list[Record]] = {1: [{"id": 1}, {"id": 2}], 4: [{"id": 3}]}
    read = read_list(lambda page: Listed(rows.get(page, []), 8 if page < 0 else 7, 2), proof=True)
    assert [stack["id"] for stack in read.stacks] == [1, 2, 3]
    assert not read.complete


def test_a_page_that_is_answered_whatever_is_asked_is_not_taken_for_the_whole() -> None:
    read = read_list(lambda page: Listed([{"id": 1}, {"id": 2}], None, 2), proof=True)
    assert not read.complete
    assert any("whatever page" in reason for reason in read.reasons)
