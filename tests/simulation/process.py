"""One simulated process: the real engine over ports that may stop it at any call, and never answer again once it is dead."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.staging import Batch, BatchWriter, Dataset

Step = Callable[[str], None]


class SimulatedCrash(BaseException):
    """The process ended here. What it had not made durable is gone; no code of it runs any more."""


class DyingLedger:
    """A ledger whose every method may be the last thing the process did: before it, inside its transaction, or after it.

    `shared`: whether it says that processes on other hosts use it too.
    """

    def __init__(self, ledger: Any, step: Step, *, shared: bool) -> None:
        self._ledger, self._step, self.shared = ledger, step, shared

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if not callable(method):
            return method

        @functools.wraps(method)
        def guarded(*given: Any, **named: Any) -> Any:
            self._step(f"ledger {name}")
            answer = method(*given, **named)
            if hasattr(answer, "__next__"):
                answer = iter(list(answer))
            self._step(f"ledger {name} done")
            return answer

        setattr(self, name, guarded)
        return guarded


class DyingStaging:
    """A staging that may be the last thing the process touched."""

    def __init__(self, staging: Any, step: Step) -> None:
        self._staging, self._step = staging, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._staging, name)

    def begin(self, dataset: Dataset) -> BatchWriter:
        """A batch whose commit may be the last thing."""
        self._step(f"stage {dataset.parts[0]}")
        return _DyingWriter(self._staging.begin(dataset), dataset.parts[0], self._step)

    def put_index(self, batch: Batch, name: str, arrays: Any) -> None:
        """Keep arrays beside the batch."""
        self._step(f"index {batch.dataset.parts[0]}")
        self._staging.put_index(batch, name, arrays)

    def drop(self, batch: Batch) -> None:
        """Remove a batch."""
        self._step(f"drop {batch.dataset.parts[0]}")
        self._staging.drop(batch)


class _DyingWriter:
    def __init__(self, writer: BatchWriter, name: str, step: Step) -> None:
        self._writer, self._name, self._step = writer, name, step

    def __enter__(self) -> "_DyingWriter":
        self._writer.__enter__()
        return self

    def __exit__(self, *given: Any) -> None:
        self._writer.__exit__(*given)

    def write(self, records: Any) -> None:
        """Append rows."""
        self._writer.write(records)

    def commit(self, note: Any) -> Batch:
        """Make the batch visible."""
        self._step(f"commit {self._name}")
        batch = self._writer.commit(note)
        self._step(f"committed {self._name}")
        return batch


class Locks:
    """Locks that the operating system takes back when their process ends."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    @contextmanager
    def hold(self, name: str, process: Any) -> Iterator[None]:
        """As `pipelines.locks.file_lock`."""
        from connectors.errors import RetryableError

        process.step(f"lock {name}")
        holder = self.held.get(name)
        if holder is not None and not holder.dead:
            raise RetryableError(f"{name} is in use by another run (process {holder.name}); wait until that run is over")
        self.held[name] = process
        try:
            process.step(f"locked {name}")
            yield
        finally:
            if self.held.get(name) is process:
                del self.held[name]
        process.step(f"unlocked {name}")


class SimulatedRng:
    """`connectors.base.Rng` from the seed."""

    def __init__(self, rng: Any) -> None:
        self._rng = rng

    def random(self) -> float:
        """A number in [0, 1)."""
        return float(self._rng.random())

    def token(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._rng.getrandbits(128):032x}"
