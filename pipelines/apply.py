"""Apply: write a plan's rows through a sink, each intent durable before it is sent. I/O only through what it is given.

Every row ends in the ledger as confirmed, accepted (succeeded, still to be read back), rejected,
not applied, or unknown. Nothing here decides what an unknown write came to: `settle` looks.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from connectors.base import Clock, Receipt, Result, Sink, Stream
from connectors.errors import ConfigError, ConnectorError, RetryableError
from pipelines.callers import Callers
from pipelines.ledger import State, Write
from pipelines.ledger_bulk import Settled
from pipelines.payloads import Row, changes_of, op_of, rows_of, settlement, write_of

FIRST_CALL = 50  # records of the first call to a sink that this sync never wrote to
INTENTS_AHEAD = 100  # records whose intents share one durable transaction where calls are smaller
CALLERS_A_WINDOW = 2  # where calls are larger, one call for every so many callers


class Journal(Protocol):
    """Where intents and outcomes are kept: the ledger, or one that keeps them only while its holder may write."""

    def intend(self, writes: Sequence[Write], settled: Sequence[Settled] = ()) -> None:
        """Make intents durable, and with them what came of earlier writes."""
        ...

    def settle(self, run_id: str, settled: Sequence[Settled]) -> None:
        """Record what came of writes."""
        ...


@dataclass(frozen=True)
class Target:
    """Where changes go and how: `batch` records in one call at most, `concurrency` calls under way at once.

    Where nothing was ever written this way (not `tried`), the first call is small, and alone until it is answered well.
    """

    sink: Sink
    stream: Stream
    match: tuple[str, ...]
    batch: int
    concurrency: int = 1
    tried: bool = True


@dataclass(frozen=True)
class Applied:
    """How far it got: records that have an answer or a lost one, calls made, and the error that ended it early, if one did.

    `in_vain`: creates were sent several in a call, and every such call was refused as a whole.
    """

    record_count: int
    call_count: int
    stopped_by: ConnectorError | None = None
    in_vain: bool = False


@dataclass
class _Size:
    """How many records the next call takes: halved when a call ends in doubt, doubled again by every clean one, up to the limit.

    Untried it is small, and at the limit after the first clean call.
    """

    limit: int
    now: int
    tried: bool

    def learn(self, *, clean: bool) -> None:
        if clean:
            self.now = min(self.limit, 2 * self.now) if self.tried else self.limit
            self.tried = True
        else:
            self.now = max(1, self.now // 2)


@dataclass(frozen=True)
class _Call:
    writes: tuple[Write, ...]

    @property
    def op(self) -> str:
        """The one operation that all its writes are."""
        return self.writes[0].op


def apply(
    rows: Iterable[pa.RecordBatch],
    target: Target,
    *,
    run_id: str,
    sync: str,
    ledger: Journal,
    clock: Clock,
    epoch: int = 0,
    attempt: int = 1,
    may_send: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda count: None,
) -> Applied:
    """Send every row of a plan (PLAN_SCHEMA, grouped by op) and record what came of each.

    Stops early, with the rest recorded as not applied, when the sink cannot be reached or refuses the credentials. `may_send` is
    asked right before every call and raises RetryableError where the right to write was lost. `progress` is told how many
    records were answered since it was told last.
    """
    first = Write(run_id, -1, sync, "", None, "", None, State.IN_FLIGHT, attempt, clock.now(), None, None, None, epoch)
    size = _Size(target.batch, target.batch if target.tried else min(FIRST_CALL, target.batch), target.tried)
    return _Application(target, first, ledger, clock, may_send, progress, size).send(_calls(rows, target, first, clock, size))


class _Application:
    def __init__(
        self,
        target: Target,
        first: Write,
        ledger: Journal,
        clock: Clock,
        may_send: Callable[[], None],
        progress: Callable[[int], None],
        size: _Size,
    ) -> None:
        self._target, self._run_id, self._ledger, self._clock = target, first.run_id, ledger, clock
        self._may_send, self._progress, self._size = may_send, progress, size
        self._settled: list[Settled] = []
        self._queue: deque[_Call] = deque()
        self._records = self._call_count = 0
        self._several = {"refused": 0, "taken": 0}  # calls of several creates
        self._stopped_by: ConnectorError | None = None

    def send(self, windows: Iterator[list[_Call]]) -> Applied:
        under_way: dict[Future[list[Receipt]], _Call] = {}
        count = self._target.concurrency
        handed = count + 1 if count > 1 else 1  # one waits for the first caller that is free, so that none waits for the disk
        with Callers(count) as callers:
            try:
                while True:
                    while len(under_way) < (handed if self._size.tried else 1) and (call := self._next(windows)) is not None:
                        if any(other.op != call.op for other in under_way.values()):
                            self._queue.appendleft(call)  # no delete overtakes a create or an update
                            break
                        under_way[callers.hand(self._write, call)] = call
                        self._call_count += 1
                    if not under_way:
                        break
                    if not self._queue:
                        self._intend_next(windows)  # while answers are awaited, so that the next call need not wait for the disk
                    for future in callers.answered(under_way):
                        self._take(under_way.pop(future), future)
            finally:
                self._drain(under_way)
        in_vain = self._several["refused"] > 0 == self._several["taken"]
        return Applied(self._records, self._call_count, self._stopped_by, in_vain)

    def _drain(self, under_way: dict[Future[list[Receipt]], _Call]) -> None:
        """However the sending ends: keep the answers that still come, and record as not sent what was intended and was not."""
        for future, call in under_way.items():
            if future.cancel():
                self._not_applied(call)
                continue
            with suppress(Exception):  # the error that ended the sending is on its way already
                self._take(call, future)
        while self._queue:
            self._not_applied(self._queue.popleft())
        self._flush()

    def _next(self, windows: Iterator[list[_Call]]) -> _Call | None:
        """The next call to send, its intent durable; once stopped, the whole rest is recorded as not applied instead."""
        while True:
            if self._stopped_by is not None:
                while self._queue:
                    self._not_applied(self._queue.popleft())
            if self._queue:
                return self._no_larger_than_wanted(self._queue.popleft())
            if not self._intend_next(windows):
                return None

    def _no_larger_than_wanted(self, call: _Call) -> _Call:
        """The call, or as much of it as one call takes by now; the rest is the next one. Intents are of records, not of calls."""
        if len(call.writes) > self._size.now:
            self._queue.appendleft(_Call(call.writes[self._size.now :]))
        return _Call(call.writes[: self._size.now])

    def _intend_next(self, windows: Iterator[list[_Call]]) -> bool:
        """Make the intents of the next window durable, and with them what came of earlier writes. False where there is none left."""
        window = next(windows, None)
        if window is None:
            return False
        self._queue.extend(window)  # before the intents: where those fail, none of these was sent
        self._intend([write for call in window for write in call.writes])
        return True

    def _intend(self, writes: list[Write]) -> None:
        settled, self._settled = self._settled, []
        try:
            self._ledger.intend(writes, settled)
        except BaseException:
            self._settled = settled
            raise

    def _write(self, call: _Call) -> list[Receipt]:
        if self._stopped_by is not None:
            raise self._stopped_by
        try:
            self._may_send()
            return list(self._target.sink.write(self._target.stream, changes_of(call.writes, self._target.match)))
        except (ConfigError, RetryableError) as error:
            self._stopped_by = self._stopped_by or error  # at once: another call may wait for this caller
            raise

    def _take(self, call: _Call, future: Future[list[Receipt]]) -> None:
        try:
            receipts = {receipt.seq: receipt for receipt in future.result()}
        except (ConfigError, RetryableError):
            self._not_applied(call)
            return
        except BaseException:
            self._record([(write.seq, State.UNKNOWN, None, "the write was interrupted") for write in call.writes])
            raise
        refused = any(receipt.result is Result.REFUSED_BATCH for receipt in receipts.values())
        if call.op == "create" and len(call.writes) > 1:
            self._several["refused" if refused else "taken"] += 1
        if refused:
            self._bisect(call, receipts)
            return
        self._size.learn(clean=all(receipt.result is not Result.UNKNOWN for receipt in receipts.values()))
        missing = Receipt(seq=-1, result=Result.UNKNOWN, reason="the connector gave no receipt")
        self._record([settlement(write, receipts.get(write.seq, missing)) for write in call.writes])

    def _bisect(self, call: _Call, receipts: dict[int, Receipt]) -> None:
        """Halve a refused call until the record that the platform refuses stands alone.

        Creates are not repeated here: a platform may have made some of them before it refused the rest.
        """
        reasons = {write.seq: receipts[write.seq].reason for write in call.writes if write.seq in receipts}
        if len(call.writes) == 1 or call.op == "create":
            state = State.REJECTED if len(call.writes) == 1 else State.REFUSED
            self._record([(write.seq, state, None, reasons.get(write.seq, "")) for write in call.writes])
            return
        middle = len(call.writes) // 2
        halves = [
            _Call(tuple(replace(write, attempt=write.attempt + 1, intent_at=self._clock.now()) for write in part))
            for part in (call.writes[:middle], call.writes[middle:])
        ]
        self._intend([write for half in halves for write in half.writes])
        self._queue.extendleft(reversed(halves))

    def _not_applied(self, call: _Call) -> None:
        reason = f"not sent: {self._stopped_by or 'the run was stopped'}"
        self._record([(write.seq, State.NOT_APPLIED, None, reason) for write in call.writes])

    def _record(self, settled: Sequence[Settled]) -> None:
        self._settled.extend(settled)
        self._records += len(settled)
        self._progress(len(settled))

    def _flush(self) -> None:
        settled, self._settled = self._settled, []
        self._ledger.settle(self._run_id, settled)


def _calls(rows: Iterable[pa.RecordBatch], target: Target, first: Write, clock: Clock, wanted: _Size) -> Iterator[list[_Call]]:
    """The plan cut into calls of one op, in windows whose intents are made durable together."""
    for op, group in itertools.groupby(rows_of(rows), op_of):
        capability = target.stream.capabilities.write(op)
        if capability is None:
            raise ConfigError(f"{target.stream.name} cannot be written by {op}; change the sync's mode")
        for window, size in _windows(group, capability.max_batch, wanted, max(1, target.concurrency // CALLERS_A_WINDOW)):
            now = clock.now()
            writes = [write_of(row, first, now) for row in window]
            yield [_Call(tuple(writes[at : at + size])) for at in range(0, len(writes), size)]


def _windows(rows: Iterator[Row], max_batch: int, wanted: _Size, calls: int) -> Iterator[tuple[list[Row], int]]:
    """Rows of one op in windows of `calls` whole calls or more, each with the size of its calls as it is wanted by then."""
    while True:
        size = max(1, min(max_batch, wanted.now if wanted.tried else wanted.limit))
        window = list(itertools.islice(rows, size * max(calls, INTENTS_AHEAD // size)))
        if not window:
            return
        yield window, size
