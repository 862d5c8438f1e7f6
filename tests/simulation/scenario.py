"""A schedule before it runs: which sync, between which platforms, with what trouble. Everything is drawn from the seed."""

import random
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipelines.spec import SyncSpec
from tests.simulation.rewriting import Rewrites

KEYS = 8  # match keys that exist in the simulated world
STRANGERS = 2  # records of the sink that no source record ever matches
BASES_OF = 20  # so many seeds in a row begin from the same delivered state

Direction = Literal["stacker to robostack", "robostack to stacker"]


@dataclass(frozen=True)
class Scenario:
    """`fault_share`: of the requests that meet trouble. `crash_step`: the port call at which the process ends (None: it does not).

    `hides`: while there is trouble the source keeps one record to itself, and counts it in the total it tells.
    `forgets`: the sink's first read after creates that were not answered does not show them, once.
    `apart`: two workers are on two hosts that share the ledger: no lock of the operating system is between them, only the lease.
    `unselective`: while there is trouble the sink shows and hits every record, whatever a selection says.
    `left`: a request under way at the crash still takes effect. `restless`: the share of requests before which others change something.
    `rekeys`: others also give records of the sink another match key, or one that another record has. `reuses`: the platform gives the
    id of a record that others removed to one that they make. `rewrites`: what the sink makes of what it is sent (`rewriting`).
    """

    seed: int
    direction: Direction
    spec: SyncSpec
    source_switches: dict[str, str]
    sink_switches: dict[str, str]
    source_settings: dict[str, Any]
    sink_settings: dict[str, Any]
    lag_s: float
    delivered_before: bool
    faulty_runs: int
    fault_share: float
    first_fault: tuple[str, int] | None
    crash_step: int | None
    left: bool
    restless: float
    storm: bool
    workers: int
    approve: Literal["never", "at once", "after a change"]
    source_changes: int
    whole: bool = False
    hides: bool = False
    forgets: bool = False
    apart: bool = False
    unselective: bool = False
    rekeys: bool = False
    reuses: bool = False
    rewrites: Rewrites = ""
    without: frozenset[str] = field(default_factory=frozenset)

    @property
    def base(self) -> int:
        """The number of the delivered state this schedule begins from."""
        return self.seed // BASES_OF

    @property
    def shared(self) -> bool:
        """Whether one run of the sync is written by several workers, who share the ledger."""
        return self.spec.writes.shards > 1


FIELDS = {"email": "lower(trim(email))", "name": "name", "score": "score"}


def scenario(seed: int, *, whole: bool | None = None) -> Scenario:
    """The schedule of this seed."""
    base, rng = random.Random(f"base {seed // BASES_OF}"), random.Random(f"schedule {seed}")
    direction: Direction = base.choice(("stacker to robostack", "robostack to stacker"))
    stacker = {
        "created_order": base.choice(("sent", "reversed", "shuffled")),
        "bulk_failure": base.choice(("atomic", "stops")),
        "total": base.choice(("present", "present", "absent")),
        "order_by": base.choice(("ascending", "ascending", "ascending", "ignored")),
        "unordered": base.choice(("insertion", "shuffled")),
    }
    if stacker["order_by"] == "ignored":
        stacker["unordered"] = "insertion"  # pages in no order at all cannot be read whole, and the read says so
    robostack = {
        "create_answers": base.choice(("records", "ids", "id_objects", "count", "nothing")),
        "create_order": base.choice(("sent", "reversed", "shuffled")),
        "update_answers": base.choice(("records", "count", "matched", "nothing")),
        "delete_answers": base.choice(("count", "records", "nothing")),
        "no_match": base.choice(("silent", "404")),
        "batch_failure": base.choice(("atomic", "stops")),
        "order": base.choice(("id", "reversed", "shuffled")),
        "envelope": base.choice(("list", "records", "total")),
    }
    outward = direction == "stacker to robostack"
    source_name, sink_name = ("left.contacts", "right.people") if outward else ("left.people", "right.contacts")
    mode = base.choice(("upsert", "upsert", "upsert", "mirror", "mirror", "mirror", "insert", "update"))
    read = {"mode": "incremental", "cursor": "rev"} if outward and mode != "mirror" and base.random() < 0.5 else {"mode": "full"}
    drift = base.choice(("overwrite", "overwrite", "keep", "conflict"))
    t_server_max_s, t_lag_s = base.choice((20.0, 60.0)), base.choice((0.0, 0.0, 15.0, 45.0))
    on_unknown = base.choice(("quarantine", "retry"))
    deletes = base.choice(({"max_count": 100, "max_share": 1.0}, {"max_count": 2, "max_share": 1.0}, {"max_count": 100, "max_share": 0.3}))
    given: dict[str, Any] = {
        "name": "simulated",
        "from": source_name,
        "to": sink_name,
        "match": ["email"],
        "fields": FIELDS,
        "mode": mode,
        "read": read,
        "drift": drift,
        "deletes": deletes if mode == "mirror" else None,
        "writes": {"batch": base.choice((1, 2, 2, 3, 5)), "on_unknown": on_unknown},
        "limits": {"create_count": 5} if base.random() < 0.1 else {},
    }
    rewrites: Rewrites = base.choices(("", "values", "key"), (80, 10, 10))[0]  # type: ignore[assignment]
    if base.random() < 0.08:
        given["writes"]["shards"] = 2
    if base.random() < 0.25:
        stacker["eq"] = base.choice(("ignored", "never", "refused"))  # of a source nothing is looked up
    workers = 2 if rng.random() < 0.08 else 1
    drawn = Scenario(
        seed=seed,
        direction=direction,
        spec=SyncSpec(**given),
        source_switches=stacker if outward else robostack,
        sink_switches=robostack if outward else stacker,
        source_settings={"page_size": base.choice((2, 3, 1000))} if outward else {},
        sink_settings={"T_server_max_s": t_server_max_s, "T_lag_s": t_lag_s, "timeout_s": 10.0},
        lag_s=t_lag_s * rng.choice((0.0, 0.5, 0.95)),
        delivered_before=rng.random() < 0.6,
        faulty_runs=rng.choice((1, 1, 1, 2)),
        fault_share=rng.choice((0.0, 0.05, 0.15, 0.3)),
        first_fault=(rng.choice(("create", "create", "update", "delete", "read")), rng.randrange(3)) if rng.random() < 0.7 else None,
        crash_step=int(rng.expovariate(1 / 45)) + 1 if rng.random() < 0.45 else None,
        left=rng.random() < 0.5,
        restless=rng.choice((0.0, 0.0, 0.05, 0.2)),
        storm=rng.random() < 0.03,
        workers=workers,
        approve=rng.choice(("never", "at once", "after a change")),
        source_changes=rng.choice((0, 1, 2, 4)),
        whole=seed % 500 == 499 if whole is None else whole,
        hides=rng.random() < 0.1 and outward and stacker["total"] == "present",
        forgets=rng.random() < 0.08,
        apart=rng.random() < 0.5 and workers == 2,
        unselective=rng.random() < 0.06 and outward,
        rewrites=rewrites,
        rekeys=rng.random() < 0.12,
        reuses=rng.random() < 0.12,
    )
    shared = drawn.shared and rng.random() < 0.75
    return replace(drawn, workers=2, apart=True) if shared else drawn
