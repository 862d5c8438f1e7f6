"""A plan as a value, and the guards that may refuse it. Pure.

The rows of a plan lie in staging, columnar; this is what stands above them: how many of each, what
the reads proved, what is promised, and why it may not be applied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from connectors.base import Capabilities, Completeness, Delivery
from connectors.jsontext import loads
from pipelines.assumed import Assumed
from pipelines.spec import SyncSpec

_CLASS_WORDS = {
    Delivery.E1: "E1, resend-safe: sending it twice leaves the same state",
    Delivery.E2: "E2, effectively once: a lost answer is resolved by looking the record up by its match key",
    Delivery.E3: "E3, at most once: a lost answer cannot be resolved by looking",
}


NEVER = -1  # the epoch of a plan made beside a run that writes: it is made anew before it is applied


@dataclass(frozen=True)
class Counts:
    """How many records the plan puts where. `read` counts distinct source records; `existing` what the sink showed.

    `owned` counts the sink records this sync has matched before; `previous_read` is the size of the
    last full read before this one (None: there was none). `drifted` counts records whose differing fields others changed
    in the sink since this sync last wrote them; each of them also has an outcome.
    """

    read: int = 0
    desired: int = 0
    create: int = 0
    update: int = 0
    delete: int = 0
    unchanged: int = 0
    skipped: int = 0
    invalid: int = 0
    conflicts: int = 0
    quarantined: int = 0
    existing: int = 0
    owned: int = 0
    previous_read: int | None = None
    drifted: int = 0

    @property
    def missing(self) -> int:
        """Records that have an outcome of this run although the source did not show them: the deletions."""
        return self.delete

    @property
    def changes(self) -> int:
        """Writes that applying the plan takes."""
        return self.create + self.update + self.delete


@dataclass(frozen=True)
class Refusal:
    """Why a plan is not applied. `approvable`: a person may lift it for exactly this plan by its digest."""

    guard: str
    message: str
    approvable: bool


@dataclass(frozen=True)
class Plan:
    """A stored plan. `batch_id` names its rows in staging; `samples` are its first changes as JSON texts, `first_changes` as values.

    The other ids name what it was made from and what it leaves to do: the newest source batch, the desired
    rows, the pairs found to be the same record, the records it could not plan. `epoch` is the target's when its sink was looked at.
    `window` is the one it is about, as a note keeps it; None: everything that is new.
    """

    sync: str
    batch_id: str
    raw_id: str
    desired_id: str
    adopted_id: str
    refused_id: str
    epoch: int
    digest: str
    counts: Counts
    refusals: tuple[Refusal, ...]
    complete: bool
    reasons: tuple[str, ...]
    promises: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    window: Mapping[str, str] | None = None

    def note(self) -> dict[str, Any]:
        """The plan as JSON, for staging to keep with its rows."""
        return asdict(self)

    @staticmethod
    def from_note(batch_id: str, note: Mapping[str, Any]) -> "Plan":
        """The plan that `note` gave, whose rows are in that batch."""
        return Plan(
            **{
                **note,
                "batch_id": batch_id,
                "counts": Counts(**note["counts"]),
                "refusals": tuple(Refusal(**refusal) for refusal in note["refusals"]),
                **{name: tuple(note[name]) for name in ("reasons", "promises", "warnings", "samples")},
            }
        )

    def first_changes(self, url: str | None = None) -> list[dict[str, Any]]:
        """The first changes of each op: op, source_id, key, sink_id, before and after (of an update only the changed fields).

        `url` is the template of a record's page (`Stream.url`); with it a change of a known record has its `link`.
        """
        return [_decoded(sample, url) for sample in self.samples]

    def approved_by(self, digest: str) -> bool:
        """Whether the digest a person gave (its first 8 digits or more) is this plan's."""
        return len(digest) >= 8 and self.digest.startswith(digest)

    def standing(self, approved: str | None) -> tuple[Refusal, ...]:
        """The refusals that still hold when a person approved that digest (None: nothing was approved)."""
        if approved is not None and self.approved_by(approved):
            return tuple(refusal for refusal in self.refusals if not refusal.approvable)
        return self.refusals


def _decoded(sample: Mapping[str, Any], url: str | None) -> dict[str, Any]:
    told = {name: loads(sample[name]) if sample.get(name) is not None else None for name in ("key", "sink_id", "before", "after")}
    link = {"link": url.replace("{id}", quote(str(told["sink_id"]), safe=""))} if url and told["sink_id"] is not None else {}
    return {"op": sample["op"], "source_id": sample["source_id"], **told, **link}


def refusals(spec: SyncSpec, counts: Counts, read: Completeness | None, digest: str) -> tuple[Refusal, ...]:
    """Every reason why this plan may not be applied as it is. `read` None: its deletions are named, not concluded from absence."""
    short = digest[:12]
    absence = [] if read is None else [_empty_source(spec, counts, short), _unproven(spec, counts, read, short)]
    found = [*absence, _delete_limit(spec, counts, short), *_limits(spec, counts, short)]
    return tuple(refusal for refusal in found if refusal is not None)


def hidden_records(spec: SyncSpec, create_count: int, doubts: Sequence[str], digest: str) -> tuple[Refusal, ...]:
    """Why records may not be created that the sink may hold already, out of sight of a read in doubt."""
    if not create_count or not doubts:
        return ()
    message = (
        f"{create_count} records would be created, but what was read of {spec.target} may not be all it holds ({'; '.join(doubts)}), "
        f"and they cannot be looked up one by one; if they are new, approve digest {digest[:12]}"
    )
    return (Refusal("hidden_records", message, True),)


def _empty_source(spec: SyncSpec, counts: Counts, short: str) -> Refusal | None:
    if counts.read > 0 or not counts.previous_read:
        return None
    said = f"{spec.source} gave 0 records where the last full read gave {counts.previous_read}"
    if spec.mode == "mirror":
        return Refusal("empty_source", f"{said}; a mirror of nothing is never applied; look at its permissions", False)
    return Refusal("empty_source", f"{said}; if that is right, approve digest {short}", True)


def _unproven(spec: SyncSpec, counts: Counts, read: Completeness, short: str) -> Refusal | None:
    if counts.delete == 0:
        return None
    if not read.complete:
        said = f"{counts.delete} records would be deleted, but the read of {spec.source} is not proven complete"
        return Refusal("incomplete_read", f"{said}: {'; '.join(read.reasons)}", False)
    if counts.desired == 0:
        said = f"nothing is desired, and all {counts.delete} records this sync owns in {spec.target} would be deleted"
        return Refusal("empty_desired", f"{said}; that is never applied", False)
    if read.doubts:
        said = f"{counts.delete} records would be deleted, but what was read of {spec.source} may not be all it holds"
        return Refusal("doubtful_read", f"{said} ({'; '.join(read.doubts)}); if they are gone there, approve digest {short}", True)
    return None


def _delete_limit(spec: SyncSpec, counts: Counts, short: str) -> Refusal | None:
    settings, share = spec.delete_settings, counts.delete / max(counts.owned, 1)
    if counts.delete <= settings.max_count and (share <= settings.max_share or counts.delete == 0):
        return None
    limit = f"limits {settings.max_count} records and {settings.max_share:.0%}"
    said = f"{counts.delete} of {counts.owned} records would be deleted ({share:.0%}, {limit})"
    return Refusal("delete_limit", f"{said}; to allow this plan, approve digest {short}", True)


def _limits(spec: SyncSpec, counts: Counts, short: str) -> list[Refusal]:
    limits, found = spec.limits, []
    allow = f"to allow this plan, approve digest {short}"
    if limits.create_count is not None and counts.create > limits.create_count:
        found.append(Refusal("create_limit", f"{counts.create} records would be created, limit {limits.create_count}; {allow}", True))
    if limits.update_count is not None and counts.update > limits.update_count:
        found.append(Refusal("update_limit", f"{counts.update} records would be updated, limit {limits.update_count}; {allow}", True))
    share = counts.update / max(counts.existing, 1)
    if limits.update_share is not None and share > limits.update_share:
        found.append(
            Refusal(
                "update_limit",
                f"{counts.update} of {counts.existing} records would be updated ({share:.0%}, limit {limits.update_share:.0%}); {allow}",
                True,
            )
        )
    return found


def doubted(stream: str, read: Completeness) -> tuple[str, ...]:
    """A warning where a read may not have shown all that its stream holds."""
    return (f"what was read of {stream} may not be all it holds: {'; '.join(read.doubts)}",) if read.doubts else ()


def empty(stream: str, read: Completeness, *, full: bool) -> tuple[str, ...]:
    """A warning where a whole read gave nothing: the login may see nothing, or all be asked for in the wrong way."""
    if not full or read.count or read.doubts:
        return ()
    return (f"nothing was read of {stream}; if it holds records, look at its login and settings ({'; '.join(read.reasons)})",)


def promises(counts: Counts, capabilities: Capabilities, lost: Assumed) -> tuple[str, ...]:
    """What is promised for each kind of change in the plan, one sentence each."""
    planned: Sequence[tuple[str, int]] = (("create", counts.create), ("update", counts.update), ("delete", counts.delete))
    said = []
    for op, count in planned:
        capability = capabilities.write(op)  # type: ignore[arg-type]
        if count and capability is not None:
            said.append(f"{op}: {_CLASS_WORDS[capability.delivery]}")
    if said:
        waited = f"T_server_max_s: {lost.T_server_max_s:g}, T_lag_s: {lost.T_lag_s:g}"
        said.append(
            f"assumed: {lost.quiet.total_seconds():g} s after a lost answer its write has happened, and shows, or never will ({waited})"
        )
    if counts.create:
        after = {"quarantine": "is kept for a person", "retry": "is sent again"}[lost.on_unknown]
        said.append(f"a create whose answer is lost and which is not found afterwards {after} (on_unknown: {lost.on_unknown})")
    return tuple(said)
