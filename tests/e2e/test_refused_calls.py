"""A platform that refuses every call of several creates: it costs few calls to find that out, and everything is created once."""

from pathlib import Path

import pytest

from tests.e2e.accounts import KINDS, ROBOSTACK, STACKER, account, sync
from tests.e2e.world import world

COUNT = 64


@pytest.mark.parametrize(("status", "in_vain"), [("400", 3), ("403", 1)])
def test_where_calls_of_several_are_always_refused_each_record_soon_goes_alone(tmp_path: Path, status: str, in_vain: int) -> None:
    with world(tmp_path) as made, account(ROBOSTACK) as here, account(STACKER, bulk=status) as there:
        here.add(*((f"n{number}", KINDS[0]) for number in range(COUNT)))
        made._settings |= {"one": here.connection(), "other": there.connection()}
        ended = made.run(made.spec(**sync("refused", here, there)))
        assert (ended.status, ended.created, ended.differences) == ("ok", COUNT, 0)
        assert ended.requests["sink"]["write"] <= COUNT + in_vain + 1, ended.requests
        assert there.held() == here.held()


def test_one_bad_record_among_many_is_still_found_by_halving(tmp_path: Path) -> None:
    with world(tmp_path) as made, account(ROBOSTACK) as here, account(STACKER, max_text="50") as there:
        here.add(*((f"n{number}" if number != 37 else "x" * 99, KINDS[0]) for number in range(COUNT)))
        made._settings |= {"one": here.connection(), "other": there.connection()}
        ended = made.run(made.spec(**sync("refused", here, there)))
        assert (ended.status, ended.created, ended.rejected) == ("partial", COUNT - 1, 1)
        assert ended.requests["sink"]["write"] < COUNT / 2, ended.requests
