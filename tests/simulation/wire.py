"""The wire between a simulated process and a platform: the real emulator answers, unless trouble comes between."""

from datetime import timedelta
from typing import TYPE_CHECKING

import httpx

from tests.simulation import faults
from tests.simulation.asgi import answer
from tests.simulation.faults import Answer, Fault, Kind, Trouble
from tests.simulation.moments import START
from tests.simulation.others import act
from tests.simulation.platforms import Platform
from tests.simulation.process import SimulatedCrash
from tests.simulation.sent import Sent, first_of, read_request, shown_rows

if TYPE_CHECKING:
    from tests.simulation.world import Process, World

CLEAN = Fault("", faults.EVERY, "all", answered=True)
STORM = 6  # requests in a row
HIDDEN = ("k4@",)  # what a source keeps to itself


class Wire(httpx.BaseTransport):
    """`side` is "left" (the source) or "right" (the sink)."""

    def __init__(self, world: "World", process: "Process", side: str, platform: Platform) -> None:
        self._world, self._process, self._side, self._platform = world, process, side, platform
        self._before: Answer | None = None  # the last page, for a platform that gives it again
        self._not_before_s = 0.0
        self._first = world.scenario.first_fault
        self._storm = 0
        self._in_doubt: tuple[str, ...] = ()  # keys of creates that went out, and of which no answer said what became
        self._lied = False  # a lie that nothing gives away is told once to each process: told twice, two equal reads prove it true

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request: what others do meanwhile, the trouble it meets, its effect, its answer."""
        world, process = self._world, self._process
        process.step("request")
        world.requests += 1
        number = world.requests
        if not world.calm and world.rng.random() < world.scenario.restless:
            act(world)
        kind, changes = read_request(self._platform.kind, request)
        fault = self._fate(kind, len(changes))
        if kind == "create" and not fault.answered and fault.effect != "unsent":
            self._in_doubt += tuple(str(change.fields.get("email")).strip().lower() for change in changes)
        what = f"{process.name} #{number} {self._side} {kind}{f' of {len(changes)}' if changes else ''}"
        if fault.effect == "unsent":
            world.tell(f"{what} → {fault.name}")
            world.time.advance(0.05)
            raise fault.breaks(fault.name)  # type: ignore[misc]
        self._check(number, kind, changes, fault)
        true = self._take_effect(request, number, kind, changes, fault)
        process.step("answered")
        world.tell(f"{what} → {fault.name or 'answered'}{'' if true is None else f' {true[0]}'}")
        if fault.waits:
            world.time.advance(world.settings(self._side).timeout_s)
        if fault.breaks is not None:
            raise fault.breaks(fault.name)
        status, headers, body = self._answer(fault, true, kind, changes)
        if status == 429:
            self._asked_to_wait(dict(headers))
        if kind == "read" and 200 <= status < 300:
            lag = world.lag_s if self._side == "right" else 0.0
            rows = shown_rows(body, self._platform.id_field)
            world.checker.shown(process.view, self._platform, rows, world.time.elapsed_s - lag, fault.name in faults.QUIET_LIES)
        process.step("answer in memory")
        return httpx.Response(status, headers=headers, content=body)

    def _fate(self, kind: Kind, count: int) -> Fault:
        world = self._world
        if world.calm:
            return CLEAN
        scenario, rng = world.scenario, world.rng
        found = CLEAN
        if kind == "read" and self._hides():
            found = faults.BY_NAME["records hidden"]
        elif self._storm:
            self._storm -= 1
            found = faults.BY_NAME["503"]
        elif self._first is not None and self._first[0] == kind:
            if self._first[1] == 0:
                self._first = None
                found = faults.draw(rng, kind, count, self._without())
            else:
                self._first = (kind, self._first[1] - 1)
        elif rng.random() < scenario.fault_share:
            found = faults.draw(rng, kind, count, self._without())
        if found.name == "503" and scenario.storm and not self._storm:
            self._storm = STORM
        self._lied = self._lied or found.name in faults.QUIET_LIES
        if found is not CLEAN:
            world.faults[found.name] += 1
        return found

    def _hides(self) -> bool:
        """Whether this read keeps records to itself."""
        scenario = self._world.scenario
        return scenario.hides if self._side == "left" else scenario.forgets and bool(self._in_doubt) and not self._lied

    def _without(self) -> frozenset[str]:
        without = self._world.scenario.without | (frozenset() if self._before else frozenset({"the page before again"}))
        return without | faults.QUIET_LIES if self._lied else without

    def _check(self, number: int, kind: Kind, changes: list[Sent], fault: Fault) -> None:
        world, view = self._world, self._process.view
        now_s = world.time.elapsed_s
        if now_s < self._not_before_s - 1e-6:
            raise world.checker.violated(
                f"I16 a request was sent {self._not_before_s - now_s:.1f} s before the platform's Retry-After was over"
            )
        world.checker.run_of[number] = view
        world.checker.requested(view)
        if changes and self._side == "right":
            world.checker.sending(view, changes, fault)

    def _take_effect(self, request: httpx.Request, number: int, kind: Kind, changes: list[Sent], fault: Fault) -> Answer | None:
        world, process = self._world, self._process
        try:
            process.step("sending")
        except SimulatedCrash:
            if world.scenario.left and changes:
                world.checker.doubted(world.checker.in_flight_creates())
                self._later(request, number, world.settings(self._side).T_server_max_s)
            raise
        world.time.advance(0.05)
        if fault.effect == "all":
            return self._served(request, number, kind)
        if fault.effect == "part":
            self._served(first_of(request, world.rng.randrange(1, len(changes))), number, kind)
        if fault.effect == "late":
            settings = world.settings(self._side)
            self._later(request, number, settings.T_server_max_s, settings.timeout_s if fault.waits else 0.0)
        return None

    def _later(self, request: httpx.Request, number: int, most_s: float, after_s: float = 0.0) -> None:
        delay_s = after_s + self._world.rng.random() * most_s

        def happens() -> None:
            true = self._served(request, number, "meta")
            self._world.tell(f"#{number} takes effect now: {true[0]}")

        self._world.time.after(delay_s, happens)

    def _served(self, request: httpx.Request, number: int, kind: Kind) -> Answer:
        world, platform = self._world, self._platform
        if kind == "read" and self._side == "right" and world.lag_s:
            with platform.showing(platform.as_of(world.time.elapsed_s - world.lag_s)):
                return answer(platform.app, request)
        true = answer(platform.app, request)
        platform.note("us", number)
        return true

    def _answer(self, fault: Fault, true: Answer | None, kind: Kind, changes: list[Sent]) -> Answer:
        world = self._world
        if fault.name == "the page before again" and self._before is not None:
            return self._before
        now = START + timedelta(seconds=world.time.elapsed_s)
        given = (
            true
            if fault.answer is None
            else fault.answer(Trouble(true, world.rng, now, len(changes), self._in_doubt if self._side == "right" else HIDDEN))
        )
        assert given is not None
        if kind == "read" and true is not None and fault is CLEAN:
            self._before = true
        return given

    def _asked_to_wait(self, headers: dict[bytes, bytes]) -> None:
        spelt = headers.get(b"retry-after", b"").decode()
        if spelt.isdecimal():
            self._not_before_s = max(self._not_before_s, self._world.time.elapsed_s + min(float(spelt), 86_400.0))
        elif spelt.endswith("GMT"):
            self._not_before_s = max(self._not_before_s, self._world.time.elapsed_s + 19.0)
