"""One read for several syncs: it must serve each of them."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.components.source import shared_read
from pipelines.spec import DeleteSettings, ReadSettings, SyncSpec, duration

reads = st.one_of(
    st.builds(ReadSettings, mode=st.just("full"), cursor=st.sampled_from([None, "updated_at", "seen_at"])),
    st.builds(
        ReadSettings,
        mode=st.just("incremental"),
        cursor=st.sampled_from(["updated_at", "seen_at"]),
        lag=st.sampled_from(["0s", "5m", "1h"]),
    ),
)


@st.composite
def specs(draw: st.DrawFn) -> SyncSpec:
    mode = draw(st.sampled_from(["insert", "upsert", "mirror"]))
    values = {"name": draw(st.sampled_from("abc")), "from": "x.y", "to": "z.w", "match": ["id"], "mode": mode, "read": draw(reads)}
    return SyncSpec(**values, deletes=DeleteSettings() if mode == "mirror" else None)


several = st.lists(specs(), min_size=1, max_size=4)


@given(several)
def test_a_shared_read_is_full_where_any_sync_reads_everything_or_follows_another_cursor(readers: list[SyncSpec]) -> None:
    read = shared_read(readers).read
    if read.mode == "incremental":
        assert all(spec.read.mode == "incremental" and spec.read.cursor == read.cursor for spec in readers)
    else:
        assert len({spec.read.cursor for spec in readers}) > 1 or any(spec.read.mode == "full" for spec in readers)


@given(several)
def test_a_shared_read_goes_back_by_the_longest_lag(readers: list[SyncSpec]) -> None:
    assert duration(shared_read(readers).read.lag) == max(duration(spec.read.lag) for spec in readers)


@given(several)
def test_a_shared_read_is_proven_where_any_sync_deletes_by_it(readers: list[SyncSpec]) -> None:
    assert (shared_read(readers).mode == "mirror") == any(spec.mode == "mirror" for spec in readers)


@given(specs())
def test_a_sync_alone_reads_as_it_says(spec: SyncSpec) -> None:
    assert shared_read([spec]) == spec


@given(several)
def test_a_shared_read_is_a_spec_that_could_have_been_written(readers: list[SyncSpec]) -> None:
    read = shared_read(readers).read
    assert ReadSettings.model_validate(read.model_dump()) == read
