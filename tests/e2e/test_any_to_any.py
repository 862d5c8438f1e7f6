"""One record set makes the round of all ordered pairs of platforms, each with itself, too, by real HTTP between accounts of their own."""

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from pipelines.runtime import CONNECTORS
from tests.e2e.accounts import KINDS, PLATFORMS, Account, account, sync
from tests.e2e.world import World, world

NAMES = ("Größe 🚲 „XL“ / e\u0301 is not \u00e9", "O'Brien's \"log\" \\ #1?", "倉庫 ☕️ フック", "x" * 200)


def every_pair_once(count: int) -> list[int]:
    """A round through `count` places that goes from each to each, itself included, exactly once (a de Bruijn sequence)."""
    return [place for one in range(count) for place in (one, *(step for other in range(one + 1, count) for step in (one, other)))]


def test_a_record_set_makes_the_round_of_every_ordered_pair_of_platforms(tmp_path: Path) -> None:
    assert {platform.connector.name for platform in PLATFORMS} <= set(CONNECTORS)
    round_trip = [PLATFORMS[place] for place in [*every_pair_once(len(PLATFORMS)), 0]]
    legs = list(pairwise(round_trip))
    assert len({(one.connector.name, other.connector.name) for one, other in legs}) == len(legs) == len(PLATFORMS) ** 2
    with world(tmp_path) as made, ExitStack() as up:
        here = up.enter_context(account(round_trip[0]))
        here.add(*((name, KINDS[number % 2]) for number, name in enumerate(NAMES)))
        for number, platform in enumerate(round_trip[1:]):
            there = up.enter_context(account(platform))
            walk(made, f"leg_{number}", here, there, turn=NAMES[number % len(NAMES)])
            here = there
        turns = [sum(leg % len(NAMES) == number for leg in range(len(legs))) for number in range(len(NAMES))]
        assert here.held() == sorted((name, KINDS[(number + turns[number]) % 2]) for number, name in enumerate(NAMES))


def walk(made: World, name: str, here: Account, there: Account, turn: str) -> None:
    """One leg: everything arrives; the record `turn` changes and another one goes, and both sides are equal again, with nothing to do."""
    way = f"{name}: {here.platform.connector.name} to {there.platform.connector.name}"
    names = (f"{name}_from", f"{name}_to")
    made._settings |= {names[0]: here.connection(), names[1]: there.connection()}
    spec = made.spec(**sync(name, here, there, names))
    here.add(("soon gone", KINDS[0]))
    first = made.run(spec)
    assert (first.status, first.created, first.differences) == ("ok", len(NAMES) + 1, 0), f"{way}: {first}"
    assert there.held() == here.held(), way

    here.edit(turn, next(kind for kind in KINDS if (turn, kind) not in here.held()))
    here.remove("soon gone")
    again = made.run(spec)
    assert (again.status, again.created, again.updated, again.differences) == ("ok", 0, 1, 0), f"{way}: {again}"
    assert again.deleted == int(there.platform.deletes), f"{way}: {again}"
    if not there.platform.deletes:
        there.remove("soon gone")
    assert there.held() == here.held(), way

    _, plan = made.plan(spec)  # what `verify` does, and a second run: both sides read whole and compared
    assert (plan.counts.changes, plan.counts.unchanged, plan.counts.read) == (0, len(NAMES), len(NAMES)), way
