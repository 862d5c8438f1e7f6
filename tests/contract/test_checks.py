"""What `check` finds out where a platform behaves otherwise, the setting it suggests for it, and what a throwaway record shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.base import Change, Finding, Receipt, Result, Sink
from connectors.errors import ConfigError, UnknownOutcome
from connectors.robostack.emulator import create_app as robostack_app
from connectors.robostack.emulator_store import Store as RobostackStore
from connectors.stack_ai.emulator import create_app as stack_ai_app
from connectors.stack_ai.emulator_store import Store as StackAiStore
from connectors.stacker.emulator import create_app as stacker_app
from connectors.stacker.emulator_store import Store as StackerStore
from pipelines.probe import like, probe, spelled
from tests.clock import FakeClock
from tests.contract.celigo_platform import CeligoPlatform
from tests.contract.connector_suite import opened
from tests.contract.test_kragle import KraglePlatform
from tests.contract.test_robostack import RobostackPlatform
from tests.contract.test_stack_ai import StackAiPlatform
from tests.contract.test_stacker import StackerPlatform
from tests.loopback import serving

Made = Callable[..., Any]


@contextmanager
def stacker(**switches: str) -> Iterator[StackerPlatform]:
    store = StackerStore(contacts=0, companies=0, orders=0, **switches)
    with serving(stacker_app(store)) as url:
        yield StackerPlatform(url, store)


@contextmanager
def robostack(**switches: str) -> Iterator[RobostackPlatform]:
    store = RobostackStore(people=0, orgs=0, invoices=0, **switches)
    with serving(robostack_app(store)) as url:
        yield RobostackPlatform(url, store)


@contextmanager
def stack_ai(**switches: str) -> Iterator[StackAiPlatform]:
    store = StackAiStore(**switches)
    with serving(stack_ai_app(store)) as url:
        yield StackAiPlatform(url, store)


@contextmanager
def celigo(**switches: str) -> Iterator[CeligoPlatform]:
    from connectors.celigo.emulator import create_app
    from connectors.celigo.emulator_store import Store

    store = Store(**switches)
    with serving(create_app(store)) as url:
        yield CeligoPlatform(url, store)


@contextmanager
def kragle(**switches: str) -> Iterator[KraglePlatform]:
    from connectors.kragle.emulator import create_app
    from connectors.kragle.emulator_store import Store

    store = Store(own=0, others=0, **switches)
    with serving(create_app(store)) as url:
        yield KraglePlatform(url, store)


SUGGESTED: list[tuple[Made, dict[str, str], int, str, str]] = [
    (stacker, {"order_by": "ignored"}, 40, "order", "keyset: no"),
    (stacker, {"order_by": "refused"}, 40, "order", "keyset: no"),
    (stacker, {"gt": "ignored"}, 40, "keyset", "keyset: no"),
    (stacker, {"gt": "refused"}, 40, "keyset", "keyset: no"),
    (stacker, {}, 40, "keyset", ""),
    (stacker, {"total": "page"}, 40, "total", "total: ignore"),
    (stacker, {"total": "minus5"}, 40, "total", "total: ignore"),
    (stacker, {}, 40, "total", ""),
    (stacker, {"page_cap": "7"}, 40, "page cap", "page_size: 7"),
    (stacker, {}, 40, "page cap", ""),
    (stacker, {}, 40, "account", "account_id: acc_demo"),
    (robostack, {}, 3, "find all", "find_all: selection"),
    (robostack, {"empty_selection": "refused"}, 3, "find all", "find_all: empty"),
    (robostack, {"empty_selection": "none", "absent_selection": "refused"}, 3, "find all", "find_all: no_body"),
    (robostack, {"result_cap": "100"}, 120, "all of parts", "result_cap: none, if these are all there are, else result_cap: 100"),
    (stack_ai, {"limit_cap": "6"}, 9, "connections", "page_size: 6"),
    (stack_ai, {}, 9, "connections", ""),
    (stack_ai, {"organization_role": "hidden"}, 2, "rbac", "organization_roles: hidden"),
    (celigo, {"extra_fields": "yes"}, 2, "fields", "undocumented_fields: read"),
    (kragle, {}, 2, "owner", "owner: 7"),
    (kragle, {}, 2, "look-up by name", "name_lookup: direct, if no two stacks that are seen share a name"),
]


@pytest.mark.parametrize(("made", "switches", "count", "subject", "suggestion"), SUGGESTED)
def test_a_check_suggests_the_setting_that_the_platforms_behaviour_asks_for(
    made: Made, switches: dict[str, str], count: int, subject: str, suggestion: str
) -> None:
    with made(**switches) as platform:
        platform.fill(count)
        with opened(platform, page_size=None) as sink:
            findings = list(sink.check())
            assert sink.request_counts()["write"] == 0
    (found,) = (one for one in findings if one.subject == subject)
    assert found.ok, found
    assert found.suggestion == suggestion, found


def test_every_suggested_setting_can_be_set_and_is_not_suggested_again() -> None:
    with stacker(order_by="ignored", total="page", page_cap="7") as platform:
        platform.fill(40)
        with opened(platform, page_size=None, keyset="no", total="ignore", account_id="acc_demo") as sink:
            told = {one.subject: one.suggestion for one in sink.check()}
        with opened(platform, page_size=7) as sink:
            told["page cap"] = next(one.suggestion for one in sink.check() if one.subject == "page cap")
    assert set(told.values()) == {""}


def probed(platform: Any, record: Any = None, **changed: Any) -> tuple[dict[str, Finding], list[Any]]:
    """The findings by subject and, for texts, field; and what the platform holds afterwards."""
    with opened(platform, page_size=None, **changed) as sink:
        stream = sink.stream(platform.stream)
        given = spelled(record, "probe-1") if record is not None else like(stream, platform.records()[0], "probe-1")
        found = list(probe(sink, stream, given, FakeClock()))
    return {one.subject: one for one in found}, platform.records()


PART = {"number": "{probe}", "name": "Bell", "stock": 3}


@pytest.mark.parametrize("made", [stacker, robostack, celigo, stack_ai])
def test_the_throwaway_record_is_made_changed_and_gone_again(made: Made) -> None:
    with made() as platform:
        platform.fill(2)
        before = platform.records()
        record = PART if platform.stream == "parts" else None
        found, after = probed(platform, record)
    assert all(one.ok for one in found.values()), found
    assert found["delete"].detail == "it is gone: nothing is left behind"
    assert after == before
    assert "left behind" not in found


@pytest.mark.parametrize(
    ("made", "switches", "subject", "says", "suggestion"),
    [
        (stacker, {"trims": "yes"}, "text", "the platform trims number", "fields: {number: trim(…)} in the syncs that write it"),
        (robostack, {"trims": "yes", "lower_cases": "yes"}, "text", "trims and lower-cases number", "lower(trim(…))"),
        (robostack, {"lower_cases": "yes"}, "text", "the platform lower-cases number", "lower(…)"),
        (stacker, {}, "text", "number is kept as it is sent", ""),
        (stacker, {"unknown_fields": "dropped"}, "dropped", "colour", "leave them out of the fields"),
        (robostack, {"unknown_fields": "dropped"}, "dropped", "colour", "leave them out of the fields"),
        (stacker, {"null_in_patch": "ignored"}, "null", "an update of name to null changes nothing", "writes: {nulls: skip}"),
        (stacker, {"null_in_patch": "refused"}, "null", "an update of name to null is refused", "writes: {nulls: skip}"),
        (robostack, {"null_in_update": "ignored"}, "null", "an update of name to null changes nothing", "writes: {nulls: skip}"),
        (robostack, {"null_in_update": "clears"}, "null", "an update of name to null clears it", ""),
        (robostack, {"create_answers": "nothing"}, "create", "the answer does not tell its id", ""),
    ],
)
def test_the_throwaway_record_shows_what_becomes_of_values(
    made: Made, switches: dict[str, str], subject: str, says: str, suggestion: str
) -> None:
    with made(**switches) as platform:
        platform.fill(1)
        before = platform.records()
        found, after = probed(platform, {**PART, "colour": "red"} if subject == "dropped" else PART)
    assert says in found[subject].detail
    assert suggestion in found[subject].suggestion if suggestion else found[subject].suggestion == ""
    assert after == before


def test_a_refused_record_leaves_nothing_and_asks_for_a_better_one() -> None:
    with stacker(unknown_fields="refused") as platform:
        platform.fill(1)
        found, after = probed(platform, {**PART, "colour": "red"})
    assert [(one.subject, one.ok) for one in found.values()] == [("create", False)]
    assert "--record" in found["create"].suggestion
    assert len(after) == 1


def test_what_cannot_be_deleted_is_named() -> None:
    with stacker(delete="refused") as platform:
        platform.fill(1)
        found, after = probed(platform, PART)
    assert not found["delete"].ok
    assert not found["left behind"].ok
    assert "number = 'probe-1', sid = 'rec_" in found["left behind"].detail
    assert len(after) == 2


def test_on_a_stream_without_delete_the_record_stays_and_is_named() -> None:
    with kragle() as platform:
        platform.fill(1)
        found, after = probed(platform)
    assert all(one.ok for one in found.values())
    assert "name = 'probe-1', id = " in found["left behind"].detail
    assert len(after) == 2


class Lost:
    """A sink whose create takes effect and whose answer is lost, or whose reading back stops half-way."""

    def __init__(self, sink: Sink, *, fails: str) -> None:
        self._sink, self._fails, self.capabilities = sink, fails, None
        self._writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def write(self, stream: Any, changes: list[Change]) -> Iterator[Receipt]:
        self._writes += 1
        receipts = list(self._sink.write(stream, changes))
        if self._fails == "answer" and changes[0].op == "create":
            return iter([Receipt(0, Result.UNKNOWN, reason="no answer came")])
        if self._fails == "update" and changes[0].op == "update":
            raise UnknownOutcome("the line went dead")
        return iter(receipts)


@pytest.mark.parametrize(("fails", "subject"), [("answer", "create"), ("update", "stopped")])
def test_whatever_fails_on_the_way_the_record_is_removed(fails: str, subject: str) -> None:
    with stacker() as platform:
        platform.fill(2)
        before = platform.records()
        with opened(platform, page_size=None) as sink:
            found = list(probe(Lost(sink, fails=fails), sink.stream("parts"), spelled(PART, "probe-1"), FakeClock()))
        assert platform.records() == before
    assert [one.subject for one in found if not one.ok] == [subject]


def test_a_record_that_shows_late_suggests_how_long_to_wait() -> None:
    clock = FakeClock()
    with stacker() as platform:
        platform.fill(1)
        with opened(platform, page_size=None) as sink:

            class Late(Lost):
                def read(self, stream: Any, request: Any) -> Any:
                    return iter(()) if clock.monotonic() - began_s < 3 else self._sink.read(stream, request)

            began_s = clock.monotonic()
            found = {one.subject: one for one in probe(Late(sink, fails=""), sink.stream("parts"), spelled(PART, "probe-1"), clock)}
        assert len(platform.records()) == 1
    assert found["read back"].detail == "it was there after 4 s"
    assert found["read back"].suggestion == "T_lag_s: 8"


@pytest.mark.parametrize("record", [{"name": "Bell"}, [], "{probe}", {"stock": 1}])
def test_a_record_that_could_be_mistaken_for_anothers_is_refused(record: Any) -> None:
    with pytest.raises(ConfigError, match="--record"):
        spelled(record, "probe-1")
