"""What a sync leaves behind when its process is killed: never less than a later run can finish, never anything twice.

`python -m bench.kills` kills at every point; here are a dozen.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kills import SCENARIOS, Bench, Platforms, platforms
from tests.e2e.kills_points import Death

KILLS = {
    "first": (Death("before ledger intend"), Death("answer to PUT partly read"), Death("inside ledger settle")),
    "careful": (Death("after rename of raw manifest.json"), Death("half of PUT sent", 2), 0.6),
    "mirror": (Death("PUT sent"), Death("inside ledger intend", 2), Death("headers of DELETE sent")),
    "back": (Death("before rename of plan manifest.json"), Death("DELETE answered, nothing read", 2), Death("before ledger drop_matches")),
    "login": (Death("log-in sent", 2), Death("token told, not kept", 3)),
    "compacted": (Death("inside ledger forget_runs", 3), Death("ledger compacted, its log still long")),
    "upgraded": (Death("after ledger step 1"),),
}


@pytest.fixture(scope="module")
def world() -> Iterator[Platforms]:
    with platforms() as made:
        yield made


@pytest.mark.parametrize("name", KILLS)
def test_a_sync_killed_again_and_again_ends_as_if_nothing_had_happened(name: str, world: Platforms, tmp_path: Path) -> None:
    deaths = KILLS[name]
    trial = Bench(world, SCENARIOS[name], tmp_path).trial(*deaths)
    assert trial.findings == []
    assert trial.killed == len(deaths)


def test_the_audit_sees_a_record_made_twice_one_lost_and_one_clobbered(world: Platforms, tmp_path: Path) -> None:
    bench = Bench(world, SCENARIOS["first"], tmp_path)
    bench.wanted["c3@example.com"]["name"] = "somebody else wrote this"
    bench.wanted["c99@example.com"] = {**bench.wanted["c4@example.com"], "email": "c99@example.com"}
    del bench.wanted["c5@example.com"]
    bench.creates += 1
    found = " ".join(bench.trial().findings)
    assert all(word in found for word in ("wrong or clobbered", "lost", "made from nothing", "12 records were made")), found
