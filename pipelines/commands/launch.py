"""Running one sync on behalf of the command, and telling how it ended whatever happened."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

from connectors.errors import ConnectorError
from pipelines.commands import exits

if TYPE_CHECKING:
    from pipelines.components.partitions import Backfill
    from pipelines.ledger import Run
    from pipelines.runtime import Runtime
    from pipelines.spec import SyncSpec
    from pipelines.summary import Summary

__all__ = ["apply_sync", "ending_of", "summary_of"]

Watcher = Callable[[str, int], None]


def apply_sync(
    project: "Runtime",
    spec: "SyncSpec",
    *,
    full: bool = False,
    approve: str | None = None,
    backfill: "Backfill | None" = None,
    watch: Watcher,
) -> "Summary":
    """Run the sync through Dagster, live or over windows, and give the summary that the ledger keeps of it. Raises Stopped
    for every way to fail."""
    from pipelines.components.inprocess import run_in_process

    run_id = str(UUID(project.ports.rng.token()))
    with telling(project, spec), ending_of(project, spec, run_id, f"backfill {spec.name} --continue" if backfill else None):
        failure: Exception | None = None
        try:
            run_in_process(project, spec, run_id, full=full, approve=approve, backfill=backfill, progress=watch)
        except Exception as error:  # noqa: BLE001 (a refusal fails the step in Dagster, and is an outcome here)
            failure = error
        kept = project.ledger.run(run_id)
        if kept is None or kept.status not in ("ok", "partial", "refused"):
            raise failure or RuntimeError("the run ended without an outcome")
        return summary_of(kept)


@contextmanager
def telling(project: "Runtime", spec: "SyncSpec") -> Iterator[None]:
    """However the block ends, people who want to know are told what is new about the sync."""
    try:
        yield
    finally:
        from pipelines.components.session import tell_people

        tell_people(project, [spec])


@contextmanager
def ending_of(project: "Runtime", spec: "SyncSpec", run_id: str, command: str | None = None) -> Iterator[None]:
    """Turn whatever ends the block early into Stopped, saying what state things are in, and which command goes on from there;
    the run is never left as running."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        found = exits.cause(error)
        sentence, status = exits.ending(found)
        if isinstance(found, KeyboardInterrupt):
            stopped, status = exits.interruption(found)
            sentence = f"{stopped}; {_state(project, run_id)}; `crossdock {command or f'run {spec.name}'}` goes on from there"
        elif isinstance(found, ConnectorError) and (written := _state(project, run_id)) != _NOTHING:
            sentence = f"{sentence} ({written})"
        raise exits.Stopped(sentence, status, **_closed(project, spec, run_id, sentence)) from error


def summary_of(run: "Run") -> "Summary":
    """The summary that the ledger keeps of a finished run."""
    from pipelines.summary import Summary

    return Summary.from_kept(run.sync, run.run_id, {**run.summary, "status": run.status})


_NOTHING = "nothing was written"


def _closed(project: "Runtime", spec: "SyncSpec", run_id: str, sentence: str) -> dict[str, object]:
    """Close the run in the ledger where nobody did, and give what is known of it."""
    facts: dict[str, object] = {"sync": spec.name, "run_id": run_id}
    with suppress(Exception):  # the ledger may be what failed
        if (kept := project.ledger.run(run_id)) is not None and kept.status == "running":
            project.ledger.finish_run(run_id, "failed", {"message": sentence})
        if (kept := project.ledger.run(run_id)) is not None:
            facts |= summary_of(kept).as_json()
    return facts


def _state(project: "Runtime", run_id: str) -> str:
    """How far the writes of a run came."""
    from pipelines.ledger import OPEN, State

    try:
        counts = project.ledger.write_counts(run_id)
    except Exception:  # noqa: BLE001 (the ledger may be what failed)
        return "the ledger cannot be asked how far it came"
    written = sum(count for (_, state), count in counts.items() if state is State.CONFIRMED)
    unsure = sum(count for (_, state), count in counts.items() if state in OPEN)
    if not written and not unsure:
        return _NOTHING
    lost = f", {unsure:,} writes have no known outcome and are looked up before anything is sent again" if unsure else ""
    return f"{written:,} records were written and confirmed{lost}"
