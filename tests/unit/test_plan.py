"""The guards of a plan: what they let pass is within the limits, also where a sink holds hardly anything."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Completeness
from pipelines.plan import Counts, refusals
from pipelines.spec import SyncSpec

DIGEST = "0123456789abcdef" * 4


def spec(**changed: Any) -> SyncSpec:
    return SyncSpec(**{"name": "s", "from": "a.b", "to": "c.d", "match": ["id"], "mode": "mirror", **changed})


def read(complete: bool = True, doubts: tuple[str, ...] = ()) -> Completeness:
    return Completeness(complete=complete, method="keyset", reasons=("a page is missing",), count=1, doubts=doubts)


def guards(which: SyncSpec, counts: Counts, proof: Completeness | None = None) -> set[str]:
    return {refusal.guard for refusal in refusals(which, counts, proof or read(), DIGEST)}


@pytest.mark.parametrize("owned", [1, 2, 3, 9])
def test_one_deletion_of_a_tiny_sink_is_a_large_share_and_refused(owned: int) -> None:
    found = refusals(spec(), Counts(read=owned, desired=owned, delete=1, owned=owned, existing=owned), read(), DIGEST)
    assert [refusal.guard for refusal in found] == ["delete_limit"]
    assert f"1 of {owned} records would be deleted" in found[0].message
    assert f"approve digest {DIGEST[:12]}" in found[0].message


def test_one_update_of_a_tiny_sink_is_a_large_share_and_refused() -> None:
    limited = spec(mode="upsert", limits={"update_share": 0.5})
    assert guards(limited, Counts(read=1, desired=1, update=1, existing=1)) == {"update_limit"}
    assert guards(limited, Counts(read=2, desired=2, update=1, existing=2)) == set()


COUNT = st.integers(0, 50)


@given(COUNT, COUNT, COUNT, COUNT, COUNT, st.integers(0, 60), st.integers(0, 100), st.booleans(), st.booleans())
def test_whatever_passes_deletes_within_both_limits_and_only_under_a_proven_read(
    desired: int, delete: int, owned: int, create: int, update: int, most: int, percent: int, complete: bool, doubted: bool
) -> None:
    limited = spec(deletes={"max_count": most, "max_share": percent / 100}, limits={"create_count": 20, "update_count": 20})
    counts = Counts(read=desired, desired=desired, delete=delete, owned=owned, create=create, update=update, existing=owned)
    if not guards(limited, counts, read(complete, ("a cap",) if doubted else ())):
        assert delete == 0 or (complete and not doubted and desired > 0)
        assert delete <= most
        assert delete <= percent / 100 * max(owned, 1)
        assert max(create, update) <= 20


def test_what_no_person_may_lift_is_not_approvable_and_stays_with_any_digest() -> None:
    for counts, proof in (
        (Counts(read=3, desired=3, delete=1, owned=100), read(complete=False)),
        (Counts(read=3, desired=0, delete=1, owned=100), read()),
        (Counts(read=0, desired=0, owned=100, previous_read=5), read()),
    ):
        (found,) = refusals(spec(), counts, proof, DIGEST)
        assert not found.approvable
