"""Guards taken out of the engine, one at a time: what the simulation must notice, or it is blind there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from connectors import http, http_outcome
from connectors.base import Delivery, Receipt, Result
from connectors.robostack import sink as robostack_sink
from pipelines import apply, changes, delivery, desired, plan, plan_rows, planning, remembering, run, settle
from pipelines.ledger import Ledger, State
from tests.simulation import process, schedule, world
from tests.simulation.schedule import Verdict

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Ablation:
    """`says` what is missing; `remove` takes it out of the engine of this process; `caught_by` is a seed that noticed it once."""

    says: str
    remove: Callable[[Patch], None]
    caught_by: int = 0


ABLATIONS: dict[str, Ablation] = {}


@contextmanager
def without(name: str | None) -> Iterator[None]:
    """The engine lacks this guard while the block lasts (None: it is whole)."""
    if name is None:
        with nullcontext():
            yield
        return
    with pytest.MonkeyPatch.context() as patch:
        ABLATIONS[name].remove(patch)
        schedule.forget()
        yield
    schedule.forget()


def first_caught(name: str, most: int = 1000) -> Verdict | None:
    """The first schedule in which the lack of this guard shows, after the one that showed it before. None: in none of so many."""
    with schedule.simulating() as ledgers, without(name):
        for seed in (ABLATIONS[name].caught_by, *range(most)):
            verdict = schedule.play(seed, ledgers)
            if verdict.violation is not None:
                return verdict
    return None


def _ablation(says: str, caught_by: int = 0) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    def keep(remove: Callable[[Patch], None]) -> Callable[[Patch], None]:
        ABLATIONS[remove.__name__] = Ablation(says, remove, caught_by)
        return remove

    return keep


def _sums_believed(patch: Patch) -> None:
    """The engine does not check its own sums either: the checker is to see what is wrong."""
    patch.setattr(run, "adds_up", lambda *given: True)


# writes


@_ablation("intents become durable only with their answers", 0)
def intent_after_sending(patch: Patch) -> None:
    real_intend, real_settle, waiting = Ledger.intend, Ledger.settle, []

    def intend(self: Ledger, writes: Any, *given: Any) -> None:
        waiting.append((writes, given))

    def settle_late(self: Ledger, *given: Any, **named: Any) -> None:
        while waiting:
            writes, more = waiting.pop(0)
            real_intend(self, writes, *more)
        real_settle(self, *given, **named)

    patch.setattr(Ledger, "intend", intend)
    patch.setattr(Ledger, "settle", settle_late)


@_ablation("an unanswered write is looked up at once, while it may still take effect", 88)
def no_quiescence_wait(patch: Patch) -> None:
    for module in (settle, delivery):
        patch.setattr(module, "wait_until_quiet", lambda *given: None)


@_ablation("the time a write stays hidden from reads is not waited for", 518)
def lag_ignored(patch: Patch) -> None:
    real = world.World.settings
    patch.setattr(world.World, "settings", lambda self, name: real(self, name).model_copy(update={"T_lag_s": 0.0}))


@_ablation("creates are sent again by the HTTP layer, as if they could be repeated", 43)
def creates_resent_by_http(patch: Patch) -> None:
    real = http.Sender.send

    def send(self: Any, request: Any) -> Any:
        if request.operation.delivery is Delivery.E2:
            request = replace(request, operation=replace(request.operation, delivery=Delivery.E1))
        return real(self, request)

    patch.setattr(http.Sender, "send", send)


@_ablation("a 5xx to a write means that nothing was done", 61)
def server_errors_change_nothing(patch: Patch) -> None:
    real = http_outcome.judge

    def judge(request: Any, status: int, *given: Any) -> Any:
        ending = real(request, status, *given)
        return replace(ending, perhaps_applied=False) if status >= 500 else ending

    patch.setattr(http, "judge", judge)


@_ablation("an unanswered create is sent again without being looked up", 20)
def creates_resent_blindly(patch: Patch) -> None:
    def settled(engine: Any, spec: Any, stream: Any, observed: Any, writes: Any, hits: Any, **named: Any) -> list[Any]:
        return [(write.seq, State.NOT_APPLIED if write.attempt < 3 else State.QUARANTINED, None, "blind") for write in writes]

    for module in (settle, delivery):
        patch.setattr(module, "settle_creates", settled)


@_ablation("the good records of a refused call are sent again without a look at what it made", 905)
def refused_calls_split_without_a_look(patch: Patch) -> None:
    real = apply._Application._bisect

    def bisect(self: Any, call: Any, receipts: Any) -> None:
        if len(call.writes) > 1 and call.writes[0].op == "create":
            disguised = tuple(replace(write, op="update") for write in call.writes)
            real(self, apply._Call(disguised), receipts)
            halves = [self._queue.popleft(), self._queue.popleft()]
            parts = [apply._Call(tuple(replace(write, op="create") for write in half.writes)) for half in halves]
            self._ledger.intend([write for part in parts for write in part.writes])
            self._queue.extendleft(reversed(parts))
            return
        real(self, call, receipts)

    patch.setattr(apply._Application, "_bisect", bisect)


@_ablation("a bulk answer is believed to be in the order of what was sent", 180)
def places_in_answers_believed(patch: Patch) -> None:
    real = robostack_sink.created

    def created(sent: Any, told: Any, id_field: str) -> list[Receipt]:
        if not told.failed and told.records and len(told.records) == len(sent):
            pairs = zip(sent, told.records, strict=True)
            return [Receipt(change.seq, Result.APPLIED, record[id_field], answer=record) for change, record in pairs]
        return real(sent, told, id_field)

    patch.setattr(robostack_sink, "created", created)


@_ablation("what a run that died had under way is taken for not sent", 333)
def unsettled_writes_forgotten(patch: Patch) -> None:
    patch.setattr(run, "recover", lambda *given, **named: 0)


@_ablation("one look that does not show a record proves that it is not there", 288)
def one_look_believed(patch: Patch) -> None:
    for module in (settle, delivery, planning):
        patch.setattr(module, "see_what_is_missing", lambda *given, **named: (given[4], True))


@_ablation("creates that wait for a person are sent again", 27)
def quarantine_ignored(patch: Patch) -> None:
    real = plan_rows.PlanRows.creates

    def creates(self: Any, create: Any) -> Any:
        self.held, self.waiting = frozenset(), {}
        return real(self, create)

    patch.setattr(plan_rows.PlanRows, "creates", creates)


@_ablation("what the platform asks to be left alone for is not waited for", 2)
def retry_after_ignored(patch: Patch) -> None:
    patch.setattr(http_outcome, "retry_after_s", lambda headers, now: None)


# plans and guards


@_ablation("whatever the source does not show is deleted, ours or not", 20)
def ownership_ignored(patch: Patch) -> None:
    def ours(self: Any, chunk: Any) -> tuple[list[str | None], Any]:
        keys = changes.key_texts(self._existing_rows(chunk), self.spec.match, self.desired.types).to_pylist()
        return keys, np.ones(len(chunk), bool)

    patch.setattr(plan_rows.PlanRows, "_owned_missing", lambda self: self.found.missing)
    patch.setattr(plan_rows.PlanRows, "_ours", ours)


@_ablation("no limit of deletes", 221)
def delete_limit_ignored(patch: Patch) -> None:
    patch.setattr(plan, "_delete_limit", lambda *given: None)


@_ablation("an empty source is mirrored like any other", 25)
def empty_source_mirrored(patch: Patch) -> None:
    real = plan._unproven

    def unproven(spec: Any, counts: Any, read: Any, short: str) -> Any:
        return real(spec, replace(counts, desired=max(1, counts.desired)), read, short)

    patch.setattr(plan, "_empty_source", lambda *given: None)
    patch.setattr(plan, "_unproven", unproven)


@_ablation("absence counts as deletion whatever the read proved", 382)
def incompleteness_ignored(patch: Patch) -> None:
    real = plan._unproven

    def unproven(spec: Any, counts: Any, read: Any, short: str) -> Any:
        return real(spec, counts, replace(read, complete=True, doubts=()), short)

    patch.setattr(plan, "_unproven", unproven)


@_ablation("any digest approves any plan", 352)
def digest_ignored(patch: Patch) -> None:
    patch.setattr(plan.Plan, "approved_by", lambda self, digest: True)


@_ablation("a record whose key several sink records have is made once more", 21)
def duplicates_in_the_sink_ignored(patch: Patch) -> None:
    real = planning.diff

    def diff(desired: Any, existing: Any) -> Any:
        found = real(desired, existing)
        return replace(found, create=np.concatenate([found.create, found.conflict]), conflict=found.conflict[:0])

    patch.setattr(planning, "diff", diff)


@_ablation("of source records that share a key each is written", 86)
def shared_keys_not_refused(patch: Patch) -> None:
    _sums_believed(patch)
    patch.setattr(desired, "duplicate_keys", lambda rows: (rows, np.empty(0, np.int64)))


@_ablation("what others changed in the sink is overwritten whatever drift says", 196)
def drift_ignored(patch: Patch) -> None:
    patch.setattr(changes, "_drifted", lambda found, compared, applied: dict.fromkeys(compared, "false"))


@_ablation("a record whose key moved is made a second time", 59)
def moved_keys_not_noticed(patch: Patch) -> None:
    patch.setattr(plan_rows.PlanRows, "_moved", lambda self, *given: {})


# runs


@_ablation("an increment forgets what earlier ones left undelivered", 133)
def pending_records_forgotten(patch: Patch) -> None:
    real = planning.due
    patch.setattr(planning, "due", lambda staged, newest, position, pending: real(staged, newest, position, frozenset()))


@_ablation("the cursor moves on when a plan is made, before anything is delivered", 135)
def cursor_moved_before_delivery(patch: Patch) -> None:
    real = run.SyncRun._planned

    def planned(self: Any, *given: Any) -> Any:
        made = real(self, *given)
        self._applied(made)
        return made

    patch.setattr(run.SyncRun, "_planned", planned)


@_ablation("two runs write to one target at once", 505)
def lock_ignored(patch: Patch) -> None:
    _sums_believed(patch)
    patch.setattr(process.Locks, "hold", lambda self, name, process: nullcontext())


@_ablation("whoever asks has the right to write, whatever another host wrote since", 1)
def epoch_ignored(patch: Patch) -> None:
    _sums_believed(patch)
    real = Ledger.claim

    def claim(self: Ledger, target: str, epoch: int, *given: Any, **named: Any) -> bool:
        return real(self, target, self.epoch(target), *given, **{**named, "dead": True})

    patch.setattr(Ledger, "claim", claim)
    patch.setattr(Ledger, "renew", lambda *given, **named: True)


@_ablation("a selection is believed to hit the one record it names", 539)
def selections_believed(patch: Patch) -> None:
    patch.setattr(robostack_sink.RobostackSink, "_check_selection", lambda *given: {})
    patch.setattr(robostack_sink.RobostackSink, "_first_update", lambda self, stream, change, before: self._write_one(stream, change))


# what sinks and other people do to records


@_ablation("what the sink may hold under its key in another form is made once more", 61)
def other_forms_ignored(patch: Patch) -> None:
    patch.setattr(settle, "in_another_form", lambda engine, spec, stream, observed, writes: [False] * len(writes))


@_ablation("values that the sink keeps in a form of its own are written for ever", 140)
def normalised_values_not_noticed(patch: Patch) -> None:
    patch.setattr(plan_rows, "REPEATS_UNTIL_NORMALISED", 10**9)


@_ablation("the form that the sink gives a value counts as other people's edit", 140)
def own_forms_taken_for_edits(patch: Patch) -> None:
    patch.setattr(remembering, "as_kept", lambda applied, *given, **named: applied)


@_ablation("whatever has the id of a record that was ours is ours", 143)
def ids_believed(patch: Patch) -> None:
    patch.setattr(plan_rows.PlanRows, "_still_ours", lambda self, strayed, last: dict(strayed))
