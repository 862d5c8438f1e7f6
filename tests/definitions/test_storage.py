"""Dagster's storage in a home that nothing was set up in: whoever opens it first, and however many at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from pipelines.components.inprocess import _stored_in


def test_runs_that_open_a_new_home_at_once_are_not_in_each_others_way(tmp_path: Path) -> None:
    settled = InstanceRef.from_dir(str(tmp_path), overrides=_stored_in(str(tmp_path)))

    def runs(_: int) -> int:
        with dg.DagsterInstance.from_ref(settled) as instance:
            return len(instance.get_runs())

    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(runs, range(4))) == [0] * 4
