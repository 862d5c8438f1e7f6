"""Verify: whether the sink holds what the source was last read to say. Reads the sink, writes nothing to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from connectors.errors import ConfigError
from pipelines.engine import Engine, Progress, raw_dataset, silent
from pipelines.planning import plan_sync
from pipelines.spec import SyncSpec
from pipelines.summary import EXIT_OK, EXIT_PARTIAL


@dataclass(frozen=True)
class Verification:
    """What a fresh look at the sink shows. `differences` are the writes that would bring it to what is wanted.

    `pending` counts records that cannot be planned (invalid, in conflict or quarantined); `samples` are the first differences.
    """

    sync: str
    desired: int
    missing: int
    differing: int
    surplus: int
    pending: int
    read_at: str
    requests: Mapping[str, int]
    samples: tuple[Mapping[str, Any], ...]

    @property
    def differences(self) -> int:
        """Records that are not as wanted."""
        return self.missing + self.differing + self.surplus

    @property
    def exit_status(self) -> int:
        """0 where the sink holds all of it, 1 where it does not."""
        return EXIT_PARTIAL if self.differences or self.pending else EXIT_OK

    def as_json(self) -> dict[str, Any]:
        """All of it, as `--json` prints it."""
        return {**asdict(self), "differences": self.differences, "status": "partial" if self.exit_status else "ok"}


def verify_sync(engine: Engine, spec: SyncSpec, *, progress: Progress = silent) -> Verification:
    """Compare the sink, read anew, with everything staged of the source: planning again must give an empty plan.

    Raises ConfigError where the source was never read, ConnectorError where the sink cannot be.
    """
    staged = engine.staging.batches(raw_dataset(spec))
    if not staged:
        raise ConfigError(f"{spec.source} was never read, so there is nothing to verify against; run `crossdock run {spec.name}` first")
    requests: dict[str, int] = {}
    with engine.counting(spec.target_connection, requests):
        plan = plan_sync(engine, spec, staged[-1], everything=True, progress=progress)
    counts = plan.counts
    return Verification(
        sync=spec.name,
        desired=counts.desired,
        missing=counts.create,
        differing=counts.update,
        surplus=counts.delete,
        pending=counts.invalid + counts.conflicts + counts.quarantined,
        read_at=str(staged[-1].note.get("finished_at", "")),
        requests=requests,
        samples=plan.samples,
    )
