"""A source that is empty once, shows a part of its records once, repeats a page, or shifts its rows while it is read.

For every platform as the source of a mirror: nothing that is still there is deleted, and nothing that was there is missed, or the run says
that its read was not complete. What is right is asked of the two stores.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.errors import ConnectorError
from pipelines.summary import Summary
from tests.e2e.accounts import KINDS, PLATFORMS, ROBOSTACK, Account, Platform, account, sync
from tests.e2e.world import World, world

COUNT = 23
PAGES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {  # the switches and settings that make several pages of them
    "stacker": ({}, {"page_size": 5}),
    "celigo": ({"page_size": "5"}, {}),
    "stack_ai": ({}, {"page_size": 5}),
    "kragle": ({"pagesize": "5"}, {}),
}


class Layer:
    """Before a platform: `happens` is called before every request; `repeat` answers that request (from 1) as the one before it."""

    def __init__(self, app: Any) -> None:
        self._app, self.happens, self.repeat = app, lambda: None, 0
        self._number, self._last = 0, list[Any]()

    def begin(self, happens: Callable[[], None] = lambda: None, repeat: int = 0) -> None:
        """From now on."""
        self.happens, self.repeat, self._number, self._last = happens, repeat, 0, []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        self.happens()
        self._number += 1
        if self._number != self.repeat or not self._last:
            self._last = []
            await self._app(scope, receive, self._keep)
        for message in self._last:
            await send(message)

    async def _keep(self, message: Any) -> None:
        self._last.append(message)


class Pair:
    """A source behind its layer, a sink, and the mirror between them."""

    def __init__(self, made: World, source: Account, layer: Layer, sink: Account) -> None:
        self.made, self.source, self.layer, self.sink = made, source, layer, sink
        switches_settings = PAGES.get(source.platform.connector.name, ({}, {}))[1]
        made._settings |= {"one": source.connection(**switches_settings), "other": sink.connection()}
        self.spec = made.spec(**sync("lied", source, sink, deletes={"when": "missing", "max_count": 100, "max_share": 0.3}))

    def run(self) -> Summary | ConnectorError:
        """A run, or the error that it ended with."""
        try:
            return self.made.run(self.spec)
        except ConnectorError as error:
            return error

    @contextmanager
    def without(self, names: list[str]) -> Iterator[None]:
        """The source does not show these records for the block."""
        held = dict(self.source.held())
        for name in names:
            self.source.remove(name)
        yield
        for name in names:
            self.source.add((name, held[name]))

    def lost(self, before: list[tuple[str, str]]) -> set[str]:
        """Records that the sink held, that are in the source, and that the sink holds no more."""
        return {name for name, _ in before} & {name for name, _ in self.source.held()} - {name for name, _ in self.sink.held()}

    def rests(self) -> bool:
        """Whether an honest read then finds both sides equal, after at most one run that has something to do."""
        self.layer.begin()
        self.run()
        return self.source.held() == self.sink.held()


@pytest.fixture(params=PLATFORMS, ids=lambda platform: platform.connector.name)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    platform: Platform = request.param
    layers: list[Layer] = []

    def app(store: Any) -> Layer:
        layers.append(Layer(platform.app(store)))
        return layers[-1]

    switches = PAGES.get(platform.connector.name, ({}, {}))[0]
    with ExitStack() as up:
        made = up.enter_context(world(tmp_path))
        source = up.enter_context(account(replace(platform, app=app), **switches))
        sink = up.enter_context(account(ROBOSTACK))
        source.add(*((f"record {n:02}", KINDS[n % 2]) for n in range(COUNT)))
        yield Pair(made, source, layers[0], sink)


def test_whatever_a_source_shows_once_nothing_is_lost_and_a_later_run_is_right(pair: Pair) -> None:
    assert pair.run().status == "ok"  # type: ignore[union-attr]
    whole, names = pair.sink.held(), [name for name, _ in pair.source.held()]
    assert whole == pair.source.held()

    for hidden in (names, names[: COUNT * 4 // 10]):  # empty once, then 60 % of it once
        with pair.without(hidden):
            ended = pair.run()
            assert isinstance(ended, ConnectorError) or ended.status == "refused", ended
            assert pair.sink.held() == whole
        assert pair.rests()

    for number in (2, 3, 4, 5):  # a page comes twice
        pair.layer.begin(repeat=number)
        ended = pair.run()
        assert pair.lost(whole) == set(), (number, ended)
        missed = set(pair.source.held()) - set(pair.sink.held())
        assert not missed or isinstance(ended, ConnectorError) or not ended.complete or ended.status == "refused", (number, ended)
    assert pair.rests()


def test_what_stays_while_rows_shift_is_neither_missed_nor_deleted(pair: Pair) -> None:
    rng = random.Random(pair.source.platform.connector.name)
    born = iter(range(1000))

    def shift() -> None:
        if (number := next(born)) < 40:
            pair.source.add((f"{rng.choice(['a', 'record', 'z'])} {number:03} new", KINDS[0]))
            pair.source.remove(rng.choice(pair.source.held())[0])

    anything = pair.spec.delete_settings.model_copy(update={"max_share": 1.0})
    pair.spec = pair.spec.model_copy(update={"deletes": anything})  # so that no limit holds back what a read should not have concluded
    for _ in range(2):
        before, held = pair.source.held(), pair.sink.held()
        pair.layer.begin(shift)
        ended = pair.run()
        pair.layer.begin()
        stayed = set(before) & set(pair.source.held())
        assert pair.lost(held) == set(), ended
        missed = stayed - set(pair.sink.held())
        assert not missed or isinstance(ended, ConnectorError) or not ended.complete, (missed, ended)
    assert pair.rests() or pair.rests()
